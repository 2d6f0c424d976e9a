"""Rows of token ids, which are taken as they are; and what people have in place of a list of dictionaries."""

import numpy as np
import pandas as pd
import pytest
import torch

import ifcore
from tests.example_cases import IGNORE, OTHER_ROW, Refused, assert_case, case, exactly, turns
from tests.tokenizers_and_templates import build_tokenizer, plain_gradient, tiny_model

IDS, LABELS = [5, 20, 31, 42, 53, 64, 75], [IGNORE, IGNORE, IGNORE, 42, IGNORE, 64, 75]
I3 = [IGNORE] * 3
PACKED = {
    "input_ids": [5, 20, 31, 42, 9, 53, 64, 75],
    "labels": [IGNORE, 20, 31, 42, IGNORE, 53, 64, 75],
    "position_ids": [0, 1, 2, 3, 0, 1, 2, 3],
}
LEFT = [0] * 3 + [1] * 7

TOKENS = [
    case("ids alone", {"input_ids": IDS}, exactly(IDS, IDS)),
    case("labels", {"input_ids": IDS, "labels": LABELS}, exactly(IDS, LABELS)),
    case("labels sum", {"input_ids": IDS, "labels": LABELS}, exactly(IDS, LABELS), reduction="sum"),
    case("labels tokens", {"input_ids": IDS, "labels": LABELS}, exactly(IDS, LABELS), reduction="tokens"),
    case("labels whatever loss_on", {"input_ids": IDS, "labels": LABELS}, exactly(IDS, LABELS), loss_on="all"),
    case("labels without template", {"input_ids": IDS, "labels": LABELS}, exactly(IDS, LABELS), "none", "slow"),
    case("labels of other tokens", {"input_ids": IDS, "labels": [*I3, 7, 8, 9, 10]}, exactly(IDS, [*I3, 7, 8, 9, 10])),
    case("other columns", {"input_ids": IDS, "labels": LABELS, "length": 7, "text": "x", "messages": []},
         exactly(IDS, LABELS)),
    case("padded right", {"input_ids": IDS + [0] * 3, "labels": LABELS + I3, "attention_mask": [1] * 7 + [0] * 3},
         exactly(IDS, LABELS)),
    case("padded right, no labels", {"input_ids": IDS + [0] * 3, "attention_mask": [1] * 7 + [0] * 3},
         exactly(IDS, IDS)),
    case("padded left", {"input_ids": [0] * 3 + IDS, "labels": I3 + LABELS, "attention_mask": LEFT},
         exactly([0] * 3 + IDS, I3 + LABELS, mask=LEFT)),
    case("padded left, no labels", {"input_ids": [0] * 3 + IDS, "attention_mask": LEFT},
         exactly([0] * 3 + IDS, I3 + [IGNORE, *IDS[1:]], mask=LEFT)),
    case("padded left with positions",
         {"input_ids": [0] * 3 + IDS, "labels": I3 + LABELS, "attention_mask": LEFT, "position_ids": [1] * 3
         + [*range(7)]}, exactly([0] * 3 + IDS, I3 + LABELS, mask=LEFT, positions=[1] * 3 + [*range(7)])),
    case("mask without a hole", {"input_ids": IDS, "labels": LABELS, "attention_mask": [1] * 7}, exactly(IDS, LABELS)),
    case("completion_mask", {"input_ids": IDS, "completion_mask": [0, 0, 0, 1, 1, 1, 1]}, exactly(IDS, I3 + IDS[3:])),
    case("assistant_masks", {"input_ids": IDS, "assistant_masks": [0, 0, 1, 0, 1, 1, 0]},
         exactly(IDS, [IGNORE, IGNORE, 31, IGNORE, 53, 64, IGNORE])),
    case("two masks",
         {"input_ids": IDS, "completion_mask": [0, 0, 0, 1, 1, 1, 1], "assistant_masks": [0, 1, 0, 1, 0, 1, 1]},
         exactly(IDS, I3 + [42, IGNORE, 64, 75])),
    case("packed", PACKED, exactly(PACKED["input_ids"], PACKED["labels"], positions=PACKED["position_ids"])),
    case("packed by TRL", {"input_ids": PACKED["input_ids"], "labels": PACKED["input_ids"], "seq_lengths": [4, 4]},
         exactly(PACKED["input_ids"], PACKED["labels"], positions=PACKED["position_ids"])),
    case("packed by TRL, cut", {"input_ids": PACKED["input_ids"], "seq_lengths": [4, 3]},
         Refused("row 0, seq_lengths: 7 tokens, of 8 input_ids")),
    case("packed, no labels", {key: PACKED[key] for key in ("input_ids", "position_ids")},
         exactly(PACKED["input_ids"], PACKED["input_ids"], positions=PACKED["position_ids"])),
    case("positions that don't start again", {"input_ids": IDS, "labels": LABELS, "position_ids": [*range(7)]},
         exactly(IDS, LABELS, positions=[*range(7)])),
    case("tensors", {"input_ids": torch.tensor(IDS), "labels": torch.tensor(LABELS)}, exactly(IDS, LABELS)),
    case("arrays", {"input_ids": np.array(IDS), "labels": np.array(LABELS, dtype=np.int32)}, exactly(IDS, LABELS)),
    case("tuples", {"input_ids": tuple(IDS), "labels": tuple(LABELS)}, exactly(IDS, LABELS)),
    case("ids as JSON text", {"input_ids": str(IDS), "labels": str(LABELS)}, exactly(IDS, LABELS)),
    case("labels null", {"input_ids": IDS, "labels": None}, exactly(IDS, IDS)),
    case("labels first", {"input_ids": IDS, "labels": [5, *[IGNORE] * 6]}, Refused("row 0", "nothing in its loss")),
    case("all ignored", {"input_ids": IDS, "labels": [IGNORE] * 7}, Refused("row 0", "nothing in its loss", "labels")),
    case("cut", {"input_ids": IDS, "labels": LABELS}, exactly(IDS[:4], LABELS[:4]), max_length=4),
    case("cut left", {"input_ids": IDS, "labels": LABELS}, exactly(IDS[4:], LABELS[4:]), max_length=3,
         truncation_side="left"),
    case("cut to the answer", {"input_ids": IDS, "labels": I3 + IDS[3:]}, exactly(IDS[3:], IDS[3:]), max_length=4,
         truncation_side="left"),
    case("labels of all but the first", {"input_ids": IDS, "labels": [IGNORE, *IDS[1:]]},
         exactly(IDS, [IGNORE, *IDS[1:]])),
    case("two tokens", {"input_ids": [5, 6], "labels": [IGNORE, 6]}, exactly([5, 6], [IGNORE, 6])),
    case("cut packed", PACKED,
         exactly(*(PACKED[key][:6] for key in ("input_ids", "labels")), positions=PACKED["position_ids"][:6]),
         max_length=6),
    case("no ids", {"input_ids": [], "labels": []}, Refused("row 0", "nothing in its loss")),
    case("fewer labels", {"input_ids": IDS, "labels": LABELS[:5]}, Refused("row 0, labels: 5 for 7", "as many")),
    case("fewer in the mask", {"input_ids": IDS, "attention_mask": [1]},
         Refused("row 0, attention_mask: 1 for 7", "as many")),
    case("a batch", {"input_ids": [IDS, IDS]}, Refused("row 0, input_ids, 0", "[5, 20", "one row")),
    case("a tensor of a batch", {"input_ids": torch.tensor([IDS])}, Refused("row 0, input_ids, 0", "one row")),
    case("a number", {"input_ids": 5}, Refused("row 0, input_ids: 5", "list of whole numbers")),
    case("a number of a tensor", {"input_ids": torch.tensor(5)},
         Refused("row 0, input_ids: 5", "list of whole numbers")),
    case("a text", {"input_ids": "5 20"}, Refused("row 0, input_ids: '5 20'", "list of whole numbers")),
    case("texts", {"input_ids": ["5", "20"]}, Refused("row 0, input_ids, 0: '5'", "whole number")),
    case("a half", {"input_ids": [5, 1.5]}, Refused("row 0, input_ids, 1: 1.5", "whole number")),
    case("a null inside", {"input_ids": [5, None]}, Refused("row 0, input_ids, 1: None", "whole number")),
    case("NaN inside", {"input_ids": [5, float("nan")]}, Refused("row 0, input_ids, 1: nan", "whole number")),
    case("infinity inside", {"input_ids": [5, float("inf")]}, Refused("row 0, input_ids, 1: inf", "whole number")),
    case("below zero", {"input_ids": [5, -3]}, Refused("row 0, input_ids: -3 is no token")),
    case("ignored in ids", {"input_ids": [5, -100, 7]}, Refused("row 0, input_ids: -100 is no token")),
    case("label below zero", {"input_ids": [5, 6], "labels": [-1, 6]}, Refused("row 0, labels: -1", "-100")),
    case("no such token", {"input_ids": [5, 400, 6]}, Refused("row 0", "token 400", "400", "tokenizer")),
    case("no such label", {"input_ids": [5, 6, 7], "labels": [5, 6, 400]}, Refused("row 0", "400", "tokenizer")),
    case("a mask of twos", {"input_ids": IDS, "attention_mask": [2] * 7},
         Refused("row 0, attention_mask", "2", "0 or 1")),
    case("a mask of nothing", {"input_ids": IDS, "attention_mask": [0] * 7}, Refused("row 0", "attention_mask")),
    case("positions below zero", {"input_ids": IDS, "position_ids": [-1, *range(6)]},
         exactly(IDS, IDS, positions=[-1, *range(6)])),
    case("positions beyond", {"input_ids": IDS, "position_ids": [*range(1020, 1027)]},
         exactly(IDS, IDS, positions=[*range(1020, 1027)])),
]  # fmt: skip


