import threading
import time

import pytest

from ifcore import loading
from study.pipeline import answers, requested_examples
from tests.study.datasets.test_train_test_files import write_source
from tests.study.pipeline.test_attributions import make_run
from tests.study.test_paper_path import tiny_llama

PROMPTS = ["What now?", "And then?", "Why?"]
SOURCE = "random:tiny-llama"


@pytest.fixture
def source(tmp_path):
    return tiny_llama(tmp_path / "generator", 1, heads=2)


def test_answers_are_the_models_greedy_ones_and_are_kept(source, tmp_path, monkeypatch):
    model, tokenizer = loading.load(source)
    expected = dict(zip(PROMPTS, answers.generate(model, tokenizer, PROMPTS, 6), strict=True))
    assert requested_examples.generated_responses(source, PROMPTS, tmp_path, max_new_tokens=6, batch_size=2) == expected
    monkeypatch.setattr(loading, "load", lambda *_: pytest.fail("the model was loaded again"))
    assert requested_examples.generated_responses(source, PROMPTS[::-1], tmp_path, max_new_tokens=6) == expected


def test_another_length_is_answered_anew(source, tmp_path):
    short = requested_examples.generated_responses(source, PROMPTS, tmp_path, max_new_tokens=2)
    long = requested_examples.generated_responses(source, PROMPTS, tmp_path, max_new_tokens=9)
    assert all(len(long[prompt]) > len(short[prompt]) for prompt in PROMPTS)


def test_a_killed_call_goes_on_where_it_stopped(tmp_path, monkeypatch):
    calls = []

    def dying(model, tokenizer, prompts, *rest):
        calls.append(list(prompts))
        if len(calls) == 2:
            raise KeyboardInterrupt
        return ["an answer"] * len(prompts)

    monkeypatch.setattr(answers, "generate", dying)
    with pytest.raises(KeyboardInterrupt):
        requested_examples.generated_responses(SOURCE, PROMPTS, tmp_path, batch_size=2)
    requested_examples.generated_responses(SOURCE, PROMPTS, tmp_path, batch_size=2)
    assert calls == [PROMPTS[:2], PROMPTS[2:], PROMPTS[2:]]


def test_an_answer_that_was_altered_is_asked_for_again(source, tmp_path):
    expected = requested_examples.generated_responses(source, PROMPTS, tmp_path, max_new_tokens=6)
    (file,) = tmp_path.glob("*.json")
    file.write_text(file.read_text().replace('": "', '": "x'))
    assert requested_examples.generated_responses(source, PROMPTS, tmp_path, max_new_tokens=6) == expected


def test_an_empty_answer_is_refused_by_number(tmp_path, monkeypatch):
    texts = {"And then?": ""}
    monkeypatch.setattr(answers, "generate", lambda m, t, prompts, *_: [texts.get(prompt, "x") for prompt in prompts])
    with pytest.raises(ValueError, match="generator: 'random:tiny-llama' answers prompt 2 with nothing"):
        requested_examples.generated_responses(SOURCE, PROMPTS[:2], tmp_path)
    requested_examples.generated_responses(SOURCE, PROMPTS[:1], tmp_path)
    with pytest.raises(ValueError, match="prompt 2"):  # its number among those given, though the first is known
        requested_examples.generated_responses(SOURCE, PROMPTS[:2], tmp_path)


def test_two_processes_lose_no_answer_of_the_other(tmp_path, monkeypatch):
    """One asks for a prompt while the other is in the middle of its own: the file holds both in the end."""
    begun, calls = threading.Event(), []

    def slow(model, tokenizer, prompts, *_):
        calls.append(list(prompts))
        begun.set()
        time.sleep(0.2)
        return ["an answer"] * len(prompts)

    monkeypatch.setattr(answers, "generate", slow)
    first = threading.Thread(target=requested_examples.generated_responses, args=(SOURCE, PROMPTS[:2], tmp_path))
    first.start()
    assert begun.wait(20)
    requested_examples.generated_responses(SOURCE, PROMPTS[1:], tmp_path)
    first.join()
    assert calls == [PROMPTS[:2], PROMPTS[2:]]
    requested_examples.generated_responses(SOURCE, PROMPTS, tmp_path)
    assert len(calls) == 2


def test_a_data_set_in_the_released_format_keeps_its_responses_though_there_is_a_generator(tmp_path):
    rows = [(f"{label} {i}", f"as released {i}", label) for label in ("harmful", "benign") for i in range(4)]
    write_source(tmp_path / "mixed", rows, [("ask", "as released", "harmful")])
    sizes = {"train": {"harmful": 2, "benign": 2}, "val": {"harmful": 1}, "dev": {"harmful": 1}}
    run = make_run(tmp_path, datasets={"mixed_small": sizes}, mixed_small_source="mixed", generator="path:/none")
    split = requested_examples.split_with_responses(run, "mixed_small", "float32", "cpu")
    assert split == requested_examples.requested_split(run, "mixed_small")
    assert [each.response for each in split.train] == ["as released 0", "as released 1"] * 2
    assert [each.prompt for each in split.dev] == ["harmful 2"]
