import itertools

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file

from ifcore import models, training, weights
from ifcore.examples import tokenise
from ifcore.training import Settings, finetune

SETTINGS = Settings(epochs=4, batch_size=2, learning_rate=0.05, seed=1)


def start(examples):
    model, tokenizer = weights.load("random:tiny-llama")
    tokens = tokenise(tokenizer, examples)
    return models.add_lora(model, seed=1), tokens[:4], tokens[4:]


def adapters(folder):
    return {path.parent.name: load_file(path) for path in sorted(folder.glob("epoch-*/adapter_model.safetensors"))}


def test_fine_tuning_lowers_the_training_loss_and_leaves_a_peft_checkpoint_an_epoch(examples, tmp_path):
    model, train, val = start(examples)
    history = finetune(model, train, val, tmp_path, SETTINGS)
    assert history.epoch.tolist() == [0, 1, 2, 3, 4]
    assert history.step.tolist() == [0, 2, 4, 6, 8]
    assert history.train_loss.iloc[-1] < history.train_loss.iloc[1]
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"epoch-0{i}" for i in range(5)]

    base, tokenizer = weights.load("random:tiny-llama")
    ids = torch.tensor([tokenizer("hello")["input_ids"]])
    untouched = base(ids).logits
    assert torch.equal(PeftModel.from_pretrained(base, tmp_path / "epoch-00")(ids).logits, untouched)
    base, _ = weights.load("random:tiny-llama")
    torch.testing.assert_close(PeftModel.from_pretrained(base, tmp_path / "epoch-04")(ids).logits, model(ids).logits)


def test_the_logged_validation_loss_is_the_mean_of_the_examples_losses(examples, tmp_path):
    model, train, val = start(examples)
    history = finetune(model, train, val, tmp_path, SETTINGS)
    _, tokenizer = weights.load("random:tiny-llama")
    (batch,) = models.example_batches(model, tokenizer, examples[4:])
    assert history.val_loss.iloc[-1] == pytest.approx(float(models.example_losses(model, batch).mean()), rel=1e-5)


@pytest.mark.parametrize("killed_after_steps", [1, 3, 6])
def test_a_killed_run_goes_on_to_the_same_numbers(examples, tmp_path, monkeypatch, killed_after_steps):
    model, train, val = start(examples)
    expected = finetune(model, train, val, tmp_path / "whole", SETTINGS)

    class Killed(BaseException):
        pass

    steps = 0

    def dying_losses(*arguments):
        nonlocal steps
        if torch.is_grad_enabled():
            steps += 1
            if steps > killed_after_steps:
                raise Killed
        return models.example_losses(*arguments)

    monkeypatch.setattr(training, "example_losses", dying_losses)
    model, train, val = start(examples)
    with pytest.raises(Killed):
        finetune(model, train, val, tmp_path / "killed", SETTINGS)
    monkeypatch.undo()
    model, train, val = start(examples)
    torch.manual_seed(99)  # whatever happened in between must not matter
    history = finetune(model, train, val, tmp_path / "killed", SETTINGS)

    assert history.equals(expected)
    whole, resumed = adapters(tmp_path / "whole"), adapters(tmp_path / "killed")
    assert whole.keys() == resumed.keys()
    for epoch in whole:
        assert all(torch.equal(whole[epoch][name], resumed[epoch][name]) for name in whole[epoch])


def test_a_damaged_checkpoint_is_not_resumed_from(tmp_path):
    for step, content in ((2, b"whole"), (4, b"damaged")):
        folder = tmp_path / f"checkpoint-{step}"
        folder.mkdir()
        (folder / "state").write_bytes(b"whole")
        (folder / "whole.json").write_text(f'{{"state": "{training._sha256(folder / "state")}"}}')
        (folder / "state").write_bytes(content)
    assert training._last_whole(tmp_path) == str(tmp_path / "checkpoint-2")
    (tmp_path / "checkpoint-2" / "whole.json").write_text("")
    assert training._last_whole(tmp_path) is None


def test_it_stops_when_the_validation_loss_rose_patience_times_running(examples, tmp_path):
    model, train, val = start(examples)
    # Steps far too large: the loss climbs from the first epoch on.
    settings = Settings(epochs=30, batch_size=4, learning_rate=3.0, patience=2, seed=1)
    history = finetune(model, train, val, tmp_path, settings)
    rises = (history.val_loss.diff() > 0).tolist()
    assert len(history) < 30
    assert rises[-2:] == [True, True]
    assert not any(a and b for a, b in itertools.pairwise(rises[:-1]))


def test_no_pickle_is_left_or_read(examples, tmp_path, monkeypatch):
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("torch.load was called"))
    saved = []
    monkeypatch.setattr(training.shutil, "rmtree", lambda path, **_: saved.extend(path.rglob("checkpoint-*/*")))
    model, train, val = start(examples)
    finetune(model, train, val, tmp_path, Settings(epochs=1, batch_size=2, seed=1))
    suffixes = {path.suffix for path in saved if path.name != "training_args.bin"}
    assert suffixes <= {".safetensors", ".json", ".md"}
