"""Kinds of adapters: a model is loaded with the gradients that it had when it was saved, or refused in one line."""

import peft
import pytest
import torch

import ifcore
from ifcore.adapters import load_adapter
from tests.example_cases import Refused
from tests.saved_adapters import ROWS, assert_refused, lora_config, save_adapter
from tests.tokenizers_and_templates import plain_gradient


def other_config(kind, **options):
    return getattr(peft, kind)(**{"target_modules": ["q_proj", "v_proj"], "task_type": "CAUSAL_LM"} | options)


def resized(model):
    model.resize_token_embeddings(410, mean_resizing=False)
    return model.requires_grad_(False)


LOADED = "loaded as it was saved"
PROMPT = Refused("is a prompt; choose one that changes weights")
KINDS = {
    "lora": ("base", lora_config(), LOADED),
    "attention alone": ("base", lora_config(target_modules=["q_proj", "v_proj"]), LOADED),
    "a pattern": ("base", lora_config(target_modules=r".*\.0\.mlp\.(up|down)_proj"), LOADED),
    "one layer": ("base", lora_config(target_modules=["q_proj"], layers_to_transform=[1]), LOADED),
    "ranks of their own": ("base", lora_config(rank_pattern={"q_proj": 3}, alpha_pattern={"v_proj": 5}), LOADED),
    "rslora": ("base", lora_config(use_rslora=True, lora_alpha=3), LOADED),
    "dora": ("base", lora_config(use_dora=True), LOADED),
    "dora with rslora": ("base", lora_config(use_dora=True, use_rslora=True), LOADED),
    "olora": ("base", lora_config(init_lora_weights="olora"), LOADED),
    "pissa": ("base", lora_config(init_lora_weights="pissa"), LOADED),
    "pissa_niter_4": ("base", lora_config(init_lora_weights="pissa_niter_4"),
        Refused("init_lora_weights: 'pissa_niter_4'", "path_initial_model")),
    "gaussian": ("base", lora_config(init_lora_weights="gaussian"), LOADED),
    "orthogonal": ("base", lora_config(init_lora_weights="orthogonal"), LOADED),
    "no start": ("base", lora_config(init_lora_weights=False), LOADED),
    "bias of lora": ("biased", lora_config(bias="lora_only"), LOADED),
    "bias of all": ("biased", lora_config(bias="all"), LOADED),
    "bias of its own": ("base", lora_config(lora_bias=True), LOADED),
    "head saved": ("base", lora_config(modules_to_save=["lm_head"]), LOADED),
    "head saved, tied": ("tied", lora_config(modules_to_save=["lm_head"]), LOADED),
    "embedding saved": ("base", lora_config(modules_to_save=["embed_tokens"]), LOADED),
    "embedding saved, tied": ("tied", lora_config(modules_to_save=["embed_tokens"]), LOADED),
    "both saved": ("base", lora_config(modules_to_save=["lm_head", "embed_tokens"]), LOADED),
    "both saved, tied": ("tied", lora_config(modules_to_save=["lm_head", "embed_tokens"]), LOADED),
    "both saved, kept tied": ("tied", lora_config(modules_to_save=["embed_tokens"], ensure_weight_tying=True), LOADED),
    "norms saved": ("base", lora_config(modules_to_save=["input_layernorm"]), LOADED),
    "head with lora": ("base", lora_config(target_modules=["q_proj", "lm_head"]), LOADED),
    "embedding with lora": ("base", lora_config(target_modules=["q_proj", "embed_tokens"]), LOADED),
    "embedding with lora, tied": ("tied", lora_config(target_modules=["q_proj", "embed_tokens"]), LOADED),
    "tokens": ("base", lora_config(trainable_token_indices=[3, 5]), LOADED),
    "tokens, tied": ("tied", lora_config(trainable_token_indices=[3, 5]), LOADED),
    "tokens of both": ("base", lora_config(trainable_token_indices={"embed_tokens": [3, 5], "lm_head": [3, 5]}),
        LOADED),
    "resized, both saved": ("base", lora_config(modules_to_save=["lm_head", "embed_tokens"]), LOADED, resized),
    "resized, both saved, tied": ("tied", lora_config(modules_to_save=["lm_head", "embed_tokens"]), LOADED, resized),
    "resized, embedding with lora": ("base", lora_config(target_modules=["q_proj", "embed_tokens", "lm_head"]), LOADED,
        resized),
    "resized, neither trained": ("base", lora_config(), LOADED, resized),
    "resized, tokens": ("base", lora_config(trainable_token_indices=[3, 405]), LOADED, resized),
    "parameters": ("base", lora_config(target_modules=["q_proj"], target_parameters=["mlp.up_proj.weight"]), LOADED),
    "loha": ("base", other_config("LoHaConfig", r=2), LOADED),
    "lokr": ("base", other_config("LoKrConfig", r=2), LOADED),
    "ia3": ("base", other_config("IA3Config", feedforward_modules=[]), LOADED),
    "vera": ("base", other_config("VeraConfig", r=2), LOADED),
    "vera, projection left out": ("base", other_config("VeraConfig", r=2, save_projection=False), LOADED),
    "adalora": ("base", other_config("AdaLoraConfig", init_r=3, target_r=2, total_step=10), LOADED),
    "oft": ("base", other_config("OFTConfig", oft_block_size=4, r=0), LOADED),
    "boft": ("base", other_config("BOFTConfig", boft_block_size=4), LOADED),
    "hra": ("base", other_config("HRAConfig", r=2), LOADED),
    "fourier": ("base", other_config("FourierFTConfig", n_frequency=20), LOADED),
    "norms": ("base", peft.LNTuningConfig(target_modules=["input_layernorm"], task_type="CAUSAL_LM"), LOADED),
    "randlora": ("base", other_config("RandLoraConfig", r=2), LOADED),
    "shira": ("base", other_config("ShiraConfig", r=2), LOADED),
    "miss": ("base", other_config("MissConfig", r=2), LOADED),
    "prompt": ("base", peft.PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=3), PROMPT),
    "prefix": ("base", peft.PrefixTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=3), PROMPT),
    "p-tuning": ("base", peft.PromptEncoderConfig(task_type="CAUSAL_LM", num_virtual_tokens=3), PROMPT),
}  # fmt: skip


@pytest.mark.parametrize("name", KINDS)
def test_an_adapter_has_the_gradients_that_it_had_when_saved_or_a_line_says_why_not(bases, tmp_path, name):
    base, config, expected, *prepare = KINDS[name]
    dtype = torch.float32 if name.startswith(("pissa", "olora")) else torch.float64  # in which PEFT has these starts
    saved = save_adapter(bases / base, tmp_path, config, *prepare, dtype=dtype)
    if isinstance(expected, Refused):
        assert_refused(tmp_path, None, expected, dtype)
        return
    model, tokenizer = load_adapter(tmp_path, None, dtype, "cpu")
    scores = ifcore.attribute(model.double(), tokenizer, ROWS, ROWS, ["gradsim"], progress=False)["gradsim"].to_numpy()
    grads = torch.stack([plain_gradient(saved, row["input_ids"], row["labels"])[0] for row in ROWS])
    assert grads.norm() > 1e-3
    torch.testing.assert_close(torch.tensor(scores), grads @ grads.T, rtol=1e-5, atol=1e-10)
