"""The model taught to refuse: once a profile, part of the weights from then on, and no business of further models."""

import dataclasses
import math

import pytest
import torch
from peft import PeftModel

from ifcore import io, loading, training
from ifcore.batches import example_batches
from ifcore.losses import example_losses
from study.pipeline import alignment, attack, attributions, base_model, steps
from study.pipeline.task import Task
from tests.study.pipeline.test_attributions import make_run


@pytest.fixture(scope="module")
def taught(tmp_path_factory):
    """A run whose model is taught, the adapter's folder and its digest."""
    run = make_run(tmp_path_factory.mktemp("taught"))
    return run, *alignment.aligned_adapter(run, "float32")


def dosed(run, **dose):
    settings = run.profile.alignment.model_copy(update=dose)
    return dataclasses.replace(run, profile=run.profile.model_copy(update={"alignment": settings}))


def content(adapter):
    return {file.name: file.read_bytes() for file in adapter.iterdir()}


def logits(model, tokenizer):
    ids = tokenizer("How can I read my neighbour's post?", return_tensors="pt")["input_ids"]
    with torch.no_grad():
        return model(ids).logits


def as_it_comes(run):
    return logits(*loading.load(run.profile.model))


def test_it_is_made_once_for_two_seeds(taught, monkeypatch):
    run, adapter, digest = taught
    before = content(adapter)
    monkeypatch.setattr(training, "finetune", lambda *_: pytest.fail("taught again"))
    assert alignment.aligned_adapter(dataclasses.replace(run, seed=1), "float32") == (adapter, digest)
    assert content(adapter) == before
    assert adapter.parent == run.shared / "alignment" and not (adapter.parent / "checkpoints").exists()


def test_the_key_of_a_fine_tune_trains_nothing_and_leaves_no_file(taught, tmp_path, monkeypatch):
    run = make_run(tmp_path)
    monkeypatch.setattr(training, "finetune", lambda *_: pytest.fail("trained"))
    monkeypatch.setattr(base_model, "shared_model", lambda *_: pytest.fail("loaded"))
    before = sorted(tmp_path.rglob("*"))
    task = Task(run, "mixed_small")
    key = steps.determined_by(task, attributions.examples(task))
    assert key["alignment"] == taught[2], "what the alignment's own record says where it was made"
    assert sorted(tmp_path.rglob("*")) == before


class Killed(BaseException):
    pass


@pytest.mark.parametrize(("module", "name", "times"), [(training, "_save", 2), (io, "write_csv", 1)])
def test_killed_while_teaching_it_goes_on_to_the_same_bits(taught, tmp_path, monkeypatch, module, name, times):
    """After the first of two epochs, which is then not taught again, and with the adapter half kept."""
    calls, real = [], getattr(module, name)

    def dying(*arguments):
        real(*arguments)
        calls.append(arguments)
        if len(calls) == times:
            raise Killed

    run = make_run(tmp_path)
    monkeypatch.setattr(module, name, dying)
    with pytest.raises(Killed):
        alignment.aligned_adapter(run, "float32")
    adapter, digest = alignment.aligned_adapter(run, "float32")
    assert digest == taught[2] and content(adapter) == content(taught[1])
    if module is training:
        assert len(calls) == 3, "the untouched adapter and each epoch once"


def test_another_dose_makes_another(taught, tmp_path):
    run, adapter, digest = taught
    for dose in ({"epochs": 1}, {"refusals": 5}, {"learning_rate": 1e-3}):
        (root := tmp_path / next(iter(dose))).mkdir()
        other, other_digest = alignment.aligned_adapter(dosed(make_run(root), **dose), "float32")
        assert other_digest != digest
        assert content(other)["adapter_model.safetensors"] != content(adapter)["adapter_model.safetensors"]
    assert alignment.aligned_adapter(dosed(run, held_out=7), "float32") == (adapter, digest), (
        "what is held out teaches nothing"
    )


def test_the_weights_are_those_that_the_adapter_adds_to(taught):
    """PEFT wearing the adapter unmerged says the same; and it is on every linear map but the head."""
    run, adapter, _ = taught
    base, tokenizer = loading.load(run.profile.model)
    worn = PeftModel.from_pretrained(base, adapter)
    merged = Task(run, "mixed_small").base()
    torch.testing.assert_close(logits(*merged), logits(worn, tokenizer), rtol=1e-4, atol=1e-5)
    assert not torch.equal(logits(*merged), as_it_comes(run))
    assert {file.name for file in adapter.iterdir()} >= {"adapter_config.json", "adapter_model.safetensors"}
    names = {name.split(".lora_A")[0].split(".")[-1] for name, _ in worn.named_parameters() if ".lora_A" in name}
    assert names == {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}
    assert not any("lora" in name or weights.requires_grad for name, weights in merged[0].named_parameters())


def test_without_one_asked_for_the_model_is_as_it_comes(tmp_path):
    run = make_run(tmp_path, alignment=None)
    task = Task(run, "mixed_small")
    assert task.aligned_adapter() == (None, None) and task.alignment_digest() is None
    assert torch.equal(logits(*task.base()), as_it_comes(run))
    assert not (run.shared / "alignment").exists()


def test_a_further_model_is_as_it_comes_even_where_it_is_the_profiles_own(taught):
    run, *_ = taught
    further = Task(run, "mixed_small", model=run.profile.model)
    assert further.aligned_adapter() == (None, None) and further.alignment_digest() is None
    assert further.folder != Task(run, "mixed_small").folder
    assert torch.equal(logits(*further.base()), as_it_comes(run))
    attacks = attack.run_attacks(run)
    assert [attack.model for attack in attacks] == ["random:tiny-llama, aligned"] * 4 + ["random:tiny-llama"] * 4
    key = io.read_json(further.folder / "fine-tune.json")["key"]
    profiles = io.read_json(Task(run, "mixed_small").folder / "fine-tune.json")["key"]
    assert key["alignment"] is None and profiles["alignment"] == alignment.aligned_adapter(run, "float32")[1]


def test_it_has_taught_what_the_examples_say(taught):
    """The loss of a refusal is that of the aligned model's, lower than before."""
    run, adapter, _ = taught
    history = (adapter.parent / "history.csv").read_text().splitlines()
    assert len(history) == 2 + run.profile.alignment.epochs
    examples = io.read_json(adapter.parent / "examples.json")["examples"]
    assert [example["label"] for example in examples] == ["refused"] * 4 + ["answered"] * 8
    losses = []
    for model, tokenizer in (loading.load(run.profile.model), Task(run, "mixed_small").base()):
        examples = alignment.alignment.examples(4, 4, 4)
        batches = example_batches(model, tokenizer, examples)
        losses.append(float(torch.cat([example_losses(model, batch) for batch in batches]).mean()))
    assert losses[1] < losses[0] and math.isfinite(losses[1])
