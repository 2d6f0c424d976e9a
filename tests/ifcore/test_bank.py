"""A bank of retrained adapters: what is in it, and who may use it."""

import json
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file

from ifcore import loading, lora, training
from ifcore.bank import Bank, Retraining
from ifcore.batches import batches
from ifcore.examples import Example
from ifcore.losses import evaluate_losses
from ifcore.tokens import tokenise
from ifcore.trainable import trainable_parameters
from ifcore.training import Settings

SETTINGS = Settings(epochs=2, batch_size=3, learning_rate=0.02, seed=5)
EXAMPLES = [Example(f"say {i}", "yes " * (1 + i % 3)) for i in range(7)]
RETRAININGS = [Retraining(), Retraining((0, 2, 3, 5)), Retraining((4,)), Retraining((0, 2, 3, 5), 1)]


def start():
    model, tokenizer = loading.load("random:tiny-llama", torch.float64)
    return lora.add_lora(model, seed=5).double(), tokenise(tokenizer, EXAMPLES)


def values_in(folder):
    return torch.cat([value.flatten() for _, value in sorted(load_file(folder / "adapter_model.safetensors").items())])


def values(model):
    return torch.cat([parameter.detach().flatten() for parameter in trainable_parameters(model).values()])


def test_a_retraining_is_the_fine_tune_in_which_what_is_left_out_weighs_nothing(tmp_path):
    model, train = start()
    bank, val = Bank(tmp_path / "bank", model, train, SETTINGS), batches(train[:3], 2)
    before = values(model).clone()
    bank.make(RETRAININGS)
    assert torch.equal(values(model), before)
    for retraining in RETRAININGS:
        seed = SETTINGS.seed + 1_000_003 * retraining.replicate
        other, _ = loading.load("random:tiny-llama", torch.float64)
        other = lora.add_lora(other, seed=seed).double()
        weights = [float(place not in retraining.left_out) for place in range(7)]
        same = len(retraining.left_out) == 1
        settings = replace(SETTINGS, seed=seed)
        training.finetune(other, train, [], tmp_path / retraining.name, settings, None, weights, same)
        torch.testing.assert_close(bank.losses(retraining, val), evaluate_losses(other, val), rtol=1e-6, atol=0)
    assert [path.name for path in sorted(bank.checkpoints.glob("epoch-*"))] == ["epoch-00", "epoch-01", "epoch-02"]
    base, _ = loading.load("random:tiny-llama", torch.float64)
    loaded = PeftModel.from_pretrained(base, tmp_path / "bank" / "all")  # anyone's PEFT can
    torch.testing.assert_close(evaluate_losses(loaded, val), bank.losses(Retraining(), val), rtol=1e-6, atol=0)


@pytest.mark.parametrize(("patience", "computed"), [(1, True), (2, False)])
def test_dev_examples_are_computed_where_they_can_stop_a_retraining(tmp_path, monkeypatch, patience, computed):
    model, train = start()
    dev_examples, finetune = [], training.finetune
    monkeypatch.setattr(training, "finetune", lambda *args: dev_examples.append(args[2]) or finetune(*args))
    bank = Bank(tmp_path / "bank", model, train, replace(SETTINGS, patience=patience), dev=train[:2])
    bank.make([Retraining()])
    assert dev_examples == [train[:2] if computed else []]


def test_what_weighs_nothing_changes_neither_order_nor_dropout(tmp_path):
    model, train = start()
    histories = []
    for name, weights in (("zero", [1.0] * 6 + [0.0]), ("tiny", [1.0] * 6 + [1e-13])):
        lora_ = trainable_parameters(model)
        with torch.no_grad():
            for block, value in lora.fresh_parameters(model, 5).items():
                lora_[block].copy_(value)
        training.finetune(model, train, [], tmp_path / name, SETTINGS, None, weights, True)
        histories.append(values(model).clone())
    torch.testing.assert_close(*histories, rtol=1e-5, atol=1e-9)


def test_what_is_made_is_made_once_and_made_again_where_altered(tmp_path, monkeypatch):
    model, train = start()
    bank, val = Bank(tmp_path, model, train, SETTINGS), batches(train[:3], 2)
    bank.make(RETRAININGS[:2])
    expected, calls = bank.losses(RETRAININGS[1], val), []
    finetune = training.finetune
    monkeypatch.setattr(training, "finetune", lambda *given: (calls.append(given), finetune(*given))[1])
    again = Bank(tmp_path, model, train, SETTINGS)
    again.make(RETRAININGS[:2])
    assert not calls
    file = tmp_path / RETRAININGS[1].name / "adapter_model.safetensors"
    file.write_bytes(file.read_bytes()[:-1] + b"\x01")
    again.make(RETRAININGS[:2])
    assert len(calls) == 1 and torch.equal(again.losses(RETRAININGS[1], val), expected)


