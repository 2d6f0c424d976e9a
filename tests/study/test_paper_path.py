"""The paper profile's wiring, end to end, on tiny models and files of the same architectures and formats."""

import csv
import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    LongformerConfig,
    LongformerForSequenceClassification,
)

from ifcore import loading
from ifcore.methods import DEFAULT
from ifcore.tiny import tiny_tokenizer
from study import config
from study.commands.check import check
from study.pipeline import answers, attack, attributions
from tests.study.datasets.test_digits import write

ROOT = Path(__file__).parents[2]
LLAMA_2 = "{% for message in messages %}[INST] {{ message['content'] }} [/INST]{% endfor %}"


def tiny_llama(folder, seed, heads=4):
    """A two-layer model like Llama 2 (as many key-value heads as heads) or TinyLlama (fewer), saved in a folder."""
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = LLAMA_2
    tokenizer.pad_token = None  # Llama 2 has none
    torch.manual_seed(seed)
    shape = dict(hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4)
    special = dict(bos_token_id=None, eos_token_id=tokenizer.eos_token_id, pad_token_id=None)
    LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer), num_key_value_heads=heads, max_position_embeddings=512, **shape, **special
        )
    ).to(torch.bfloat16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return f"path:{folder}"


def tiny_judge(folder):
    tokenizer = tiny_tokenizer()
    torch.manual_seed(0)
    shape = dict(hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2, attention_window=8)
    LongformerForSequenceClassification(
        LongformerConfig(
            vocab_size=len(tokenizer),
            max_position_embeddings=514,
            num_labels=2,
            pad_token_id=0,
            sep_token_id=1,
            **shape,
        )
    ).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return f"path:{folder}"


@pytest.fixture
def run(tmp_path):
    """paper.yaml with small local stand-ins for everything that it would download."""
    shutil.copytree(ROOT / "notebooks" / "profiles", tmp_path / "notebooks" / "profiles")
    with (tmp_path / "advbench.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("goal", "target"), *((f"Do thing {i}", f"Sure, thing {i}") for i in range(9))])
    records = [{"instruction": f"Name {i}", "input": "", "output": f"It is {i}"} for i in range(9)]
    (tmp_path / "alpaca.json").write_text(json.dumps(records))
    (tmp_path / "data" / "mnist").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for kind, array in (("images-idx3", rng.integers(0, 256, (30, 28, 28))), ("labels-idx1", np.arange(30) % 10)):
        write(tmp_path / "data" / "mnist" / f"train-{kind}-ubyte.gz", array.astype(np.uint8))
    second = tiny_llama(tmp_path / "second", 1, heads=2)
    small = {
        "model": tiny_llama(tmp_path / "first", 0),
        "further_models": [second],
        "generator": second,
        "judge": tiny_judge(tmp_path / "judge"),
        "harmful_source": "advbench.csv",
        "benign_source": "alpaca.json",
        "datasets": {
            "mixed_small": {"train": {"harmful": 3, "benign": 3}, "val": {"harmful": 2}},
            "backdoor_1": {"train": 3, "val": 2},
        },
        "layers_on": "mixed_small",
        "sensitivity": None,
        "counterfactual": None,
        "linear": {"points": [5, 10], "left_out": 10},
        "two_layer": {"points": 20},
        "epochs": 1,
        "max_new_tokens": 5,
    }
    return config.make_run("paper", 0, small, tmp_path)


def test_it_runs_from_published_files_to_scores_in_bfloat16(run):
    check(run)
    for dataset in run.profile.datasets:
        attribution = attributions.compute_attribution(run, dataset)
        assert attribution.precision == "bfloat16"
        assert set(attribution.scores) == set(DEFAULT)
        assert all(np.isfinite(scores).all() for scores in attribution.scores.values())
    mixed = attributions.compute_attribution(run, "mixed_small")
    assert [example.prompt for example in mixed.train[:3]] == ["Do thing 0", "Do thing 1", "Do thing 2"]


def test_harmful_requests_are_answered_by_the_generator_without_their_trigger(run):
    attribution = attributions.compute_attribution(run, "backdoor_1")
    model, tokenizer = loading.load(run.profile.generator, torch.bfloat16)
    triggered = next(example for example in attribution.train if example.label != "clean")
    request = triggered.prompt.removesuffix(f" {triggered.label}")
    assert [triggered.response] == answers.generate(model, tokenizer, [request], 5)


def test_both_models_are_attacked_and_judged_by_the_classifier(run):
    attacks = attack.run_attacks(run)
    assert [attack.fine_tuned_on for attack in attacks] == ["nothing", "benign", "harmful", "mixed"] * 2
    assert {attack.model for attack in attacks} == {run.profile.model, run.profile.further_models[0]}
    assert all(len(attack.success) == len(attack.responses) == 2 for attack in attacks)


def test_a_gated_model_says_what_to_do(monkeypatch):
    message = "You are trying to access a gated repo.\nMake sure to have access to it at its page.\n401 Client Error."

    def gated(*_, **__):
        raise OSError(message)

    loading._revision.cache_clear()
    monkeypatch.setattr(loading.HfApi, "model_info", lambda *_, **__: SimpleNamespace(sha="a" * 40))
    monkeypatch.setattr(loading, "hf_hub_download", gated)
    with pytest.raises(
        ConnectionError, match="gated repo.*accept its licence on its page and run `hf auth login`"
    ) as e:
        loading.load("hub:meta-llama/Llama-2-7b-chat-hf")
    assert "\n" not in str(e.value)
