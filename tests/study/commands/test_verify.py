"""Two published seeds of a table made by hand, and runs that differ from one of them in one place."""

import pandas as pd
import pytest

from ifcore import io
from study.claims import verdicts
from study.commands import verify

ROWS = [
    ("mixed", "exact", "accuracy", 0.5, 0.4, 0.6, 20, 0.1, 1),
    ("mixed", "exact", "accuracy", 0.8, 0.7, 0.9, 20, 0.01, 1),  # of another damping
    ("mixed", "exact", "loss", 2.0, None, None, 20, 0.1, 1),
    ("mixed", "exact", "seconds", 3.0, None, None, 20, 0.1, 1),
    ("mixed", "exact", "loss", 1.0, None, None, 20, 0.1, 2),
]
COLUMNS = ["dataset", "method", "metric", "value", "ci_low", "ci_high", "n_val", "damping", "epoch"]
FRAME = pd.DataFrame(ROWS, columns=COLUMNS)


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A checkout with seeds 0 and 1 published, the losses of which are 0.1 apart, and the same seed 0 as a run."""
    (tmp_path / "notebooks" / "profiles").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    shifted = FRAME.assign(value=FRAME.value + 0.1 * (FRAME.metric == "loss"))
    for seed, frame in enumerate((FRAME, shifted)):
        leave(tmp_path / "results" / "published" / "p" / f"seed-{seed}", frame)
    leave(tmp_path / "results" / "p" / "seed-0", FRAME)
    return tmp_path


def leave(folder, frame, digest="d"):
    io.write_csv(folder / "table.csv", frame)
    io.write_json(folder / "run.json", {"digest": digest})


def changed(row, **values):
    frame = FRAME.copy()
    for name, value in values.items():
        frame.loc[row, name] = value
    return frame


def verified(root, frame):
    """The comparison of a run of that table."""
    leave(root / "results" / "p" / "seed-0", frame)
    (comparison,) = verify.verify(root, "p")
    return comparison


def run(monkeypatch, *arguments):
    monkeypatch.setattr("sys.argv", ["verify", *arguments])
    return verify.main()


def test_equal_tables_agree_in_any_order_of_rows(root, monkeypatch, capsys):
    comparison = verified(root, FRAME[::-1])
    assert (comparison.agree, comparison.noise, comparison.differ, comparison.left_out) == (4 + 4 + 4, 0, [], 2)
    assert run(monkeypatch, "p") == 0
    assert "12 values agree, 0 differ within noise, 0 differ" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("row", "values"),
    [
        (0, {"value": 0.59}),  # inside its interval
        (0, {"ci_low": 0.31}),  # moved by less than half the interval
        (2, {"value": 2.19}),  # the seeds are 2.0 and 2.1: mean 2.05, s.d. 0.0707
    ],
)
def test_a_value_inside_the_published_interval_or_spread_differs_within_noise(root, row, values):
    comparison = verified(root, changed(row, **values))
    assert (comparison.noise, comparison.differ) == (1, [])


@pytest.mark.parametrize(
    ("row", "values", "line"),
    [
        (1, {"value": 0.69}, "mixed, exact, accuracy, damping 0.01, epoch 1: value published 0.8, this run 0.69"),
        (0, {"ci_high": 0.71}, "ci_high published 0.6, this run 0.71"),
        (2, {"value": 2.2}, "loss, damping 0.1, epoch 1: value published 2, this run 2.2"),
        (0, {"n_val": 21}, "n_val published 20, this run 21"),
        (0, {"value": None}, "value published 0.5, this run nan"),
    ],
)
def test_anything_further_away_differs_and_is_named(root, monkeypatch, capsys, row, values, line):
    comparison = verified(root, changed(row, **values))
    assert (
        len(comparison.differ) == 1
        and comparison.differ[0].startswith("table, seed-0, ")
        and line in comparison.differ[0]
    )
    assert run(monkeypatch, "p", "0") == 1
    assert comparison.differ[0] in capsys.readouterr().out


def test_a_missing_row_column_or_table_differs_and_is_named(root, monkeypatch):
    assert verified(root, FRAME.drop(0)).differ == [
        "table, seed-0, mixed, exact, accuracy, damping 0.1, epoch 1: the row is missing"
    ]
    assert verified(root, FRAME.drop(columns="ci_low")).differ == ["table, seed-0: the column ci_low is missing"]
    (root / "results" / "p" / "seed-0" / "table.csv").unlink()
    assert verify.verify(root, "p")[0].differ == ["table, seed-0: the table is missing"]
    assert run(monkeypatch, "p") == 1


def test_what_depends_on_the_machine_is_left_out_and_what_is_new_is_counted(root):
    comparison = verified(root, pd.concat([changed(3, value=300.0), changed(0, method="new")[:1]]))
    assert (comparison.differ, comparison.left_out, comparison.further) == ([], 2, 1)


def test_where_there_is_nothing_to_compare_a_line_says_what_to_do(root, monkeypatch, capsys):
    def error(*arguments):
        assert run(monkeypatch, *arguments) == 2
        (line,) = capsys.readouterr().err.splitlines()
        return line

    assert error("q") == "PROFILE=q: no tables of it in results/published; choose from p"
    assert error("p", "1") == "results/p/seed-1: not run; make book PROFILE=p SEED=1 first"
    assert error("p", "7") == "SEED=7: not published of p; choose from 0, 1"
    leave(root / "results" / "p" / "seed-0", FRAME, digest="another")
    assert "digest another, published with d" in error("p")
    (root / "results" / "p").rename(root / "results" / "moved")
    assert error("p") == "results/p: no seed that is published; make book PROFILE=p SEED=0 first"


@pytest.mark.parametrize(
    ("verdict", "counts"),
    [(verdicts.SUPPORTED, (2, 0, 0)), (verdicts.OPEN, (1, 1, 0)), (verdicts.NOT_SUPPORTED, (1, 0, 1))],
)
def test_an_opposite_verdict_differs_and_one_that_is_open_does_within_noise(verdict, counts):
    published = pd.DataFrame({"claim": ["error", "question"], "verdict": [verdicts.OPEN, verdicts.SUPPORTED]})
    comparison = verify.compare_verdicts(published, published.assign(verdict=[verdicts.OPEN, verdict]))
    assert (comparison.agree, comparison.noise, len(comparison.differ)) == counts
    assert all(each in line for line in comparison.differ for each in ("question", verdicts.SUPPORTED, verdict))


def test_verdicts_are_compared_where_all_published_seeds_ran(root):
    scorecard = pd.DataFrame({"claim": ["undone"], "verdict": [verdicts.SUPPORTED]})
    io.write_csv(root / "results" / "published" / "p" / "scorecard.csv", scorecard)
    assert [each.table for each in verify.verify(root, "p")] == ["table"]
    leave(root / "results" / "p" / "seed-1", FRAME)
    comparison = verify.verify(root, "p")[-1]
    assert (comparison.table, comparison.noise) == ("scorecard", 1)  # of such tables nothing can be decided
