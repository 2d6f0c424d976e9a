"""Token ids and labels of whatever an example is: each text is tokenised once, whole, as trainers do."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import takewhile
from statistics import mean
from typing import Any, Literal, get_args

from ifcore.chat_templates import ASSISTANT, ChatTemplate, Span
from ifcore.examples import IGNORE, Conversation, Example, Given, Row, Text, Tokens

LossOn = Literal["auto", "last", "assistant", "all"]
Reduction = Literal["mean", "sum", "tokens"]
Side = Literal["right", "left"]


class NothingToLearn(ValueError):
    """A row has no token in its loss, for this reason."""


@dataclass(frozen=True)
class Loss:
    """Which loss of an example was trained, and so is differentiated.

    Parameters
    ----------
    loss_on : str
        The tokens that count: of the "last" answer, of each answer of the "assistant", or "all"; "auto" is the last
        answer or completion, and all of a text. Rows with labels say it themselves.
    reduction : str
        Over these: their "mean", their "sum", or "tokens", the mean times how many they are beside the average row, as
        they weigh in a trainer's batch, over whose tokens it takes one mean.
    max_length : int, optional
        Tokens to which a longer example is cut.
    truncation_side : str
        Where it is cut: at its "right" or its "left".
    chat_template : str
        "auto" for the tokenizer's own, "none", a file's name, or a template.
    date : str, optional
        The day of the fine-tune, YYYY-MM-DD, for templates that write it.

    Raises
    ------
    ValueError
        For a value that there isn't.
    """

    loss_on: LossOn = "auto"
    reduction: Reduction = "mean"
    max_length: int | None = None
    truncation_side: Side = "right"
    chat_template: str = "auto"
    date: str | None = None

    def __post_init__(self) -> None:
        for name, known in (("loss_on", LossOn), ("reduction", Reduction), ("truncation_side", Side)):
            if (value := getattr(self, name)) not in get_args(known):
                raise ValueError(f"{name}: {value!r}; choose one of {', '.join(get_args(known))}")
        if self.max_length is not None and not (isinstance(self.max_length, int) and self.max_length > 1):
            raise ValueError(f"max_length: {self.max_length!r}; give 2 tokens or more")
        if not isinstance(self.chat_template, str):
            raise ValueError(f"chat_template: {self.chat_template!r}; give auto, none, a file or the template itself")


@dataclass(frozen=True)
class _Encoding:
    """The text of an example and the characters in its loss, in `spans`, None for all; the last answer begins at the
    character `answer`. `prompt`: by whose tokens TRL tells where the loss begins. `special`: whether the tokenizer adds
    what it puts around a text, which a chat template writes itself."""

    text: str
    spans: Sequence[Span] | None
    answer: int | None
    prompt: str | None = None
    special: bool = False


def tokenise(
    tokenizer: Any, examples: Sequence[Given], context: int | None = None, loss: Loss | None = None
) -> list[Tokens]:
    """Token ids and labels of each example, as the trainer had them whose `loss` this is.

    Raises ValueError for an example that has nothing in its loss, is longer than `context` tokens (the model's limit),
    that the chat template refuses or tells nothing of, and for a tokenizer that doesn't say where its tokens are.
    """
    rows = [Row(place, example, f"example {place}{_beginning(example)}") for place, example in enumerate(examples)]
    return list(tokenise_rows(tokenizer, rows, context, loss).values())


def tokenise_rows(
    tokenizer: Any, rows: Iterable[Row], context: int | None = None, loss: Loss | None = None, skip_empty: bool = False
) -> dict[Any, Tokens]:
    """The same by id; with `skip_empty` without the rows that have nothing in their loss."""
    loss, rows = loss or Loss(), list(rows)
    template = ChatTemplate(tokenizer, loss.chat_template, loss.date)
    encodings: dict[Any, _Encoding] = {}
    tokens: dict[Any, Tokens] = {}
    for row in rows:
        with _named(row, skip_empty):
            if not isinstance(row.example, Tokens):
                encodings[row.identity] = _encode(row.example, tokenizer, template, loss)
    ids = dict(zip(encodings, _ids(tokenizer, [(each.text, each.special) for each in encodings.values()]), strict=True))
    for row in rows:
        with _named(row, skip_empty):
            if isinstance(row.example, Tokens):
                one = row.example
            elif row.identity in encodings:
                one = _labelled(tokenizer, encodings[row.identity], *ids[row.identity])
            else:
                continue
            if not one.counted:
                raise NothingToLearn("its labels name no token")
            one = _cut(one, loss)
            if context is not None and len(one) > context:
                raise ValueError(
                    f"{len(one)} tokens exceed the context of {context}; set max_length to where the trainer cut, "
                    "shorten it, or choose a model with a longer context"
                )
            tokens[row.identity] = one
    return _weighted(tokens, loss.reduction)


@contextmanager
def _named(row: Row, skip_empty: bool) -> Iterator[None]:
    """An error says of which row it is; with `skip_empty` a row with nothing in its loss is none."""
    try:
        yield
    except NothingToLearn as error:
        if not skip_empty:
            remedy = "remove it, or set skip_empty (--skip-empty) to leave such rows out"
            raise ValueError(f"{row.about}: nothing in its loss, as {error}; {remedy}") from None
    except ValueError as error:
        raise ValueError(f"{row.about}: {error}") from None


def _encode(example: Given, tokenizer: Any, template: ChatTemplate, loss: Loss) -> _Encoding:
    if isinstance(example, Example):
        example = _conversation(example)
    if isinstance(example, Conversation) and example.plain and not template:
        example = example.plain
    assert not isinstance(example, Example | Tokens)
    encoding = _of_text(example, tokenizer, loss) if isinstance(example, Text) else _of_turns(example, template, loss)
    try:
        encoding.text.encode()
    except UnicodeEncodeError as error:
        half = error.object[error.start]
        remedy = "replace it, or write the text from its source again"
        raise ValueError(f"{half!r} is half of a character; {remedy}") from None
    return encoding


def _conversation(example: Example) -> Conversation:
    single = isinstance(example.prompt, str)
    turns = [("user", example.prompt)] if isinstance(example.prompt, str) else example.prompt
    said = [{"role": role, "content": content} for role, content in (*turns, (ASSISTANT, example.response))]
    return Conversation(said, plain=Text(str(example.prompt), example.response) if single else None)


def _of_text(example: Text, tokenizer: Any, loss: Loss) -> _Encoding:
    if not example.completion.strip() and not example.like_trl:  # TRL trains on what closes an empty completion
        raise NothingToLearn("the text is empty" if example.prompt is None else "the answer is empty")
    if (end := tokenizer.eos_token) is None:
        raise ValueError("the tokenizer has no token that ends a text; set tokenizer.eos_token")
    if example.prompt == "":
        raise ValueError("empty prompt; without a chat template nothing would predict the response")
    text = (example.prompt or "") + example.completion
    text += "" if text.endswith(end) else end
    if example.prompt is None or loss.loss_on == "all":
        if loss.loss_on not in ("auto", "all"):
            raise ValueError(f"loss_on: {loss.loss_on!r}, of a text without an answer; set loss_on to all")
        answer = None if example.prompt is None else len(example.prompt)
        return _Encoding(text, None, answer, special=True)
    start = len(example.prompt)
    return _Encoding(text, [(start, len(text))], start, example.prompt if example.like_trl else None, special=True)


def _of_turns(example: Conversation, template: ChatTemplate, loss: Loss) -> _Encoding:
    text = template.text(example)
    if example.completion is not None and loss.loss_on in ("auto", "last"):
        return _Encoding(text, [], None, template.text(example, example.completion, is_open=True))
    if loss.loss_on == "all":
        return _Encoding(text, None, _last_answer(example, template, text))
    answers = [turn for turn in example.turns if turn.get("role") == ASSISTANT]
    only_last = loss.loss_on != "assistant"
    if not any(map(_says, answers[-1:] if only_last else answers)):
        problem = "the answer is empty" if answers else f"no turn is of the role {ASSISTANT}"
        raise NothingToLearn(f"{problem} (if the trainer took all tokens, set loss_on to all)")
    if not (spans := template.answers(example, text, only_last)):
        raise NothingToLearn("the chat template marks no answer")
    return _Encoding(text, spans, spans[-1][0])


def _last_answer(example: Conversation, template: ChatTemplate, text: str) -> int | None:
    """Where it begins, if that can be told: where all tokens are in the loss, it matters to RepSim alone."""
    try:
        return template.answers(example, text, only_last=True)[-1][0]
    except (ValueError, IndexError):
        return None


def _says(turn: Any) -> bool:
    """Whether a turn holds anything: content, a tool call, thoughts."""
    values = (value for key, value in turn.items() if key != "role")
    return any(value.strip() if isinstance(value, str) else value for value in values)


def _labelled(tokenizer: Any, encoding: _Encoding, ids: list[int], offsets: list[Span] | None) -> Tokens:
    if encoding.prompt is not None:  # TRL's loss begins where the text's tokens part from those of the prompt alone
        ((prompt, _),) = _ids(tokenizer, [(encoding.prompt, encoding.special)])
        start = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(prompt, ids, strict=False)))
        return Tokens(tuple(ids), (*[IGNORE] * start, *ids[start:]), start)
    if encoding.spans is None and (offsets is None or encoding.answer is None):
        return Tokens(tuple(ids), tuple(ids), len(ids))
    if offsets is None:
        problem = "the tokenizer doesn't say where its tokens are"
        raise ValueError(f"{problem}; load it as a fast one, or give rows of input_ids and labels")
    inside = _inside(offsets, encoding.spans, len(encoding.text))
    labels = tuple(token if is_in else IGNORE for token, is_in in zip(ids, inside, strict=True))
    answer = encoding.answer or 0
    return Tokens(tuple(ids), labels, next((n for n, (_, end) in enumerate(offsets) if end > answer), len(ids)))


def _ids(tokenizer: Any, texts: Sequence[tuple[str, bool]]) -> list[tuple[list[int], list[Span] | None]]:
    """Of each text the ids and, if the tokenizer says that, each one's characters [start, end); with what it adds where
    that is asked."""
    found: dict[int, tuple[list[int], list[Span] | None]] = {}
    for special in (False, True):
        if places := [place for place, (_, asked) in enumerate(texts) if asked == special]:
            options = {"return_offsets_mapping": True} if tokenizer.is_fast else {}
            given = [texts[place][0] for place in places]
            encoded = tokenizer(
                given, add_special_tokens=special, return_attention_mask=False, verbose=False, **options
            )
            offsets = encoded.get("offset_mapping") or [None] * len(places)
            found |= zip(places, zip(encoded["input_ids"], offsets, strict=True), strict=True)
    return [found[place] for place in range(len(texts))]


def _inside(offsets: Sequence[Span], spans: Sequence[Span] | None, length: int) -> list[bool]:
    """Which tokens hold a character of the spans; of one that reaches to the end, all from its first on."""
    if spans is None:
        return [True] * len(offsets)
    inside = [any(start < b and a < end for a, b in spans) for start, end in offsets]
    if any(end == length for _, end in spans) and True in inside:
        start = max(start for start, end in spans if end == length)
        first = next((place for place, (_, end) in enumerate(offsets) if end > start), len(offsets))
        inside[first:] = [True] * (len(offsets) - first)
    return inside


def _cut(tokens: Tokens, loss: Loss) -> Tokens:
    """To `max_length`; and without what follows the last token of the loss, which causal models don't see."""
    start, end = 0, len(tokens.ids)
    if loss.max_length is not None and end > loss.max_length:
        start, end = (0, loss.max_length) if loss.truncation_side == "right" else (end - loss.max_length, end)
    while end > start and tokens.labels[end - 1] == IGNORE:
        end -= 1
    if end - start == len(tokens.ids):
        return tokens
    if not any(label != IGNORE for label in tokens.labels[start + 1 : end]):
        raise NothingToLearn(f"max_length: {loss.max_length} cuts off what is")
    mask, positions = (value and value[start:end] for value in (tokens.attention_mask, tokens.position_ids))
    answer = tokens.answer - start if 0 < tokens.answer - start < end - start else end - start
    return Tokens(tokens.ids[start:end], tokens.labels[start:end], answer, 1.0, mask, positions)


def _weighted(tokens: dict[Any, Tokens], reduction: Reduction) -> dict[Any, Tokens]:
    if reduction == "mean" or not tokens:
        return tokens
    average = mean(one.counted for one in tokens.values()) if reduction == "tokens" else 1.0
    return {identity: replace(one, weight=one.counted / average) for identity, one in tokens.items()}


def _beginning(example: Given) -> str:
    """Of an example's prompt, by which one finds it."""
    if isinstance(example, Tokens):
        return ""
    words = example.turns[0].get("content") if isinstance(example, Conversation) else example.prompt
    return f" ({str(words)[:40]!r})"
