"""The unrolled derivative against the fine-tunes that it speaks of: retraining with slightly changed weights."""

from dataclasses import replace

import pytest
import torch
from torch.nn.utils import parameters_to_vector
from transformers.models.llama.modeling_llama import LlamaRMSNorm

from ifcore import loading, lora, training
from ifcore.batches import batches
from ifcore.examples import Example
from ifcore.losses import evaluate_losses
from ifcore.replay import replay
from ifcore.tokens import tokenise
from ifcore.training import Settings, finetune
from ifcore.unrolled import unrolled

SETTINGS = Settings(epochs=3, batch_size=3, learning_rate=0.005, seed=1)
EXAMPLES = [Example(f"Say it {i} times", "yes " * (1 + i % 4), "") for i in range(10)]  # 7 to train: 3 + 3 + 1 a batch


@pytest.fixture
def wide(monkeypatch):
    """A Llama in float64 throughout: its normalisation rounds to float32, which differences of losses would show."""

    def forward(self, x):
        return self.weight * x * torch.rsqrt(x.square().mean(-1, keepdim=True) + self.variance_epsilon)

    monkeypatch.setattr(LlamaRMSNorm, "forward", forward)


def start(dtype=torch.float64, dropout=0.1):
    """The model with an untouched adapter, 7 training examples, and 3 of validation in batches out of order."""
    model, tokenizer = loading.load("random:tiny-llama", dtype)
    tokens = tokenise(tokenizer, EXAMPLES)
    return lora.add_lora(model, dropout=dropout, seed=1).to(dtype), tokens[:7], batches(tokens[7:], 2)


def theta(model):
    return parameters_to_vector(training.adapter_parameters(model)).detach()


def left(model):
    """What must be as it was: the adapter, the generator's state, which modules train and of which class they are."""
    modules = list(model.modules())
    return [*theta(model)], [*torch.get_rng_state()], [m.training for m in modules], [type(m) for m in modules]


def retrained(folder, weights=None, settings=SETTINGS):
    """The model after a real fine-tune with these weights, and the history of it."""
    model, train, _ = start()
    return model, finetune(model, train, [], folder, settings, None, weights, same_dropout=True)


def differences(folder, row, step=1e-4):
    """−d loss_val / d w_row, [M], by central differences of fourth order of whole retrainings."""
    losses = {}
    for k in (-2, -1, 1, 2):
        weights = [1 + k * step * (i == row) for i in range(7)]
        losses[k] = evaluate_losses(retrained(folder / f"{row}{k}", weights)[0], start()[2])
    return -(8 * (losses[1] - losses[-1]) - (losses[2] - losses[-2])) / (12 * step)


def test_it_is_what_retraining_with_slightly_other_weights_says(tmp_path, wide):
    history = retrained(tmp_path / "plain")[1]
    assert history.grad_norm.min() < 1 < history.grad_norm.max()  # means of epochs: some steps were clipped, some not
    scores = unrolled(*start(), SETTINGS)
    expected = torch.stack([differences(tmp_path, row) for row in range(7)], 1)
    assert scores.shape == (3, 7) and scores.dtype == torch.float64
    assert (scores - expected).norm() < 1e-7 * expected.norm()
    torch.testing.assert_close(scores, expected, rtol=1e-6, atol=0)


@pytest.mark.parametrize("micro_batch", [None, 2])
def test_the_replay_ends_where_the_fine_tune_did(tmp_path, micro_batch):
    settings = replace(SETTINGS, micro_batch=micro_batch)
    model, train, _ = start()
    before = left(model)
    final = replay(model, train, settings)
    expected = theta(retrained(tmp_path, settings=settings)[0])
    torch.testing.assert_close(final, expected, rtol=0, atol=1e-10)
    assert (final - theta(model)).norm() > 0.1 and left(model) == before


def test_targets_are_linear_combinations_of_the_losses(wide):
    targets = torch.tensor([[1.0, -2.0, 0.5], [0.0, 0.0, 3.0]], dtype=torch.float64)
    scores = unrolled(*start(), SETTINGS)
    torch.testing.assert_close(unrolled(*start(), SETTINGS, targets=targets), targets @ scores, rtol=1e-9, atol=0)


def test_micro_batches_do_not_matter_without_dropout(wide):
    scores = unrolled(*start(dropout=0.0), SETTINGS)
    smaller = unrolled(*start(dropout=0.0), replace(SETTINGS, micro_batch=2))
    torch.testing.assert_close(smaller, scores, rtol=1e-9, atol=0)


def test_in_float32_where_products_are_those_of_onednn_it_says_the_same():
    scores = unrolled(*start(), SETTINGS)
    single = unrolled(*start(torch.float32), SETTINGS)
    assert (single - scores).norm() < 1e-4 * scores.norm()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_after_an_error_the_model_is_as_it_was(dtype):
    model, train, val = start(dtype)
    before = left(model)
    with pytest.raises(FloatingPointError, match="^gradient: not finite at epoch 1, step 2; lower learning_rate"):
        unrolled(model, train, val, replace(SETTINGS, learning_rate=float("inf")))
    assert left(model) == before


def test_what_it_cannot_do_is_refused_in_a_line():
    model, train, val = start()
    for message, arguments, targets in (
        (
            "model: it has parameters in torch.bfloat16; for unrolled, load it in float32",
            (start(torch.bfloat16)[0], train, val),
            None,
        ),
        ("train: 0 examples", (model, [], val), None),
        ("val: 2 rows; they must be 0 … 1, each once", (model, train, val[:1]), None),
        (r"targets: shape \(2, 4\); must be \[targets, 3 validation", (model, train, val), torch.ones(2, 4)),
    ):
        with pytest.raises(ValueError, match=f"^{message}"):
            unrolled(*arguments, SETTINGS, targets=targets)
