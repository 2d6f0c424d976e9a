"""A step's record: what it says is believed only as it was written, and what a killed run left unfinished goes."""

import json
import os
from datetime import UTC, datetime

import pytest

from ifcore import io
from study.pipeline import stages
from study.pipeline.stages import Stage


@pytest.fixture
def stage(tmp_path):
    """Makes a step that leaves a file in a folder of its own: stage() -> how often it was built so far."""
    built = []

    def build():
        built.append(io.write_text(tmp_path / "shards" / "made.txt", "made"))
        return [tmp_path / "shards" / "made.txt"]

    def stage():
        Stage(tmp_path, "step", {"size": 3}, [tmp_path / "shards"]).make(build, made_by=Stage)
        return len(built)

    return stage


def test_a_step_is_built_once(stage):
    assert [stage(), stage()] == [1, 1]


def test_what_a_killed_one_goes_on_from_stays_until_the_record_is_written(tmp_path, monkeypatch):
    state = tmp_path / "shards" / "state"

    def make():
        stage = Stage(tmp_path, "step", {"size": 3}, [tmp_path / "shards"], [state])
        return stage.make(lambda: [io.write_text(state / "kept.txt", "kept")] and [], made_by=Stage)

    def die(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        make_record = io.write_sealed
        patch.setattr(io, "write_sealed", lambda path, record: die() if record["done"] else make_record(path, record))
        make()
    assert (state / "kept.txt").exists()
    make()
    assert not state.exists()


CHANGES = [('"seconds"', '"secondr"'), ('"files"', '"filer"'), ('"size": 3', '"size": 2')]


@pytest.mark.parametrize(("old", "new"), CHANGES)
def test_a_record_that_was_changed_is_no_record(stage, tmp_path, old, new):
    stage()
    record = tmp_path / "step.json"
    intact = record.read_text()
    record.write_text(intact.replace(old, new))
    assert stage() == 2
    assert {**json.loads(record.read_text()), "seconds": 0}.keys() == json.loads(intact).keys()


def test_a_record_of_an_earlier_version_counts(stage, tmp_path):
    stage()
    record = json.loads((tmp_path / "step.json").read_text())
    (tmp_path / "step.json").write_text(json.dumps({name: record[name] for name in record if name != io.SEAL}))
    assert stage() == 1


def test_what_a_killed_run_was_writing_is_removed_where_something_is_made_again(stage, tmp_path):
    stage()
    left = [tmp_path / ".123-made.txt", tmp_path / "tmpab12" / "gradients" / "train-0000.safetensors"]
    for path in left:
        io.write_text(path, "half")
    stage()
    assert all(path.exists() for path in left), "nothing was made"
    (tmp_path / "shards" / "made.txt").unlink()
    assert stage() == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["shards", "step.json"]


def test_the_newest_stage_is_that_of_those_which_this_process_made_or_found(stage, tmp_path, monkeypatch):
    monkeypatch.setattr(stages, "SECONDS", {})
    assert stages.newest() is None
    stage()
    os.utime(tmp_path / "step.json", (0, 0))
    assert stages.newest() == datetime.fromtimestamp(0, UTC)
