"""What a pass over the examples leaves on disk."""

from collections import deque

import pytest
import torch

from ifcore import lora, representations
from ifcore.examples import batches
from study.pipeline import steps
from tests import architectures


@pytest.mark.filterwarnings("ignore")  # PEFT's advice on tied weights
@pytest.mark.parametrize("architecture", ["llama", "gemma2"])
def test_states_and_losses_are_those_of_each_batch_whether_or_not_the_head_is_linear(tmp_path, architecture):
    model, of = architectures.adapted(architecture, "lora"), batches(architectures.tokens(), 1)
    for part in ("train", "val"):
        named = [(f"{part}-{number}.safetensors", batch) for number, batch in enumerate(of)]
        deque(steps.write_shards(tmp_path, model, named, "a pass"), maxlen=0)
    found = steps.read_states(tmp_path)
    torch.testing.assert_close(
        found["train.prompt_end"], representations.representations(model, of), rtol=1e-5, atol=1e-6
    )
    torch.testing.assert_close(found["val.losses"], lora.losses(model, of))
