import torch

from ifcore import methods
from ifcore.gram import Gram
from tests.bench.loops import looped


def test_the_loops_compute_what_the_engine_does():
    torch.manual_seed(0)
    train, val = ([{"a": torch.randn(7), "b": torch.randn(5)} for _ in range(rows)] for rows in (6, 3))
    stacked = [{block: torch.stack([gradient[block] for gradient in part]) for block in "ab"} for part in (train, val)]
    expected = methods.gram_scores(Gram.by_block(*stacked), ("gradsim", "datainf", "lissa"))
    for method, scores in looped(train, val).items():
        torch.testing.assert_close(scores.double(), expected[method], rtol=1e-4, atol=1e-4)
