"""Conversations as the text that a chat template makes of them, and where the assistant's answers lie in it."""

import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import date as Date
from functools import cached_property
from pathlib import Path
from typing import Any

from ifcore.examples import Conversation, Turn
from ifcore.sanitize import reason

ASSISTANT = "assistant"
CLOCK, ASKED = "strftime_now", r"""strftime_now\(\s*(["'])(.*?)\1\s*\)"""
DAYS = Date(2001, 2, 3), Date(2012, 11, 28)  # by which it shows that a template writes the day on which it is used
MARKS = "give rows of input_ids and labels, or a chat_template that marks answers by {% generation %}"

Span = tuple[int, int]


class ChatTemplate:
    """A chat template of a tokenizer, on a given day where it writes one.

    `template`: "auto" for the tokenizer's own, "none", the name of a file, or the template itself. `date`: the day of
    the fine-tune, as YYYY-MM-DD. Raises ValueError for a file that isn't there and a date that is none.
    """

    def __init__(self, tokenizer: Any, template: str = "auto", date: str | None = None):
        self.tokenizer = tokenizer
        self.source = None if template == "none" else tokenizer.chat_template if template == "auto" else read(template)
        self.date = None if date is None else _day(date)

    def __bool__(self) -> bool:
        return bool(self.source)

    def text(self, conversation: Conversation, until: int | None = None, is_open: bool = False) -> str:
        """What the template makes of a conversation, or of its turns before `until`; `is_open`: with the opening of an
        answer.

        Raises ValueError for what it refuses, and where it writes the day and none was given.
        """
        if not self:
            raise ValueError("no chat template for turns; set tokenizer.chat_template, or give chat_template a file")
        shown = conversation if until is None else replace(conversation, turns=conversation.turns[:until])
        if self.date is None and CLOCK in str(self.source):
            if self._render(shown, is_open, DAYS[0]) != self._render(shown, is_open, DAYS[1]):
                raise ValueError("the chat template writes the day; give date the day of the fine-tune, YYYY-MM-DD")
        return self._render(shown, is_open, self.date)

    def answers(self, conversation: Conversation, text: str, only_last: bool = False) -> list[Span]:
        """Where the assistant's turns lie in the text of a conversation: each from the opening of an answer to what
        closes it, or what the template's own marks say. Raises ValueError where that can't be told."""
        if self._marks(conversation):
            spans = self._marked(conversation)
        else:
            places = [place for place, turn in enumerate(conversation.turns) if turn.get("role") == ASSISTANT]
            spans = [self._answer(conversation, text, place) for place in (places[-1:] if only_last else places)]
        return spans[-1:] if only_last else spans

    def beginning(self, conversation: Conversation, text: str, place: int) -> int:
        """Where the turn at a place begins in the text, after the opening of an answer."""
        before = self.text(conversation, place, is_open=True) if place else self._opening
        if not before or not text.startswith(before):
            raise ValueError(f"the chat template doesn't say where the answer of turn {place} begins; {MARKS}")
        return len(before)

    @cached_property
    def closing(self) -> str | None:
        """The special token that closes an answer: the first one after it. None where there is none."""
        word = "forty-two"
        turns = [{"role": role, "content": word} for role in ("system", "user", ASSISTANT)]
        try:
            after = self._render(Conversation(turns[1:]), False, self.date).rpartition(word)[2]
        except ValueError:  # a template may demand a system turn
            after = self._render(Conversation(turns), False, self.date).rpartition(word)[2]
        closings = [(after.find(token), token) for token in self._special if token in after]
        return min(closings)[1] if closings else None

    @property
    def _opening(self) -> str:
        """What opens an answer, by itself."""
        question = Conversation([{"role": "user", "content": "forty-two"}])
        return self._render(question, True, self.date).removeprefix(self._render(question, False, self.date))

    def _answer(self, conversation: Conversation, text: str, place: int) -> Span:
        """The turn at a place, without what the template writes after its closing token, such as a line's end."""
        start = self.beginning(conversation, text, place)
        following = [_words(turn) for turn in conversation.turns[place + 1 :]]
        after = _after(text, _words(conversation.turns[place]), start)
        limit = len(text)
        if following:
            if not following[0] or (limit := text.find(following[0], after)) < 0:
                raise ValueError(f"the chat template doesn't say where the answer of turn {place} ends; {MARKS}")
        if self.closing and 0 <= (end := text.find(self.closing, after, limit)):
            return start, end + len(self.closing)
        if following:
            raise ValueError(f"the chat template doesn't say where the answer of turn {place} ends; {MARKS}")
        return start, limit

    def _marked(self, conversation: Conversation) -> list[Span]:
        from transformers.utils.chat_template_utils import render_jinja_template

        turns = [{name: value for name, value in turn.items() if value is not None} for turn in conversation.turns]
        render: Any = render_jinja_template  # whose types say that it makes a text alone
        _, spans = render(
            [turns],
            tools=conversation.tools,
            chat_template=self._source_for(conversation.tools, self.date),
            return_assistant_tokens_mask=True,
            **self.tokenizer.special_tokens_map | conversation.options,
        )
        return [(start, end) for start, end in spans[0] if end > start]

    def _render(self, conversation: Conversation, is_open: bool, day: Date | None) -> str:
        try:
            return self.tokenizer.apply_chat_template(
                list(map(dict, conversation.turns)),
                tools=conversation.tools,
                chat_template=self._source_for(conversation.tools, day),
                add_generation_prompt=is_open,
                tokenize=False,
                **conversation.options,
            )
        except Exception as error:  # a template is a program, which may raise anything
            raise ValueError(f"the chat template refuses it ({reason(error)})") from None

    def _source_for(self, tools: Sequence[Any] | None, day: Date | None) -> str:
        """The template itself; of several by name, the one that transformers takes. With the day in the place of what
        asks the clock."""
        named = isinstance(self.source, dict)
        source = str(self.tokenizer.get_chat_template(None, tools) if named else self.source)
        if day is None:
            return source
        dated = re.sub(ASKED, lambda asked: repr(day.strftime(asked[2])), source)
        if f"{CLOCK}(" in dated:
            raise ValueError(f"its use of {CLOCK} can't be read; give chat_template a file without it")
        return dated

    def _marks(self, conversation: Conversation) -> bool:
        """Whether the template itself says where answers are."""
        source = self._source_for(conversation.tools, self.date)
        return re.search(r"\{%-?\s*generation\s*-?%\}", source) is not None

    @cached_property
    def _special(self) -> list[str]:
        added = self.tokenizer.added_tokens_decoder.values()
        return [token.content for token in added if token.special]


