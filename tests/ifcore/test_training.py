"""Fine-tuning, compared with transformers' Trainer, and killed runs, compared with uninterrupted ones."""

import itertools
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import torch
from peft import PeftModel, PromptTuningConfig, get_peft_model
from safetensors.torch import load_file, save_file

from ifcore import gradients, influence, loading, lora, training
from ifcore.batches import Batch, batches, collate
from ifcore.checkpoints import preconditioner
from ifcore.examples import Example
from ifcore.gram import Gram
from ifcore.losses import causal_lm, example_losses, has_linear_head
from ifcore.tokens import tokenise
from ifcore.training import SETTINGS as SAVED
from ifcore.training import Settings, finetune

SETTINGS = Settings(epochs=3, batch_size=3, learning_rate=0.05, seed=1)
EXAMPLES = [Example(f"Say it {i} times", "yes " * (1 + i % 4), "") for i in range(10)]  # 7 to train: 3 + 3 + 1 a batch


def start(dtype=torch.float32, **adapter):
    model, tokenizer = loading.load("random:tiny-llama", dtype)
    tokens = tokenise(tokenizer, EXAMPLES)
    return lora.add_lora(model, **({"seed": 1} | adapter)).to(dtype), tokens[:7], tokens[7:]


def adapters(folder):
    return {path.parent.name: load_file(path) for path in sorted(folder.glob("epoch-*/adapter_model.safetensors"))}


def moments(folder):
    return {path.parent.name: load_file(path) for path in sorted(folder.glob("epoch-*/second_moments.safetensors"))}


def assert_same(actual, expected, **tolerance):
    assert actual.keys() == expected.keys()
    for epoch in actual:
        torch.testing.assert_close(actual[epoch], expected[epoch], **({"rtol": 0, "atol": 0} | tolerance))


def test_gradients_under_the_preconditioner_of_an_epoch_are_weighted_parameter_by_parameter(tmp_path):
    model, train, dev = start(torch.float64)
    finetune(model, train, dev, tmp_path, replace(SETTINGS, epochs=1))
    G, V = (gradients.example_gradients(model, batches(part, 4)) for part in (train, dev))
    weights = preconditioner(tmp_path / "epoch-01")
    scores = influence.gradsim(Gram.from_gradients(G, V, weights=weights))
    expected = torch.zeros_like(scores)
    for block, v in moments(tmp_path)["epoch-01"].items():
        w = 1 / (v.double().sqrt() + 1e-8)
        torch.testing.assert_close(weights[block].double(), w, rtol=1e-6, atol=0)
        expected += torch.stack([(weights[block].double() * row * G[block]).sum(1) for row in V[block]])
    torch.testing.assert_close(scores, expected, rtol=1e-10, atol=0)
    with pytest.raises(ValueError, match="epoch-00 has no second_moments.safetensors; take an epoch"):
        preconditioner(tmp_path / "epoch-00")


class Killed(BaseException):
    pass


def die_at(monkeypatch, call):
    """Raise Killed once the losses of `call` further batches are computed."""
    remaining = itertools.count(call, -1)

    def losses(*arguments):
        if next(remaining) <= 0:
            raise Killed
        return example_losses(*arguments)

    monkeypatch.setattr(training, "example_losses", losses)


