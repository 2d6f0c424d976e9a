import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import LlamaConfig, LlamaForCausalLM

from ifcore import lora
from ifcore.batches import batches
from ifcore.examples import with_prompt
from ifcore.losses import example_losses
from study.chapters.speed import counts
from study.pipeline.architectures import Architecture

SHAPE = Architecture(3, 64, 4, 2, 160, 500, tied=True)


def llama(attention):
    sizes = dict(num_hidden_layers=3, hidden_size=64, num_attention_heads=4, num_key_value_heads=2)
    config = LlamaConfig(**sizes, intermediate_size=160, vocab_size=500, attn_implementation=attention)
    return lora.add_lora(LlamaForCausalLM(config).eval().requires_grad_(False), rank=4)


def test_operations_of_the_passes_are_those_that_torch_counts():
    (batch,) = batches([with_prompt(tuple(range(1, 30)), tuple(range(40, 61)))] * 6, 6)
    with FlopCounterMode(display=False) as counter:
        example_losses(llama("eager"), batch).sum().backward()
    counted = counts.passes(SHAPE, 6 * 50, 50, 6 * 21, rank=4)
    assert abs(counted / counter.get_total_flops() - 1) < 0.03  # below the first adapter nothing goes back


def test_blocks_are_the_adapters_parameters():
    sizes = [parameter.numel() for name, parameter in llama("eager").named_parameters() if "lora_" in name]
    assert counts.blocks(SHAPE, 4) == sizes


def test_operations_of_the_products_are_those_that_torch_counts():
    blocks = [torch.zeros(30, size) for size in (8, 12)]
    with FlopCounterMode(display=False) as counter:
        for G in blocks:
            G @ G.T, G[:7] @ G.T
    assert counts.gram(30, 7, [8, 12]) == counter.get_total_flops()
    with FlopCounterMode(display=False) as counter:
        for G in blocks:
            G.T @ G
    assert counts.fishers(30, [8, 12]) == counter.get_total_flops()