def opened(tokenizer: Any, prompt: str | Sequence[tuple[str, str]]) -> str:
    """The text that a chat model is given before it answers a prompt or turns; without a template, the prompt itself.

    Raises ValueError for several turns without a template.
    """
    template = ChatTemplate(tokenizer)
    if isinstance(prompt, str) and not template:
        return prompt
    turns = [("user", prompt)] if isinstance(prompt, str) else prompt
    return template.text(Conversation([{"role": role, "content": text} for role, text in turns]), is_open=True)


def read(template: str) -> str:
    """A template from a file, or as it is given."""
    if "{" in template:
        return template
    path = Path(template).expanduser()
    if not path.is_file():
        raise ValueError(f"chat_template: {template!r} is no file; give auto, none, a file or the template itself")
    return read_template(path)


def read_template(path: Path) -> str:
    """A template from its file; ValueError where that is not text."""
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise ValueError(f"chat_template: {path} is not UTF-8; save it in UTF-8") from None


def _day(date: str) -> Date:
    try:
        return Date.fromisoformat(date)
    except ValueError:
        raise ValueError(f"date: {date!r}; give the day of the fine-tune, YYYY-MM-DD") from None


def _words(turn: Turn) -> str:
    """What a turn says, as far as a template must keep it."""
    content = turn.get("content")
    return content.strip() if isinstance(content, str) else ""


def _after(text: str, words: str, start: int) -> int:
    """Where these words end in a text from `start` on; `start` where they aren't there, as of a template that cuts."""
    place = text.find(words, start)
    return start if place < 0 else place + len(words)