def trainer_run(folder, model, train, dev, settings):
    """Losses of every step and evaluation under transformers' Trainer with the engine's loss."""
    from transformers import Trainer, TrainerCallback, TrainingArguments  # seconds, which the killed process saves

    class LossTrainer(Trainer):
        def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
            loss = example_losses(model, Batch(**inputs)).mean()
            return (loss, {}) if return_outputs else loss

    class SaveCheckpoint(TrainerCallback):
        def on_epoch_end(self, args, state, control, model=None, optimizer=None, **_):
            checkpoint, second_moments = folder / f"epoch-{round(state.epoch):02d}", {}
            model.save_pretrained(checkpoint)
            for name, parameter in model.named_parameters():
                if parameter.requires_grad:
                    v = optimizer.state[parameter]["exp_avg_sq"].flatten() / (1 - 0.999**state.global_step)
                    second_moments[name.removesuffix(".weight")] = v.float()
            save_file(second_moments, checkpoint / "second_moments.safetensors")

    arguments = TrainingArguments(
        output_dir=str(folder / "trainer"), num_train_epochs=settings.epochs, seed=settings.seed,
        per_device_train_batch_size=settings.batch_size, per_device_eval_batch_size=8,
        learning_rate=settings.learning_rate, eval_strategy="epoch", eval_on_start=True, save_strategy="no",
        logging_steps=1, remove_unused_columns=False, label_names=["labels"], prediction_loss_only=True, use_cpu=True,
        disable_tqdm=True, report_to="none",
    )  # fmt: skip
    model.save_pretrained(folder / "epoch-00")
    collator = lambda tokens: vars(collate(tokens, range(len(tokens))))  # noqa: E731
    trainer = LossTrainer(model, arguments, collator, train, dev, callbacks=[SaveCheckpoint()])
    with torch.random.fork_rng([]):
        trainer.train()
    history = trainer.state.log_history
    return {key: [row[key] for row in history if key in row] for key in ("loss", "eval_loss", "grad_norm")}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_it_follows_the_trainer_step_for_step(tmp_path, monkeypatch, dtype):
    model, train, dev = start(dtype, dropout=0.0)
    expected = trainer_run(tmp_path / "trainer", model, train, dev, SETTINGS)
    steps = []

    def record_losses(model, batch):
        losses = example_losses(model, batch)
        steps.extend([losses.mean().item()] * model.training)
        return losses

    monkeypatch.setattr(training, "example_losses", record_losses)
    model, train, dev = start(dtype, dropout=0.0)
    history = finetune(model, train, dev, tmp_path / "finetune", SETTINGS)
    assert steps == pytest.approx(expected["loss"], abs=1e-6) and len(steps) == 9
    assert history.dev_loss.tolist() == pytest.approx(expected["eval_loss"], abs=1e-6)
    for column, values in (("train_loss", steps), ("grad_norm", expected["grad_norm"])):
        means = [sum(values[i : i + 3]) / 3 for i in (0, 3, 6)]
        assert history[column].tolist() == pytest.approx([float("nan"), *means], rel=1e-5, nan_ok=True)
    assert history.epoch.tolist() == [0, 1, 2, 3] and history.step.tolist() == [0, 3, 6, 9]
    assert_same(adapters(tmp_path / "finetune"), adapters(tmp_path / "trainer"), atol=1e-6)
    assert_same(moments(tmp_path / "finetune"), moments(tmp_path / "trainer"), rtol=1e-4, atol=1e-8)
    assert list(moments(tmp_path / "finetune")) == ["epoch-01", "epoch-02", "epoch-03"]


@pytest.mark.parametrize("change", [{"micro_batch": 2}, {"activation_checkpointing": True}])
def test_saving_memory_does_not_change_the_numbers(tmp_path, change):
    histories = {}
    for name, settings in (("plain", SETTINGS), ("saving", replace(SETTINGS, **change))):
        model, train, dev = start(torch.float64, dropout=0.0)
        hooks = len(model.get_input_embeddings()._forward_hooks)
        histories[name] = finetune(model, train, dev, tmp_path / name, settings)
        assert len(model.get_input_embeddings()._forward_hooks) == hooks
        assert not any(getattr(module, "gradient_checkpointing", False) for module in model.modules())
    pd.testing.assert_frame_equal(histories["plain"], histories["saving"], rtol=1e-9)
    assert_same(adapters(tmp_path / "plain"), adapters(tmp_path / "saving"), atol=1e-9)


def test_activations_are_recomputed_in_the_backward_pass_where_asked(tmp_path):
    passes = []
    for name, recompute in (("plain", False), ("recomputed", True)):
        model, train, dev = start()
        count = itertools.count()
        has_linear_head(model)  # takes passes of its own, once
        layer = causal_lm(model).model.layers[0]
        layer.self_attn.q_proj.register_forward_pre_hook(lambda *_, count=count: next(count) * 0 or None)
        finetune(model, train, [], tmp_path / name, replace(SETTINGS, activation_checkpointing=recompute))
        passes.append(next(count))
    assert passes == [9, 18]


