"""What the counterfactual chapter's table says of several seeds."""

import pandas as pd

from study.chapters.counterfactual import show
from study.schema import ITSELF


def test_an_attack_cannot_fall_by_more_than_all_however_the_seeds_differ():
    changes, rises = (-1.0, -0.9, -0.3), (0.4, 0.5, 2.0)
    rows = [("found", 0.5, 0.5, 0.5)] * 3
    rows += [("success", each, each, each) for each in changes] + [("rise", each, each, each) for each in rises]
    frame = pd.DataFrame(rows, columns=["metric", "value", "ci_low", "ci_high"])
    frame = frame.assign(seed=[0, 1, 2] * 3, method="random", against=ITSELF, removed=20, n_train=40)
    _, _, rise, success = show.removal_table(frame).rows[0]
    assert "[-100, " in success
    assert "+0.97" in rise and "[-1.26, 3.19]" in rise  # a loss has no such end
