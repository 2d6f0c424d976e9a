"""Kinds of files: what editors, spreadsheets and exporters leave is read as it is meant, or refused in one line."""

import json

import pandas as pd
import pyarrow as pa
import pyarrow.parquet
import pytest

from ifcore.row_files import read_rows
from ifcore.rows import by_id
from ifcore.tokens import tokenise_rows
from tests.example_cases import IGNORE, Refused, chatml, marked, turns
from tests.tokenizers_and_templates import build_tokenizer

ONE = '{"prompt": "Hi", "response": "Yes"}'
TWO = '{"prompt": "Bye", "response": "No"}'
PAIRS = [("Hi", "Yes"), ("Bye", "No")]
ODD = '{"prompt": "Hi", "response": "Y\u2028es\u0085"}'


def lines(*rows, **options):
    return "\n".join(json.dumps(row, **options) for row in rows)


FILES = {  # name: content, and the prompts and responses that it holds or an error
    "lines.jsonl": (f"{ONE}\n{TWO}\n", PAIRS),
    "no end.jsonl": (f"{ONE}\n{TWO}", PAIRS),
    "crlf.jsonl": (f"{ONE}\r\n{TWO}\r\n", PAIRS),
    "cr.jsonl": (f"{ONE}\r{TWO}\r", PAIRS),
    "blank.jsonl": (f"\n\n{ONE}\n  \n{TWO}\n\n", PAIRS),
    "bom.jsonl": (f"\ufeff{ONE}\n{TWO}\n", PAIRS),
    "utf16.jsonl": (f"{ONE}\n{TWO}\n".encode("utf-16"), PAIRS),
    "utf16be.jsonl": (b"\xfe\xff" + f"{ONE}\n{TWO}\n".encode("utf-16-be"), PAIRS),
    "utf16 without a mark.jsonl": (f"{ONE}\n".encode("utf-16-le"), Refused(".jsonl", "UTF-8")),
    "utf32.jsonl": (f"{ONE}\n{TWO}\n".encode("utf-32"), Refused(".jsonl", "UTF-8")),
    "separators.jsonl": (f"{ODD}\n{TWO}\n", [("Hi", "Y\u2028es\u0085"), PAIRS[1]]),
    "latin1.jsonl": (lines({"prompt": "Ça", "response": "é"}, ensure_ascii=False).encode("latin-1"),
        Refused("not UTF-8 (byte 12)", "save it in UTF-8")),
    "half.jsonl": ('{"prompt": "\\ud83d", "response": "Yes"}',
        Refused("half.jsonl, line 1", r"'\ud83d' is half of a character")),
    "pair.jsonl": ('{"prompt": "\\ud83d\\ude42", "response": "Yes"}', [("🙂", "Yes")]),
    "nan.jsonl": ('{"prompt": "Hi", "response": NaN}', Refused("nan.jsonl, line 1", "response")),
    "nan beside.jsonl": ('{"prompt": "Hi", "response": "Yes", "score": NaN}', PAIRS[:1]),
    "empty.jsonl": ("", Refused("empty.jsonl", "no examples", "give one or more")),
    "spaces.jsonl": (" \n \n", Refused("spaces.jsonl", "no examples")),
    "only a bom.jsonl": ("\ufeff", Refused("only a bom.jsonl", "no examples")),
    "half a row.jsonl": (f'{ONE}\n{{"prompt": "a", "resp',
        Refused("half a row.jsonl, line 2: not JSON", "one object a line")),
    "python.jsonl": ("{'prompt': 'a', 'response': 'b'}",
        Refused("python.jsonl, line 1: not JSON", "one object a line")),
    "comma.jsonl": (f"{ONE},\n{TWO}\n", Refused("comma.jsonl, line 1: not JSON", "one object a line")),
    "numbers.jsonl": ("1\n", Refused("numbers.jsonl, line 1: int, not an object")),
    "lists.jsonl": (f'{ONE}\n["Hi", "Yes"]\n', Refused("lists.jsonl, line 2: list, not an object")),
    "null.jsonl": (f"{ONE}\nnull\n", Refused("null.jsonl, line 2", "not an object")),
    "deep.jsonl": ('{"prompt": ' + "[" * 100_000, Refused("deep.jsonl, line 1: not JSON")),
    "no answer.jsonl": (f'{ONE}\n\n{{"prompt": "a"}}',
        Refused("no answer.jsonl, line 3: no completion", "it needs")),
    "key twice.jsonl": ('{"prompt": "Ho", "prompt": "Hi", "response": "Yes"}', PAIRS[:1]),
    "array.json": (f"[{ONE},\n {TWO}]", PAIRS),
    "array pretty.json": (json.dumps([json.loads(ONE), json.loads(TWO)], indent=2), PAIRS),
    "array of lines.json": (f"{ONE}\n{TWO}\n", PAIRS),
    "array with comma.json": (f"[{ONE}, {TWO},]", Refused("array with comma.json", "not JSON", "array of objects")),
    "array empty.json": ("[]", Refused("array empty.json", "no examples")),
    "array of a text.json": (f'[{ONE}, "a"]', Refused("array of a text.json, row 1: str, not an object")),
    "array of nested.json": (f'[{ONE}, {{"messages": [{{"role": "user", "content": {{}}}}]}}]',
        Refused("array of nested.json, row 1, messages, 0, content: {} is no text")),
    "object.json": (f'{{"data": [{ONE}, {TWO}]}}', Refused("object.json", "data")),
    "object pretty.json": (json.dumps(json.loads(ONE), indent=2),
        Refused("object pretty.json, line 1: not JSON", "array of objects")),
    "commas.csv": ("prompt,response\nHi,Yes\nBye,No\n", PAIRS),
    "semicolons.csv": ("prompt;response\nHi;Yes\nBye;No\n", PAIRS),
    "tabs.csv": ("prompt\tresponse\nHi\tYes\nBye\tNo\n", PAIRS),
    "tabs.tsv": ("prompt\tresponse\nHi\tYes\nBye\tNo\n", PAIRS),
    "crlf.csv": ("prompt,response\r\nHi,Yes\r\nBye,No\r\n", PAIRS),
    "cr.csv": ("prompt,response\rHi,Yes\rBye,No\r", PAIRS),
    "bom.csv": ("\ufeffprompt,response\nHi,Yes\nBye,No\n", PAIRS),
    "utf16.csv": ("prompt\tresponse\nHi\tYes\nBye\tNo\n".encode("utf-16"), PAIRS),
    "quoted.csv": ('prompt,response\n"Hi, ""you""\nthere",Yes\n', [('Hi, "you"\nthere', "Yes")]),
    "quoted names.csv": ('"prompt";"response"\n"Hi";"Yes"\n', PAIRS[:1]),
    "more columns.csv": ("id,prompt,response,score\n007,Hi,Yes,1\n7,Bye,No,\n", PAIRS),
    "looks.csv": ("prompt,response\n007,null\nNaN,1e5\nTrue,None\n",
        [("007", "null"), ("NaN", "1e5"), ("True", "None")]),
    "brackets.csv": ('prompt,response\n[1] Hi,{Yes}\n"[1, 2]","{}"\n', [("[1] Hi", "{Yes}"), ("[1, 2]", "{}")]),
    "blank lines.csv": ("prompt,response\n\nHi,Yes\n,\nBye,No\n", PAIRS),
    "empty answer.csv": ("prompt,response\nHi,\n",
        Refused("empty answer.csv, line 2", "nothing in its loss", "skip_empty")),
    "no prompt.csv": ("prompt,response\n,Yes\n", Refused("no prompt.csv, line 2: no prompt")),
    "fewer.csv": ("prompt,response\nHi\n", Refused("fewer.csv, line 2: 1 cells for 2 fields", "quotes")),
    "more.csv": ("prompt,response\nHi,Yes,so\n", Refused("more.csv, line 2: 3 cells for 2 fields", "quotes")),
    "open.csv": ('prompt,response\n"Hi,Yes\n', Refused("open.csv, line 2: not CSV", "quotes")),
    "no header.csv": ("Hi,Yes\nBye,No\n", Refused("no header.csv, line 2", "none of the fields", "prompt")),
    "names twice.csv": ("prompt,prompt,response\nHi,Ho,Yes\n", Refused("names twice.csv", "prompt", "twice")),
    "empty.csv": ("", Refused("empty.csv", "no examples")),
    "header alone.csv": ("prompt,response\n", Refused("header alone.csv", "no examples")),
    "capitals.CSV": ("prompt,response\nHi,Yes\n", PAIRS[:1]),
    "alpaca.csv": ("instruction,input,output\nHi,,Yes\nBye,,No\n", PAIRS),
    "turns.csv": (
        'messages\n"[{""role"": ""user"", ""content"": ""Hi""}, {""role"": ""assistant"", ""content"": ""Yes""}]"\n',
        PAIRS[:1]),
    "html.jsonl": ("<!DOCTYPE html><html></html>", Refused("html.jsonl, line 1: not JSON")),
    "lfs.jsonl": ("version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 3\n",
        Refused("lfs.jsonl, line 1: not JSON")),
    "zipped.jsonl.gz": (b"\x1f\x8b\x08\x00\x00\x00\x00\x00", Refused("zipped.jsonl.gz", "UTF-8")),
    "torn.parquet": (b"PAR1 torn", Refused("torn.parquet: not Parquet", "save it again")),
    "torn.arrow": (b"ARROW1 torn", Refused("torn.arrow: not Arrow", "save it again")),
}  # fmt: skip


