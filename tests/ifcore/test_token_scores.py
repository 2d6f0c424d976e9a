"""Each token's share of a score, against the gradient that passes through that token alone."""

import pytest
import torch
from torch import nn

from ifcore import gradients, token_scores
from ifcore.batches import batches, example_batches
from ifcore.gram import Gram
from ifcore.losses import example_losses
from ifcore.methods import METHODS
from tests import architectures


@pytest.fixture
def computed(tiny, examples):
    """The model, the training batches, and the gradients of the training and the validation examples."""
    model, tokenizer = tiny
    batches = [example_batches(model, tokenizer, part, 2) for part in (examples, examples[:2])]
    return model, batches[0], *(gradients.example_gradients(model, part) for part in batches)


@pytest.mark.parametrize("method", ["gradsim", "exact"])
def test_the_shares_of_all_tokens_sum_to_the_score(computed, method):
    model, train_batches, train, val = computed
    scores = METHODS[method].function(Gram.from_gradients(train, val))
    direction = token_scores.direction(train, val, 1, method)
    for batch in train_batches:
        shares = token_scores.by_token(model, batch, direction)
        torch.testing.assert_close(shares.sum(1), scores[1, batch.rows])
        assert not shares[batch.attention_mask == 0].any()


def test_a_token_s_share_is_the_gradient_that_comes_by_way_of_it(computed):
    model, train_batches, train, val = computed
    direction = token_scores.direction(train, val, 0, "gradsim")
    (single,) = train_batches[0].singles([1])
    (shares,) = token_scores.by_token(model, single, direction)
    model.eval()
    for place in (0, 3, len(shares) - 2):

        def forward_at_place(layer, arguments, _, place=place):
            (x,) = arguments
            frozen = nn.functional.linear(x, layer.weight.detach())
            at_place = (torch.arange(x.shape[1]) == place)[None, :, None]
            return torch.where(at_place, nn.functional.linear(x, layer.weight), frozen)

        layers = {name: layer for name, layer in model.named_modules() if name in direction}
        handles = [layer.register_forward_hook(forward_at_place) for layer in layers.values()]
        loss = example_losses(model, single).sum()
        grads = torch.autograd.grad(loss, [layer.weight for layer in layers.values()])
        for handle in handles:
            handle.remove()
        share = sum(float(grad.flatten() @ direction[name]) for name, grad in zip(layers, grads, strict=True))
        assert float(shares[place]) == pytest.approx(share, rel=1e-9)


def test_other_methods_and_what_is_no_linear_map_are_refused(computed):
    _, _, train, val = computed
    with pytest.raises(ValueError, match="method: 'lissa'; choose gradsim or exact"):
        token_scores.direction(train, val, 0, "lissa")
    model, (batch,) = architectures.adapted("llama", "embedding"), batches(architectures.tokens())
    rows = gradients.example_gradients(model, [batch])
    with pytest.raises(ValueError, match="direction: .*lora_embedding_A.* is no linear map"):
        token_scores.by_token(model, batch, token_scores.direction(rows, rows, 0, "gradsim"))
