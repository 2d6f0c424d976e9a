"""Small real models and examples that many tests share."""

import pytest
import torch

from ifcore import loading, lora
from ifcore.examples import Example

# Two workers share the machine (pytest-xdist), and these computations are too small for threads to pay.
torch.set_num_threads(1)


@pytest.fixture
def tiny():
    """The two-layer Llama in float64 with a LoRA adapter whose B is not zero, and its tokenizer."""
    model, tokenizer = loading.load("random:tiny-llama", torch.float64)
    peft = lora.add_lora(model, dropout=0.1).double()
    generator = torch.Generator().manual_seed(1)
    for name, parameter in peft.named_parameters():
        if "lora_B" in name:
            parameter.data.normal_(std=0.3, generator=generator)
    return peft, tokenizer


@pytest.fixture
def examples():
    """Five examples of different lengths and two classes."""
    return [
        Example("Say yes", "yes", "short"),
        Example("Count to five, slowly", "one two three four five", "long"),
        Example("Hi", "Hello there, how are you?", "long"),
        Example("What is this about?", "no", "short"),
        Example("A rather longer prompt than all the others", "ok", "short"),
    ]


def pytest_collection_modifyitems(items):
    """One worker builds the smoke book: so that the other doesn't wait for it, further files that need it come last."""
    files = list(dict.fromkeys(item.path for item in items if "built" in item.fixturenames))
    items.sort(key=lambda item: item.path in files[1:])
