"""Sampled labels against the model's own probabilities, and their Fisher against the Gauss-Newton matrix."""

from dataclasses import replace

import pytest
import torch

from ifcore import gradients
from ifcore.batches import batches, collate, example_batches
from ifcore.ekfac import ekfac, gather_factors
from ifcore.examples import IGNORE, with_prompt
from ifcore.sampled_labels import sample_labels
from tests import architectures

SEQUENCE = with_prompt((7, 8, 9), (20, 21))


@pytest.fixture(scope="module")
def llama():
    return architectures.adapted("llama", "lora")


def repeated(sequence, count, weight=1.0):
    """Batches of one sequence over and over: as many independent draws."""
    part = collate([replace(sequence, weight=weight)] * 500, range(500))
    return [replace(part, rows=part.rows + 500 * i) for i in range(count // 500)]


def drawn(model, count, seed=0):
    """The labels of the last two positions of SEQUENCE, [count, 2]."""
    return torch.cat([batch.labels[:, 3:] for batch in sample_labels(model, repeated(SEQUENCE, count), seed)])


def test_tokens_come_as_often_as_the_model_predicts(llama):
    """Pearson's χ² within 4 standard deviations of its mean; pairs coincide as those of independent draws do."""
    count = 8_000
    first, second = drawn(llama, count), drawn(llama, count, seed=1)
    with torch.no_grad():
        p = llama(torch.tensor([SEQUENCE.ids])).logits[0, 2:4].softmax(-1)  # [2, V]
    for place in range(2):
        expected, observed = count * p[place], first[:, place].bincount(minlength=len(p[place]))
        common = expected >= 5
        rest = torch.stack([expected[~common].sum(), observed[~common].sum()])
        chi2 = ((observed - expected)[common] ** 2 / expected[common]).sum() + (rest[1] - rest[0]) ** 2 / rest[0]
        freedom = int(common.sum())
        assert abs(chi2 - freedom) < 4 * (2 * freedom) ** 0.5
    for a, b, q in ((0, 0, p[0] @ p[0]), (1, 1, p[1] @ p[1]), (0, 1, p[0] @ p[1])):
        coincide = (first[:, a] == second[:, b]).double().mean()
        assert abs(coincide - q) < 4 * (q * (1 - q) / count) ** 0.5
    within = (first[:, 0] == first[:, 1]).double().mean()
    assert abs(within - p[0] @ p[1]) < 4 * (p[0] @ p[1] / count) ** 0.5


@pytest.mark.parametrize("architecture", ["llama", "gemma2", "cohere", "phi", "opt"])
def test_the_labels_are_the_same_whatever_the_batches(architecture):
    """Of a head that is linear, capped, scaled or has a bias; labels that count change, nothing else does."""
    model, sequences = architectures.adapted(architecture, "lora"), architectures.tokens()
    per_size = []
    for size in (1, 3, 4):
        given = batches(sequences, size)
        sampled = sample_labels(model.train(), given, 5)
        assert model.training
        for before, after in zip(given, sampled, strict=True):
            assert torch.equal(after.input_ids, before.input_ids)
            assert torch.equal(after.labels == IGNORE, before.labels == IGNORE)
        flat = {int(b.rows): b.labels[b.labels != IGNORE].tolist() for batch in sampled for b in batch.singles()}
        per_size.append(flat)
    assert per_size[0] == per_size[1] == per_size[2]
    assert any(labels != list(sequences[row].response) for row, labels in per_size[0].items())


def test_the_fisher_of_many_draws_is_the_gauss_newton_matrix_of_the_loss(llama):
    """Of a weighted mean over two tokens: w/2 Σ_t J_tᵀ (diag p_t − p_t p_tᵀ) J_t."""
    weight, count = 3.0, 3_000
    (parameter,) = (p for name, p in llama.named_parameters() if "layers.1.self_attn.v_proj.lora_B" in name)
    block = next(n.removesuffix(".weight") for n, p in llama.named_parameters() if p is parameter)
    logits = llama(torch.tensor([SEQUENCE.ids])).logits[0, 2:4]
    expected = 0
    for row in logits:
        J = torch.stack([torch.autograd.grad(z, parameter, retain_graph=True)[0].flatten() for z in row])
        p = row.detach().softmax(0)
        expected = expected + weight / 2 * J.T @ (torch.diag(p) - p.outer(p)) @ J
    sampled = sample_labels(llama, repeated(SEQUENCE, count, weight))
    rows = torch.cat([piece.gradients[block] for piece in gradients.stream(llama, sampled)])
    error = (rows.T @ rows / count - expected).norm() / expected.norm()
    assert error < 0.1
    assert (rows.square().sum(1).mean() / expected.trace()).item() == pytest.approx(1, abs=0.05)


def test_ekfac_of_the_sampled_fisher_is_that_of_the_dense_matrix(tiny, examples):
    model, tokenizer = tiny
    train_batches = example_batches(model, tokenizer, examples, 2)
    sampled = sample_labels(model, train_batches, 3)
    train, fisher = (gradients.example_gradients(model, part) for part in (train_batches, sampled))
    val, factors = {block: G[:2] + 0.1 for block, G in train.items()}, gather_factors(model, sampled)
    expected = 0
    for block, G in train.items():
        Q_x, Q_delta = (torch.linalg.eigh(factor)[1] for factor in factors[block])
        Q = torch.kron(Q_delta, Q_x)
        Lambda = (fisher[block] @ Q).square().mean(0)
        H = Q @ torch.diag(Lambda + 0.3 * Lambda.mean()) @ Q.T
        expected = expected + val[block] @ torch.linalg.solve(H, G.T)
    actual = ekfac(train, val, factors, 0.3, fisher)
    assert (actual - expected).norm() < 1e-10 * expected.norm()
    assert (actual - ekfac(train, val, factors, 0.3)).norm() > 0.1 * actual.norm(), "it is not the empirical one's"


def test_what_can_not_be_drawn_is_refused(llama):
    with pytest.raises(ValueError, match="seed: -1; give 0 or more"):
        sample_labels(llama, [], -1)
    broken = architectures.adapted("llama", "lora")
    broken.get_output_embeddings().weight.data[0] = float("nan")
    with pytest.raises(ValueError, match="logits of example 0 that are not finite; use float32"):
        sample_labels(broken, batches([SEQUENCE]))
