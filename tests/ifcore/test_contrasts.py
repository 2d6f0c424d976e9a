"""Rows with two responses."""

import pytest

import ifcore
from ifcore.examples import Conversation, Example, Text
from ifcore.rows import by_id

ASKED = [{"role": "user", "content": "hey"}]
YES, NO = ([{"role": "assistant", "content": word}] for word in ("yes", "no"))


@pytest.mark.parametrize(
    ("row", "chosen", "rejected"),
    [
        ({"prompt": "hey", "response": "yes", "rejected": "no"}, Example("hey", "yes"), Example("hey", "no")),
        ({"prompt": "hey", "completion": "yes", "rejected": "no"}, Text("hey", "yes", True), Text("hey", "no", True)),
        ({"prompt": "hey", "chosen": "yes", "rejected": "no"}, Text("hey", "yes", True), Text("hey", "no", True)),
        (
            {"prompt": ASKED, "chosen": YES, "rejected": NO},
            Conversation([*ASKED, *YES], completion=1),
            Conversation([*ASKED, *NO], completion=1),
        ),
        (
            {"chosen": [*ASKED, *YES], "rejected": [*ASKED, *NO]},
            Conversation([*ASKED, *YES]),
            Conversation([*ASKED, *NO]),
        ),
    ],
)
def test_preference_data_and_a_response_against_another_are_read_as_both(row, chosen, rejected):
    (read,) = by_id([row], "val").values()
    assert (read.example, read.rejected) == (chosen, rejected)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"prompt": "hey", "chosen": "yes"}, "val, row 0: chosen without rejected"),
        ({"messages": [*ASKED, *YES], "rejected": "no"}, "val, row 0: rejected without chosen, a response"),
    ],
)
def test_half_a_contrast_is_refused(row, message):
    with pytest.raises(ValueError, match=message):
        by_id([row], "val")


def test_a_training_example_has_one_response(tiny):
    train = [{"prompt": "hey", "response": "yes", "rejected": "no"}]
    with pytest.raises(ValueError, match="train, row 0: two responses; a training example has the one"):
        ifcore.attribute(*tiny, train, [{"prompt": "hey", "response": "yes"}], progress=False)


def test_only_some_rows_need_be_contrasts(tiny):
    train = [Example(f"say {n}", "yes " * n) for n in range(1, 4)]
    val = [Example("hey", "yes"), {"prompt": "hey", "response": "yes", "rejected": "no no"}, Example("hey", "no no")]
    methods = ["exact", "repsim", "rept"]
    scores = ifcore.attribute(*tiny, train, val, methods, progress=False)
    exact = scores["exact"].to_numpy()
    assert exact[1] == pytest.approx(exact[0] - exact[2])
    assert scores["repsim"].to_numpy()[1] == pytest.approx(scores["repsim"].to_numpy()[0])  # of one prompt
    assert scores["rept"].shape == (3, 3)
    in_store = ifcore.attribute(*tiny, train, val, methods, progress=False, memory_budget=1000)
    for method in methods:
        assert in_store[method].to_numpy() == pytest.approx(scores[method].to_numpy(), rel=1e-6)
