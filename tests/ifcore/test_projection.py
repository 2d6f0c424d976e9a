"""Projected gradients: their dot products, their determinism, and what the engine makes of them."""

import gc
import math

import pytest
import torch
from peft import LoraConfig, get_peft_model

from ifcore import gradients, influence, loading
from ifcore.batches import example_batches
from ifcore.examples import Example
from ifcore.gram import Gram
from ifcore.projection import Projection

K = 64
HEAD = "base_model.model.lm_head.modules_to_save.default"


@pytest.fixture(scope="module")
def with_head():
    """random:tiny-llama with LoRA and a head saved whole, all moved from where they start, in float64."""
    model, tokenizer = loading.load("random:tiny-llama", torch.float64)
    with torch.random.fork_rng():  # PEFT draws where they start from the global generator
        torch.manual_seed(0)
        model = get_peft_model(model, LoraConfig(r=2, target_modules=["q_proj", "v_proj"], modules_to_save=["lm_head"]))
    generator = torch.Generator().manual_seed(1)
    for parameter in model.double().parameters():
        if parameter.requires_grad:
            parameter.data += 0.1 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
    texts = [("Say yes", "yes"), ("Count, slowly", "one two three"), ("Hi", "Hello there!"), ("What?", "no")]
    return model, tokenizer, [Example(*text, "a") for text in texts]


def batches_of(with_head, size=2):
    model, tokenizer, examples = with_head
    return model, example_batches(model, tokenizer, examples, size)


def normalised(vector):
    return vector / vector.norm()


