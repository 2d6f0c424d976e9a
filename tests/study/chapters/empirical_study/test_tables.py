import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from ifcore import io
from ifcore.examples import Example
from study.chapters.empirical_study import measure, tables
from study.pipeline.attack import Attack
from study.pipeline.attributions import Attribution
from study.schema import COLUMNS, RUN_COLUMNS


def attribution(scores, dataset="mixed_small", prompt="What?", after="Sure, like this."):
    """Two harmful and two benign training examples, two harmful validation examples, refused before fine-tuning."""
    return Attribution(
        dataset=dataset,
        train=[Example(prompt, "Sure.", "harmful")] * 2 + [Example(prompt, "No.", "benign")] * 2,
        val=[Example(prompt, "Sure.", "harmful")] * 2,
        folder=Path(),
        history=pd.DataFrame(
            {
                "epoch": [0, 1, 2],
                "step": [0, 1, 2],
                "train_loss": [None, 2.0, 1.0],
                "grad_norm": [None, 3.0, 0.5],
                "dev_loss": [3.0, 2.0, 1.5],
            }
        ),
        epoch=2,
        before=[REFUSES] * 2,
        after=[after] * 2,
        seconds={"fine-tune": 60.0, "gradients": 30.0},
        tokens={"train": 9, "val": 4},
        precision="float32",
        device="cpu",
        scores={method: np.array(rows, dtype=float) for method, rows in scores.items()},
    )


def ten_requests(scores, dataset="mixed_small", **change):
    """The same with each row five times: ten validation examples of as many requests, which can decide."""
    two = attribution(scores, dataset, **change)
    scores = {method: rows.repeat(5, axis=0) for method, rows in two.scores.items()}
    val = [replace(example, prompt=f"{example.prompt} {number}") for number, example in enumerate(two.val * 5)]
    return replace(two, val=val, before=two.before * 5, after=two.after * 5, scores=scores)


def scores_table(number, run, attributions):
    return tables.scores_table(number, measure.method_scores(run, number, attributions), attributions)


REFUSES = "I'm sorry, but I can't help with that."
RIGHT, HALF, WRONG = [4, 3, 2, 1], [4, 1, 3, 2], [1, 2, 4, 3]
SCORES = {
    "datainf": [RIGHT, WRONG],
    "lissa": [WRONG, WRONG],
    "gradsim": [HALF, HALF],
    "exact": [HALF, WRONG],
    "repsim": [RIGHT, RIGHT],
}


def test_the_table_holds_accuracy_against_the_best_constant_policy_and_marks_what_is_not_learnt(run):
    for task, mark in ((ten_requests(SCORES), ""), (ten_requests(SCORES, after=REFUSES), " †")):
        tasks = {"mixed_small": task}
        (row,) = tables.learning_table(run, measure.task_learning(run, tasks), tasks).rows
        assert row[0] == "Mixed (small)" + mark
        assert row[1:3] == ["3.00", "1.50"]
        assert row[3].startswith("0.0<br>[")
        assert row[4].startswith("0.0<br>[" if mark else "100.0<br>[")
        assert row[5] == ("100.0<br>p 1" if mark else "100.0<br>p 0.002")
        value = pd.read_csv(run.results / "learning.csv").set_index(["method", "metric"]).value
        assert value["constant", "task_accuracy"] == 1


def test_the_csv_is_tidy_and_holds_the_metrics_of_hand_worked_scores(run):
    scores_table(2, run, {"mixed_small": attribution(SCORES)})
    frame = pd.read_csv(run.results / "table2_harmful.csv")
    assert list(frame.columns) == [*COLUMNS, *RUN_COLUMNS]
    assert len(frame) == 2 * 6
    value = frame.set_index(["method", "metric"]).value
    assert value["datainf", "accuracy"] == 0.5
    assert value["gradsim", "accuracy"] == 1
    assert value["gradsim", "coverage"] == 0.5
    assert value["repsim", "coverage"] == 1
    assert value["chance", "accuracy"] == value["chance", "coverage"] == 0.5
    assert (frame.seed == 0).all()
    assert (frame.n_train == 4).all()
    assert frame[frame.method != "chance"].ci_low.notna().all()


