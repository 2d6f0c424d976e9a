import torch
from torch import nn

from ifcore import models, weights
from ifcore.examples import IGNORE


def test_losses_equal_the_full_head_at_batch_size_one(tiny, examples):
    model, tokenizer = tiny[0].eval(), tiny[1]
    batches = models.example_batches(model, tokenizer, examples, 5)
    losses = torch.cat([models.example_losses(model, batch) for batch in batches])
    for batch in models.example_batches(model, tokenizer, examples, 1):
        logits = model(input_ids=batch.input_ids).logits[0, :-1]
        expected = nn.functional.cross_entropy(logits, batch.labels[0, 1:], ignore_index=IGNORE)
        where = torch.cat([b.rows for b in batches]).tolist().index(int(batch.rows))
        torch.testing.assert_close(losses[where], expected, rtol=1e-12, atol=0)


def test_lora_sits_on_query_and_value_of_the_chosen_layers_and_changes_nothing_at_first():
    model, tokenizer = weights.load("random:tiny-llama")
    ids = torch.tensor([tokenizer("hello")["input_ids"]])
    before = model(ids).logits
    peft = models.add_lora(model, layers=[1])
    blocks = [name for name, parameter in peft.named_parameters() if parameter.requires_grad]
    assert len(blocks) == 4
    assert all("layers.1.self_attn." in name and ("q_proj" in name or "v_proj" in name) for name in blocks)
    assert torch.equal(peft(ids).logits, before)


def test_an_adapter_is_drawn_from_its_seed_and_no_other_generator():
    before, drawn = torch.get_rng_state(), []
    for seed in (1, 1, 2):
        peft = models.add_lora(weights.load("random:tiny-llama")[0], seed=seed)
        drawn.append(torch.cat([value.flatten() for name, value in peft.named_parameters() if "lora_A" in name]))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(drawn[0], drawn[1]) and not torch.equal(drawn[0], drawn[2])


def test_a_merged_adapter_says_the_same_and_leaves_the_weights_as_they_were(tiny, examples):
    peft, tokenizer = tiny
    (batch,) = models.example_batches(peft, tokenizer, examples)
    before = {name: value.clone() for name, value in peft.state_dict().items()}
    expected = models.example_losses(peft.eval(), batch)
    with models.merged(peft):
        assert not all(torch.equal(value, before[name]) for name, value in peft.state_dict().items())
        torch.testing.assert_close(models.example_losses(peft, batch), expected)
    assert all(torch.equal(value, before[name]) for name, value in peft.state_dict().items())
    assert torch.equal(models.example_losses(peft, batch), expected)
