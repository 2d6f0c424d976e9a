"""Shares of a score by token, against the gradient that comes by way of one token alone."""

import pytest
import torch
from torch import nn

from ifcore import gradients, influence, lora, token_scores
from ifcore.examples import batches
from ifcore.gram import Gram
from tests import architectures


@pytest.fixture
def collected(tiny, examples):
    model, tokenizer = tiny
    parts = [lora.example_batches(model, tokenizer, part, 2) for part in (examples, examples[:2])]
    return model, parts[0], *(gradients.example_gradients(model, part) for part in parts)


@pytest.mark.parametrize("method", ["gradsim", "exact"])
def test_the_shares_of_all_tokens_sum_to_the_score(collected, method):
    model, parts, train, val = collected
    scores = influence.METHODS[method](Gram.from_gradients(train, val))
    towards = token_scores.direction(train, val, 1, method)
    for batch in parts:
        shares = token_scores.by_token(model, batch, towards)
        torch.testing.assert_close(shares.sum(1), scores[1, batch.rows])
        assert not shares[batch.attention_mask == 0].any()


def test_a_token_s_share_is_the_gradient_that_comes_by_way_of_it(collected):
    model, parts, train, val = collected
    towards = token_scores.direction(train, val, 0, "gradsim")
    (single,) = parts[0].singles([1])
    (shares,) = token_scores.by_token(model, single, towards)
    model.eval()
    for place in (0, 3, len(shares) - 2):

        def only_here(layer, arguments, _, place=place):
            (x,) = arguments
            frozen = nn.functional.linear(x, layer.weight.detach())
            here = (torch.arange(x.shape[1]) == place)[None, :, None]
            return torch.where(here, nn.functional.linear(x, layer.weight), frozen)

        layers = {name: each for name, each in model.named_modules() if name in towards}
        handles = [each.register_forward_hook(only_here) for each in layers.values()]
        loss = lora.example_losses(model, single).sum()
        found = torch.autograd.grad(loss, [each.weight for each in layers.values()])
        for handle in handles:
            handle.remove()
        share = sum(float(grad.flatten() @ towards[name]) for name, grad in zip(layers, found, strict=True))
        assert float(shares[place]) == pytest.approx(share, rel=1e-9)


def test_other_methods_and_what_is_no_linear_map_are_refused(collected):
    _, _, train, val = collected
    with pytest.raises(ValueError, match="method: 'lissa'; choose gradsim or exact"):
        token_scores.direction(train, val, 0, "lissa")
    model, (batch,) = architectures.adapted("llama", "embedding"), batches(architectures.tokens())
    rows = gradients.example_gradients(model, [batch])
    with pytest.raises(ValueError, match="direction: .*lora_embedding_A.* is no linear map"):
        token_scores.by_token(model, batch, token_scores.direction(rows, rows, 0, "gradsim"))
