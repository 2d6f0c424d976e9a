"""Which loss is about to be differentiated, in words, and one row as tokens with those of the loss marked."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from ifcore import sanitize
from ifcore.examples import IGNORE, Conversation, Example, Row, Text, Tokens
from ifcore.tokens import Loss

LONGEST = 60  # tokens of a run that are shown
COUNTED = {
    "last": "the last answer's tokens",
    "completion": "the completion's tokens",
    "assistant": "the tokens of each answer",
    "all": "all tokens",
    "labels": "the tokens that its labels name",
}
REDUCED = {
    "mean": "the mean over {}",
    "sum": "the sum over {}",
    "tokens": "the mean over {}, weighted by how many these are",
}
OF_CHATS = (
    "TRL's SFTTrainer trains on all of `messages` (--loss-on all), or with assistant_only_loss on each answer "
    "(--loss-on assistant and, if TRL knows the model, --chat-template with the file of its chat_templates folder)"
)
OF_LENGTH = "TRL cuts a row at its max_length, by default 1,024 tokens (--max-length)"
OF_BATCHES = (
    "a batch of several rows has one mean over its tokens, so that a row counts by its length (--reduction tokens)"
)
OF_TRAINER = "transformers' Trainer trains on what its collator labels; rows of input_ids and labels say it"


def explain(
    tokenizer: Any, rows: Mapping[str, Mapping[Any, Row]], tokens: Mapping[str, Mapping[Any, Tokens]], loss: Loss
) -> str:
    """What the loss of each part's rows is, with the first of them, of which ⟦…⟧ are the tokens in its loss."""
    lines = []
    for part, of_part in tokens.items():
        kinds = Counter(_counted(rows[part][identity].example, loss) for identity in of_part)
        descriptions = {kind: REDUCED[loss.reduction].format(COUNTED[kind]) for kind in kinds}
        about = "; ".join(f"{descriptions[kind]} ({count:,})" for kind, count in kinds.most_common())
        total, counted = sum(map(len, of_part.values())), sum(one.counted for one in of_part.values())
        left = len(rows[part]) - len(of_part)
        skipped = f", {left:,} with nothing in their loss left out" if left else ""
        lines.append(f"{part}: {len(of_part):,} rows{skipped}; of {total:,} tokens {counted:,} count: {about}")
        identity, first = next(iter(of_part.items()))
        lines.append(f"  {sanitize.printable(rows[part][identity].about)}: {marked(tokenizer, first)}")
    by_part = [{_counted(row.example, loss) for row in of_part.values()} for of_part in rows.values()]
    if any(kinds != by_part[0] for kinds in by_part):
        lines.append("train and val have losses over other tokens; is that meant?")
    return "\n".join([*lines, *_advice(by_part[0], loss)])


def _advice(kinds: set[str], loss: Loss) -> list[str]:
    """What trainers do otherwise, as far as it may matter here."""
    advice = [
        OF_CHATS if kinds & {"last"} else "",
        OF_LENGTH if loss.max_length is None else "",
        OF_BATCHES if loss.reduction == "mean" else "",
        OF_TRAINER,
    ]
    lines = [] if kinds == {"labels"} else [line for line in advice if line]
    return ["Was that the loss?", *(f"  - {line}" for line in lines)] if lines else []


def marked(tokenizer: Any, tokens: Tokens) -> str:
    """The tokens as text in quotes, those of the loss in ⟦⟧; of a long run the two ends."""
    runs: list[tuple[bool, list[int]]] = []
    for place, (token, label) in enumerate(zip(tokens.ids, tokens.labels, strict=True)):
        is_in = label != IGNORE and place > 0
        if not runs or runs[-1][0] != is_in:
            runs.append((is_in, []))
        runs[-1][1].append(token)
    pieces = [f"⟦{_text(tokenizer, ids)}⟧" if is_in else _text(tokenizer, ids) for is_in, ids in runs]
    return "".join(pieces)


def _text(tokenizer: Any, ids: list[int]) -> str:
    shown = [ids] if len(ids) <= LONGEST else [ids[: LONGEST // 2], ids[-LONGEST // 2 :]]
    return " … ".join(repr(tokenizer.decode(part, clean_up_tokenization_spaces=False))[1:-1] for part in shown)


def _counted(example: Any, loss: Loss) -> str:
    """Which tokens of an example count, as a key of COUNTED."""
    if isinstance(example, Tokens):
        return "labels"
    if loss.loss_on == "all" or (isinstance(example, Text) and example.prompt is None):
        return "all"
    is_split = isinstance(example, Text) or (isinstance(example, Conversation) and example.completion is not None)
    if is_split and loss.loss_on in ("auto", "last"):
        return "completion"
    return "assistant" if loss.loss_on == "assistant" and not isinstance(example, Example) else "last"