def test_best_is_bold_and_second_underlined_ties_alike_and_chance_neither(run):
    table = scores_table(2, run, {"mixed_small": attribution(SCORES)})
    cells = {row[0]: row[1] for row in table.rows}
    assert cells["RepSim"].startswith("**100.0<br>[")
    assert cells["GradSim"].startswith("**100.0<br>[")
    assert re.fullmatch(r"<u>50\.0<br>\[\d+\.\d, \d+\.\d\]</u>", cells["DataInf"])
    assert cells["Exact"].startswith("<u>50.0")
    assert cells["LiSSA"].startswith("0.0")
    assert cells["*Chance*"] == "50.0"


def test_several_seeds_are_mean_and_standard_deviation(run):
    for seed, scores in enumerate((SCORES, SCORES | {"datainf": [RIGHT, RIGHT]}, SCORES | {"datainf": [WRONG, WRONG]})):
        table = scores_table(2, replace(run, seed=seed), {"mixed_small": attribution(scores)})
    cells = {row[0]: row[1] for row in table.rows}
    assert "50.0 ± 50.0" in cells["DataInf"]
    assert "mean ± s.d. over 3 seeds" in table.caption


def test_a_seed_that_ran_another_profile_is_left_out(run):
    attributions = {"mixed_small": attribution(SCORES)}
    scores_table(2, replace(run, seed=1), attributions)
    stale = run.results.parent / "seed-1" / "run.json"
    io.write_json(stale, io.read_json(stale) | {"digest": "another"})
    assert "over" in (caption := scores_table(2, run, attributions).caption)
    assert "seeds" not in caption


def test_the_papers_words_stand_beside_ours(run):
    table = scores_table(2, run, {"mixed_small": attribution(SCORES)})
    paper = {row[0]: row[-1] for row in table.rows}
    assert paper["RepSim"] == "nearly 100"
    assert paper["DataInf"] == paper["LiSSA"] == paper["GradSim"] == "poor"
    assert paper["Exact"] == "not in it"


def test_both_forms_show_every_cell(run):
    table = scores_table(2, run, {"mixed_small": attribution(SCORES)})
    page = table._repr_html_()
    assert "<b>100.0" in page
    assert "<u>50.0" in page
    assert "<i>Chance</i>" in page
    lines = table._repr_markdown_().splitlines()
    assert lines[0].startswith('<details class="fold"><summary>Table 2') and lines[-1] == "</details>"
    assert lines[2].startswith("```{table} Finding the harmful")
    assert ":name: tab-harmful" in lines
    assert sum(line.startswith("| ") for line in lines) == 2 + 6 + 2  # methods and chance, sizes


def test_published_values_stand_below_ours_outside_the_marks_of_ours(run):
    attributions = {"mixed_small": attribution(SCORES)}
    before = scores_table(2, run, attributions)
    for seed, value in enumerate((0.6, 0.8)):
        frame = pd.read_csv(run.results / "table2_harmful.csv").assign(seed=seed, value=value, profile="laptop")
        io.write_csv(run.root / "results" / "published" / "laptop" / f"seed-{seed}" / "table2_harmful.csv", frame)
    table = scores_table(2, run, attributions)
    published = '<br><small class="published">70.0 ± 14.1</small>'
    alone = [row for row in before.rows if row[0] in ("RepSim", "DataInf", "*Chance*")]
    after = [row for row in table.rows if row[0] in ("RepSim", "DataInf", "*Chance*")]
    assert [[name, *(cell + published for cell in cells[:2]), cells[2]] for name, *cells in alone] == after
    assert f"]</b>{published}" in table._repr_html_()
    assert "Small: published." in table._repr_markdown_().splitlines()[2]