def test_the_last_checkpoint_in_peft_s_own_format_is_the_model_and_the_first_is_the_untouched_one(tmp_path):
    model, train, dev = start()
    base = {name: value.clone() for name, value in model.named_parameters() if "lora_" not in name}
    finetune(model, train, dev, tmp_path, SETTINGS)
    assert sorted(path.name for path in tmp_path.iterdir()) == [*(f"epoch-0{i}" for i in range(4)), "finished", SAVED]
    assert all(torch.equal(value, base[name]) for name, value in model.named_parameters() if name in base)
    ids = torch.tensor([train[0].prompt])
    fresh, _ = loading.load("random:tiny-llama")
    untouched = fresh(ids).logits
    for epoch, expected in (("epoch-00", untouched), ("epoch-03", model(ids).logits)):
        fresh, _ = loading.load("random:tiny-llama")
        torch.testing.assert_close(PeftModel.from_pretrained(fresh, tmp_path / epoch)(ids).logits, expected)


def die_at_rename(monkeypatch, call):
    remaining, rename = itertools.count(call, -1), Path.rename

    def counted_rename(*arguments):
        if next(remaining) <= 0:
            raise Killed
        return rename(*arguments)

    monkeypatch.setattr(Path, "rename", counted_rename)


# Batches: an evaluation, then three times three steps and an evaluation. Renames: an adapter and a state an epoch, and
# the last state.
@pytest.mark.parametrize("die, calls", [(die_at, 1 + 3 * 4), (die_at_rename, 2 * 4 + 1)])
def test_a_run_killed_at_any_step_evaluation_or_write_goes_on_to_the_same_bits(tmp_path, monkeypatch, die, calls):
    expected = finetune(*start(), tmp_path / "whole", SETTINGS)
    whole_adapters, whole_moments = adapters(tmp_path / "whole"), moments(tmp_path / "whole")
    for call in range(calls):
        folder = tmp_path / f"killed-{call}"
        model, train, dev = start()
        with monkeypatch.context() as patch, pytest.raises(Killed):
            die(patch, call)
            finetune(model, train, dev, folder, SETTINGS)
        torch.manual_seed(call)  # whatever happens in between must not matter; the model is as it was given
        pd.testing.assert_frame_equal(finetune(model, train, dev, folder, SETTINGS), expected, check_exact=True)
        assert_same(adapters(folder), whole_adapters)
        assert_same(moments(folder), whole_moments)
        assert sorted(path.name for path in folder.iterdir()) == [*sorted(whole_adapters), "finished", SAVED]


def test_a_process_killed_outright_is_gone_on_from_and_nothing_is_unpickled(tmp_path, monkeypatch):
    code = (
        "import time, pathlib, test_training as t; from ifcore import training; saved = training._save\n"
        "def save(*arguments):\n    saved(*arguments); time.sleep(600 * (arguments[3]['history'][-1]['epoch'] == 2))\n"
        f"training._save = save; t.finetune(*t.start(), pathlib.Path({str(tmp_path / 'killed')!r}), t.SETTINGS)"
    )
    path = os.pathsep.join([os.path.dirname(__file__), os.path.dirname(os.path.dirname(training.__file__))])
    environment = {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"}  # as many threads as here: sums are the same to the bit
    process = subprocess.Popen([sys.executable, "-c", code], env=os.environ | environment)
    try:
        deadline = time.monotonic() + 60
        while not list(tmp_path.glob("killed/unfinished/epoch-02/*.safetensors")) and time.monotonic() < deadline:
            assert process.poll() is None
            time.sleep(0.05)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    suffixes = {file.suffix for file in tmp_path.rglob("*") if file.is_file()}
    assert suffixes == {".safetensors", ".json"}
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("torch.load was called"))
    steps_resumed = []
    losses = example_losses
    monkeypatch.setattr(training, "example_losses", lambda *a: steps_resumed.append(a[0].training) or losses(*a))
    history = finetune(*start(), tmp_path / "killed", SETTINGS)
    assert sum(steps_resumed) == 3  # the steps of the last epoch alone
    pd.testing.assert_frame_equal(history, finetune(*start(), tmp_path / "whole", SETTINGS), check_exact=True)
    assert_same(adapters(tmp_path / "killed"), adapters(tmp_path / "whole"))