def test_a_killed_one_goes_on_from_its_last_epoch_and_a_lock_dies_with_its_process(tmp_path):
    model, train = start()
    code = f"""
import os, pathlib
from ifcore import training
from tests.ifcore import test_bank as t
save = training._save
def dying(folder, *given):
    save(folder, *given)
    if (folder / "epoch-01").exists():
        os.kill(os.getpid(), 9)
training._save = dying
model, train = t.start()
t.Bank(pathlib.Path({str(tmp_path / "killed")!r}), model, train, t.SETTINGS).make(t.RETRAININGS[1:2])
"""
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert process.returncode == -9, process.stderr
    assert list((tmp_path / "killed" / ".unfinished").glob("*/epoch-01"))
    val, losses = batches(train[:3], 2), {}
    for name in ("killed", "whole"):
        bank = Bank(tmp_path / name, model, train, SETTINGS)
        bank.make(RETRAININGS[1:2])
        losses[name] = bank.losses(RETRAININGS[1], val)
    assert torch.equal(losses["killed"], losses["whole"])


def test_two_processes_share_the_work(tmp_path):
    code = (
        "from tests.ifcore import test_bank as t; from pathlib import Path; from ifcore import training\n"
        "finetune, count = training.finetune, []\n"
        "training.finetune = lambda *given: (count.append(1), finetune(*given))[1]\n"
        f"model, train = t.start(); t.Bank(Path({str(tmp_path)!r}), model, train, t.SETTINGS)"
        ".make([t.Retraining(), *(t.Retraining((n, n + 1)) for n in range(5))]); print(len(count))"
    )
    started = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(2)]
    counts = [int(process.communicate(timeout=300)[0]) for process in started]
    assert sum(counts) == 6 and len(list(tmp_path.glob("[aw]*/adapter_config.json"))) == 6
    assert (tmp_path / "checkpoints" / "epoch-02").is_dir()


@pytest.mark.parametrize("what", ["settings", "data", "adapter", "model", "precision", "start"])
def test_the_bank_of_another_fine_tune_is_refused_in_a_line(tmp_path, what):
    model, train = start()
    Bank(tmp_path / "bank", model, train, SETTINGS)
    Bank(tmp_path / "bank", model, train, SETTINGS)  # the same is not
    given = {"settings": SETTINGS, "train": train, "model": model, "start": None}
    if what == "settings":
        given["settings"], named = replace(SETTINGS, learning_rate=0.3), "learning_rate 0.02, now 0.3"
    elif what == "data":
        given["train"], named = train[:-1], "training examples"
    elif what == "adapter":
        given["model"] = lora.add_lora(loading.load("random:tiny-llama", torch.float64)[0], rank=2, seed=5)
        named = "r 4, now 2"
    elif what == "model":
        with torch.no_grad():
            next(p for n, p in model.named_parameters() if n.endswith("mlp.up_proj.weight")).mul_(2)
        named = "model"
    elif what == "precision":
        given["model"], named = lora.add_lora(loading.load("random:tiny-llama")[0], seed=5).double(), "model"
        given["model"].get_base_model().to(torch.float32)
    else:
        model.save_pretrained(tmp_path / "same")
        Bank(tmp_path / "bank", model, train, SETTINGS, tmp_path / "same")  # as it is drawn
        with torch.no_grad():
            next(p for n, p in model.named_parameters() if "lora_B" in n).add_(0.1)
        model.save_pretrained(tmp_path / "start")
        given["start"], named = tmp_path / "start", "start"
    with pytest.raises(ValueError, match=rf"bank: .*another fine-tune \(.*{named}") as refused:
        Bank(tmp_path / "bank", given["model"], given["train"], given["settings"], given["start"])
    assert "\n" not in str(refused.value)


def test_a_start_that_is_not_there_or_cannot_be_drawn_is_refused_before_anything_is_kept(tmp_path):
    model, train = start()
    with pytest.raises(ValueError, match="no adapter_config.json in it"):
        Bank(tmp_path / "bank", model, train, SETTINGS, tmp_path / "mistyped")
    model.active_peft_config.init_lora_weights = "olora"
    with pytest.raises(ValueError, match="begun with init_lora_weights 'olora'; give the one it started from"):
        Bank(tmp_path / "bank", model, train, SETTINGS)
    assert not (tmp_path / "bank" / "bank.json").exists()


def test_a_folder_of_other_adapters_is_no_bank(tmp_path):
    model, train = start()
    model.save_pretrained(tmp_path / "mine")
    with pytest.raises(ValueError, match="holds adapters and no bank.json"):
        Bank(tmp_path, model, train, SETTINGS)


def test_an_adapter_to_start_from_is_started_from(tmp_path):
    model, train = start()
    with torch.no_grad():
        for name, parameter in trainable_parameters(model).items():
            if "lora_B" in name:
                parameter.fill_(0.05)
    model.save_pretrained(tmp_path / "start")
    bank = Bank(tmp_path / "bank", model, train, SETTINGS, tmp_path / "start")
    bank.make([Retraining()])
    first = load_file(bank.checkpoints / "epoch-00" / "adapter_model.safetensors")
    assert all((value == 0.05).all() for name, value in first.items() if "lora_B" in name)
    bank.make([Retraining((), 1)])  # another order and dropout, from the same start
    before, after = (values_in(tmp_path / "bank" / name) for name in ("all", "all-seed-1"))
    assert not torch.equal(before, after)
    assert json.loads((tmp_path / "bank" / "all" / "retraining.json").read_text())["left_out"] == []
