import pandas as pd

from ifcore import io
from study.chapters.speed import memory
from study.chapters.speed.measured import HERE, measured
from tests.study.chapters.speed.test_show import leave


def test_what_does_not_fit_in_memory_is_told_where_it_was_measured(tmp_path):
    leave(tmp_path / HERE)
    assert memory.large_text(measured(tmp_path)[0]) is None
    assert memory.rehearsal_table(measured(tmp_path)[0]) is None
    row = {"train": 1900, "val": 100, "parameters": 2_097_152, "gb": 16.8, "seconds": 90, "gib": 2.1, "gib_before": 0.4}
    io.write_csv(tmp_path / HERE / "large.csv", pd.DataFrame([row]))
    row = {"layers": 1, "further_layers": 1, "stage": "attack", "seconds": 60, "gib": 3, "planned": 2.5}
    told = row | {"layers": 32, "further_layers": 22, "seconds": 2_000, "gib": 20}
    io.write_csv(tmp_path / HERE / "rehearsal.csv", pd.DataFrame([row, told]))
    ours = measured(tmp_path)[0]
    assert "16.8 GB" in memory.large_text(ours).text and "2.10 GiB at most" in memory.large_text(ours).text
    rows = memory.rehearsal_table(ours).rows
    assert rows[0][3:] == ["60.0 s", "3.0", "2.5", ""]
    assert rows[1][3:] == ["33.3 minutes", "20.0", "2.5", "*extrapolated*"]
    assert memory.rehearsal_table(ours).frame.attrs["made"] == ["results/bench/rehearsal.csv"]