@pytest.mark.parametrize("damaged", ["unfinished/epoch-02/*.safetensors", "epoch-01/adapter_model.safetensors"])
@pytest.mark.parametrize("truncated", [True, False])
def test_what_is_not_as_it_was_written_is_not_resumed_from(tmp_path, monkeypatch, damaged, truncated):
    model, train, dev = start()
    die_at(monkeypatch, 10)
    with pytest.raises(Killed):
        finetune(model, train, dev, tmp_path / "killed", SETTINGS)
    monkeypatch.undo()
    (file,) = (tmp_path / "killed").glob(damaged)
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content[: len(content) // 2] if truncated else content)
    with pytest.warns(UserWarning, match="has changed"):
        history = finetune(model, train, dev, tmp_path / "killed", SETTINGS)
    pd.testing.assert_frame_equal(history, finetune(*start(), tmp_path / "whole", SETTINGS), check_exact=True)
    assert_same(adapters(tmp_path / "killed"), adapters(tmp_path / "whole"))


def test_another_fine_tune_is_refused_by_name_and_left_alone(tmp_path, monkeypatch):
    model, train, dev = start()
    die_at(monkeypatch, 6)
    with pytest.raises(Killed):
        finetune(model, train, dev, tmp_path, SETTINGS)
    monkeypatch.undo()
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    another, *_ = start()
    causal_lm(another).model.layers[1].mlp.up_proj.weight.data.mul_(1.01)
    for message, arguments in (
        ("learning_rate 0.05, asked 0.1", (model, train, dev, tmp_path, replace(SETTINGS, learning_rate=0.1))),
        ("train ", (model, train[::-1], dev, tmp_path, SETTINGS)),
        ("dev ", (model, train, dev[:1], tmp_path, SETTINGS)),
        ("weights ", (another, train, dev, tmp_path, SETTINGS)),
        ("weights ", (start(seed=2)[0], train, dev, tmp_path, SETTINGS)),
        ("lora_alpha 32, asked 8", (start(alpha=8)[0], train, dev, tmp_path, SETTINGS)),
    ):
        with pytest.raises(ValueError, match=rf"^folder: .* \({message}[^;]*\); choose another folder or remove it$"):
            finetune(*arguments)
    assert before == {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}


def test_a_fresh_start_clears_the_epochs_of_a_longer_run(tmp_path):
    for epochs in (3, 1):
        finetune(*start(), tmp_path, replace(SETTINGS, epochs=epochs))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["epoch-00", "epoch-01", "finished", SAVED]


def test_what_is_made_is_found_and_its_model_is_the_same_unless_it_was_altered(tmp_path, monkeypatch):
    trained, train, dev = start()
    expected, batches = finetune(trained, train, dev, tmp_path, SETTINGS), []
    monkeypatch.setattr(training, "example_losses", lambda *a: batches.append(a) or example_losses(*a))
    model, *_ = start()
    pd.testing.assert_frame_equal(finetune(model, train, dev, tmp_path, SETTINGS), expected, check_exact=True)
    assert not batches
    assert_same({"": dict(model.named_parameters())}, {"": dict(trained.named_parameters())})
    file = tmp_path / "epoch-03" / "adapter_model.safetensors"
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    with pytest.warns(UserWarning, match="has changed"):
        finetune(*start(), tmp_path, SETTINGS)
    assert len(batches) == 1 + 3 * 4


def test_it_stops_once_the_dev_loss_rose_patience_times_running_also_when_resumed_there(tmp_path, monkeypatch):
    # Steps far too large: the loss climbs from the first epoch on.
    settings = replace(SETTINGS, epochs=30, learning_rate=3.0, patience=2)
    history = finetune(*start(), tmp_path / "whole", settings)
    rises = (history.dev_loss.diff() > 0).tolist()
    assert len(history) < 30 and rises[-2:] == [True, True]
    assert not any(a and b for a, b in itertools.pairwise(rises[:-1]))

    def die(*_):
        raise Killed

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(training, "_finish", die)
        finetune(*start(), tmp_path / "killed", settings)
    monkeypatch.setattr(training.torch.optim.AdamW, "step", die)
    pd.testing.assert_frame_equal(finetune(*start(), tmp_path / "killed", settings), history, check_exact=True)


def test_without_dev_examples_nothing_is_evaluated_and_nothing_stops_it(tmp_path, monkeypatch):
    monkeypatch.setattr(training, "example_losses", lambda model, batch: example_losses(model, batch) + (
        0 if model.training else pytest.fail("evaluated")))  # fmt: skip
    model, train, _ = start()
    history = finetune(model, train, [], tmp_path, replace(SETTINGS, learning_rate=3.0, patience=1))
    assert history.dev_loss.isna().all() and len(history) == 4


@pytest.mark.parametrize("where", ["loss", "gradient"])
def test_a_loss_or_a_gradient_that_is_not_finite_stops_it_before_the_step(tmp_path, monkeypatch, where):
    model, train, dev = start()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    step = itertools.count(1)

    def losses(model, batch):
        result = example_losses(model, batch)
        if model.training and next(step) == 5:
            if where == "loss":
                return result * torch.nan
            result.register_hook(lambda gradient: gradient * torch.inf)
        return result

    monkeypatch.setattr(training, "example_losses", losses)
    with pytest.raises(FloatingPointError, match=r"epoch 2, step 5; lower learning_rate or .*float32$"):
        finetune(model, train, dev, tmp_path, SETTINGS)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_the_global_generator_is_left_alone_and_does_not_matter(tmp_path):
    model, train, dev = start()
    state = torch.get_rng_state()
    first = finetune(model, train, dev, tmp_path / "a", SETTINGS)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(99)
    pd.testing.assert_frame_equal(finetune(*start(), tmp_path / "b", SETTINGS), first, check_exact=True)


def test_add_lora_draws_what_peft_draws_after_a_reseeding_and_leaves_the_generator_alone():
    model, _ = loading.load("random:tiny-llama")
    state = torch.get_rng_state()
    peft = lora.add_lora(model, seed=5)
    assert torch.equal(torch.get_rng_state(), state)
    model, _ = loading.load("random:tiny-llama")
    torch.manual_seed(5)
    expected = get_peft_model(model, peft.active_peft_config)
    torch.testing.assert_close(peft.state_dict(), expected.state_dict(), rtol=0, atol=0)


def test_a_frozen_adapter_is_trained_with_a_warning_and_other_models_are_refused(tmp_path):
    model, train, dev = start()
    model.save_pretrained(tmp_path / "adapter")
    base, _ = loading.load("random:tiny-llama")
    frozen = lora.with_adapter(base, tmp_path / "adapter")
    with pytest.warns(UserWarning, match="frozen.*made trainable"):
        history = finetune(frozen, train, dev, tmp_path / "frozen", SETTINGS)
    pd.testing.assert_frame_equal(history, finetune(model, train, dev, tmp_path / "free", SETTINGS), check_exact=True)

    base, _ = loading.load("random:tiny-llama")
    prompt = get_peft_model(base, PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=2))
    model.get_input_embeddings().weight.requires_grad_(True)
    for refused in (prompt, model):
        with pytest.raises(ValueError, match="^model: .*lora.add_lora$"):
            finetune(refused, train, dev, tmp_path / "refused", SETTINGS)
    with pytest.raises(ValueError, match="^train: 0 examples"):
        finetune(start()[0], [], dev, tmp_path / "refused", SETTINGS)


def test_the_model_stays_where_it_is_though_two_gpus_are_visible(tmp_path, monkeypatch):
    expected = finetune(*start(), tmp_path / "a", SETTINGS)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.nn, "DataParallel", lambda *_, **__: pytest.fail("DataParallel was used"))
    model, train, dev = start()
    pd.testing.assert_frame_equal(finetune(model, train, dev, tmp_path / "b", SETTINGS), expected, check_exact=True)
    assert {parameter.device.type for parameter in model.parameters()} == {"cpu"}
