import warnings

import pytest
import torch
from transformers import GenerationConfig, logging

from ifcore.chat_templates import opened
from ifcore.losses import causal_lm
from study.pipeline import answers

PROMPTS = ["Say yes", "", "A rather longer prompt than the others, for padding", "Hi"]


def greedy(model, tokenizer, prompt, steps):
    """The most likely next token, `steps` times, each from the whole sequence, without padding or a cache."""
    ids = tokenizer(opened(tokenizer, prompt))["input_ids"]
    for _ in range(steps):
        ids.append(int(model(torch.tensor([ids])).logits[0, -1].argmax()))
    return ids[-steps:]


@pytest.fixture
def talker(tiny):
    return tiny[0].eval(), tiny[1]


@torch.no_grad()
@pytest.mark.parametrize("template", [True, False])
def test_answers_are_the_greedy_ones_up_to_the_end_token_whatever_the_batch(talker, template):
    """Without a template a prompt ends in a letter, which is no part of the answer."""
    model, tokenizer = talker
    if not template:
        tokenizer.chat_template = None
    prompts = PROMPTS if template else [prompt for prompt in PROMPTS if prompt]
    tokens = [greedy(model, tokenizer, prompt, 6) for prompt in prompts]
    end = tokens[0][3]  # a token that the model says, now the one that ends an answer
    tokenizer.add_special_tokens({"eos_token": tokenizer.convert_ids_to_tokens(end)})
    tokenizer.pad_token = tokenizer.eos_token  # as Llama has it: what is padding, only the mask tells
    tokens = [ids[: ids.index(end)] if end in ids else ids for ids in tokens]
    assert len(set(map(len, tokens))) > 1
    for batch_size in (1, 3, 16):
        expected = [tokenizer.decode(ids).strip() for ids in tokens]
        assert answers.generate(model, tokenizer, prompts, 6, batch_size) == expected


def test_the_published_decoding_settings_neither_change_the_answers_nor_warn_and_are_given_back(talker, capsys):
    model, tokenizer = talker
    expected = answers.generate(model, tokenizer, PROMPTS, 5)
    published = GenerationConfig(do_sample=True, temperature=0.6, top_p=0.9, repetition_penalty=9.0, max_length=30)
    causal_lm(model).generation_config = published
    logging.set_verbosity_warning()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert answers.generate(model, tokenizer, PROMPTS, 5) == expected
    assert capsys.readouterr().err == ""
    assert causal_lm(model).generation_config is published


def test_answers_are_without_dropout_and_training_goes_on_with_it(talker):
    model, tokenizer = talker
    expected = answers.generate(model, tokenizer, PROMPTS, 5)
    model.train()
    assert answers.generate(model, tokenizer, PROMPTS, 5) == expected
    assert model.training


def test_an_adapter_that_is_off_says_nothing(talker):
    model, tokenizer = talker
    after = answers.generate(model, tokenizer, PROMPTS, 5)
    with model.disable_adapter():
        before = answers.generate(model, tokenizer, PROMPTS, 5)
    assert before != after
    assert answers.generate(model.unload(), tokenizer, PROMPTS, 5) == before


def test_a_named_bar_shows_the_progress(talker, capsys):
    assert len(answers.generate(*talker, PROMPTS, 1, 3, progress="answers x")) == 4
    assert "answers x: 100%" in capsys.readouterr().err


def test_nothing_is_answered_to_no_prompt(talker):
    assert answers.generate(*talker, [], 4) == []
