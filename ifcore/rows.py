"""Rows as people have them, in the formats of the field, to examples with their ids."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from ifcore.chat_templates import ASSISTANT
from ifcore.contrasts import split_contrast
from ifcore.examples import IGNORE, Conversation, Example, Given, Row, Text, Tokens, Turn
from ifcore.row_values import as_lists, as_text, is_absent, is_whole, short, unquoted, whole_numbers

FORMATS: dict[str, tuple[str, ...]] = {  # the fields that make a row one of a format
    "tokens": ("input_ids",),
    "messages": ("messages",),
    "completion": ("prompt", "completion"),
    "response": ("prompt", "response"),
    "conversations": ("conversations",),
    "instruction": ("instruction", "output"),
    "text": ("text",),
}
FIELDS = "; ".join(" and ".join(fields) for fields in FORMATS.values())
SPEAKERS = {"human": "user", "observation": "tool", "function_response": "tool"}
SPEAKERS |= dict.fromkeys(("gpt", "chatgpt", "bing", "bard", "model"), ASSISTANT)
ALPACA = (  # as published with its data
    "Below is an instruction that describes a task{paired}. Write a response that appropriately completes the "
    "request.\n\n### Instruction:\n{instruction}\n\n{given}### Response:\n"
)
PAIRED = ", paired with an input that provides further context"


def by_id(rows: Iterable[Any], name: str) -> dict[Any, Row]:
    """Id -> row, in the order given, of `Example`s, dictionaries, or rows that a file has named already.

    A dictionary has the fields of one of `FORMATS`, where nothing and null are the same; and, if it likes, an `id`,
    else its id is its place. Raises ValueError, with `name`, the place and the field, for one that does not, for an id
    that is there twice, and for what is no list of rows.
    """
    if isinstance(rows, str | bytes | Mapping) or not isinstance(rows, Iterable):
        parts = isinstance(rows, Mapping) and not any(needed[0] in rows for needed in FORMATS.values())
        known = f" of {', '.join(map(str, rows))}; choose one" if parts else "; give a list of rows"
        raise ValueError(f"{name}: {type(rows).__name__}{known}")
    if callable(records := getattr(rows, "to_dict", None)) and hasattr(rows, "columns"):  # a DataFrame
        rows = records("records")
    found: dict[Any, Row] = {}
    identities: set[str] = set()
    for place, given in enumerate(rows):
        row = given if isinstance(given, Row) else read_row(given, place, f"{name}, row {place}")
        if str(row.identity) in identities:
            raise ValueError(
                f"{row.about}: id {row.identity!r} is there already; give each row one of its own, or none"
            )
        identities.add(str(row.identity))  # in a file 1 and "1" are the same
        found[row.identity] = row
    if not found:
        raise ValueError(f"{name}: no examples; give one or more")
    return found


def read_row(row: Any, place: int, about: str) -> Row:
    """One row as `by_id` takes them; `about` is where it is."""
    if isinstance(row, Example | Conversation | Text | Tokens):
        return Row(place, row, about, getattr(row, "label", None) or None)
    if not isinstance(row, Mapping):
        raise ValueError(f"{about}: {type(row).__name__}; give an Example or a dictionary with {FIELDS}")
    fields = {str(name): value for name, value in row.items() if not is_absent(value)}
    identity = fields.get("id", place)
    if not isinstance(identity, str | int) or isinstance(identity, bool) or not is_whole(str(identity)):
        raise ValueError(f"{about}: id {identity!r} is no text or whole number; give each row one of its own, or none")
    fields, against = split_contrast(fields, about)
    label = str(fields["label"]) if "label" in fields else None
    rejected = None if against is None else _read(against, row, about)
    return Row(identity, _read(fields, row, about), about, label, rejected)


def _read(fields: Mapping[str, Any], row: Mapping[str, Any], about: str) -> Given:
    return _READERS[_format(fields, row, about)](fields, about)


def _format(fields: Mapping[str, Any], row: Mapping[str, Any], about: str) -> str:
    """The one format whose fields are there; of ids, which are the truth, it doesn't matter what else is."""
    complete = [name for name, needed in FORMATS.items() if all(field in fields for field in needed)]
    if "tokens" in complete or len(complete) == 1:
        return complete[0]
    if complete:
        formats = ", ".join(" and ".join(FORMATS[name]) for name in complete)
        raise ValueError(f"{about}: it has {formats}; leave one of these, that which was trained on")
    begun = [name for needed in FORMATS.values() for name in needed if any(field in fields for field in needed)]
    missing = next((name for name in sorted(begun, key=lambda name: name not in row) if name not in fields), None)
    what = f"no {missing}" if missing else f"none of the fields that are known, but {', '.join(fields) or 'nothing'}"
    raise ValueError(f"{about}: {what}; it needs {FIELDS}")


