import json
import re
import shutil
from pathlib import Path

import pytest

from ifcore import loading
from ifcore.examples import chat, tokenise
from study import config, datasets, selection
from study.chapters.approximation_error import errors, truth
from study.chapters.convergence import measure as convergence
from study.chapters.counterfactual import datamodels, removal, subsets
from study.chapters.facts import measure as facts
from study.chapters.parameter_change import measure as parameter_change
from study.chapters.sensitivity import grid
from study.commands.progress import Bars
from study.estimate import work
from study.estimate.rates import Rates, expected
from study.methods import with_baselines
from study.pipeline import attack, attributions, gate

ROOT = Path(__file__).parents[3]
CHAPTERS = ["empirical_study", "approximation_error", "convergence", "parameter_change"]
CHAPTERS += ["controls", "sensitivity", "facts", "counterfactual", "your_own", "speed", "appendix_b"]

APART = "(mixed_small|grammars_rule)-(without|again)-"  # retrained within a stage of the counterfactual chapter


@pytest.fixture(scope="module")
def smoke():
    run = config.make_run("smoke", root=ROOT)
    return run, work.work(run, CHAPTERS)


@pytest.mark.parametrize("dataset", selection.STUDIED)
def test_a_data_sets_items_cost_what_counting_its_tokens_by_hand_gives(smoke, dataset):
    run, items = smoke
    tokenizer = loading.load(run.profile.model)[1]
    counts = run.profile.datasets[dataset]
    split = datasets.load(dataset, **counts.sizes, seed=0)
    train, val, dev = (sum(map(len, tokenise(tokenizer, part))) for part in (split.train, split.val, split.dev))
    prompts = sum(len(tokenizer(chat(tokenizer, each.prompt))["input_ids"]) for each in split.val)
    epochs, forward = run.profile.epochs, 200 / 370
    expected = epochs * 1.13 * train + (epochs + 1) * forward * dev
    one = (40 / 165 - 16 / 110) / 24  # seconds a sequence, in a step of 16 / 110 for 16 of them and 40 / 165 for 40
    steps = sum(16 / 110 - one * (16 - len(split.val[i : i + 16])) for i in range(0, len(split.val), 16))
    expected += 2 * (forward * prompts + 200 * run.profile.max_new_tokens * steps)
    expected += 200 / 189 * (train + val)
    data_sets_items = [item for item in items if item.folder == run.artifacts / dataset]
    assert [item.stage for item in data_sets_items] == ["fine-tune", "answers", "gradients", "scores"]
    assert sum(item.tokens for item in data_sets_items) == pytest.approx(expected)


def test_parts_and_lower_layers_cost_their_share(smoke):
    run, items = smoke
    cost = {(item.folder.name, item.stage): item.tokens for item in items}
    whole, parts = (
        cost["mixed_small", "fine-tune"],
        (cost[f"mixed_small-{only}", "fine-tune"] for only in attack.PARTS if only != "mixed"),
    )
    assert sum(parts) == pytest.approx(whole)  # its classes share out the examples, to train on and to stop by
    last, forward = cost["mixed_small-layers-1-1", "gradients"], 200 / 370
    assert last / cost["mixed_small", "gradients"] == pytest.approx((forward + (200 / 189 - forward) / 2) / (200 / 189))


def test_each_item_is_named_once_by_the_first_chapter_that_needs_it(smoke):
    run, items = smoke
    assert len({(item.folder, item.stage) for item in items}) == len(items)
    assert {item.chapter for item in items if item.folder.parent == run.artifacts / "grammars_rule" / "epochs"} == {
        "empirical_study",  # for TracIn
        "parameter_change",
    }
    alone = {(item.folder, item.stage) for item in work.work(run, ["convergence"])}
    assert (run.artifacts / "mixed_small", "fine-tune") in alone
    assert (run.artifacts / "harmfulcheck", "fine-tune") not in alone
    assert work.work(run, ["no such chapter"]) == []


