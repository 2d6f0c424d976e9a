import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from peft import PeftModel

from ifcore import io, loading, training
from ifcore.batches import example_batches
from ifcore.gradients import example_gradients
from ifcore.gram import Gram
from ifcore.losses import example_losses
from ifcore.methods import METHODS, OF_GRAM
from ifcore.representations import representations, repsim
from study import config
from study.pipeline import attributions
from study.pipeline.task import Task

ROOT = Path(__file__).parents[3]
OVERRIDES = {
    "datasets": {"mixed_small": {"train": {"harmful": 3, "benign": 4}, "val": {"harmful": 2}, "dev": {"benign": 2}}},
    "epochs": 3,
    "gradient_batch": 2,
}


def make_run(root, seed=0, **overrides):
    (root / "notebooks").mkdir(exist_ok=True)
    shutil.copytree(ROOT / "notebooks" / "profiles", root / "notebooks" / "profiles", dirs_exist_ok=True)
    return config.make_run("smoke", seed, OVERRIDES | overrides, root)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run, its attribution, and the attribution's folder."""
    run = make_run(tmp_path_factory.mktemp("finished"))
    return run, attributions.compute_attribution(run, "mixed_small"), run.artifacts / "mixed_small"


@pytest.fixture
def copy(finished, tmp_path):
    """A copy of the finished run, to be damaged."""
    run, attribution, _ = finished
    shutil.copytree(run.root, tmp_path, dirs_exist_ok=True)
    run = make_run(tmp_path)
    return run, attribution, run.artifacts / "mixed_small"


def assert_same_scores(actual, expected):
    assert actual.scores.keys() == expected.scores.keys()
    assert all(np.array_equal(actual.scores[method], expected.scores[method]) for method in actual.scores)


def modified(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file() and path.name != ".lock"}


def test_scores_are_those_of_the_engine_on_the_checkpoint_it_names(finished):
    """PEFT alone opens the adapters, and the engine's functions give the stored scores."""
    run, attribution, folder = finished
    model, tokenizer = loading.load(run.profile.model)
    model = PeftModel.from_pretrained(model, run.shared / "alignment" / "adapter").merge_and_unload()
    model = PeftModel.from_pretrained(model, folder / "checkpoints" / f"epoch-{attribution.epoch:02d}")
    batches = [example_batches(model, tokenizer, part, 2) for part in (attribution.train, attribution.val)]
    gram = Gram.from_gradients(*(example_gradients(model, part) for part in batches))
    expected = {key: METHODS[key].function(gram) for key in OF_GRAM}
    expected["repsim"] = repsim(*(representations(model, part) for part in batches))
    for method in run.profile.methods:
        np.testing.assert_allclose(attribution.scores[method], expected[method], rtol=1e-9)
        assert attribution.scores[method].shape == (2, 7)


def test_the_epoch_used_is_the_last_and_the_loss_is_that_of_dev_examples(finished):
    run, attribution, folder = finished
    assert attribution.epoch == attribution.history.epoch.max() == 3
    model, tokenizer = loading.load(run.profile.model)
    model = PeftModel.from_pretrained(model, run.shared / "alignment" / "adapter").merge_and_unload()
    model = PeftModel.from_pretrained(model, folder / "checkpoints" / "epoch-03")
    (dev,) = example_batches(model, tokenizer, attributions.examples(Task(run, "mixed_small")).dev)
    assert attribution.history.dev_loss.iloc[-1] == pytest.approx(float(example_losses(model, dev).mean()), rel=1e-5)


def test_other_examples_to_explain_retrain_nothing(copy, monkeypatch):
    run, expected, folder = copy
    trained, split = modified(folder / "checkpoints"), attributions.examples(Task(run, "mixed_small"))
    monkeypatch.setattr(attributions, "examples", lambda task: dataclasses.replace(split, val=split.val[1:]))
    attribution = attributions.compute_attribution(run, "mixed_small")
    np.testing.assert_allclose(attribution.scores["gradsim"], expected.scores["gradsim"][1:], rtol=1e-5)
    assert attribution.after == expected.after[1:]
    assert modified(folder / "checkpoints") == trained


