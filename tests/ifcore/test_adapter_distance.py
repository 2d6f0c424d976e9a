import copy

import pytest
import torch

from ifcore import adapter_distance, loading
from ifcore.batches import example_batches
from study.pipeline.losses import loss_batches


@pytest.fixture
def adapter_pair(tiny, tmp_path):
    """Two adapters of one model: their folders, the weights with each of them merged by PEFT, and without any."""
    peft, _ = tiny
    folders, merged = [], []
    for index in range(2):
        generator = torch.Generator().manual_seed(index)
        for name, parameter in peft.named_parameters():
            if "lora_" in name:
                parameter.data.normal_(std=0.3, generator=generator)
        folders.append(tmp_path / str(index))
        peft.save_pretrained(folders[-1])
        merged_model = copy.deepcopy(peft).merge_and_unload()
        merged.append({n: p.detach() for n, p in merged_model.named_parameters() if "q_proj" in n or "v_proj" in n})
    base = {n: p.detach() for n, p in loading.load("random:tiny-llama", torch.float64)[0].named_parameters()}
    return folders, merged, {name: base[name] for name in merged[0]}


def test_distances_are_those_of_the_weights_that_peft_merges(adapter_pair):
    folders, merged, base = adapter_pair
    first, second = (adapter_distance.updates(folder) for folder in folders)
    for pair, params in (
        ((first, second), merged),
        ((first, {}), (merged[0], base)),
        (({}, second), (base, merged[1])),
    ):
        truth = torch.stack([(params[0][name] - params[1][name]).norm() for name in sorted(base)])
        torch.testing.assert_close(adapter_distance.distances(*pair), truth, rtol=1e-5, atol=1e-8)
        torch.testing.assert_close(adapter_distance.distances(*pair, scaled=False), truth / 8, rtol=1e-5, atol=1e-8)
    assert adapter_distance.distances(first, first).max() < 1e-6


def test_an_adapter_with_its_own_scaling_is_refused(adapter_pair):
    file = adapter_pair[0][0] / "adapter_config.json"
    file.write_text(file.read_text().replace('"use_rslora": false', '"use_rslora": true'))
    with pytest.raises(ValueError, match="use_rslora is set"):
        adapter_distance.updates(adapter_pair[0][0])


def test_kl_is_the_sum_over_the_vocabulary():
    p, q = (torch.randn(3, 7, dtype=torch.float64).softmax(-1) for _ in range(2))
    for row, (p_row, q_row) in enumerate(zip(p, q, strict=True)):
        direct = sum(float(a * torch.log(a / b)) for a, b in zip(p_row, q_row, strict=True))
        assert adapter_distance.kl(p.log(), q.log())[row].item() == pytest.approx(direct)
    torch.testing.assert_close(adapter_distance.kl(p.log(), p.log()), torch.zeros(3, dtype=torch.float64))


@pytest.mark.parametrize("loss_on, exact", [("response", 1e-7), ("padded", 1e-5)])  # rotations are in float32
def test_next_token_probabilities_are_those_of_the_whole_model_one_example_at_a_time(tiny, examples, loss_on, exact):
    model, tokenizer = tiny
    model.eval()
    for batch in loss_batches(model, tokenizer, {"": examples}, 3, loss_on)[""]:
        for row, log_probs in zip(batch.rows, adapter_distance.next_token_log_probs(model, batch), strict=True):
            single = example_batches(model, tokenizer, [examples[row]], 1)[0]
            end = int(single.prompt_end) + 1
            truth = model(input_ids=single.input_ids[:, :end]).logits[0].log_softmax(-1)
            torch.testing.assert_close(log_probs, truth, rtol=exact, atol=0)
