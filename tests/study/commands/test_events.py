import json

from study.commands import events


def test_events_are_lines_in_the_file_that_the_environment_names(tmp_path, monkeypatch):
    monkeypatch.setenv("IFCORE_EVENTS", str(tmp_path / "events"))
    events.emit("é\n", "begun")
    events.emit("a", "failed", "x: 1")
    lines = [json.loads(line) for line in (tmp_path / "events").read_text().splitlines()]
    assert lines == [
        {"output": "é\n", "state": "begun", "error": ""},
        {"output": "a", "state": "failed", "error": "x: 1"},
    ]


def test_nothing_is_written_where_nobody_watches_and_no_work_stops_where_it_cannot_be(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("IFCORE_EVENTS", raising=False)
    events.emit("a", "begun")
    for name in ("", "no/such/folder/events", str(tmp_path)):
        monkeypatch.setenv("IFCORE_EVENTS", name)
        events.emit("a", "begun")
    assert list(tmp_path.iterdir()) == []
