import torch

from ifcore import methods
from ifcore.gram import Gram
from ifcore.source import source
from tests.bench.loops import looped, sourced


def test_the_loops_compute_what_the_engine_does():
    torch.manual_seed(0)
    train, val = ([{"a": torch.randn(7), "b": torch.randn(5)} for _ in range(rows)] for rows in (6, 3))
    stacked = [{block: torch.stack([gradient[block] for gradient in part]) for block in "ab"} for part in (train, val)]
    expected = methods.gram_scores(Gram.by_block(*stacked), ("gradsim", "datainf", "lissa"))
    for method, scores in looped(train, val).items():
        torch.testing.assert_close(scores.double(), expected[method], rtol=1e-4, atol=1e-4)


def test_source_of_explicit_eigenvectors_is_the_engines():
    torch.manual_seed(0)
    segments, v, rates = list(torch.randn(2, 4, 9).double()), torch.randn(9).double(), [0.3, 0.7]
    expected = source(Gram.from_gradients({"a": torch.cat(segments)}, {"a": v[None]}), [1, 1], rates)
    torch.testing.assert_close(sourced(segments, v, rates)[None], expected)