def test_every_stage_that_the_chapters_make_has_its_item_and_every_item_its_stage(tmp_path, monkeypatch, capsys):
    """The chapters' computations are run on one small data set, and their events are compared with the items."""
    shutil.copytree(ROOT / "notebooks" / "profiles", tmp_path / "notebooks" / "profiles")
    small = {
        "datasets": {
            "mixed_small": {"train": {"harmful": 2, "benign": 2}, "val": {"harmful": 1}},
            "facts": {"classes": 4, "train": 1, "val": 1},
        },
        "linear": {"points": [3, 4], "parameters": [100, 200], "draws": 2, "left_out": 10},
        "two_layer": {"points": 20, "widths": [2, 3], "draws": 2, "epochs": 2},
        "counterfactual": {"halves": 3, "again": 3, "removed": [2], "reseeded": 1, "left_out": 2},
        "max_new_tokens": 2,
        "epochs": 2,
    }
    run = config.make_run("smoke", 0, small, tmp_path)
    monkeypatch.setenv("IFCORE_EVENTS", str(tmp_path / "events"))
    tasks = attributions.compute_attributions(run, selection.STUDIED)
    attack.run_attacks(run), gate.check_gate(run)
    errors.errors(run), truth.left_out(run)
    convergence.along(run, tasks)
    parameter_change.pairs(run), parameter_change.drift(run, tasks)
    parameter_change.linear_models(run), parameter_change.layers(run)
    for cell in grid.cells(run):
        grid.scores(cell)
    (attribution,) = attributions.compute_attributions(run, ["facts"]).values()
    with_baselines(run, tasks | {"facts": attribution})
    facts.removal(run, attribution)
    for dataset, varied in subsets.variations(run):
        attribution = with_baselines(varied, attributions.compute_attributions(varied, [dataset]))[dataset]
        if dataset == subsets.REMOVED_FROM:
            removal.measure(varied, attribution)
        datamodels.measure(varied, attribution)
    events = [json.loads(line) for line in (tmp_path / "events").read_text().splitlines()]
    made = {(Path(event["folder"]), event["stage"]) for event in events if event["state"] == "made"}
    made = {key for key in made if not re.search(APART, str(key[0]))}
    items = work.work(run, CHAPTERS)
    labels = {bar.label for bar in Bars().feed(capsys.readouterr().err.encode())}
    labels = {label for label in labels if not re.search(APART, label)}
    shown = {item: [label for label in labels if item.shows(label)] for item in items}
    assert {label for bars in shown.values() for label in bars} == labels
    for item, bars in shown.items():  # the bars of a checkpoint also begin with its data set's name
        bars = [label for label in bars if " epoch " in item.label or " epoch " not in label]
        assert len(bars) in (0, item.bars), item
    planned = {(item.folder, item.stage) for item in items}
    # Left out above: what takes long, and a notebook that calls the engine by itself.
    assert planned - made == {(run.artifacts / "linear", "runtimes"), (run.artifacts / "own", "fine-tunes")}
    assert made - planned == set()


def test_the_chapters_are_the_books_and_what_a_notebook_names_is_what_is_counted():
    names = re.findall(r"book/executed/(\w+)", (ROOT / "_toc.yml").read_text())
    assert [name for name in names if name in CHAPTERS] == CHAPTERS
    assert set(names) - set(CHAPTERS) == {"introduction", "conclusion"}
    your_own = (ROOT / "notebooks" / "your_own.md").read_text()
    assert "epochs=4" in your_own and your_own.count("teach(") == 3  # the function, with all, without some
    called = (ROOT / "notebooks" / "approximation_error.md").read_text()
    assert ", ".join(f'"{name}"' for name in work.ITERATED) in called
    assert "runtimes(run)" in called


def test_the_rates_expected_are_what_was_measured_on_the_default_model():
    assert expected(config.make_run("laptop", root=ROOT)) == Rates(200, 370, 110, 165)
    assert expected(config.make_run("paper", root=ROOT)).training < 10
    assert expected(config.make_run("smoke", 0, {"model": "hub:some/model"}, ROOT)).training == 200


def test_measured_rates_change_what_decoding_costs_beside_training(smoke):
    run, items = smoke
    slow = work.work(run, CHAPTERS, Rates(200, 370, 11, 16.5))
    for before, after in zip(items, slow, strict=True):
        assert (after.tokens > 2 * before.tokens) == (before.stage == "answers")