def assert_outcome(path, expected):
    """The file has the prompts and responses expected; or it is refused, in a line with the words expected."""
    tokenizer = build_tokenizer()
    if isinstance(expected, Refused):
        with pytest.raises((ValueError, OSError)) as raised:
            tokenise_rows(tokenizer, by_id(read_rows(path), "train").values())
        expected.check(str(raised.value))
        return
    rows = tokenise_rows(tokenizer, by_id(read_rows(path), "train").values())
    for tokens, (prompt, response) in zip(rows.values(), expected, strict=True):
        ids, labels = marked(chatml(f"u:{prompt}", f"A:{response}"))(tokenizer)
        end = len(tokens.ids)  # what follows the answer changes nothing
        assert (list(tokens.ids), list(tokens.labels)) == (ids[:end], labels[:end])
        assert all(label == IGNORE for label in labels[end:])


@pytest.mark.parametrize("name", FILES)
def test_a_file_is_read_as_it_is_meant_or_a_line_says_why_not(tmp_path, name):
    content, expected = FILES[name]
    (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    assert_outcome(tmp_path / name, expected)


FRAME = pd.DataFrame(PAIRS, columns=["prompt", "response"])
TABLE = pa.table({"prompt": ["Hi", "Bye"], "response": ["Yes", "No"], "messages": pa.nulls(2, pa.list_(pa.string()))})
NESTED = pa.table({"messages": [[turn | {"name": None} for turn in turns(f"u:{u}", f"a:{a}")] for u, a in PAIRS]})


def write_stream(path, table=TABLE):
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)


