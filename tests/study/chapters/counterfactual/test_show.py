"""What the counterfactual chapter's table says of several seeds."""

import pandas as pd

from study.chapters.counterfactual import show
from study.schema import ITSELF


def test_a_loss_may_rise_by_any_amount_however_the_seeds_differ():
    rows = [("found", 0.5, 0.5, 0.5)] * 3 + [("rise", each, each, each) for each in (0.4, 0.5, 2.0)]
    frame = pd.DataFrame(rows, columns=["metric", "value", "ci_low", "ci_high"])
    frame = frame.assign(seed=[0, 1, 2] * 2, method="random", against=ITSELF, removed=10, n_train=40)
    rise = show.removal_table(frame).rows[0][-1]
    assert "+0.97" in rise and "[-1.26, 3.19]" in rise