def test_a_model_retrained_in_place_is_another_model_and_one_moved_is_not(tmp_path):
    model, tokenizer = loading.load("random:tiny-llama", seed=4)
    computed = []
    for name, scale in (("here", 1.0), ("here", 1.5), ("there", 1.0)):
        with torch.no_grad():
            model.model.embed_tokens.weight.mul_(scale)
        model.save_pretrained(tmp_path / name)
        tokenizer.save_pretrained(tmp_path / name)
        run = make_run(tmp_path, model=f"path:{tmp_path / name}")
        computed.append(attributions.compute_attribution(run, "mixed_small"))
    assert not np.array_equal(computed[0].scores["repsim"], computed[1].scores["repsim"])
    assert_same_scores(computed[1], computed[2])


def test_another_revision_on_the_hub_is_another_model(tmp_path, monkeypatch):
    """A hand-made cache of the hub stands in for the hub."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    folder, computed = tmp_path / "hub" / "models--some--model", []
    (folder / "refs").mkdir(parents=True)
    for seed, revision in ((1, "a" * 40), (2, "b" * 40)):
        model, tokenizer = loading.load("random:tiny-llama", seed=seed)
        model.save_pretrained(folder / "snapshots" / revision)
        tokenizer.save_pretrained(folder / "snapshots" / revision)
        (folder / "refs" / "main").write_text(revision)
        loading._revision.cache_clear()
        computed.append(attributions.compute_attribution(make_run(tmp_path, model="hub:some/model"), "mixed_small"))
    assert computed[0].folder == computed[1].folder
    assert not np.array_equal(computed[0].scores["repsim"], computed[1].scores["repsim"])


def test_nothing_is_recomputed_when_nothing_changed(copy, monkeypatch):
    run, expected, folder = copy
    before = modified(folder)
    monkeypatch.setattr(loading, "load", lambda *_: pytest.fail("the model was loaded"))
    assert_same_scores(attributions.compute_attribution(run, "mixed_small"), expected)
    assert modified(folder) == before


def test_the_same_seed_gives_the_same_scores_and_another_seed_others(finished, tmp_path):
    _, expected, _ = finished
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    assert_same_scores(attributions.compute_attribution(make_run(tmp_path / "a"), "mixed_small"), expected)
    other = attributions.compute_attribution(make_run(tmp_path / "b", seed=1), "mixed_small")
    assert not np.array_equal(other.scores["gradsim"], expected.scores["gradsim"])


@pytest.mark.parametrize(
    "name",
    ["scores.safetensors", "gradients/train/000001.safetensors", "history.csv", "gradients/val/000000.safetensors",
     "checkpoints/epoch-02/adapter_model.safetensors", "scores.json", "fine-tune.json"],
)  # fmt: skip
@pytest.mark.parametrize("damage", ["truncated", "edited", "deleted"])
def test_a_damaged_artifact_is_noticed_and_made_again(copy, name, damage):
    run, expected, folder = copy
    content = bytearray((folder / name).read_bytes())
    if damage == "truncated":
        (folder / name).write_bytes(content[: len(content) // 2])
    elif damage == "edited":
        content[-2] ^= 1
        (folder / name).write_bytes(content)
    else:
        (folder / name).unlink()
    assert_same_scores(attributions.compute_attribution(run, "mixed_small"), expected)
    for record in map(io.read_json, folder.glob("*.json")):
        for file, recorded in record.get("files", {}).items() if record.get("done") else ():
            assert io.sha256(folder / file) == recorded


def test_a_changed_setting_never_reuses_what_another_made(copy):
    run, expected, folder = copy
    for key, value in (("learning_rate", 0.01), ("damping", 1.0), ("lora_rank", 2)):
        changed = run.profile.model_copy(update={key: value})
        attribution = attributions.compute_attribution(config.Run(changed, 0, run.root), "mixed_small")
        assert not np.array_equal(attribution.scores["exact"], expected.scores["exact"]), key
    assert_same_scores(attributions.compute_attribution(run, "mixed_small"), expected)


SCRIPT = """
import sys, time; from pathlib import Path
from tests.study.pipeline.test_attributions import make_run
from ifcore import io, training; from study.pipeline import attributions
from study.pipeline.task import Task
write = io.write_tensors
io.write_tensors = lambda *arguments: (write(*arguments), time.sleep(0.5))  # time to be killed in
save = training._save
training._save = lambda *arguments: (save(*arguments), time.sleep(0.5))
attributions.compute_attribution(make_run(Path(sys.argv[1])), "mixed_small")
"""


def test_a_run_killed_while_it_works_ends_with_the_same_scores(finished, tmp_path):
    shard = "gradients/train/000000.safetensors"
    moments = "checkpoints/epoch-01/adapter_model.safetensors", shard, "gradients/val/000000.safetensors"
    runs, processes = {}, {}
    for number, moment in enumerate(moments):
        (root := tmp_path / str(number)).mkdir()
        runs[moment] = make_run(root)
        command = [sys.executable, "-c", SCRIPT, str(root)]
        environment = os.environ | {"OMP_NUM_THREADS": "1"}  # as many threads as here: sums are the same to the bit
        processes[moment] = subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.DEVNULL)
    deadline = time.time() + 120
    while processes and time.time() < deadline:
        for moment, process in list(processes.items()):
            if (runs[moment].artifacts / "mixed_small" / moment).exists() or process.poll() is not None:
                os.kill(process.pid, signal.SIGKILL)
                processes.pop(moment).wait()
        time.sleep(0.001)
    assert not processes
    record = Path(shard).with_suffix(".json")
    assert not (runs[shard].artifacts / "mixed_small" / record).exists(), "it was not killed between the two"
    for run in runs.values():
        folder = run.artifacts / "mixed_small"
        assert (folder / "fine-tune.json").exists()
        assert not (folder / "scores.safetensors").exists(), "it was killed too late to tell anything"
        assert_same_scores(attributions.compute_attribution(run, "mixed_small"), finished[1])


def test_files_that_a_kill_kept_from_being_noted_are_not_read_under_another_key(copy):
    """Fewer batches overwrite fewer shards; a stray one would be read as further rows."""
    run, expected, folder = copy
    shards = folder / "gradients" / "train"
    shutil.copy(shards / "000000.safetensors", shards / "000009.safetensors")
    wider = dataclasses.replace(run, profile=run.profile.model_copy(update={"gradient_batch": 4}))
    attribution = attributions.compute_attribution(wider, "mixed_small")
    for method, scores in expected.scores.items():
        np.testing.assert_allclose(attribution.scores[method], scores, rtol=1e-3, atol=1e-6)


def test_a_full_disk_ends_the_run_in_one_line_and_it_goes_on_later(finished, tmp_path, monkeypatch):
    run = make_run(tmp_path)
    save_file = safetensors.torch.save_file

    def fill_disk(tensors, path):
        if "train/000001" in str(path.parent / path.name.rpartition("-")[2]):
            Path(path).write_bytes(b"half")
            raise OSError(28, "No space left on device")
        save_file(tensors, path)

    monkeypatch.setattr(safetensors.torch, "save_file", fill_disk)
    with pytest.raises(OSError, match="disk full while writing .*000001.*free some space and start again"):
        attributions.compute_attribution(run, "mixed_small")
    monkeypatch.undo()
    assert_same_scores(attributions.compute_attribution(run, "mixed_small"), finished[1])


def test_the_record_says_what_determined_the_artifact(finished):
    _, _, folder = finished
    key = json.loads((folder / "fine-tune.json").read_text())["key"]
    assert key["model"] == "random:tiny-llama"
    assert key["versions"]["torch"] == torch.__version__
    assert key["epochs"] == 3
    assert {field.name for field in dataclasses.fields(training.Settings)} <= key.keys()
