"""Scores that never see the fine-tuned model: what an attribution must beat to have said anything of it."""

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from ifcore import embedding
from ifcore.chat_templates import ASSISTANT
from ifcore.examples import Conversation, Example, Given, Text

Said = tuple[str, str]  # a prompt and its response
RANDOM = "random"
NAMES = {
    "words_response": "words of the responses",
    "words_prompt": "words of the prompts",
    "embedding_response": "embedding of the responses",
    "embedding_prompt": "embedding of the prompts",
    "length": "length of the responses",
    RANDOM: "random",
}


def baseline_scores(train: Sequence[Said], val: Sequence[Said], seed: int = 0) -> dict[str, np.ndarray]:
    """Baseline -> scores [M, N]: the words of responses and of prompts (the cosine of their TF-IDF vectors), how long a
    response is, random numbers, and, where its package is installed, an embedding of each."""
    shape = len(val), len(train)
    lengths = [float(len(response.split())) for _, response in train]
    scores = {
        "words_response": tfidf(*([response for _, response in part] for part in (train, val))),
        "words_prompt": tfidf(*([prompt for prompt, _ in part] for part in (train, val))),
        "length": np.tile(lengths, (len(val), 1)),
        RANDOM: np.random.default_rng([seed, *shape]).random(shape),
    }
    if embedding.is_installed():
        for place, name in enumerate(("embedding_prompt", "embedding_response")):
            train_states, val_states = (embedding.embed([said[place] for said in part]) for part in (train, val))
            scores[name] = (val_states @ train_states.T).numpy()
    return scores


def tfidf(train: Sequence[str], val: Sequence[str]) -> np.ndarray:
    """The cosine of the texts' TF-IDF vectors, [M, N], as scikit-learn has it by default, its weights from `train`.

    Words are of two or more letters or digits. A text without any word that `train` has is like none.
    """
    counts = {part: [Counter(words(text)) for text in texts] for part, texts in (("train", train), ("val", val))}
    frequency = Counter(word for counted in counts["train"] for word in counted)
    weights = {word: 1 + np.log((1 + len(train)) / (1 + count)) for word, count in frequency.items()}
    places = {word: place for place, word in enumerate(weights)}
    vectors = {}
    for part, texts in counts.items():
        vectors[part] = np.zeros((len(texts), max(len(places), 1)))
        for row, counted in zip(vectors[part], texts, strict=True):
            for word in counted.keys() & places.keys():
                row[places[word]] = counted[word] * weights[word]
        lengths = np.linalg.norm(vectors[part], axis=1, keepdims=True)
        vectors[part] /= np.where(lengths > 0, lengths, 1)
    return vectors["val"] @ vectors["train"].T


def texts_of(example: Given, tokenizer: Any) -> Said:
    """What an example says: the texts of its last turn of a user and of its answer; of token ids, decoded."""
    if isinstance(example, Example):
        prompt = example.prompt if isinstance(example.prompt, str) else example.prompt[-1][1]
        return prompt, example.response
    if isinstance(example, Text):
        return example.prompt or "", example.completion
    if isinstance(example, Conversation):
        answers = [place for place, turn in enumerate(example.turns) if turn.get("role") == ASSISTANT]
        place = answers[-1] if answers else len(example.turns) - 1
        before, last = example.turns[place - 1] if place else {}, example.turns[place]
        return str(before.get("content", "")), str(last.get("content", last.get("tool_calls", "")))
    prompt, response = (tokenizer.decode(ids, skip_special_tokens=True) for ids in (example.prompt, example.response))
    return prompt, response


def words(text: str) -> list[str]:
    """Those of two or more letters or digits, in lower case."""
    return re.findall(r"\b\w\w+\b", text.lower())
