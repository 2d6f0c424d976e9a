"""Examples: what people have of them, and the token ids and labels that a trainer makes of that."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

IGNORE = -100  # the label of a token that is not in the loss: what torch's cross-entropy leaves out

Turn = Mapping[str, Any]


@dataclass(frozen=True)
class Example:
    """A prompt, the response to it, and the class that decides what counts as influential.

    The prompt is what a user says, or all turns before the response, each a (role, content).
    """

    prompt: str | tuple[tuple[str, str], ...]
    response: str
    label: str = ""


@dataclass(frozen=True)
class Text:
    """A text as it stands, closed by the tokenizer's end of text: a prompt and its completion, or, without a prompt,
    one text that is in the loss as a whole. `like_trl`: whether the loss begins where the tokens part from those of the
    prompt alone, and not with the one that holds the completion's first character; it matters where one holds both."""

    prompt: str | None
    completion: str
    like_trl: bool = False


@dataclass(frozen=True)
class Conversation:
    """Turns as a chat template takes them, with role and content, tool calls, and the `tools` that it may tell of.

    `completion`: of a prompt and a completion, the turn with which the completion begins. `plain`: the text that it is
    without a template. `options`: values that the template asks for by name, as enable_thinking.
    """

    turns: Sequence[Turn]
    tools: Sequence[Any] | None = None
    completion: int | None = None
    plain: Text | None = None
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Tokens:
    """One example as a trainer has it: T token ids, and their labels, the id itself or IGNORE where no loss is taken.

    `answer`: where the last answer begins, before which RepSim reads a state; T where no token is of the prompt alone.
    `weight`: what the mean over its labelled tokens is multiplied with. `attention_mask`, `position_ids` [T]: as
    given with it; a row of several packed sequences has positions that start again, and no mask.
    """

    ids: tuple[int, ...]
    labels: tuple[int, ...]
    answer: int
    weight: float = 1.0
    attention_mask: tuple[int, ...] | None = None
    position_ids: tuple[int, ...] | None = None

    def __len__(self) -> int:
        """The tokens that it is, padding not counted."""
        return len(self.ids) if self.attention_mask is None else sum(self.attention_mask)

    @property
    def prompt(self) -> tuple[int, ...]:
        """What comes before the last answer."""
        return self.ids[: self.answer]

    @property
    def response(self) -> tuple[int, ...]:
        return self.ids[self.answer :]

    @property
    def counted(self) -> int:
        """The tokens in its loss: those with a label, but for the first, which nothing predicts."""
        return sum(label != IGNORE for label in self.labels[1:])


def with_prompt(prompt: Sequence[int], response: Sequence[int]) -> Tokens:
    """The tokens of a prompt and a response, which alone is in the loss."""
    labels = (*[IGNORE] * len(prompt), *response)
    return Tokens((*prompt, *response), labels, len(prompt))


Given = Example | Conversation | Text | Tokens


@dataclass(frozen=True)
class Row:
    """An example with its id, and by which words an error tells where it is.

    `label`: its class, if it has one. `rejected`: the same with the response that is held against its own, if any.
    """

    identity: Any
    example: Given
    about: str
    label: str | None = None
    rejected: Given | None = None
