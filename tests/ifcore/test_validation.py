"""`validate` on a planted cause, its budget, its resumption, its command."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import ifcore
from ifcore import loading, lora, training, validation_report
from ifcore.rows import by_id
from ifcore.tokens import tokenise_rows
from ifcore.training import Settings

ROOT = Path(__file__).parents[2]
SETTINGS = Settings(epochs=6, batch_size=6, learning_rate=0.005, seed=2)
# Of each class half say one thing and half another: the label tells nothing of which.
TRAIN = [
    {"id": f"t{n}", "prompt": f"ask {n}", "response": "zzzz zzzz" if n % 4 < 2 else "no no no", "label": "ab"[n % 2]}
    for n in range(16)
]
VAL = [{"prompt": f"tell {n}", "response": "zzzz zzzz", "label": "a"} for n in range(3)]
CAUSE = np.array([[1.0 if row["response"][0] == "z" else 0.0 for row in TRAIN]] * 3)


@pytest.fixture(scope="module")
def tuned(tmp_path_factory):
    """The adapter fine-tuned on TRAIN, its tokenizer, and the folder of its checkpoints."""
    model, tokenizer = loading.load("random:tiny-llama")
    folder, peft = tmp_path_factory.mktemp("tuned"), lora.add_lora(model, rank=8, alpha=16, dropout=0.0, seed=2)
    tokens = list(tokenise_rows(tokenizer, by_id(TRAIN, "train").values()).values())
    training.finetune(peft, tokens, [], folder / "run", SETTINGS, None)
    return peft, tokenizer, folder / "run"


@pytest.fixture(scope="module")
def bank(tmp_path_factory):
    return tmp_path_factory.mktemp("bank")


def validate(tuned, bank, methods=("gradsim",), **options):
    options = {"settings": SETTINGS, "leave_one_out": False, "remove": 0, "progress": False} | options
    return ifcore.validate(*tuned[:2], TRAIN, VAL, methods, bank=bank, **options)


def test_a_planted_cause_is_found_and_a_count_of_labels_finds_nothing(tuned, bank):
    index, columns = range(3), [row["id"] for row in TRAIN]
    label = np.array([[float(row["label"] == "a") for row in TRAIN]] * 3)
    scores = {name: pd.DataFrame(of, index, columns) for name, of in (("cause", CAUSE), ("label", label))}
    found = validate(tuned, bank, scores, remove=3)
    cause, of_label = (found.estimate("halves", name) for name in ("cause", "label"))
    assert cause.value > 0.8 and cause.low > 0.5 and (of_label.value, of_label.low, of_label.high) == (0, 0, 0)
    assert found.estimate("halves", "cause", "label").low > 0.3
    assert found.estimate("removal", "cause").value > found.estimate("removal", "random").value
    assert found.estimate("removal", "cause", "label").low > 0
    assert found.estimate("halves", "ceiling").value > 0.5
    assert found.estimate("halves", "words_response").value > 0.8  # here the words say it all
    before, after = found.refitted
    assert before == pytest.approx(after, rel=1e-4)  # the fine-tune on all is the one that was given


def test_every_method_is_judged_those_of_checkpoints_by_the_banks_own(tuned, bank):
    found = validate(tuned, bank, list(ifcore.methods.METHODS), leave_one_out=True)
    values = {name: found.estimate("halves", name).value for name in ifcore.methods.METHODS}
    assert values["unrolled"] > 0.9 and values["tracin"] > 0.8 and values["source"] > 0.9
    assert found.estimate("alone", "unrolled").value > 0.95  # a derivative by each weight, and each weight taken away
    with_own = validate(tuned, bank, ["tracin", "unrolled"], checkpoints=tuned[2], settings=None)
    for name in ("tracin", "unrolled"):
        np.testing.assert_allclose(with_own.scores[name], found.scores[name], rtol=1e-3, atol=1e-6)


def test_what_is_there_is_not_made_again_for_other_methods(tuned, bank, monkeypatch):
    validate(tuned, bank)
    monkeypatch.setattr(training, "finetune", None)
    validate(tuned, bank, ["datainf"])


def test_a_damping_of_auto_is_chosen_by_halves_that_are_not_judged(tuned, bank):
    found = validate(tuned, bank, ["datainf", "gradsim"], damping="auto")
    plan, dampings = found.plan, found.damping
    assert dampings.keys() == {"datainf"} and len(plan.tuning) == 8
    assert not {mask.tobytes() for mask in plan.tuning} & {mask.tobytes() for mask in plan.halves}
    at = {damping: validate(tuned, bank, ["datainf"], damping=damping) for damping in (1e-3, dampings["datainf"], 1e3)}
    losses = np.stack([_losses(tuned, bank, mask) for mask in plan.tuning])
    by_hand = {
        damping: ifcore.datamodels.lds(of.scores["datainf"], plan.tuning, losses).value for damping, of in at.items()
    }
    assert by_hand[dampings["datainf"]] == max(by_hand.values())


def _losses(tuned, bank, mask):
    name = ifcore.retraining_plan.without(mask).name
    (file,) = (bank / name).glob("losses-*.json")
    return np.array(json.loads(file.read_text())["losses"])


def test_contrasts_are_explained_as_the_difference_of_two_losses(tuned, bank):
    contrast = [row | {"rejected": "no no no"} for row in VAL]
    other = [row | {"response": "no no no"} for row in VAL]
    model, tokenizer, _ = tuned
    methods = ["gradsim", "exact", "ekfac", "tracin", "unrolled"]
    options = {"checkpoints": tuned[2], "progress": False}
    given = [ifcore.attribute(model, tokenizer, TRAIN, val, methods, **options) for val in (contrast, VAL, other)]
    for name in methods:
        whole, chosen, rejected = (frames[name].to_numpy() for frames in given)
        np.testing.assert_allclose(whole, chosen - rejected, rtol=1e-3, atol=1e-5 * np.abs(chosen).max())
    cosine = ifcore.attribute(model, tokenizer, TRAIN, contrast, ["cosine"], progress=False)["cosine"]
    assert cosine.abs().max().max() <= 1 + 1e-9
    found = ifcore.validate(
        *tuned[:2], TRAIN, contrast, {"cause": pd.DataFrame(CAUSE, range(3), [row["id"] for row in TRAIN])},
        bank=bank, settings=SETTINGS, leave_one_out=False, remove=0, progress=False,
    )  # fmt: skip
    assert found.estimate("halves", "cause").value > 0.8


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"settings": None}, "settings: none; say how it was fine-tuned"),
        ({"subsets": 3}, "subsets: 3; an interval takes 4 or more"),
        ({"replicates": 20}, "replicates: 20, of 16 subsets"),
        ({"remove": 8}, "remove: 8; the smallest class has 8 examples"),
        ({"minutes": 0}, "minutes: 0; give more than 0"),
        ({"minutes": 1e-6}, "minutes: 1e-06; 4 halves with what belongs to them take"),
        ({"labels": ["a"]}, "labels: 1 for 16 training examples"),
        ({"labels": range(16), "subsets": 8, "remove": None}, None),  # classes of one are drawn from together
        ({"methods": ["nonsense"]}, "methods: 'nonsense'; choose from"),
        ({"methods": {"mine": pd.DataFrame(CAUSE[:2])}}, "scores: mine has no '2'"),
    ],
)
def test_what_cannot_be_validated_is_refused_in_a_line(tuned, bank, options, message):
    if message is None:
        assert validate(tuned, bank, **options).plan.removed == 0
        return
    with pytest.raises(ValueError, match=re.escape(message)):
        validate(tuned, bank, **options)


def test_without_a_bank_nothing_is_kept_and_scores_are_not_called_like_a_baseline(tuned, monkeypatch, tmp_path):
    monkeypatch.setattr(ifcore.validation.tempfile, "tempdir", str(tmp_path))
    assert validate(tuned, None, subsets=4).estimate("halves", "gradsim") and not list(tmp_path.iterdir())
    frame = pd.DataFrame(CAUSE, range(3), [row["id"] for row in TRAIN])
    with pytest.raises(ValueError, match="scores: random is the name of a baseline or of the ceiling"):
        validate(tuned, None, {"random": frame})


def test_rows_of_which_some_have_a_label_are_refused(tuned, bank):
    rows = [*TRAIN[:-1], {name: value for name, value in TRAIN[-1].items() if name != "label"}]
    with pytest.raises(ValueError, match="train, row 15: no label, and others have one"):
        ifcore.validate(*tuned[:2], rows, VAL, bank=bank, settings=SETTINGS, progress=False)


def test_the_report_says_who_leads_and_by_how_much(tuned, bank):
    found = validate(tuned, bank, ["gradsim", "repsim"], remove=3, leave_one_out=True)
    text = validation_report.report(found)
    lead = found.estimate("halves", "gradsim", "words_response")
    assert re.search(rf"GradSim +-?[\d.]+ \[.*\] +{lead.value:+.2f} \[", text)
    best = max(("gradsim", "repsim"), key=lambda name: found.estimate("halves", name).value)
    shown = ifcore.methods.METHODS[best].display_name
    assert re.search(
        rf"{shown} ranks halves as retraining does with .*; .*; ceiling .*[.] It is .*: .*", text.splitlines()[-1]
    )
    picture = validation_report.figure(found)
    assert len(picture.axes) == 3 and len(picture.axes[0].get_yticklabels()) == 8


def test_the_command_validates_goes_on_and_leaves_a_table_and_a_picture(tuned, tmp_path):
    model, tokenizer = loading.load("random:tiny-llama")
    model.save_pretrained(tmp_path / "base")
    tokenizer.save_pretrained(tmp_path / "base")
    tuned[0].save_pretrained(tmp_path / "adapter")
    for name, rows in (("train", TRAIN), ("val", VAL)):
        (tmp_path / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")
    options = "--adapter adapter --model path:base --train train.jsonl --val val.jsonl --bank bank --subsets 4 "
    options += "--epochs 6 --learning-rate 0.005 --train-batch-size 6 --train-seed 2 --no-leave-one-out --remove 0"
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}

    def command(*more):
        return subprocess.run(
            [sys.executable, "-m", "ifcore", "validate", *options.split(), *more],
            cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300,
        )  # fmt: skip

    first = command("--methods", "gradsim,tracin")
    assert first.returncode == 0, first.stderr
    assert "fine-tunes: 4 halves (8 of 16 examples, half of each of 2 classes)" in first.stderr
    table = pd.read_csv(tmp_path / "bank" / "validation.csv", keep_default_na=False)
    assert set(table.method) >= {"gradsim", "tracin", "words_response", "random", "ceiling"}
    assert (tmp_path / "bank" / "validation.png").stat().st_size > 5000
    second = command("--methods", "gradsim", "--damping", "0.2")
    assert "9 are there" in second.stderr and second.returncode == 0
    other = command("--methods", "gradsim", "--epochs", "4")
    assert (
        other.returncode == 1
        and "ifcore validate: bank: bank is of another fine-tune (epochs 6, now 4)" in other.stderr
    )
    missing = subprocess.run(
        [sys.executable, "-m", "ifcore", "validate", *options.replace("--epochs 6 ", "").split()],
        cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert missing.stderr.strip().endswith(
        "ifcore validate: --epochs: not given; say how it was fine-tuned, or name its --checkpoints"
    )
