"""Examples, and the token ids that a chat template and a tokenizer make of them."""

from collections.abc import Sequence
from dataclasses import dataclass

from jinja2 import TemplateError


@dataclass(frozen=True)
class Example:
    """A prompt, the response to it, and the class that decides what counts as influential.

    The prompt is what a user says, or all turns before the response, each a (role, content).
    """

    prompt: str | tuple[tuple[str, str], ...]
    response: str
    label: str = ""


@dataclass(frozen=True)
class Tokens:
    """One example as token ids: the prompt (with the chat template's opening of the answer), then the response."""

    prompt: tuple[int, ...]
    response: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.prompt) + len(self.response)


def tokenise(tokenizer, examples: Sequence[Example], context: int | None = None) -> list[Tokens]:
    """Token ids of each example in the tokenizer's chat format, the response closed by what ends a turn there.

    Raises ValueError for an empty response, a prompt without a token, an example longer than `context` tokens (the
    model's limit), one that the chat template refuses, and as `end_of_turn` and `chat` do.
    """
    tokens, end = [], end_of_turn(tokenizer)
    for index, example in enumerate(examples):
        about = f"example {index} ({str(example.prompt)[:40]!r})"
        if not example.response.strip():
            raise ValueError(f"{about}: empty response; every example needs one")
        try:
            said = chat(tokenizer, example.prompt)
        except TemplateError as error:
            raise ValueError(f"{about}: the chat template refuses it ({error})") from None
        ids = Tokens(
            tuple(tokenizer(said, add_special_tokens=False)["input_ids"]),
            (*tokenizer(example.response, add_special_tokens=False)["input_ids"], end),
        )
        if not ids.prompt:
            raise ValueError(f"{about}: empty prompt; without a chat template nothing would predict the response")
        if context is not None and len(ids) > context:
            raise ValueError(
                f"{about}: {len(ids.prompt)} prompt + {len(ids.response)} response "
                f"tokens exceed the context of {context}; shorten it or choose a model with a longer context"
            )
        tokens.append(ids)
    return tokens


def chat(tokenizer, prompt: str | tuple[tuple[str, str], ...]) -> str:
    """The text that a chat model is given before it answers `prompt`; the prompt itself where there is no template.

    Raises ValueError for a prompt of several turns without a template.
    """
    if not tokenizer.chat_template:
        if isinstance(prompt, str):
            return prompt
        raise ValueError("tokenizer: it has no chat template for prompts of several turns; set tokenizer.chat_template")
    turns = [("user", prompt)] if isinstance(prompt, str) else prompt
    messages = [{"role": role, "content": content} for role, content in turns]
    return tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)


def end_of_turn(tokenizer) -> int:
    """The token that closes a response: the first special one after it in the chat template, else the end of text.

    Raises ValueError for a tokenizer that has neither.
    """
    if tokenizer.chat_template:
        text = "forty-two"
        turns = [{"role": "user", "content": text}, {"role": "assistant", "content": text}]
        after = tokenizer.apply_chat_template(turns, tokenize=False).rpartition(text)[2]
        special = {token for token, added in tokenizer.added_tokens_decoder.items() if added.special}
        closing = tokenizer(after, add_special_tokens=False)["input_ids"]
        if ends := [token for token in closing if token in special]:
            return ends[0]
    if tokenizer.eos_token_id is None:
        raise ValueError("tokenizer: it has no token that ends a response; set tokenizer.eos_token")
    return tokenizer.eos_token_id