def write_file(path, table=TABLE):
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)


def save_to_disk(folder, parts=(TABLE,), **state):
    folder.mkdir()
    names = [f"data-{n:05}-of-{len(parts):05}.arrow" for n in range(len(parts))]
    for name, part in zip(names, parts, strict=True):
        write_stream(folder / name, part)
    content = {"_data_files": [{"filename": name} for name in names], "_format_type": None, "_split": None, **state}
    (folder / "state.json").write_text(json.dumps(content))
    (folder / "dataset_info.json").write_text("{}")


def dataset_dict(folder):
    folder.mkdir()
    (folder / "dataset_dict.json").write_text('{"splits": ["train", "test"]}')
    save_to_disk(folder / "train")


def folder_of(name, text):
    def write(folder):
        folder.mkdir()
        (folder / name).write_text(text)

    return write


BINARY = {
    "frame.parquet": (FRAME.to_parquet, PAIRS),
    "nested.parquet": (lambda path: pa.parquet.write_table(NESTED, path), PAIRS),
    "nulls.parquet": (lambda path: pa.parquet.write_table(TABLE, path), PAIRS),
    "by another name.bin": (FRAME.to_parquet, PAIRS),
    "no rows.parquet": (FRAME[:0].to_parquet, Refused("no rows.parquet", "no examples")),
    "other columns.parquet": (pd.DataFrame({"a": [1]}).to_parquet,
        Refused("other columns.parquet, row 0", "it needs")),
    "stream.arrow": (write_stream, PAIRS),
    "file.arrow": (write_file, PAIRS),
    "file.feather": (write_file, PAIRS),
    "saved": (save_to_disk, PAIRS),
    "saved in two": (lambda folder: save_to_disk(folder, (TABLE[:1], TABLE[1:])), PAIRS),
    "splits": (dataset_dict, Refused("splits: a dataset of train, test", "splits/train")),
    "folder": (folder_of("train.jsonl", ONE), Refused("folder", "state.json", "give a file")),
    "broken state": (folder_of("state.json", "{"), Refused("state.json", "save it again")),
    "other state": (folder_of("state.json", "{}"), Refused("state.json", "save it again")),
    "a shard gone": (folder_of("state.json", '{"_data_files": [{"filename": "gone.arrow"}]}'), Refused("gone.arrow")),
    "other splits": (folder_of("dataset_dict.json", "{}"), Refused("other splits", "save it again")),
    "shuffled": (lambda folder: save_to_disk(folder, _indices_data_files=[{"filename": "indices.arrow"}]),
        Refused("shuffled", "flatten_indices")),
}  # fmt: skip


@pytest.mark.parametrize("name", BINARY)
def test_tables_and_folders_of_arrow_are_read_or_a_line_says_why_not(tmp_path, name):
    write, expected = BINARY[name]
    write(tmp_path / name)
    assert_outcome(tmp_path / name, expected)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere.jsonl"):
        read_rows(tmp_path / "nowhere.jsonl")
