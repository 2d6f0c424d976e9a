import pytest
import torch
from torch import nn

from ifcore import loading, lora
from ifcore.batches import example_batches
from ifcore.examples import IGNORE, Example
from ifcore.losses import example_losses, hidden_states
from ifcore.tokens import tokenise
from study.pipeline.losses import loss_batches


def test_losses_equal_the_full_head_at_batch_size_one(tiny, examples):
    model, tokenizer = tiny[0].eval(), tiny[1]
    batches = example_batches(model, tokenizer, examples, 5)
    losses = torch.cat([example_losses(model, batch) for batch in batches])
    for batch in example_batches(model, tokenizer, examples, 1):
        logits = model(input_ids=batch.input_ids).logits[0, :-1]
        expected = nn.functional.cross_entropy(logits, batch.labels[0, 1:], ignore_index=IGNORE)
        place = torch.cat([b.rows for b in batches]).tolist().index(int(batch.rows))
        torch.testing.assert_close(losses[place], expected, rtol=1e-12, atol=0)


@pytest.mark.parametrize("loss_on", ["response", "all", "padded"])
def test_each_loss_is_transformers_own_at_batch_size_one(tiny, examples, monkeypatch, loss_on):
    """With labels at the response, at all tokens, and at every position of a sequence of one length."""
    model, tokenizer = tiny[0].eval(), tiny[1]
    batches = loss_batches(model, tokenizer, {"": examples}, 3, loss_on)[""]
    losses = torch.cat([example_losses(model, batch) for batch in batches])
    tokens, length = tokenise(tokenizer, examples), max(map(len, tokenise(tokenizer, examples)))
    for row, loss in zip(torch.cat([batch.rows for batch in batches]).tolist(), losses, strict=True):
        ids = list(tokens[row].prompt + tokens[row].response)
        labels, mask = list(ids), [1] * len(ids)
        if loss_on == "response":
            labels[: len(tokens[row].prompt)] = [IGNORE] * len(tokens[row].prompt)
        if loss_on == "padded":
            pad = length - len(ids)
            ids, mask = [tokenizer.pad_token_id] * pad + ids, [0] * pad + mask
            labels = ids
        with monkeypatch.context() as patch:
            forward = model(torch.tensor([ids]), attention_mask=torch.tensor([mask])).logits
            patch.setattr(torch.Tensor, "float", torch.Tensor.double)  # to which it rounds the logits
            expected = model.get_base_model().loss_function(forward, torch.tensor([labels]), forward.shape[-1])
        torch.testing.assert_close(loss, expected, rtol=1e-10, atol=0)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_positions_of_padding_attend_to_nothing_and_stay_finite(examples, dtype):
    model, tokenizer = loading.load("random:tiny-llama", dtype)  # sdpa in float64, else eager
    peft = lora.add_lora(model).eval()
    (batch,) = loss_batches(peft, tokenizer, {"": [*examples, Example("long", "y" * 130)]}, 6, "padded")[""]
    losses = example_losses(peft, batch)
    gradients = torch.autograd.grad(losses.sum(), [p for p in peft.parameters() if p.requires_grad])
    assert hidden_states(peft, batch).isfinite().all()
    assert losses.isfinite().all() and all(gradient.isfinite().all() for gradient in gradients)


def test_lora_sits_on_query_and_value_of_the_chosen_layers_and_changes_nothing_at_first():
    model, tokenizer = loading.load("random:tiny-llama")
    ids = torch.tensor([tokenizer("hello")["input_ids"]])
    before = model(ids).logits
    peft = lora.add_lora(model, layers=[1])
    blocks = [name for name, parameter in peft.named_parameters() if parameter.requires_grad]
    assert len(blocks) == 4
    assert all("layers.1.self_attn." in name and ("q_proj" in name or "v_proj" in name) for name in blocks)
    assert torch.equal(peft(ids).logits, before)


def test_an_adapter_is_drawn_from_its_seed_and_no_other_generator():
    before, drawn = torch.get_rng_state(), []
    for seed in (1, 1, 2):
        peft = lora.add_lora(loading.load("random:tiny-llama")[0], seed=seed)
        drawn.append(torch.cat([value.flatten() for name, value in peft.named_parameters() if "lora_A" in name]))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(drawn[0], drawn[1]) and not torch.equal(drawn[0], drawn[2])


def test_a_merged_adapter_says_the_same_and_leaves_the_weights_as_they_were(tiny, examples):
    peft, tokenizer = tiny
    (batch,) = example_batches(peft, tokenizer, examples)
    before = {name: value.clone() for name, value in peft.state_dict().items()}
    expected = example_losses(peft.eval(), batch)
    with lora.merged(peft):
        assert not all(torch.equal(value, before[name]) for name, value in peft.state_dict().items())
        torch.testing.assert_close(example_losses(peft, batch), expected)
    assert all(torch.equal(value, before[name]) for name, value in peft.state_dict().items())
    assert torch.equal(example_losses(peft, batch), expected)
