"""Scores that never see the model."""

import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer

from ifcore import baselines, embedding
from ifcore.examples import Conversation, Example, Text, Tokens
from ifcore.tiny import tiny_tokenizer

TRAIN = ["the museum opens at ten, every day", "Closed on Sundays. Closed!", "à la carte, été 2024", "?", "a I"]
VAL = ["is it OPEN on sundays", "the the ten", "été", "nothing here is known"]


def test_the_cosine_of_words_is_scikit_learns():
    vectorizer = TfidfVectorizer()
    train = vectorizer.fit_transform(TRAIN)
    expected = (vectorizer.transform(VAL) @ train.T).toarray()
    np.testing.assert_allclose(baselines.tfidf(TRAIN, VAL), expected, atol=1e-12)
    assert not baselines.tfidf(["?", "!"], VAL).any()


def test_each_baseline_sees_the_texts_alone():
    train, val = ([(f"{text} {n}", text) for n, text in enumerate(part)] for part in (TRAIN, VAL))
    scores = baselines.baseline_scores(train, val, seed=3)
    assert set(scores) <= set(baselines.NAMES) and all(matrix.shape == (4, 5) for matrix in scores.values())
    np.testing.assert_allclose(scores["words_response"], baselines.tfidf(TRAIN, VAL))
    assert scores["length"].tolist() == [[7, 4, 5, 1, 2]] * 4
    again, other = (baselines.baseline_scores(train, val, seed)["random"] for seed in (3, 4))
    assert np.array_equal(scores["random"], again) and not np.array_equal(again, other)


def test_what_a_row_says_is_its_last_question_and_its_answer():
    turns = [{"role": role, "content": text} for role, text in (("system", "s"), ("user", "q"), ("assistant", "a"))]
    tokenizer = tiny_tokenizer()
    ids = tuple(tokenizer("qa", add_special_tokens=False)["input_ids"])
    tokens = Tokens(ids, ids, 1)
    thanked = Conversation([*turns, {"role": "user", "content": "thanks"}])
    assert baselines.texts_of(thanked, tokenizer) == ("q", "a")
    for example in (Example("q", "a"), Text("q", "a"), Conversation(turns), Example((("user", "q"),), "a"), tokens):
        assert baselines.texts_of(example, tokenizer) == ("q", "a")


def test_an_embedding_is_an_extra(monkeypatch):
    pairs = [("a question", "an answer"), ("another", "something else")]
    assert set(baselines.baseline_scores(pairs, pairs)) == set(baselines.NAMES)
    monkeypatch.setattr(embedding, "is_installed", lambda: False)
    without = {name for name in baselines.NAMES if not name.startswith("embedding")}
    assert set(baselines.baseline_scores(pairs, pairs)) == without


def test_an_embedding_tells_what_texts_mean():
    queue, skip, plants = embedding.embed(
        ["How do I cut the lunch line?", "Ways to skip a queue at lunch", "Plants grow"]
    )
    assert queue @ skip > 0.4 > 0.2 > queue @ plants
    assert queue.norm().item() == pytest.approx(1, abs=1e-5)
    alone = embedding.embed(["Plants grow"])[0]
    np.testing.assert_allclose(alone, plants, atol=1e-5)  # whatever stands beside it