def pairs(count):
    """Pairs [2, count] of unit vectors as gradients are, by name."""
    generator = torch.Generator().manual_seed(0)

    def randn(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    def outer():
        """Few of 80 outputs have a δ, and of 128 inputs one is a hundred times as large as the others."""
        x, delta = randn(128), randn(80) * (torch.rand(80, generator=generator) < 0.1)
        return (delta[:, None] * x.index_fill(0, torch.tensor(3), 100.0)).flatten()[:count]

    spikes = torch.zeros(count, dtype=torch.float64)
    spikes[torch.randperm(count, generator=generator)[: 2 * K : 7]] = 1
    dense, wave = randn(count), torch.arange(count).remainder(K).double()
    vectors = {
        "random": (dense, dense + 2 * randn(count)),
        "the same": (dense, dense),
        "outer products": (outer(), outer()),
        "a few large numbers": (spikes, spikes),
        "constant": (torch.ones_like(dense), torch.ones_like(dense)),
        "periodic": (wave, wave.flip(0)),
    }
    return {name: torch.stack([normalised(g), normalised(v)]) for name, (g, v) in vectors.items()}


def expected_variance(g, v, columns):
    """Of the dot product of two projected vectors, by the docstring's equation, from chunks written out.

    A panel of K · columns parameters is [K, columns], whose columns are chunks.
    """
    chunks = []
    for vector in (g, v):
        padded = torch.zeros(math.ceil(len(vector) / (K * columns)) * K * columns, dtype=torch.float64)
        padded[: len(vector)] = vector
        chunks.append(padded.view(-1, K, columns).transpose(1, 2).reshape(-1, K))
    norms = chunks[0].square().sum(1).outer(chunks[1].square().sum(1))
    inner = (chunks[0] * chunks[1]).sum(1)
    off = ~torch.eye(len(inner), dtype=torch.bool)
    return float((norms + inner.outer(inner))[off].sum() / K)


def test_dot_products_are_unbiased_of_the_stated_variance_and_within_the_stated_error_at_95_percent():
    seeds, columns = 500, 8
    cases = pairs(10_000)
    rows = torch.cat(list(cases.values()))
    projected = torch.stack([Projection(K, seed).project("b", rows) for seed in range(seeds)])
    for place, (name, (g, v)) in enumerate(cases.items()):
        errors = (projected[:, 2 * place] * projected[:, 2 * place + 1]).sum(1) - g @ v
        variance = expected_variance(g, v, columns)
        assert variance <= 2 / K
        assert abs(errors.mean()) < 4 * (variance / seeds) ** 0.5, name
        assert float(errors.square().mean()) == pytest.approx(variance, rel=4 * (3 / seeds) ** 0.5), name
        inside = (errors.abs() <= Projection(K).relative_error()).double().mean()
        assert inside >= 0.95 - 3 * (0.05 * 0.95 / seeds) ** 0.5, f"{name}: {inside}"


def test_dot_products_of_real_gradients_are_within_the_stated_error(with_head):
    """All pairs of examples, and each with itself, of whole gradients: a sum over blocks."""
    model, batches = batches_of(with_head)
    per_block = gradients.example_gradients(model, batches)
    exact, inside = torch.cat(list(per_block.values()), 1), []
    lengths, upper = exact.norm(dim=1), torch.ones(len(exact), len(exact)).triu().bool()
    for seed in range(200):
        projection = Projection(K, seed)
        rows = torch.cat([projection.project(block, value) for block, value in per_block.items()], 1)
        assert rows.shape[1] < exact.shape[1] / 10
        errors = (rows @ rows.T - exact @ exact.T).abs() / lengths.outer(lengths)
        inside.append(errors[upper] <= projection.relative_error())
    assert torch.stack(inside).double().mean() >= 0.95


def test_a_projection_is_a_matrix_of_rotations_whose_entries_are_all_as_large():
    """What the stated variance needs: linear, chunks that are orthonormal, entries ±1/√k."""
    count, columns = 5 * K + 7, 6
    matrix = Projection(K).project("b", torch.eye(count, dtype=torch.float64))
    assert torch.equal(matrix.abs(), torch.full_like(matrix, K**-0.5))
    for chunk in range(columns):  # of parameters chunk, chunk + columns, chunk + 2 columns, …
        rotation = matrix[chunk::columns]
        torch.testing.assert_close(rotation @ rotation.T, torch.eye(len(rotation), dtype=torch.float64))
    rows = torch.randn(3, count, dtype=torch.float64)
    torch.testing.assert_close(Projection(K).project("b", rows), rows @ matrix, rtol=1e-12, atol=1e-12)


def test_a_block_of_no_more_parameters_stays_as_it_is():
    rows = torch.randn(3, K)
    assert torch.equal(Projection(K).project("b", rows), rows)
    assert Projection(K).project("b", torch.randn(3, K + 1)).shape == (3, K)


def test_the_same_to_the_bit_in_any_batch_on_any_number_of_threads():
    rows = torch.randn(3, 150_000, generator=torch.Generator().manual_seed(0))
    expected = Projection(4096).project("b", rows)
    threads = torch.get_num_threads()
    try:
        for number in (1, 2):
            torch.set_num_threads(number)
            assert torch.equal(Projection(4096).project("b", rows), expected)
            assert torch.equal(torch.cat([Projection(4096).project("b", row[None]) for row in rows]), expected)
    finally:
        torch.set_num_threads(threads)


def test_the_same_on_any_machine_and_in_any_release():
    """Whole numbers, which are exact; what was written to disk before must still go with what is computed now."""
    rows = torch.arange(1.0, 21.0)[None]
    assert Projection(4).project("b", rows).tolist() == [[-20.0, 20.0, 7.0, -41.0]]


def test_another_seed_and_another_block_have_other_numbers():
    rows = torch.randn(1, 1000, dtype=torch.float64)
    results = [Projection(K, seed).project(block, rows) for seed, block in [(0, "a"), (1, "a"), (0, "b")]]
    cosines = torch.nn.functional.normalize(torch.cat(results)) @ torch.nn.functional.normalize(results[0]).T
    assert cosines[0] == pytest.approx(1) and cosines[1:].abs().max() < 4 / K**0.5


@pytest.mark.parametrize("dimensions", [0, -4, 1000])
def test_dimensions_must_be_a_power_of_2(dimensions):
    with pytest.raises(ValueError, match=rf"dimensions: {dimensions}; must be a power of 2, such as (2|4|1024)$"):
        Projection(dimensions)


@pytest.mark.parametrize("size", [1, 3])
def test_gradients_are_projected_after_they_are_computed(with_head, size):
    """Those of the LoRA matrices by batches, those of the head one by one."""
    model, batches = batches_of(with_head, size)
    projection = Projection(K, 3)
    actual = gradients.example_gradients(model, batches, projection=projection)
    exact = gradients.example_gradients(model, batches)
    assert {HEAD} < actual.keys() == exact.keys()
    assert min(rows.shape[1] for rows in exact.values()) <= K
    for block, rows in exact.items():
        assert torch.equal(actual[block], projection.project(block, rows))


def test_scores_of_projected_gradients_are_those_of_the_projected_matrices_damped_by_the_true_sizes(with_head):
    """Each block's inverse written out, [k, k] in float64."""
    model, batches = batches_of(with_head)
    projection, damping = Projection(K), 0.1
    rows = gradients.example_gradients(model, batches, projection=projection)
    sizes = {block: exact.shape[1] for block, exact in gradients.example_gradients(model, batches).items()}
    train, val = ({block: value[part] for block, value in rows.items()} for part in (slice(3), slice(2, 4)))
    expected = {"gradsim": 0, "exact": 0, "datainf": 0}
    for block, G in train.items():
        V, eye = val[block], torch.eye(G.shape[1], dtype=torch.float64)
        lam = damping * G.square().sum() / (len(G) * sizes[block])
        mean_inverse = sum(torch.linalg.inv(g.outer(g) + lam * eye) for g in G) / len(G)
        expected["gradsim"] = expected["gradsim"] + V @ G.T
        expected["exact"] = expected["exact"] + V @ torch.linalg.inv(G.T @ G / len(G) + lam * eye) @ G.T
        expected["datainf"] = expected["datainf"] + V @ mean_inverse @ G.T
    gram = Gram.from_gradients(train, val, sizes=sizes)
    for method, scores in expected.items():
        torch.testing.assert_close(getattr(influence, method)(gram), scores, rtol=1e-8, atol=0)
    by_block = sum(influence.exact(part) for part in Gram.by_block(train, val, sizes=sizes))
    torch.testing.assert_close(by_block, expected["exact"], rtol=1e-8, atol=0)


class Watched(Projection):
    """Counts, at each gradient that it is given of the head, the tensors of that size that are no parameter's."""

    def project(self, block, rows):
        if block == HEAD:
            assert len(rows) == 1
            tensors = [value for value in gc.get_objects() if issubclass(type(value), torch.Tensor)]
            places = {t.data_ptr(): t for t in tensors if t.untyped_storage().nbytes() == rows.nbytes}
            held = {t.data_ptr() for t in tensors if isinstance(t, torch.nn.Parameter)}
            COUNTS.append(len(places.keys() - held))
        return super().project(block, rows)


COUNTS: list[int] = []


def test_one_example_at_a_time_has_a_whole_gradient_of_the_head(with_head):
    model, batches = batches_of(with_head, 4)
    COUNTS.clear()
    (computed,) = gradients.stream(model, batches, projection=Watched(K))
    assert COUNTS == [1, 1, 1, 1]
    assert computed.gradients[HEAD].shape == (4, K)
