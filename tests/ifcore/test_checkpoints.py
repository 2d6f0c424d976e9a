"""What checkpoints say of a fine-tune, whoever left them."""

import json
import shutil

import numpy as np
import pytest
import torch

from ifcore import loading, lora, training
from ifcore.checkpoints import preconditioner, read_checkpoints, spent_between, wearing
from ifcore.examples import Example
from ifcore.tokens import tokenise
from ifcore.trainable import trainable_parameters
from ifcore.training import Settings, read_settings

SETTINGS = Settings(epochs=3, batch_size=2, learning_rate=0.01, seed=1)


@pytest.fixture(scope="module")
def tuned(tmp_path_factory):
    model, tokenizer = loading.load("random:tiny-llama")
    peft, folder = lora.add_lora(model, seed=1), tmp_path_factory.mktemp("run")
    training.finetune(
        peft, tokenise(tokenizer, [Example(f"q {n}", "yes") for n in range(4)]), [], folder, SETTINGS, None
    )
    return peft, folder


def values(model):
    return torch.cat([parameter.detach().flatten() for parameter in trainable_parameters(model).values()])


def test_a_fine_tune_leaves_its_settings_and_what_was_spent_until_each_epoch(tuned):
    _, folder = tuned
    checkpoints = read_checkpoints(folder)
    assert [checkpoint.folder.name for checkpoint in checkpoints] == [f"epoch-0{n}" for n in range(4)]
    rates = [0.01 * (1 - step / 6) for step in range(6)]  # two steps an epoch
    np.testing.assert_allclose([one.spent for one in checkpoints], [sum(rates[: 2 * n]) for n in range(4)])
    between = np.diff([one.spent for one in checkpoints])
    expected = [between[0] / 2, (between[0] + between[1]) / 2, (between[1] + between[2]) / 2, between[2] / 2]
    np.testing.assert_allclose(spent_between(checkpoints), expected)
    assert read_settings(folder) == SETTINGS


def test_a_trainers_checkpoints_say_what_was_spent_by_their_log(tuned, tmp_path):
    log = [{"step": step, "learning_rate": 0.01 * (1 - step / 20)} for step in (5, 10, 15, 20)]
    for step in (10, 20):
        folder = tmp_path / f"checkpoint-{step}"
        shutil.copytree(tuned[1] / "epoch-01", folder)
        (folder / "learning_rate.json").unlink()
        (folder / "trainer_state.json").write_text(json.dumps({"log_history": [r for r in log if r["step"] <= step]}))
    first, last = read_checkpoints(tmp_path)
    evenly = [0.01 * (1 - max(step, 5) / 20) for step in range(1, 21)]  # before the first that was logged, as that one
    assert first.spent == pytest.approx(sum(evenly[:10])) and last.spent == pytest.approx(sum(evenly))
    assert sum(spent_between([first, last])) == pytest.approx(last.spent)  # what was before the first counts
    with pytest.raises(ValueError, match="has no settings.json; give a folder of ifcore.finetune's"):
        read_settings(tmp_path)
    (tmp_path / "checkpoint-10" / "trainer_state.json").unlink()
    with pytest.raises(ValueError, match="checkpoint-10 has neither learning_rate.json nor learning rates"):
        read_checkpoints(tmp_path)


def test_an_adapter_of_another_checkpoint_is_worn_and_taken_off(tuned):
    model, folder = tuned
    last = values(model).clone()
    with wearing(model, folder / "epoch-00"):
        assert not torch.equal(values(model), last)
        assert all((p == 0).all() for name, p in trainable_parameters(model).items() if "lora_B" in name)
    assert torch.equal(values(model), last)
    with wearing(model, folder / "epoch-03"):
        assert torch.equal(values(model), last)


def test_an_adapter_of_another_shape_is_refused_and_nothing_is_left_of_it(tuned, tmp_path):
    model, _ = tuned
    lora.add_lora(loading.load("random:tiny-llama")[0], rank=2).save_pretrained(tmp_path / "epoch-00")
    before = values(model).clone()
    with pytest.raises(ValueError, match="checkpoint epoch-00: .*is not in the model as it was saved"):
        with wearing(model, tmp_path / "epoch-00"):
            raise AssertionError("it was worn")
    assert torch.equal(values(model), before)


def test_of_several_checkpoints_the_preconditioner_is_of_their_mean_root(tuned):
    folders = [tuned[1] / f"epoch-0{n}" for n in (1, 2)]
    both, apart = preconditioner(*folders), [preconditioner(folder) for folder in folders]
    for block, weights in both.items():
        roots = sum(1 / part[block].double() - 1e-8 for part in apart) / 2
        torch.testing.assert_close(weights.double(), 1 / (roots + 1e-8), rtol=1e-4, atol=0)


@pytest.mark.parametrize("names", [[], ["epoch-01"], ["notes-1", "epoch-01"]])
def test_a_folder_without_two_checkpoints_is_refused(tuned, tmp_path, names):
    for name in names:
        shutil.copytree(tuned[1] / "epoch-01", tmp_path / name)
    held = "epoch-01" if names else "none"
    with pytest.raises(ValueError, match=f"checkpoints: .* has {held}; give a folder of epoch-… or checkpoint-…"):
        read_checkpoints(tmp_path)
