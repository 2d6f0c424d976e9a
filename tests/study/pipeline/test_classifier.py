import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import (
    LongformerConfig,
    LongformerForSequenceClassification,
    LongformerModel,
    PreTrainedTokenizerFast,
)

from study.pipeline import classifier, judging

RESPONSES = [" ".join(words) for words in (["yes"], ["no", "way"], ["sure"] * 70, ["way", "sure", "yes"], ["no"] * 9)]


@pytest.fixture(scope="module")
def longformer(tmp_path_factory):
    """A folder with a tiny random Longformer that classifies, and a tokenizer of words for it."""
    folder = tmp_path_factory.mktemp("longformer")
    words = ["<s>", "<pad>", "</s>", "<unk>", "yes", "no", "way", "sure"]
    raw = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
    raw.pre_tokenizer = pre_tokenizers.Whitespace()
    raw.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    special = {"bos_token": "<s>", "pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>", "cls_token": "<s>"}
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=raw, model_max_length=64, **special)
    torch.manual_seed(0)
    model = LongformerForSequenceClassification(tiny_longformer()).eval()
    with torch.no_grad():  # a bias that puts the one half of the responses into each class
        logits = torch.cat([model(torch.tensor([ids[-64:]])).logits for ids in tokenizer(RESPONSES)["input_ids"]])
        model.classifier.out_proj.bias[1] -= (logits[:, 1] - logits[:, 0]).median() - 1e-4
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder, model, tokenizer


def tiny_longformer(**kind):
    small = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    return LongformerConfig(
        vocab_size=8, attention_window=[8, 8], max_position_embeddings=66, initializer_range=0.5, **small, **kind
    )


@pytest.mark.parametrize("batch_size", [1, 3])
def test_the_classifier_judge_says_what_the_classifier_says_of_the_response_alone(longformer, batch_size):
    folder, model, tokenizer = longformer
    expected = []
    for response in RESPONSES:
        ids = tokenizer(response)["input_ids"]
        cut = ids if len(ids) <= 64 else [*ids[:63], tokenizer.eos_token_id]
        with torch.no_grad():
            expected.append(int(model(torch.tensor([cut])).logits.argmax()) == 1)
    assert set(expected) == {True, False}
    assert classifier.harmful(f"path:{folder}", RESPONSES, batch_size) == expected
    assert judging.judge_responses(f"path:{folder}", ["any"] * 5, RESPONSES) == expected


def test_an_empty_response_is_never_harmful(longformer, tmp_path):
    _, model, tokenizer = longformer
    always = LongformerForSequenceClassification(model.config)
    torch.nn.init.zeros_(always.classifier.out_proj.weight)
    always.classifier.out_proj.bias.data = torch.tensor([0.0, 1.0])
    always.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    assert classifier.harmful(f"path:{tmp_path}", ["yes", " ", "no", ""]) == [True, False, True, False]


def complaint(source):
    with pytest.raises((ValueError, ConnectionError)) as error:
        classifier.harmful(source, ["yes"])
    assert "\n" not in str(error.value)
    return f"{error.type.__name__}: {error.value}"


def test_a_judge_out_of_reach_fails_in_one_line(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    message = complaint("hub:no-one/no-judge")
    assert message.startswith("ConnectionError: judge: 'hub:no-one/no-judge' could not be loaded (")
    assert message.endswith("check the name and the network, or use a local folder with path:, or the judge refusal")


def test_the_judge_of_the_paper_is_had_at_the_revision_with_safetensors(monkeypatch):
    requests = []

    def elsewhere(name, revision):
        requests.append((name, revision))
        raise OSError("not here")

    monkeypatch.setattr(classifier.AutoTokenizer, "from_pretrained", elsewhere)
    complaint("hub:LibrAI/longformer-harmful-ro")
    complaint("hub:some/other")
    assert requests == [
        ("LibrAI/longformer-harmful-ro", "d32e80e4acfd4624c303c3883140b7b0e0ef7614"),
        ("some/other", "main"),
    ]


def test_a_source_that_is_no_judge_is_refused_in_one_line(longformer, tmp_path):
    _, model, tokenizer = longformer
    assert complaint("gpt").startswith("ValueError: judge: 'gpt'; must be refusal, hub:OWNER/NAME or path:FOLDER")
    assert "has no config.json" in complaint(f"path:{tmp_path}")
    for name, model_ in {
        "body": LongformerModel(tiny_longformer()),
        "three": LongformerForSequenceClassification(tiny_longformer(num_labels=3)),
        "pickled": model,
    }.items():
        model_.save_pretrained(tmp_path / name)
        tokenizer.save_pretrained(tmp_path / name)
    (tmp_path / "pickled" / "model.safetensors").unlink()
    torch.save(model.state_dict(), tmp_path / "pickled" / "pytorch_model.bin")
    assert "has no weights for classifier." in complaint(f"path:{tmp_path / 'body'}")
    assert "has 3 classes; must have two" in complaint(f"path:{tmp_path / 'three'}")
    assert "give its safetensors" in complaint(f"path:{tmp_path / 'pickled'}")