@pytest.mark.parametrize("case", TOKENS)
def test_ids_and_labels_are_taken_as_they_are(case):
    assert_case(case)


ROWS = [{"id": "one", "input_ids": IDS, "labels": LABELS}, {"id": "two", **OTHER_ROW}]


def attribute(train, val=(OTHER_ROW,), **options):
    """The table of GradSim."""
    options = {"progress": False} | options
    return ifcore.attribute(tiny_model(), build_tokenizer(), train, val, ["gradsim"], **options)["gradsim"]


CONTAINERS = {
    "list": list,
    "tuple": tuple,
    "iterator": iter,
    "generator": lambda rows: (row for row in rows),
    "DataFrame": pd.DataFrame,
    "Dataset": lambda rows: pytest.importorskip("datasets").Dataset.from_list(rows),
    "values": lambda rows: dict(enumerate(rows)).values(),
}


@pytest.mark.parametrize("name", CONTAINERS)
def test_rows_come_in_whatever_holds_rows(name):
    scores = attribute(CONTAINERS[name](ROWS))
    one, two = (plain_gradient(tiny_model(), row["input_ids"], row["labels"])[0] for row in ROWS)
    assert scores.columns.tolist() == ["one", "two"] and scores.index.tolist() == [0]
    products = torch.stack([one @ two, two @ two])
    torch.testing.assert_close(torch.tensor(scores.to_numpy()[0]), products, rtol=1e-6, atol=0)


