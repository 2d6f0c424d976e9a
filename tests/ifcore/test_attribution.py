"""`ifcore.attribute` against the functions of the engine that it calls."""

import numpy as np
import pandas as pd
import pytest
import torch

import ifcore
from ifcore import attribution, gradients, io, representations
from ifcore.batches import example_batches
from ifcore.ekfac import gather_factors
from ifcore.examples import Example
from ifcore.gram import Gram
from ifcore.methods import CHECKPOINTS, METHODS, OF_GRAM
from ifcore.representation_gradients import choose_layer, features, rept
from ifcore.sampled_labels import sample_labels
from tests import architectures

TRAIN = [Example("hi", "hello"), Example("bye", "see you", "b"), Example("what is it", "a test"), Example("go", "no")]
VAL = [Example("hey", "hello there"), Example("leave", "see you then")]
ROWS = [{"id": f"t{place}", "prompt": e.prompt, "response": e.response} for place, e in enumerate(TRAIN)]


def expected_scores(tiny):
    model, tokenizer = tiny
    train_batches, val_batches = (example_batches(model, tokenizer, part, 3) for part in (TRAIN, VAL))
    factors = gather_factors(model, train_batches)
    train = gradients.example_gradients(model, train_batches)
    val = gradients.example_gradients(model, val_batches)
    gram = Gram.from_gradients(train, val)
    scores = {key: METHODS[key].function(gram) for key in OF_GRAM}
    states = [representations.representations(model, batches) for batches in (train_batches, val_batches)]
    scores |= {"repsim": representations.repsim(*states), "ekfac": ifcore.ekfac.ekfac(train, val, factors)}
    sampled = sample_labels(model, train_batches)
    drawn = gather_factors(model, sampled), gradients.example_gradients(model, sampled)
    scores["ekfac_sampled"] = ifcore.ekfac.ekfac(train, val, drawn[0], fisher=drawn[1])
    layer = choose_layer(model, train_batches)
    scores["rept"] = rept(*(features(model, batches, layer) for batches in (train_batches, val_batches)))
    return scores


WITHOUT_CHECKPOINTS = [key for key, method in METHODS.items() if CHECKPOINTS not in method.needs]


@pytest.mark.parametrize("location", ["memory", "temporary", "store"])
def test_one_call_gives_what_the_pieces_give(tiny, tmp_path, location):
    options = {"memory": {}, "temporary": {"memory_budget": 1000}, "store": {"store": tmp_path / "gradients"}}[location]
    frames = ifcore.attribute(*tiny, ROWS, VAL, WITHOUT_CHECKPOINTS, progress=False, **options)
    expected = expected_scores(tiny)
    assert list(frames) == list(WITHOUT_CHECKPOINTS) and frames.keys() == expected.keys()
    for method, frame in frames.items():
        assert frame.index.tolist() == [0, 1] and frame.columns.tolist() == ["t0", "t1", "t2", "t3"]
        assert set(frame.dtypes) == {np.dtype("float64")}
        torch.testing.assert_close(torch.tensor(frame.to_numpy()), expected[method], rtol=1e-6, atol=0)


def test_an_example_is_the_messages_that_it_stands_for(tiny):
    turns = [{"role": "system", "content": "s"}, {"role": "user", "content": "hey"}]
    chat = {"messages": [*turns, {"role": "assistant", "content": "hello there"}]}
    example = Example((("system", "s"), ("user", "hey")), "hello there")
    frames = (ifcore.attribute(*tiny, TRAIN, [val], ["exact"], progress=False)["exact"] for val in (chat, example))
    pd.testing.assert_frame_equal(*frames)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"methods": ["tracin"]}, "methods: tracin needs checkpoints; name their folder"),
        ({"methods": []}, "methods: none"),
        ({"memory_budget": "two"}, "memory_budget: 'two'; give bytes"),
        ({"memory_budget": 0}, "memory_budget: 0"),
        ({"damping": 0, "methods": ["ekfac"]}, "damping: 0; must be a finite number above 0"),
        ({"iterations": -1}, "iterations: -1; must be 0 or more"),
    ],
)
def test_options_that_are_wrong_are_named_in_a_line(tiny, options, message):
    with pytest.raises(ValueError, match=message):
        ifcore.attribute(*tiny, TRAIN, VAL, progress=False, **options)


@pytest.mark.parametrize(("text", "size"), [("2GiB", 2**31), ("500 mb", 500 * 2**20), (1000, 1000), ("1e3", 1000)])
def test_sizes_are_read_as_people_write_them(text, size):
    assert attribution.memory_bytes(text) == size


def test_several_processes_need_a_store(tiny, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ValueError, match="store: none, for 2 processes"):
        ifcore.attribute(*tiny, TRAIN, VAL, progress=False)


def test_a_killed_call_goes_on_from_its_store(tiny, tmp_path, monkeypatch):
    class Killed(Exception):
        pass

    written = []

    def write(path, tensors):
        if len(written) == 2:
            raise Killed
        written.append(path)
        write_tensors(path, tensors)

    write_tensors = io.write_tensors
    monkeypatch.setattr(io, "write_tensors", write)
    with pytest.raises(Killed):
        ifcore.attribute(*tiny, TRAIN, VAL, store=tmp_path, batch_size=1, progress=False)
    monkeypatch.setattr(io, "write_tensors", lambda path, tensors: (written.append(path), write_tensors(path, tensors)))
    resumed = ifcore.attribute(*tiny, TRAIN, VAL, store=tmp_path, batch_size=1, progress=False)
    assert len(written) == len(set(written)) == 6
    uninterrupted = ifcore.attribute(*tiny, TRAIN, VAL, batch_size=1, progress=False)
    for method in resumed:
        pd.testing.assert_frame_equal(resumed[method], uninterrupted[method])


def test_ekfac_is_refused_at_once_where_the_adapter_trains_more_than_linear_maps(tiny):
    model = architectures.adapted("llama", "embedding")
    with pytest.raises(ValueError, match="methods: ekfac knows linear maps alone, and the adapter trains .*embedding"):
        ifcore.attribute(model, tiny[1], TRAIN, VAL, ["ekfac"], progress=False)


def test_hidden_states_need_no_adapter_but_one_that_is_disabled_is_refused(tiny):
    model, tokenizer = tiny
    plain, _ = ifcore.load("random:tiny-llama")
    assert ifcore.attribute(plain, tokenizer, TRAIN, VAL, ["repsim"], progress=False)["repsim"].shape == (2, 4)
    model.base_model.disable_adapter_layers()
    with pytest.raises(ValueError, match="is disabled"):
        ifcore.attribute(model, tokenizer, TRAIN, VAL, ["repsim"], progress=False)
