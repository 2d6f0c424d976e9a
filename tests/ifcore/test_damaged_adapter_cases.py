"""Damaged adapters and bases: refused in one line, by loading or by each method."""

import shutil

import pytest
import torch
from safetensors.torch import load_file
from transformers import LlamaConfig, LlamaForCausalLM

from tests.example_cases import Refused
from tests.saved_adapters import CONFIG, WEIGHTS, assert_refused, change_tensors, edit_config
from tests.tokenizers_and_templates import build_tokenizer

LAYER = "base_model.model.model.layers.0.self_attn"


def changing(change):
    """What a change of the adapter's tensors by name does to its folder."""
    return lambda folder: change_tensors(folder / WEIGHTS, change)


def changing_first(change):
    return changing(lambda saved: saved | {(name := min(saved)): change(saved[name])})


def renaming(old, new):
    return changing(lambda saved: {name.replace(old, new): tensor for name, tensor in saved.items()})


def only_layer_0(saved):
    return {name: tensor for name, tensor in saved.items() if "layers.0" in name}


def editing(**values):
    return lambda folder: edit_config(folder, **values)


def writing(name, content):
    return lambda folder: (folder / name).write_bytes(content)


def removing(pattern):
    return lambda folder: [path.unlink() for path in folder.glob(pattern)]


def tear_weights(folder):
    (folder / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes()[:100])


def pickle_weights(folder):
    torch.save(load_file(folder / WEIGHTS), folder / "adapter_model.bin")
    (folder / WEIGHTS).unlink()


def move_into_checkpoints(folder):
    for step in (10, 20):
        shutil.copytree(folder, folder / f"checkpoint-{step}", ignore=shutil.ignore_patterns("checkpoint-*"))
    removing("adapter_*")(folder)


def onto_a_wider_base(folder):
    config = LlamaConfig.from_pretrained(folder.with_name("base"), hidden_size=32, num_attention_heads=4)
    LlamaForCausalLM(config).save_pretrained(folder.with_name("wider"))
    build_tokenizer().save_pretrained(folder.with_name("wider"))
    edit_config(folder, base_model_name_or_path=str(folder.with_name("wider")))


def put_an_adapter_inside(folder):
    shutil.copytree(folder.with_name("adapter"), folder, dirs_exist_ok=True)


def leave_out_a_weight(folder):
    missing = "model.layers.1.mlp.up_proj.weight"
    change_tensors(folder / "model.safetensors", lambda saved: {n: saved[n] for n in saved if n != missing})


@pytest.fixture
def folder(bases, saved_lora, tmp_path):
    """A base and an adapter on it that may be damaged."""
    shutil.copytree(bases / "base", tmp_path / "base")
    shutil.copytree(saved_lora[0], tmp_path / "adapter")
    edit_config(tmp_path / "adapter", base_model_name_or_path=str(tmp_path / "base"))
    return tmp_path