def test_a_data_frame_of_three_formats_reads_each_row_in_its_own():
    rows = [{"prompt": "Hi", "response": "Yes"}, {"messages": turns("u:Hi", "a:Yes")}, {"text": "Hi"}]
    frame = pd.DataFrame(rows)
    scores = attribute(frame, frame[:1]).loc[0]
    assert scores[0] == pytest.approx(scores[1], rel=1e-9) and scores[0] != pytest.approx(scores[2])


BAD_ROWS = {
    "nothing": ([], Refused("train: no examples", "give one or more")),
    "a text": ("train.jsonl", Refused("train: str", "list of rows")),
    "a number": (3, Refused("train: int", "list of rows")),
    "None": (None, Refused("train: NoneType", "list of rows")),
    "a row itself": ({"prompt": "a", "response": "b"}, Refused("train: dict", "list of rows")),
    "splits": ({"train": [], "test": []}, Refused("train: dict", "train, test", "choose one")),
    "a row of a text": (["a"], Refused("train, row 0: str", "dictionary")),
    "an id twice": ([{"id": 1, **OTHER_ROW}, {"id": "1", **OTHER_ROW}],
        Refused("train, row 1: id '1' is there already", "one of its own")),
    "an id by place": ([{"id": 1, **OTHER_ROW}, OTHER_ROW],
        Refused("train, row 1: id 1 is there already", "one of its own")),
    "an id of a list": ([{"id": [1], **OTHER_ROW}], Refused("train, row 0: id [1]", "text or whole number")),
    "an id of a half": ([{"id": 0.5, **OTHER_ROW}], Refused("train, row 0: id 0.5", "text or whole number")),
    "an id of truth": ([{"id": True, **OTHER_ROW}], Refused("train, row 0: id True", "text or whole number")),
    "half a character": ([{"id": "\ud83d", **OTHER_ROW}], Refused("train, row 0: id '\\ud83d'", "one of its own")),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_ROWS)
def test_what_is_no_list_of_rows_is_named_in_a_line(name):
    rows, expected = BAD_ROWS[name]
    with pytest.raises(ValueError) as raised:
        attribute(rows)
    expected.check(str(raised.value))


def test_rows_that_are_all_left_out_are_refused():
    with pytest.raises(ValueError, match="train: no row with anything in its loss"):
        attribute([{"prompt": "a", "response": ""}], skip_empty=True)


def test_rows_with_nothing_in_their_loss_are_left_out_on_request(capsys):
    rows = [{"id": n, "prompt": "Hi", "response": "Yes" * (n % 20 != 7)} for n in range(40)]
    scores = attribute(rows, skip_empty=True, progress=True)
    assert scores.columns.tolist() == [n for n in range(40) if n not in (7, 27)]
    assert "train: 38 rows, 2 with nothing in their loss left out" in capsys.readouterr().err
