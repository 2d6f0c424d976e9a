"""Tiny random models of many architectures in float64, adapters of many kinds, and gradients by plain autograd."""

import torch
from peft import IA3Config, LoraConfig, VeraConfig, get_peft_model
from transformers import AutoConfig, AutoModelForCausalLM

from ifcore.examples import with_prompt

VOCABULARY = 300
SMALL = dict(vocab_size=VOCABULARY, hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=2)
SMALL |= dict(num_key_value_heads=1, max_position_embeddings=64, pad_token_id=0, bos_token_id=1, eos_token_id=2)
OLD = dict(vocab_size=VOCABULARY, n_embd=16, n_layer=2, n_head=2, n_positions=64, bos_token_id=1, eos_token_id=2)

ARCHITECTURES = {
    "llama": SMALL,
    "mistral": SMALL | {"sliding_window": None},
    "qwen2": SMALL,  # biases in attention
    "gemma": SMALL | {"head_dim": 8},  # tied embeddings, scaled
    "gemma2": SMALL | {"head_dim": 8, "final_logit_softcapping": 0.05, "query_pre_attn_scalar": 8},
    "cohere": SMALL | {"logit_scale": 0.0625},
    "granite": SMALL | {"logits_scaling": 8.0},
    "phi": SMALL | {"partial_rotary_factor": 0.5},  # a head with a bias
    "stablelm": SMALL,
    "starcoder2": SMALL,
    "gpt2": OLD,  # Conv1D
    "gpt_neox": {name: value for name, value in SMALL.items() if name != "num_key_value_heads"},
    "opt": dict(SMALL, ffn_dim=24, word_embed_proj_dim=16),
    "bloom": dict(vocab_size=VOCABULARY, hidden_size=16, n_layer=2, n_head=2),
    "codegen": OLD | {"n_head": 4, "rotary_dim": 4, "n_ctx": 64},
    "mixtral": SMALL | {"num_local_experts": 3, "num_experts_per_tok": 2},  # experts, a router
}
ATTEND_IN_FLOAT32 = ("codegen",)  # in any precision, so rounding depends on the shape of a batch
LINEAR = "all-linear"


def build(architecture, seed=0):
    """A model with weights so large that its logits are not near uniform."""
    torch.manual_seed(seed)
    config = AutoConfig.for_model(architecture, **ARCHITECTURES[architecture])
    model = AutoModelForCausalLM.from_config(config, attn_implementation="eager").double()
    if hasattr(model, "set_experts_implementation"):
        model.set_experts_implementation("eager")
    for parameter in model.parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=0.3)
    return model.eval().requires_grad_(False)


def lora(**more):
    return lambda model: get_peft_model(model, LoraConfig(**dict(r=2, target_modules=LINEAR) | more))


def module_name(model, module):
    (name,) = (name for name, candidate in model.named_modules() if candidate is module)
    return name.rsplit(".", 1)[-1]


def embedding(model):
    return module_name(model, model.get_input_embeddings())


def head(model):
    return module_name(model, model.get_output_embeddings())


def with_two(model):
    model = lora()(model)
    model.add_adapter("other", LoraConfig(r=3, target_modules=LINEAR))
    return model


ADAPTERS = {
    "lora": lora(),
    "rslora": lora(use_rslora=True),
    "pissa": lambda model: lora(init_lora_weights="pissa")(model.float()),
    "dora": lora(use_dora=True),
    "bias": lora(bias="all"),
    "lora_bias": lora(lora_bias=True),
    "embedding": lambda model: lora(target_modules=[embedding(model)])(model),
    "head": lambda model: lora(target_modules=[head(model)])(model),
    "head saved": lambda model: lora(modules_to_save=[head(model)])(model),
    "tokens": lambda model: lora(trainable_token_indices={embedding(model): [3, 5]})(model),
    "one of two": with_two,
    "ia3": lambda model: get_peft_model(model, IA3Config(target_modules=LINEAR, feedforward_modules=[])),
    "vera": lambda model: get_peft_model(model, VeraConfig(r=2, target_modules=LINEAR)),
}


# PEFT supports none of these on experts that are one tensor.
NOT_IN_PEFT = {("mixtral", adapter) for adapter in ("pissa", "dora", "lora_bias")}


def tokens(lengths=((5, 4), (9, 2), (3, 7), (6, 6)), seed=0):
    """Random sequences: (tokens of the prompt, of the response)."""
    generator = torch.Generator().manual_seed(seed)

    def draw(count):
        return tuple(torch.randint(3, VOCABULARY, (count,), generator=generator).tolist())

    return [with_prompt(draw(prompt), draw(response)) for prompt, response in lengths]


def plain_gradients(model, tokens):
    """The loss written out from the model's own logits, one example at a time, and backward()."""
    trained = {
        name.removesuffix(".weight"): parameter
        for name, parameter in model.named_parameters()
        if parameter.requires_grad
    }
    rows = {name: [] for name in trained}
    for sequence in tokens:
        model.zero_grad()
        logp = model(input_ids=torch.tensor([sequence.prompt + sequence.response])).logits[0].log_softmax(-1)
        places = torch.arange(len(sequence.prompt) - 1, len(sequence) - 1)
        (-logp[places, torch.tensor(sequence.response)].mean()).backward()
        for name, parameter in trained.items():
            grad = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
            rows[name].append(grad.flatten().clone())
    return {name: torch.stack(grads) for name, grads in rows.items()}


def adapted(architecture, adapter, seed=1):
    """The model with an adapter whose parameters have all moved from their initial values."""
    model = ADAPTERS[adapter](build(architecture)).double()
    torch.manual_seed(seed)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data.add_(torch.randn_like(parameter), alpha=0.1)
    return model.eval()