def _tokens(fields: Mapping[str, Any], about: str) -> Tokens:
    """Ids and labels as they are given; without labels, each id that a mask of completions or answers doesn't leave out
    is one. What is padded on the right goes."""
    ids = whole_numbers(fields["input_ids"], f"{about}, input_ids")
    columns: dict[str, list[int]] = {}
    for name in ("labels", "attention_mask", "position_ids", "completion_mask", "assistant_masks"):
        if name in fields:
            columns[name] = whole_numbers(fields[name], f"{about}, {name}")
            if len(columns[name]) != len(ids):
                raise ValueError(f"{about}, {name}: {len(columns[name])} for {len(ids)} input_ids; give as many")
    mask, positions, labels = (columns.get(name) for name in ("attention_mask", "position_ids", "labels"))
    if "seq_lengths" in fields:  # as TRL packs, whose collator makes positions of them
        lengths = whole_numbers(fields["seq_lengths"], f"{about}, seq_lengths")
        if sum(lengths) != len(ids):
            raise ValueError(
                f"{about}, seq_lengths: {sum(lengths)} tokens, of {len(ids)} input_ids; give those of the row"
            )
        mask, positions = None, [place for length in lengths for place in range(length)]
    if labels is None:
        masks = [columns[name] for name in ("attention_mask", "completion_mask", "assistant_masks") if name in columns]
        labels = [token if all(kept) else IGNORE for token, *kept in zip(ids, *masks, strict=True)]
        if mask and 1 in mask[1:] and not mask[0]:
            labels[mask.index(1)] = IGNORE  # padding predicts nothing
    if "seq_lengths" in fields:
        labels = [label if place else IGNORE for label, place in zip(labels, positions or (), strict=True)]
    for name, values in (("input_ids", ids), ("labels", [label for label in labels if label != IGNORE])):
        if wrong := [value for value in values if value < 0]:
            raise ValueError(f"{about}, {name}: {wrong[0]} is no token; of labels, {IGNORE} is one not in the loss")
    if mask is not None and (not any(mask) or set(mask) - {0, 1}):
        raise ValueError(f"{about}, attention_mask: {short(mask)}; give 0 or 1 for each token, and some of 1")
    end = len(ids)
    while mask and end and not mask[end - 1] and labels[end - 1] == IGNORE:
        end -= 1
    if mask is not None and all(mask[:end]) and positions is None:
        mask = None
    cut = [None if column is None else tuple(column[:end]) for column in (mask, positions)]
    first = mask.index(1) if mask else 0
    return Tokens(tuple(ids[:end]), tuple(labels[:end]), _answer(labels[:end], first), 1.0, *cut)


def _answer(labels: Sequence[int], first: int) -> int:
    """Where the last run of labels begins; behind all tokens where the `first` is in it."""
    end = max((place for place, label in enumerate(labels) if label != IGNORE), default=0)
    start = next((place + 1 for place in reversed(range(end)) if labels[place] == IGNORE), 0)
    return start if start > first else len(labels)


def _messages(fields: Mapping[str, Any], about: str) -> Conversation:
    return _conversation(fields, _turns(fields["messages"], f"{about}, messages"), about)


def _prompt_and_completion(fields: Mapping[str, Any], about: str) -> Conversation | Text:
    before, after = fields["prompt"], fields["completion"]
    if isinstance(before, str) and isinstance(after, str):
        return Text(before, after, like_trl=True)
    turns, completed = _turns(before, f"{about}, prompt"), _turns(after, f"{about}, completion")
    return _conversation(fields, [*turns, *completed], about, completion=len(turns))


def _prompt_and_response(fields: Mapping[str, Any], about: str) -> Conversation | Example:
    response = as_text(fields["response"], f"{about}, response")
    if isinstance(prompt := fields["prompt"], str):
        if not fields.keys() & {"system", "tools", "chat_template_kwargs"}:
            return Example(prompt, response)
        prompt = [{"role": "user", "content": prompt}]
    said = [*_system(fields, about), *_turns(prompt, f"{about}, prompt"), {"role": ASSISTANT, "content": response}]
    return _conversation(fields, said, about)


def _instruction(fields: Mapping[str, Any], about: str) -> Conversation:
    instruction, output = (as_text(fields[name], f"{about}, {name}") for name in ("instruction", "output"))
    given = as_text(fields.get("input", ""), f"{about}, input")
    prompt = ALPACA.format(
        paired=PAIRED if given else "", instruction=instruction, given=f"### Input:\n{given}\n\n" if given else ""
    )
    history = []
    for place, pair in enumerate(unquoted(fields.get("history", []))):
        if not isinstance(pair, Sequence) or isinstance(pair, str) or len(pair) != 2:
            raise ValueError(f"{about}, history, {place}: {short(pair)}; give pairs of an instruction and its output")
        texts = (as_text(said, f"{about}, history, {place}") for said in pair)
        history += [{"role": role, "content": text} for role, text in zip(("user", ASSISTANT), texts, strict=True)]
    last = [{"role": "user", "content": f"{instruction}\n{given}" if given else instruction}]
    turns = [*_system(fields, about), *history, *last, {"role": ASSISTANT, "content": output}]
    return _conversation(fields, turns, about, plain=None if history else Text(prompt, output))


