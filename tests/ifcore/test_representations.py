import pytest
import torch

from ifcore import gradients
from ifcore.batches import collate, example_batches
from ifcore.examples import with_prompt
from ifcore.losses import hidden_states
from ifcore.representations import POSITIONS, at, recorded, representations, repsim
from ifcore.tokens import tokenise
from study.pipeline.losses import loss_batches


def test_it_is_the_state_that_predicts_the_first_response_token(tiny, examples):
    model, tokenizer = tiny
    states = representations(model, example_batches(model, tokenizer, examples, 2))
    model.eval()
    for example, state in zip(examples, states, strict=True):
        (batch,) = example_batches(model, tokenizer, [example])
        prompt = batch.input_ids[:, : int(batch.prompt_end) + 1]
        with torch.no_grad():
            expected = model(prompt, output_hidden_states=True).hidden_states[-1][0, -1]
        torch.testing.assert_close(state, expected.float())


def test_what_the_gradients_pass_leaves_is_what_a_pass_of_its_own_gives(tiny, examples):
    model, tokenizer = tiny
    batches = example_batches(model, tokenizer, examples, 2)
    states = torch.empty(0)
    for batch, computed in zip(batches, gradients.stream(model, batches), strict=True):
        assert not computed.hidden.requires_grad
        states = torch.cat([states, at(computed.hidden, batch, "prompt_end")])
    rows = torch.cat([batch.rows for batch in batches])
    torch.testing.assert_close(states[rows.argsort()], representations(model, batches))
    with recorded(model) as seen:
        pass
    hidden_states(model, batches[0])
    assert not seen, "nothing is recorded after the block"


@pytest.mark.parametrize("loss_on", ["response", "padded"])
def test_every_position_is_what_it_is_in_the_sequence_alone(tiny, examples, loss_on):
    model, tokenizer = tiny
    model.eval()
    tokens = tokenise(tokenizer, examples)
    for batch in loss_batches(model, tokenizer, {"": examples}, 3, loss_on)[""]:
        hidden = hidden_states(model, batch).detach()
        per_position = [at(hidden, batch, position) for position in POSITIONS]
        for row, *states in zip(batch.rows.tolist(), *per_position, strict=True):
            ids, end = tokens[row].prompt + tokens[row].response, len(tokens[row].prompt)
            with torch.no_grad():
                hidden_alone = model(torch.tensor([ids]), output_hidden_states=True).hidden_states[-1][0]
            expected = hidden_alone[end - 1], hidden_alone[-1], hidden_alone[:end].mean(0), hidden_alone[end:].mean(0)
            torch.testing.assert_close(torch.stack(states), torch.stack(expected).float(), rtol=1e-5, atol=1e-5)


def test_a_position_that_is_unknown_or_empty_is_refused_by_name():
    batch = collate([with_prompt((1,), (2, 3)), with_prompt((), (2, 3))], [4, 7])
    hidden = torch.zeros(2, 3, 5)
    with pytest.raises(ValueError, match="position: 'first'; choose one of prompt_end, last, prompt_mean"):
        at(hidden, batch, "first")
    with pytest.raises(ValueError, match="batch: example 7 has no token for prompt_mean; give it a prompt"):
        at(hidden, batch, "prompt_mean")


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
