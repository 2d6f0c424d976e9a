"""Rows of text, the same from every format, and refused in one line that says where and why."""

import json

import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import parquet

from study.datasets import table_files

COLUMNS = ("prompts", "response", "variation")
ROWS = [
    ("Determine the rule: a b -> b a", "reverse", "Reverse Order of Words"),
    ("Say, in two lines:\n'nan'", 'line one\nline "two", 1', "NA"),
    ("Ünïcode \u2028 here", "-121", "1"),
]


def table(content=ROWS, columns=COLUMNS):
    return pa.table(dict(zip(columns, map(list, zip(*content, strict=True)), strict=True)))


def save_to_disk(folder, *shards, **state):
    """What `datasets.save_to_disk` leaves: a stream of record batches a shard, named in state.json."""
    folder.mkdir(parents=True, exist_ok=True)
    names = [f"data-{i:05d}-of-{len(shards):05d}.arrow" for i in range(len(shards))]
    for name, shard in zip(names, shards, strict=True):
        with pa.ipc.new_stream(str(folder / name), shard.schema) as stream:
            stream.write_table(shard, max_chunksize=2)
    (folder / "dataset_info.json").write_text("{}")
    (folder / "state.json").write_text(json.dumps({"_data_files": [{"filename": name} for name in names], **state}))
    return folder


def write(path, content=ROWS, columns=COLUMNS):
    """These rows in the format of the path's extension; a path without one becomes a folder."""
    frame = pd.DataFrame(content, columns=list(columns), dtype=object)
    if path.suffix == ".jsonl":
        frame.to_json(path, orient="records", lines=True)
    elif path.suffix == ".csv":
        frame.to_csv(path)  # with its index, a column without a name
    elif path.suffix == ".parquet":
        parquet.write_table(table(content, columns), path)
    else:
        save_to_disk(path, table(content, columns))
    return path


def complaint(path):
    with pytest.raises(ValueError) as error:
        table_files.read(path, COLUMNS)
    message = str(error.value)
    assert "\n" not in message and "; " in message and message.startswith(str(path))
    return message


NAMES = ["x.jsonl", "x.csv", "x.parquet", "x"]


@pytest.mark.parametrize("name", NAMES)
def test_every_format_gives_the_same_text_and_leaves_other_columns_alone(tmp_path, name):
    more = [(number, *row) for number, row in enumerate(ROWS)]
    assert table_files.read(write(tmp_path / name, more, ("id", *COLUMNS)), COLUMNS) == ROWS


@pytest.mark.parametrize("name", NAMES)
def test_a_missing_column_and_an_empty_cell_are_named(tmp_path, name):
    path = write(tmp_path / name, ROWS, ("prompt", "response", "variation"))
    assert "no column 'prompts' (found " in (message := complaint(path)) and "prompt, response" in message
    for i, column in enumerate(COLUMNS):
        blank = [*ROWS[:2], tuple(" " if each == column else "x" for each in COLUMNS)]
        assert f", row 3, column {COLUMNS[i]}: empty" in complaint(write(tmp_path / name, blank))


@pytest.mark.parametrize("name", ["x.jsonl", "x.parquet", "x"])
def test_what_is_not_text_is_named(tmp_path, name):
    path = write(tmp_path / name, [("a", "b", 3)])
    assert ", row 1, column variation: a value of type int where text is needed" in complaint(path)
    assert "column response: empty" in complaint(write(path, [("a", None, "c")]))


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("{'prompts'", "row 3: not JSON ("),
        ("", "row 3: not JSON ("),
        ("[1]", "row 3: a value of type list, not an object"),
        ("[" * 100_000, "row 3: not JSON ("),
        ('{"prompts": "a", "response": "b"}', "row 3: no column 'variation' (found prompts, response)"),
        ('{"prompts": "a", "response": "\\ud800", "variation": "c"}', "row 3, column response: half a character"),
    ],
)
def test_a_bad_line_of_json_is_named_by_its_number_in_the_file(tmp_path, line, words):
    good = json.dumps(dict(zip(COLUMNS, "abc", strict=True)))
    (tmp_path / "x.jsonl").write_text(f"{good}\n{good}\n{line}\n{good}\n\n")
    assert words in complaint(tmp_path / "x.jsonl")


@pytest.mark.parametrize("name", ["x.csv", "x.parquet", "x"])
def test_a_table_without_rows_is_refused(tmp_path, name):
    path = write(tmp_path / name)
    if path.suffix == ".csv":
        path.write_text(",".join(COLUMNS))
    elif path.suffix:
        parquet.write_table(table()[:0], path)
    else:
        save_to_disk(path, table()[:0])
    assert complaint(path) == f"{path}: no rows; give one that has some"


def test_two_columns_of_one_name_are_refused(tmp_path):
    (tmp_path / "x.csv").write_text("prompts,response,variation,response\na,b,c,d\n")
    assert "2 columns 'response'" in complaint(tmp_path / "x.csv")


def test_shards_are_read_in_the_order_of_the_folders_record_and_leftovers_are_not(tmp_path):
    folder = save_to_disk(tmp_path / "x", table([("leftover", "b", "c")]))
    save_to_disk(folder, table(ROWS[1:]), table(ROWS[:1]))
    assert table_files.read(folder, COLUMNS) == [*ROWS[1:], ROWS[0]]
    save_to_disk(folder, table(ROWS[:2]), table([("a", "", "c")]))
    assert ", row 3, column response: empty" in complaint(folder)


def test_a_folder_that_is_not_whole_is_refused(tmp_path):
    folder = save_to_disk(tmp_path / "x", table(), _indices_data_files=[{"filename": "indices.arrow"}])
    assert "flatten_indices()" in complaint(folder)
    (save_to_disk(folder, table()) / "data-00000-of-00001.arrow").unlink()
    assert "data-00000-of-00001.arrow: not read (" in complaint(folder)
    (folder / "state.json").unlink()
    assert "no state.json" in complaint(folder)


@pytest.mark.parametrize("name", ["x.csv", "x.jsonl", "x.parquet"])
def test_a_file_that_is_not_what_it_is_called_is_refused(tmp_path, name):
    (tmp_path / name).write_bytes(b"\xff\xfe\x00[")
    assert "not " in complaint(tmp_path / name)


def test_an_arrow_file_whose_offsets_point_outside_it_is_refused_not_followed(tmp_path):
    file = save_to_disk(tmp_path / "x", table([("a", "b", "c"), ("d", "e", "f")])) / "data-00000-of-00001.arrow"
    sound, wild = (b"".join(each.to_bytes(4, "little") for each in ends) for ends in ((0, 1, 2), (0, 1, 1 << 30)))
    assert sound in file.read_bytes()
    file.write_bytes(file.read_bytes().replace(sound, wild))
    with pytest.raises(ValueError, match="data-00000-of-00001.arrow: not read"):
        table_files.read(file.parent, COLUMNS)
