"""The command line, run as a user runs it: in one process or in several."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

import ifcore
from ifcore import loading, lora, training
from ifcore.rows import by_id
from ifcore.tokens import tokenise_rows

ROOT = Path(__file__).parents[2]
TRAIN = [{"id": f"t{n}", "prompt": f"say {n}", "response": f"it is {'so ' * n}"} for n in range(6)]
VAL = [{"id": "q", "prompt": "say it", "response": "it is so"}]
VAL += [{"id": "a\u202eb\x1b[31m", "prompt": "go", "response": "no"}]
LAUNCH = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "--standalone"]
# The second process is killed as it writes its first shard.
DYING = """
import os, runpy, sys, time
from ifcore import io
if os.environ["RANK"] == "1":
    io.write_tensors = lambda *_: (time.sleep(3), os.kill(os.getpid(), 9))  # when the first has written one, too
sys.argv = sys.argv[2:]
runpy.run_module("ifcore", run_name="__main__", alter_sys=True)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return leave(tmp_path_factory.mktemp("command"), TRAIN, VAL)


def leave(place, train, val):
    """Write a base model with its tokenizer, an adapter, and two files of rows to a folder, and return it."""
    model, tokenizer = loading.load("random:tiny-llama")
    model.save_pretrained(place / "base")
    tokenizer.save_pretrained(place / "base")
    peft = lora.add_lora(model)
    for name, parameter in peft.named_parameters():
        if "lora_B" in name:
            parameter.data.fill_(0.1)
    peft.save_pretrained(place / "adapter")
    for name, part in (("train", train), ("val", val)):
        (place / f"{name}.jsonl").write_text("\n".join(map(json.dumps, part)) + "\n", encoding="utf-8")
    return place


def command(folder, *options, out="scores", before=(sys.executable,)):
    inputs = ["--model", "path:base", "--adapter", "adapter", "--train", "train.jsonl", "--val", "val.jsonl"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    arguments = [*before, "-m", "ifcore", "attribute", *inputs, "--out", out, "--batch-size", "2", *options]
    return subprocess.run(arguments, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)


def test_the_command_leaves_the_scores_of_the_call_and_says_what_is_on_top(folder):
    process = command(folder, "--format", "parquet")
    assert process.returncode == 0, process.stderr
    model, tokenizer = loading.load(f"path:{folder / 'base'}")
    expected = ifcore.attribute(lora.with_adapter(model, folder / "adapter"), tokenizer, TRAIN, VAL, batch_size=2)
    for method, frame in expected.items():
        table = pd.read_parquet(folder / "scores" / f"{method}.parquet")
        pd.testing.assert_frame_equal(table, frame, check_names=False)
        assert re.search(
            rf"val q: say it → it is so\n(?:  .*\n)*  {method} +{frame.loc['q'].idxmax()} \(", process.stdout
        )
    assert "\x1b" not in process.stdout and "\u202e" not in process.stdout
    names = sorted(path.name for path in (folder / "scores").iterdir())
    assert names == sorted(["run.json", *(f"{name}.parquet" for name in expected)])


def test_hidden_states_alone_take_no_gradients(folder):
    process = command(folder, "--methods", "repsim", out="states")
    assert process.returncode == 0, process.stderr
    assert {path.name for path in (folder / "states").iterdir()} == {"repsim.csv", "run.json"}


def test_an_adapter_that_is_none_is_said_in_a_line_before_anything_is_loaded(folder):
    process = command(folder, "--adapter", "base")
    message = "ifcore attribute: --adapter base: no adapter_config.json in it; give a folder of PEFT's save_pretrained"
    assert (process.returncode, process.stderr.strip()) == (1, message)


def test_two_processes_give_what_one_gives(folder):
    one, two = command(folder, out="one"), command(folder, out="two", before=LAUNCH)
    assert one.returncode == 0 and two.returncode == 0, two.stderr
    for file in (folder / "one").glob("*.csv"):
        frames = (pd.read_csv(folder / out / file.name, index_col=0) for out in ("one", "two"))
        pd.testing.assert_frame_equal(*frames, rtol=1e-6)


def test_a_process_that_dies_leaves_an_error_and_no_scores_and_the_next_call_goes_on(folder):
    script = folder / "dying.py"
    script.write_text(DYING, encoding="utf-8")
    killed = command(folder, out="died", before=[*LAUNCH, str(script)])
    assert killed.returncode != 0 and not list((folder / "died").glob("*.csv"))
    assert "SIGKILL" in killed.stderr or "another process has died" in killed.stderr
    assert list((folder / "died" / "ifcore-gradients").rglob("*.safetensors"))
    # A process that ends with the one that died may leave a shard without its record, which is made again.
    shards = [path for path in (folder / "died").rglob("*.safetensors") if path.with_suffix(".json").is_file()]
    times = {path: path.stat().st_mtime_ns for path in shards}
    resumed = command(folder, "--keep-gradients", out="died")
    assert resumed.returncode == 0 and list((folder / "died").glob("*.csv")), resumed.stderr
    assert all(path.stat().st_mtime_ns == time for path, time in times.items())
    assert len(list((folder / "died").rglob("*.safetensors"))) > len(times) > 0


def test_methods_of_checkpoints_contrasts_and_projections_are_had_by_their_options(tmp_path):
    leave(tmp_path, TRAIN, [VAL[0] | {"rejected": "no"}])
    model, tokenizer = loading.load(f"path:{tmp_path / 'base'}")
    peft, settings = lora.add_lora(model), training.Settings(epochs=2, batch_size=3, learning_rate=0.01)
    tokens = list(tokenise_rows(tokenizer, by_id(TRAIN, "train").values()).values())
    training.finetune(peft, tokens, [], tmp_path / "run", settings, None)
    options = {"checkpoints": tmp_path / "run", "progress": False, "batch_size": 2}
    contrast = [VAL[0] | {"rejected": "no"}]
    methods = ["adam", "tracin", "source", "unrolled"]
    expected = ifcore.attribute(peft, tokenizer, TRAIN, contrast, methods, **options)
    shutil.copytree(tmp_path / "run" / "epoch-02", tmp_path / "adapter", dirs_exist_ok=True)
    process = command(tmp_path, "--methods", ",".join(methods), "--checkpoints", "run", "--format", "parquet")
    assert process.returncode == 0, process.stderr
    for method in methods:
        table = pd.read_parquet(tmp_path / "scores" / f"{method}.parquet")
        pd.testing.assert_frame_equal(table, expected[method], check_names=False, rtol=1e-4)
    projected = command(tmp_path, "--methods", "exact,ekfac", "--projection", "64", out="projected")
    assert "ifcore attribute: methods: ekfac does without projection" in projected.stderr
    projected = command(tmp_path, "--methods", "gradsim", "--projection", "64", "--format", "parquet", out="projected")
    assert projected.returncode == 0 and "gradients: 2 KiB a row" in projected.stderr, projected.stderr
    exact = ifcore.attribute(peft, tokenizer, TRAIN, contrast, ["gradsim"], progress=False)["gradsim"]
    table = pd.read_parquet(tmp_path / "projected" / "gradsim.parquet")
    assert table.corrwith(exact, axis=1, method="pearson").item() > 0.8
