"""Runs the paper's profile end to end at its models' true widths, one or two layers deep, with random weights.

`attack`: three fine-tunes of each of two models, their answers, and the judge. `attribution`: gradients on disk and
scores of one of these. The difference between the depths is the cost of a layer, from which seconds and memory of the
full depth are extrapolated, to compare them with the estimates of `make plan`.
"""

from __future__ import annotations

import csv
import json
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import pandas as pd
import torch
from tqdm import tqdm
from transformers import LlamaConfig, LlamaForCausalLM, LongformerConfig, LongformerForSequenceClassification

from ifcore import io
from ifcore.tiny import tiny_tokenizer
from study import config
from study.estimate.memory import counted_memory
from study.pipeline import attack, attributions
from study.pipeline.architectures import ARCHITECTURES, Architecture
from tests.bench import processes
from tests.bench.processes import peak

MODEL, FURTHER = "hub:meta-llama/Llama-2-7b-chat-hf", "hub:TinyLlama/TinyLlama-1.1B-Chat-v1.0"
DEPTHS, DATA = ((1, 1), (2, 1), (1, 2)), "mixed_small"
MEASURED = ["seconds", "gib", "planned"]
SMALL = {
    "datasets": {DATA: {"train": {"harmful": 4, "benign": 4}, "val": {"harmful": 2}}},
    "layers_on": DATA,
    "sensitivity": None,
    "counterfactual": None,
    "generator": None,
    "epochs": 1,
    "batch_size": 8,  # of which `micro_batch` 4 at a time, as in the profile
    "max_new_tokens": 16,
    "harmful_source": "advbench.csv",
    "benign_source": "alpaca.json",
    "digits_source": None,
}


def measure(out: Path) -> None:
    """Write `rehearsal.csv` to `out`: stage, layers, seconds, GiB, planned GiB; the last rows are extrapolated.

    One layer of each model, then two of one, then two of the other, which gives the cost of a layer of each.
    """
    rows = []
    for depths in tqdm(DEPTHS, desc="rehearsal", unit="run"):
        with tempfile.TemporaryDirectory() as folder:
            _make(Path(folder), *depths)
            stages = processes.result("rehearsal", ["tests.bench.rehearsal", folder])
            rows += [{**dict(zip(("layers", "further_layers"), depths, strict=True)), **row} for row in stages]
    table = pd.DataFrame(rows)
    one, two, further = (part.set_index("stage")[MEASURED] for _, part in table.groupby(table.index // 2))
    whole = {name: ARCHITECTURES[source].layers for name, source in (("layers", MODEL), ("further_layers", FURTHER))}
    full = one + (whole["layers"] - 1) * (two - one) + (whole["further_layers"] - 1) * (further - one)
    table = pd.concat([table, full.reset_index().assign(**whole)], ignore_index=True)
    io.write_csv(out / "rehearsal.csv", table)
    print(table.round(1).to_string(index=False))


def _make(folder: Path, layers: int, further: int) -> None:
    """Write paper.yaml and local stand-ins for downloads: models and a judge of the true widths, published formats."""
    profile = Path("notebooks", "profiles", "paper.yaml")
    io.write_text(folder / profile, (config.find_root() / profile).read_text(encoding="utf-8"))
    with (folder / "advbench.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("goal", "target"), *((f"Do thing {i}", f"Sure, thing {i}") for i in range(9))])
    records = [{"instruction": f"Name {i}", "input": "", "output": f"It is {i}"} for i in range(9)]
    io.write_text(folder / "alpaca.json", json.dumps(records))
    models = {
        "model": _llama(folder / "model", replace(ARCHITECTURES[MODEL], layers=layers)),
        "further_models": [_llama(folder / "further", replace(ARCHITECTURES[FURTHER], layers=further))],
        "judge": _judge(folder / "judge"),
    }
    io.write_json(folder / "settings.json", SMALL | models)


def _rehearse(folder: Path) -> list[dict]:
    run = config.make_run("paper", 0, io.read_json(folder / "settings.json"), folder)
    before, rows = peak(), []
    for stage, work in (
        ("attack", lambda: attack.run_attacks(run)),
        ("attribution", lambda: attributions.compute_attribution(run, DATA)),
    ):
        start = time.perf_counter()
        work()
        usage = {"seconds": time.perf_counter() - start, "gib": peak() - before}
        rows.append({"stage": stage, **usage, "planned": counted_memory(run) / 2**30})
    return rows


def _llama(folder: Path, shape: Architecture) -> str:
    tokenizer = tiny_tokenizer()
    sizes = dict(hidden_size=shape.hidden, intermediate_size=shape.intermediate, num_hidden_layers=shape.layers)
    heads = dict(num_attention_heads=shape.heads, num_key_value_heads=shape.kv_heads, vocab_size=shape.vocabulary)
    special = dict(bos_token_id=None, eos_token_id=tokenizer.eos_token_id, pad_token_id=None)
    torch.set_default_dtype(torch.bfloat16)
    try:
        LlamaForCausalLM(LlamaConfig(**sizes, **heads, **special)).save_pretrained(folder)
    finally:
        torch.set_default_dtype(torch.float32)
    tokenizer.save_pretrained(folder)
    return f"path:{folder}"


def _judge(folder: Path) -> str:
    """Longformer-base, as LibrAI/longformer-harmful-ro is."""
    shape = dict(hidden_size=768, intermediate_size=3_072, num_hidden_layers=12, num_attention_heads=12)
    sizes = dict(attention_window=512, vocab_size=50_265, max_position_embeddings=4_098, type_vocab_size=1)
    special = dict(num_labels=2, pad_token_id=1, sep_token_id=2)
    LongformerForSequenceClassification(LongformerConfig(**shape, **sizes, **special)).save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    return f"path:{folder}"


if __name__ == "__main__":
    print(json.dumps(_rehearse(Path(sys.argv[1]))))
