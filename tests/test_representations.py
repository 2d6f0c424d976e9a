import pytest
import torch

from ifcore import gradients, models
from ifcore.representations import at_prompt_end, recorded, representations, repsim


def test_it_is_the_state_that_predicts_the_first_response_token(tiny, examples):
    model, tokenizer = tiny
    found = representations(model, models.example_batches(model, tokenizer, examples, 2))
    model.eval()
    for example, state in zip(examples, found, strict=True):
        (batch,) = models.example_batches(model, tokenizer, [example])
        prompt = batch.input_ids[:, : int(batch.prompt_end) + 1]
        with torch.no_grad():
            expected = model(prompt, output_hidden_states=True).hidden_states[-1][0, -1]
        torch.testing.assert_close(state, expected.float())


def test_what_the_gradients_pass_leaves_is_what_a_pass_of_its_own_gives(tiny, examples):
    model, tokenizer = tiny
    batches = models.example_batches(model, tokenizer, examples, 2)
    found = torch.empty(0)
    with recorded(model) as seen:
        for batch, _ in zip(batches, gradients.stream(model, batches), strict=True):
            (hidden,) = seen
            seen.clear()
            assert not hidden.requires_grad
            found = torch.cat([found, at_prompt_end(hidden, batch)])
    rows = torch.cat([batch.rows for batch in batches])
    torch.testing.assert_close(found[rows.argsort()], representations(model, batches))
    models.hidden_states(model, batches[0])
    assert not seen, "nothing is collected once it is over"


def test_repsim_is_the_cosine():
    train = torch.tensor([[1.0, 0.0], [0.0, 2.0], [3.0, 3.0]])
    val = torch.tensor([[5.0, 0.0], [-1.0, -1.0]])
    half = 0.5**0.5
    expected = torch.tensor([[1.0, 0.0, half], [-half, -half, -1.0]], dtype=torch.float64)
    torch.testing.assert_close(repsim(train, val), expected)


def test_repsim_refuses_states_without_a_direction():
    with pytest.raises(ValueError, match="val: row 1 is zero"):
        repsim(torch.ones(2, 3), torch.tensor([[1.0, 1, 1], [0, 0, 0]]))
    with pytest.raises(ValueError, match="val: width 4, train has 3"):
        repsim(torch.ones(2, 3), torch.ones(2, 4))
