"""Base models and adapters on them, saved to folders as people have them."""

import copy
import functools
import json

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import LlamaConfig, LlamaForCausalLM

import ifcore
from ifcore.adapters import load_adapter
from tests.tokenizers_and_templates import SMALL, build_tokenizer

WEIGHTS, CONFIG = "adapter_model.safetensors", "adapter_config.json"
ROWS = [
    {"input_ids": [20, 31, 42, 53, 3, 5], "labels": [-100, -100, 42, 53, 3, 5]},
    {"input_ids": [9, 3, 7], "labels": [-100, 3, 7]},
]
BASES = {"base": {}, "tied": {"tie_word_embeddings": True}, "biased": {"attention_bias": True}}


def save_bases(place):
    """A folder for each of BASES: a two-layer Llama and a tokenizer."""
    for name, options in BASES.items():
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model = LlamaForCausalLM(LlamaConfig(**SMALL, num_hidden_layers=2, **options)).double()
            for parameter in model.parameters():
                parameter.data.add_(torch.randn_like(parameter), alpha=0.1)
        model.save_pretrained(place / name)
        build_tokenizer().save_pretrained(place / name)


def lora_config(**options):
    return LoraConfig(**{"r": 2, "target_modules": "all-linear", "task_type": "CAUSAL_LM"} | options)


def save_adapter(base, folder, config, prepare=lambda model: model, dtype=torch.float64):
    """The fine-tuned model in memory, whose adapter is saved in a folder; `prepare` changes the base before."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        model = prepare(copy.deepcopy(_base(base, dtype)))
        model = get_peft_model(model, config, autocast_adapter_dtype=False).double().eval()
        for name, parameter in model.named_parameters():
            if "ranknum" in name:  # of AdaLora, which PEFT doesn't save
                parameter.requires_grad_(False)
            if parameter.requires_grad:
                parameter.data.add_(torch.randn_like(parameter), alpha=0.1)
    model.create_or_update_model_card = lambda folder: None  # a README, which takes longer than all else
    model.save_pretrained(folder)
    return model


def edit_config(folder, **values):
    content = json.loads((folder / CONFIG).read_text()) | values
    (folder / CONFIG).write_text(json.dumps(content))


def change_tensors(file, change):
    """Replace the tensors of a file, by name, with what `change` makes of them."""
    save_file(change(load_file(file)), file, metadata={"format": "pt"})


def assert_refused(folder, source, expected, dtype=torch.float64):
    """An adapter is refused as it is loaded, or else by each method, in a line with the words expected."""
    try:
        model, tokenizer = load_adapter(folder, source, dtype, "cpu")
    except (ValueError, OSError) as error:
        expected.check(str(error))
        return
    for method in ("gradsim", "repsim"):
        with pytest.raises(ValueError) as raised:
            ifcore.attribute(model, tokenizer, ROWS, ROWS[:1], [method], progress=False)
        expected.check(str(raised.value))


@functools.cache
def _base(folder, dtype):
    return LlamaForCausalLM.from_pretrained(folder, dtype=dtype).eval().requires_grad_(False)
