import pandas as pd
import pytest

from ifcore import io
from study.chapters.speed import show
from study.chapters.speed.benchmarks import LOCAL, PUBLISHED, read_benchmarks

SIZES = {"train": 40, "val": 20, "tokens": 3_840, "predicted": 1_440, "vocabulary": 49_152, "rank": 4, "gib": 2.0}
SIZES |= {"threads": 2, "version": ""}
SECONDS = {"floor": 10.0, "gradients": 10.4, "ifcore": 11.0, "bergson": 16.5, "kronfluence": 22.0}
SECONDS |= {"floor-bf16": 3.2, "ifcore-bf16": 4.0, "bergson-bf16": 8.0, "ifcore-ekfac": 12.0, "kronfluence-ekfac": 60.0}


def write_benchmarks(folder, factor=1.0):
    rows = [
        {"job": "small", "contender": name, "round": round_, "seconds": factor * seconds + round_, "off": 1e-6, **SIZES}
        for name, seconds in SECONDS.items()
        for round_ in (-1, 0, 1)
    ]
    io.write_csv(folder / "attribution.csv", pd.DataFrame(rows))
    sizes = {"train": 900, "val": 100, "blocks": 120, "parameters": 1_920}
    seconds = {
        "two products, float32": 2.0,
        "two products, float64": 4.0,
        "four methods": 6.0,
        "loops, extrapolated": 6e3,
    }
    seconds |= {"square, float32": 1.0, "square, float64": 2.0, "square, bfloat16": 0.5}
    works = [
        {"work": work, "round": round_, "seconds": median + round_, **sizes}
        | {"operations": 1e12 if work.startswith("square") else 4e11}
        for work, median in seconds.items()
        for round_ in (-0.1, 0, 0.1)
    ]
    io.write_csv(folder / "scores.csv", pd.DataFrame(works))
    grown = [{"growing": "training examples", "size": size, "seconds": size**1.5} for size in (2, 4, 8)]
    io.write_csv(folder / "scaling.csv", pd.DataFrame(grown))
    record = {"commit": "c" * 40, "dirty": False, "versions": {"torch": "2"}}
    io.write_json(folder / "run.json", {"processor": f"a processor × {factor:g}", "scores": record, "scaling": record})


def test_this_machines_measurements_come_first_and_the_published_stand_beside(tmp_path):
    with pytest.raises(ValueError, match="make bench measures"):
        read_benchmarks(tmp_path)
    write_benchmarks(tmp_path / PUBLISHED)
    local, published = read_benchmarks(tmp_path)
    assert published is None and local.published
    assert show.jobs_table(local, published).header[-1] == "Off by"
    write_benchmarks(tmp_path / LOCAL, factor=2)
    local, published = read_benchmarks(tmp_path)
    assert show.about_text(local).text == (
        "Measured on this machine: a processor × 2; 2 threads; torch 2; commit cccccccccc."
    )
    rows = {row[0]: row for row in show.jobs_table(local, published).rows}
    row = rows["ifcore"]
    assert (row[2], row[3], row[-1]) == ("22.0<br>[21.0, 23.0]", "1.10", "11.0")
    assert rows["ifcore, bfloat16"][3] == "1.25", "over the bare pass in bfloat16"
    assert any(name.endswith("; 3 rounds*") for name in rows)


def test_what_was_published_from_here_is_shown_once_and_what_is_not_whole_never(tmp_path):
    write_benchmarks(tmp_path / PUBLISHED)
    write_benchmarks(tmp_path / LOCAL)
    assert read_benchmarks(tmp_path)[1] is None
    rows = pd.read_csv(tmp_path / LOCAL / "attribution.csv")
    io.write_csv(tmp_path / LOCAL / "attribution.csv", rows[rows.contender != "floor"])
    assert read_benchmarks(tmp_path)[0].published


def test_sentences_have_the_ratios_of_the_medians(tmp_path):
    write_benchmarks(tmp_path / LOCAL)
    benchmarks, _ = read_benchmarks(tmp_path)
    text = show.jobs_text(benchmarks).text
    for words in ("take 1.04 times", "bergson, the fastest peer, takes 1.5 ×", "is 4.1 × as fast as the fastest peer"):
        assert words in text
    assert "2.0 × as fast as bergson in bfloat16" in text and "EK-FAC takes kronfluence 5.0 × as long" in text
    assert "1.50 times" in show.scores_text(benchmarks).text and "1,000 ×" in show.scores_text(benchmarks).text
    assert show.scaling_table(benchmarks).rows[0][2].startswith("1.50 ± 0.00")


def test_a_rate_is_shown_as_a_share_of_what_a_product_reaches(tmp_path):
    write_benchmarks(tmp_path / LOCAL)
    rows = show.bounds_table(read_benchmarks(tmp_path)[0]).rows
    (row,) = (row for row in rows if row[0] == "two products of gradients" and row[1] == "float32")
    assert row[2:] == ["400", "2.00", "200", "20"]  # 4e11 operations in 2 s, where 1e12 took 1 s


def test_what_does_not_fit_in_memory_is_shown_where_it_was_measured(tmp_path):
    write_benchmarks(tmp_path / LOCAL)
    assert show.large_text(read_benchmarks(tmp_path)[0]) is None
    assert show.rehearsal_table(read_benchmarks(tmp_path)[0]) is None
    row = {"train": 1900, "val": 100, "parameters": 2_097_152, "gb": 16.8, "seconds": 90, "gib": 2.1, "gib_before": 0.4}
    io.write_csv(tmp_path / LOCAL / "large.csv", pd.DataFrame([row]))
    row = {"layers": 1, "further_layers": 1, "stage": "attack", "seconds": 60, "gib": 3, "planned": 2.5}
    extrapolated = row | {"layers": 32, "further_layers": 22, "seconds": 2_000, "gib": 20}
    io.write_csv(tmp_path / LOCAL / "rehearsal.csv", pd.DataFrame([row, extrapolated]))
    benchmarks = read_benchmarks(tmp_path)[0]
    text, table = show.large_text(benchmarks).text, show.rehearsal_table(benchmarks)
    assert "16.8 GB" in text and "2.10 GiB at most" in text
    assert table.rows[0][3:] == ["60.0 s", "3.0", "2.5", ""]
    assert table.rows[1][3:] == ["33.3 minutes", "20.0", "2.5", "*extrapolated*"]
    assert table.frame.attrs["made"] == ["results/bench/rehearsal.csv"]