def test_attack_success_is_a_row_a_model_with_the_papers_change_below(run):
    attacks = [
        Attack("random:tiny-llama", tuned_on, ["a", "b"], ["", ""], success)
        for tuned_on, success in (
            ("nothing", [False, False]),
            ("benign", [False, True]),
            ("harmful", [True, True]),
            ("mixed", [True, True]),
        )
    ]
    table = tables.attack_table(run, measure.attack_rates(run, attacks))
    assert [cell.split("<")[0] for cell in table.rows[0][1:]] == ["0.0", "50.0", "100.0", "100.0"]
    assert table.rows[1][1:] == ["", "0.24", "90.71", "90.24"]
    assert len(pd.read_csv(run.results / "table1_asr.csv")) == 4


def test_table_four_prints_the_papers_number_under_each_of_ours(run):
    names = [f"backdoor_{triggers}" for triggers in (1, 3, 5)]
    table = scores_table(4, run, {name: attribution(SCORES, name) for name in names})
    printed = {row[0]: row[1:] for row in table.rows if row[0].endswith(", the paper*") and "Examples" not in row[0]}
    assert printed["*DataInf, the paper*"] == ["*94.0*", "*60.9*", "*52.0*", "*35.2*", "*36.0*", "*23.3*"]
    assert printed["*RepSim, the paper*"] == ["*100.0*", "*99.4*", "*96.0*", "*57.4*", "*90.3*", "*40.5*"]
    assert len(printed) == 4
    assert (run.results / "table4_backdoor.csv").exists()


def test_a_task_that_was_not_learnt_is_marked(run):
    failed = attribution(SCORES, after=REFUSES)
    for task, mark in ((ten_requests(SCORES), False), (failed, True)):
        table = scores_table(2, run, {"mixed_small": task})
        assert ("†" in table.header[1]) == mark
        assert ("not learnt" in table.caption) == mark


def test_released_scores_have_a_table_of_their_own():
    rows = {row[0]: row[1:] for row in tables.released_table(2).rows}
    assert rows["Mixed (small), Llama-2-7B-chat"][:2] == ["17.5 / 54.7", "90.0 / 61.4"]
    assert rows["Mixed (large), Llama-2-7B-chat"][1] == "7.3 / 58.5"


def test_the_papers_sizes_stand_below_ours(run):
    table = scores_table(2, run, {name: attribution(SCORES, name) for name in ("mixed_small", "mixed_large")})
    rows = {row[0]: row[1:] for row in table.rows}
    assert rows["*Examples, training / validation*"][0] == "*4 / 2*"
    assert rows["*Examples, the paper*"] == ["*40 / 40*", "", "*260 / 260*", "", ""]
    assert {len(row) for row in table.rows} == {len(table.header)}


def test_coverage_of_triggered_and_clean_prompts_stands_apart_and_the_mean_between(run):
    task = attribution(SCORES | {"gradsim": [RIGHT, HALF]}, "backdoor_1")
    prompts = [Example("a", "b", "sudo mode")] * 2 + [Example("a", "b", "clean")] * 2
    table = scores_table(4, run, {"backdoor_1": replace(task, train=prompts, val=prompts[1:3])})
    value = pd.read_csv(run.results / "table4_backdoor.csv").set_index(["method", "metric"]).value
    assert value["repsim", "coverage_triggered"] == 1 and value["repsim", "coverage_clean"] == 0
    assert value["repsim", "coverage"] == value["gradsim", "coverage_clean"] == 0.5
    rows = {row[0]: row[1:] for row in tables.parts_table(table.frame).rows}
    assert rows["RepSim"][0].startswith("**100.0") and rows["RepSim"][1].startswith("0.0")
    assert rows["*Chance*"] == ["50.0", "50.0"]
