"""The losses that *Sensitivity* compares: of the response, of all tokens, and of the padding, too."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

from ifcore.batches import Batch, batches
from ifcore.examples import Example, Tokens
from ifcore.tokens import tokenise

LossOn = Literal["response", "all", "padded"]


def loss_batches(
    model: Any, tokenizer: Any, parts: Mapping[str, Sequence[Example]], batch_size: int, loss_on: LossOn = "response"
) -> dict[str, list[Batch]]:
    """Batches of each part (train, val) for a loss.

    "padded" is the loss of sequences padded on the left to the longest of all parts, padding included, as trainers have
    it that mask no labels. It depends on the attention, as a position of padding has nothing to attend to: eager
    averages over the whole sequence there, sdpa gives 0.
    """
    context = getattr(model.config, "max_position_embeddings", None)
    tokens = {part: tokenise(tokenizer, examples, context) for part, examples in parts.items()}
    length = max(len(one) for of_part in tokens.values() for one in of_part) if loss_on == "padded" else 0
    pad = tokenizer.pad_token_id or 0
    if loss_on != "response":
        tokens = {part: [_all_counted(one, length, pad) for one in of_part] for part, of_part in tokens.items()}
    return {part: batches(of_part, batch_size, pad) for part, of_part in tokens.items()}


def _all_counted(tokens: Tokens, length: int, pad: int) -> Tokens:
    """With all tokens in the loss, padded on the left to `length` where that is more."""
    left = max(length - len(tokens), 0)
    ids = (*[pad] * left, *tokens.ids)
    mask = (*[0] * left, *[1] * len(tokens)) if left else None
    return replace(tokens, ids=ids, labels=ids, answer=left + tokens.answer, attention_mask=mask)