def _conversations(fields: Mapping[str, Any], about: str) -> Conversation:
    """ShareGPT's, of which each turn says from whom it is; or messages under another name."""
    about, given = f"{about}, conversations", unquoted(fields["conversations"])
    turns = []
    for place, turn in enumerate(_list(given, about)):
        if not isinstance(turn, Mapping) or "from" not in turn:
            turns.append(turn)
            continue
        speaker, value = as_text(turn["from"], f"{about}, {place}, from"), turn.get("value")
        if speaker == "function_call":
            turns.append({"role": ASSISTANT, "tool_calls": _calls(value, f"{about}, {place}, value")})
        else:
            turns.append(
                {"role": SPEAKERS.get(speaker, speaker), "content": as_text(value, f"{about}, {place}, value")}
            )
    return _conversation(fields, [*_system(fields, about), *_turns(turns, about)], about)


def _calls(value: Any, about: str) -> list[dict[str, Any]]:
    """Calls of functions from JSON, each with name and arguments."""
    calls = unquoted(value)
    calls = calls if isinstance(calls, list) else [calls]
    for call in calls:
        if not isinstance(call, Mapping) or "name" not in call:
            raise ValueError(f"{about}: {short(value)} is no call of a function; give JSON with name and arguments")
    return [{"type": "function", "function": call} for call in calls]


def _plain_text(fields: Mapping[str, Any], about: str) -> Text:
    return Text(None, as_text(fields["text"], f"{about}, text"))


_READERS: dict[str, Callable[[Mapping[str, Any], str], Given]] = {
    "tokens": _tokens,
    "messages": _messages,
    "completion": _prompt_and_completion,
    "response": _prompt_and_response,
    "conversations": _conversations,
    "instruction": _instruction,
    "text": _plain_text,
}


def _conversation(
    fields: Mapping[str, Any], turns: list[Turn], about: str, completion: int | None = None, plain: Text | None = None
) -> Conversation:
    """With the tools and the template's own options that the row has."""
    tools = as_lists(unquoted(fields.get("tools")))
    tools = None if tools == "" else tools  # as tables of text have none
    if tools is not None and (not isinstance(tools, list) or not all(isinstance(tool, Mapping) for tool in tools)):
        raise ValueError(f"{about}, tools: {short(tools)}; give a list of JSON schemas")
    options = unquoted(fields.get("chat_template_kwargs", {}))
    if not isinstance(options, Mapping):
        raise ValueError(f"{about}, chat_template_kwargs: {short(options)}; give an object")
    return Conversation(turns, tools, completion, plain, options)


def _turns(turns: Any, about: str) -> list[Turn]:
    """Turns, each with a role, a text as content where it has one, and whatever else a template may read."""
    read: list[Turn] = []
    for place, turn in enumerate(_list(unquoted(turns), about)):
        where = f"{about}, {place}"
        if not isinstance(turn, Mapping):
            raise ValueError(f"{where}: {short(turn)} is no turn; give each role and content")
        turn = {name: as_lists(value) for name, value in turn.items() if not is_absent(value)}
        if "role" not in turn:
            raise ValueError(f"{where}: no role; each turn needs role and content")
        role = as_text(turn["role"], f"{where}, role")
        if "content" in turn:
            turn["content"] = _content(turn["content"], f"{where}, content")
        elif role != ASSISTANT:
            raise ValueError(f"{where}: no content; each turn needs role and content")
        if turn.get("weight", 1) != 1:
            remedy = "give rows of input_ids and labels"
            raise ValueError(f"{where}, weight: {short(turn['weight'])}; each turn weighs 1 here; {remedy}")
        read.append(turn)
    if not read:
        raise ValueError(f"{about}: no turns; give one or more, each with role and content")
    return read


def _content(content: Any, about: str) -> str:
    """A text, or the texts of content parts, one after the other."""
    if not isinstance(content, list):
        return as_text(content, about)
    texts = []
    for place, part in enumerate(content):
        text = part.get("text") if isinstance(part, Mapping) and part.get("type", "text") == "text" else part
        if not isinstance(text, str):
            kind = part.get("type") if isinstance(part, Mapping) else type(part).__name__
            raise ValueError(f"{about}, {place}: a part of type {kind}; models of text alone can be attributed")
        texts.append(text)
    return "".join(texts)


def _system(fields: Mapping[str, Any], about: str) -> list[Turn]:
    """The system turn that a row has beside its conversation."""
    return (
        [{"role": "system", "content": as_text(fields["system"], f"{about}, system")}] if fields.get("system") else []
    )


def _list(values: Any, about: str) -> list[Any]:
    if hasattr(values, "tolist"):  # an array, as pandas has it
        values = values.tolist()
    if not isinstance(values, list | tuple):
        raise ValueError(f"{about}: {short(values)}; give a list of turns, each with role and content")
    return list(values)
