import json

from study.pipeline import code_fingerprint, events, stages, steps


def read_events(file):
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_events_are_lines_in_the_file_that_the_environment_names(tmp_path, monkeypatch):
    monkeypatch.setenv("IFCORE_EVENTS", str(tmp_path / "events"))
    events.emit("stage", folder="é\n", state="begun")
    events.emit("chapter", seed=3)
    assert read_events(tmp_path / "events") == [
        {"kind": "stage", "folder": "é\n", "state": "begun"},
        {"kind": "chapter", "seed": 3},
    ]


def test_nothing_is_written_where_nobody_watches_and_no_work_stops_where_it_cannot_be(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("IFCORE_EVENTS", raising=False)
    events.emit("stage")
    for name in ("", "no/such/folder/events", str(tmp_path)):
        monkeypatch.setenv("IFCORE_EVENTS", name)
        events.emit("stage")
    assert list(tmp_path.iterdir()) == []


def test_a_stage_tells_when_it_begins_and_is_made_and_that_it_was_found(tmp_path, monkeypatch):
    monkeypatch.setenv("IFCORE_EVENTS", str(tmp_path / "events"))
    for _ in range(2):
        stages.Stage(tmp_path / "linear", "errors", {}).make(lambda: [], made_by=steps.score)
    lines = read_events(tmp_path / "events")
    assert [event["state"] for event in lines] == ["begun", "made", "found"]
    assert {(event["folder"], event["stage"]) for event in lines} == {(str(tmp_path / "linear"), "errors")}


def test_no_result_depends_on_the_code_that_tells():
    assert not [line for line in code_fingerprint.reached_code(steps) if line.startswith("study.pipeline.events")]