DAMAGES = {
    "compiled": (renaming("base_model.model.", "base_model.model._orig_mod."),
        Refused("_orig_mod.", "compiled", "take _orig_mod. out of the names")),
    "compiled inside": (renaming("self_attn.", "self_attn._orig_mod."), Refused("_orig_mod.", "compiled")),
    "half missing": (changing(only_layer_0), Refused(f"{WEIGHTS} has no", "layers.1", "save it again")),
    "one missing": (changing(lambda saved: {key: saved[key] for key in sorted(saved)[1:]}),
        Refused(f"{WEIGHTS} has no", "layers.0", "save it again")),
    "one renamed": (renaming("layers.0.self_attn.q_proj", "layers.0.self_attn.query"),
        Refused("has no", f"{LAYER}.q_proj", "query")),
    "one too many": (changing(lambda saved: saved | {f"{LAYER}.out.lora_A.weight": torch.ones(2, 16)}),
        Refused(f"{LAYER}.out", "no place", "save it again")),
    "a layer too many": (changing(lambda saved: saved
        | {key.replace("layers.1", "layers.2"): saved[key].clone() for key in saved}),
        Refused("layers.2", "no place")),
    "other prefix": (renaming("base_model.model.", ""), Refused("has no base_model.model.model", "holds")),
    "none": (changing(lambda saved: {}), Refused("has no base_model", "save it again")),
    "empty": (changing_first(lambda value: value[:0].flatten()), Refused("empty (shape (0,))", "gather")),
    "all empty": (changing(lambda saved: {key: torch.zeros(0) for key in saved}),
        Refused("empty (shape (0,))", "gather")),
    "NaN": (changing_first(lambda value: value * float("nan")), Refused("not finite", "checkpoint")),
    "infinite": (changing_first(lambda value: value / 0), Refused("not finite", "checkpoint")),
    "wrong shape": (changing_first(lambda value: torch.ones(3, 5)), Refused("size mismatch", "give the base")),
    "other base": (onto_a_wider_base, Refused("size mismatch", "give the base")),
    "torn": (tear_weights, Refused(WEIGHTS, "can't be read", "save it again")),
    "nothing in it": (writing(WEIGHTS, b""), Refused(WEIGHTS, "can't be read", "save it again")),
    "an LFS pointer": (writing(WEIGHTS, b"version https://git-lfs"), Refused(WEIGHTS, "can't be read")),
    "pickled only": (pickle_weights, Refused(f"no {WEIGHTS}", "unpickled")),
    "a trainer's folder": (move_into_checkpoints, Refused(f"no {CONFIG}", "checkpoint-10, checkpoint-20")),
    "config broken": (writing(CONFIG, b"{"), Refused(CONFIG, "can't be read")),
    "config of a list": (writing(CONFIG, b"[]"), Refused(CONFIG, "can't be read")),
    "config empty": (writing(CONFIG, b"{}"), Refused(CONFIG, "can't be read")),
    "config gone": (removing(CONFIG), Refused(f"no {CONFIG}", "save_pretrained")),
    "kind unknown": (editing(peft_type="LORA9"), Refused(CONFIG, "can't be read", "update peft")),
    "for classes": (editing(task_type="SEQ_CLS"), Refused("task_type: SEQ_CLS", "head of its own")),
    "for features": (editing(task_type="FEATURE_EXTRACTION"), Refused("task_type: FEATURE_EXTRACTION")),
    "rank of another": (editing(r=5), Refused("size mismatch")),
    "modules of another": (editing(target_modules=["c_attn"]), Refused("c_attn", "not found")),
    "fewer modules": (editing(target_modules=["q_proj"]), Refused("no place")),
    "loftq": (editing(init_lora_weights="loftq", loftq_config={"loftq_bits": 4}),
        Refused("init_lora_weights: 'loftq'")),
    "corda": (editing(init_lora_weights="corda"), Refused("init_lora_weights: 'corda'")),
    "another machine's base": (editing(base_model_name_or_path="/home/someone/base"),
        Refused("/home/someone/base", "not here", "--model")),
    "another machine's base by ~": (editing(base_model_name_or_path="~/base"),
        Refused("~/base", "not here", "--model")),
    "a base below": (editing(base_model_name_or_path="./models/base"),
        Refused("./models/base", "not here", "--model")),
    "Windows' base": (editing(base_model_name_or_path="C:\\models\\base"),
        Refused("C:\\models\\base", "not here", "--model")),
    "no base": (editing(base_model_name_or_path=None), Refused("names no base", "--model")),
    "a base of a number": (editing(base_model_name_or_path=3), Refused("base_model_name_or_path", "3")),
    "tokenizer broken": (writing("tokenizer_config.json", b"{"), Refused("tokenizer", "can't be loaded")),
    "tokenizer of nothing": (writing("tokenizer_config.json", b"{}"), Refused("tokenizer", "can't be loaded")),
    "template of bytes": (writing("chat_template.jinja", b"\xff"), Refused("chat_template.jinja", "UTF-8")),
}  # fmt: skip


BROKEN_BASES = {
    "an adapter inside": (put_an_adapter_inside, Refused("model:", "an adapter of its own", "merge")),
    "weights missing": (leave_out_a_weight, Refused("model:", "no model.layers.1.mlp.up_proj.weight", "save")),
    "weights torn": (writing("model.safetensors", b"torn"), Refused("model:", "model.safetensors")),
    "no weights": (removing("model.safetensors"), Refused("model.safetensors", "base")),
    "config broken": (writing("config.json", b"{"), Refused("base/config.json", "JSON")),
    "config gone": (removing("config.json"), Refused("model:", "config.json")),
    "no tokenizer": (removing("tokenizer*"), Refused("model:", "tokenizer")),
}  # fmt: skip


CASES = {("adapter", name): case for name, case in DAMAGES.items()}
CASES |= {("base", name): case for name, case in BROKEN_BASES.items()}


@pytest.mark.parametrize("part, name", CASES)
def test_a_damaged_adapter_or_base_is_refused_by_every_method(folder, part, name):
    damage, expected = CASES[part, name]
    damage(folder / part)
    assert_refused(folder / "adapter", None, expected)
