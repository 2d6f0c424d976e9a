import re
from dataclasses import replace

import numpy as np
import pandas as pd

from ifcore.examples import Example
from ifcore.study import files, tables
from ifcore.study.experiment import Attribution


def attribution(scores, dataset="mixed_small", prompt="What?"):
    """Two harmful and two benign training examples, two harmful validation examples."""
    train = [Example(prompt, "Sure.", "harmful")] * 2 + [Example(prompt, "No.", "benign")] * 2
    val = [Example(prompt, "Sure.", "harmful")] * 2
    history = pd.DataFrame({"epoch": [1, 2], "step": [1, 2], "train_loss": [2.0, 1.0], "val_loss": [2.0, 1.5]})
    arrays = {method: np.array(rows, dtype=float) for method, rows in scores.items()}
    seconds = {"fine-tune": 60.0, "gradients": 30.0}
    return Attribution(dataset, train, val, arrays, history, 2, seconds, {"train": 9, "val": 4}, "float32", "cpu")


RIGHT, HALF, WRONG = [4, 3, 2, 1], [4, 1, 3, 2], [1, 2, 4, 3]
SCORES = {
    "datainf": [RIGHT, WRONG],
    "lissa": [WRONG, WRONG],
    "gradsim": [HALF, HALF],
    "exact": [HALF, WRONG],
    "repsim": [RIGHT, RIGHT],
}


def test_the_csv_is_tidy_and_holds_the_metrics_of_hand_worked_scores(run):
    tables.harmful(run, {"mixed_small": attribution(SCORES)})
    frame = pd.read_csv(run.results / "table2_harmful.csv")
    assert list(frame.columns) == tables.COLUMNS
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
    table = tables.harmful(run, {"mixed_small": attribution(SCORES)})
    cells = {row[0]: row[1] for row in table.rows}
    assert cells["RepSim"].startswith("**100.0 [")
    assert cells["GradSim"].startswith("**100.0 [")
    assert re.fullmatch(r"<u>50\.0 \[\d+\.\d, \d+\.\d\]</u>", cells["DataInf"])
    assert cells["Exact"].startswith("<u>50.0")
    assert cells["LiSSA"].startswith("0.0")
    assert cells["*Chance*"] == "50.0"


def test_several_seeds_are_mean_and_standard_deviation(run):
    found = attribution(SCORES)
    for seed, scores in enumerate((SCORES, SCORES | {"datainf": [RIGHT, RIGHT]}, SCORES | {"datainf": [WRONG, WRONG]})):
        table = tables.harmful(
            replace(run, seed=seed),
            {"mixed_small": replace(found, scores={k: np.array(v) for k, v in scores.items()})},
        )
    cells = {row[0]: row[1] for row in table.rows}
    assert "50.0 ± 50.0" in cells["DataInf"]
    assert "mean ± s.d. over 3 seeds" in table.caption


def test_a_seed_that_ran_another_profile_is_left_out(run):
    found = {"mixed_small": attribution(SCORES)}
    tables.harmful(replace(run, seed=1), found)
    stale = run.results.parent / "seed-1" / "run.json"
    files.write_json(stale, files.read_json(stale) | {"digest": "another"})
    assert "over" in (caption := tables.harmful(run, found).caption)
    assert "seeds" not in caption


def test_the_papers_words_stand_beside_ours(run):
    table = tables.harmful(run, {"mixed_small": attribution(SCORES)})
    paper = {row[0]: row[-1] for row in table.rows}
    assert paper["RepSim"] == "nearly 100"
    assert paper["DataInf"] == paper["LiSSA"] == paper["GradSim"] == "poor"
    assert paper["Exact"] == "not in it"


def test_the_sentence_says_who_leads_and_by_how_much(run):
    scores = SCORES | {"gradsim": [WRONG, WRONG]}
    text = tables.read_harmful(tables.harmful(run, {"mixed_small": attribution(scores)})).text
    assert "RepSim's accuracy is 100.0 %: it leads the best influence method, DataInf with 50.0 %" in text
    assert "by 50.0 points, as in the paper" in text
    lost = SCORES | {"repsim": [WRONG, WRONG]}
    text = tables.read_harmful(tables.harmful(run, {"mixed_small": attribution(lost)})).text
    assert "it trails the best influence method, GradSim with 100.0 %, by 100.0 points, unlike in the paper" in text


def test_both_forms_show_every_cell(run):
    table = tables.harmful(run, {"mixed_small": attribution(SCORES)})
    page = table._repr_html_()
    assert "<b>100.0" in page
    assert "<u>50.0" in page
    assert "<i>Chance</i>" in page
    lines = table._repr_markdown_().splitlines()
    assert lines[0].startswith("```{table} Finding the harmful")
    assert ":name: tab-harmful" in lines
    assert sum(line.startswith("| ") for line in lines) == 2 + 6


def test_table_one_holds_the_papers_changes():
    assert [row[1] for row in tables.asr_reported().rows] == ["0.24", "90.71", "90.24"]


def test_what_ran_names_model_sizes_seed_machine_and_minutes(run):
    text = tables.what_ran(run, {"mixed_small": attribution(SCORES)}).text
    for words in ("`random:tiny-llama` in float32", "4 training and 2 validation examples", "seed 0", "CPU cores"):
        assert words in text
    assert "fine-tune 1.0, gradients 0.5" in text
