"""Tokenizers and chat templates of the kinds that people have, built in code, and a tiny model for all of them."""

import functools

import torch
from peft import LoraConfig, get_peft_model
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
from transformers.tokenization_python import PreTrainedTokenizer

MARKERS = ["<|im_start|>", "<|im_end|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "[INST]", "[/INST]"]
SPECIAL = ["<pad>", "<s>", "</s>", "[UNK]", *MARKERS]
MERGES = [("Ġ", "P"), ("ĠP", "a"), ("ĠPa", "r"), ("ĠPar", "i"), ("ĠPari", "s")]  # " Paris" is one token
CONTEXT = 1024
SMALL = dict(
    vocab_size=400, hidden_size=16, intermediate_size=24, num_attention_heads=2, num_key_value_heads=1,
    max_position_embeddings=CONTEXT, pad_token_id=0, bos_token_id=1, eos_token_id=2,
)  # fmt: skip
LETTERS = [chr(code) for code in range(33, 127)]


def _fast(tokenizer: Tokenizer, before: str = "", after: str = "", **options) -> PreTrainedTokenizerFast:
    tokenizer.add_special_tokens(SPECIAL)
    if before or after:
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{before} $A {after}".strip(), special_tokens=[("<s>", 1), ("</s>", 2)]
        )
    names = dict(pad_token="<pad>", bos_token="<s>", eos_token="</s>", unk_token="[UNK]")
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names | options)


def _byte_level(merges=(), before="", after="", **options) -> PreTrainedTokenizerFast:
    pieces = [*SPECIAL, *sorted(pre_tokenizers.ByteLevel.alphabet()), *map("".join, merges)]
    tokenizer = Tokenizer(models.BPE({piece: place for place, piece in enumerate(pieces)}, list(merges)))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    return _fast(tokenizer, before, after, **options)


def _llama2() -> PreTrainedTokenizerFast:
    """As sentencepiece has it: a space goes before each text between special tokens."""
    pieces = [*SPECIAL, "▁", "\n", *LETTERS, "▁P", "▁Pa"]
    tokenizer = Tokenizer(
        models.BPE({p: i for i, p in enumerate(pieces)}, [("▁", "P"), ("▁P", "a")], unk_token="[UNK]")
    )
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    return _fast(tokenizer, before="<s>")


def _word_piece() -> PreTrainedTokenizerFast:
    pieces = [*SPECIAL, *LETTERS, *(f"##{letter}" for letter in LETTERS)]
    tokenizer = Tokenizer(models.WordPiece({p: i for i, p in enumerate(pieces)}, unk_token="[UNK]"))
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizers.Lowercase(), pre_tokenizers.BertPreTokenizer()
    return _fast(tokenizer)


class _Slow(PreTrainedTokenizer):
    """One token a character; it doesn't say where its tokens are."""

    vocab_size = 400

    def get_vocab(self):
        return {chr(code): code for code in range(11, 400)} | self.added_tokens_encoder

    def _tokenize(self, text, **options):
        return list(text)

    def _convert_token_to_id(self, token):
        return min(ord(token), 399)

    def _convert_id_to_token(self, index):
        return chr(index)


BUILDERS = {
    "bytes": _byte_level,
    "bpe": lambda: _byte_level(MERGES),
    "bos": lambda: _byte_level(MERGES, before="<s>"),
    "bos eos": lambda: _byte_level(before="<s>", after="</s>"),
    "llama2": _llama2,
    "wordpiece": _word_piece,
    "no eos": lambda: _byte_level(eos_token=None),
    "eos pads": lambda: _byte_level(pad_token="</s>"),
    "slow": lambda: _Slow(pad_token="<pad>", bos_token="<s>", eos_token="</s>"),
}

_OPEN = "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
_TURNS = "{% for m in messages %}"
_TURN = "<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n"
_CHAT = _TURNS + _TURN + "{% endfor %}"
_THOUGHTS = "<think>\n{{ m.reasoning_content or '' }}\n</think>\n\n"
_MARKED = "{% generation %}{{ m.content }}<|im_end|>{% endgeneration %}{{ '\n' }}"
_DAY = "<|im_start|>system\nToday: {{ strftime_now('%d %b %Y') }}<|im_end|>\n"
_LLAMA3 = (
    "<|start_header_id|>{{ m.role }}<|end_header_id|>\n\n{{ m.content | trim }}<|eot_id|>{% endfor %}"
    "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
)
_MISTRAL = (
    "{{ bos_token }}{% set rest = messages | rejectattr('role', 'equalto', 'system') | list %}"
    "{% set system = messages[0].content + '\n\n' if messages[0].role == 'system' else '' %}"
    "{% for m in rest %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}"
)
_LAST_USER = "(rest | selectattr('role', 'equalto', 'user') | list)[-1]"
_TOOLS = (
    "{% if tools %}<|im_start|>tools\n{{ tools | tojson }}<|im_end|>\n{% endif %}"
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content or '' }}"
    "{% for call in m.tool_calls or [] %}<call>{{ call.function.name }} {{ call.function.arguments | tojson }}</call>"
    "{% endfor %}<|im_end|>\n{% endfor %}"
)


def _with_answers(answer: str) -> str:
    """ChatML with other answers."""
    is_answer = "{% if m.role == 'assistant' %}<|im_start|>assistant\n"
    return _TURNS + is_answer + answer + "{% else %}" + _TURN + "{% endif %}{% endfor %}" + _OPEN


def _mistral(system: str) -> str:
    turn = "{% if m.role == 'user' %}[INST] {{ " + system + " }}{{ m.content }} [/INST]"
    return _MISTRAL + turn + "{% else %} {{ m.content }}</s>{% endif %}{% endfor %}"


TEMPLATES = {
    "none": None,
    "chatml": _CHAT + _OPEN,
    "llama3": "{{ bos_token }}" + _TURNS + _LLAMA3,
    "zephyr": _TURNS + "<|{{ m.role }}|>\n{{ m.content }}</s>\n{% endfor %}",  # without an opening of answers
    "marked": _with_answers(_MARKED),
    "think": _with_answers(_THOUGHTS + "{{ m.content }}<|im_end|>\n"),
    "qwen3": _with_answers("{% if loop.last %}" + _THOUGHTS + "{% endif %}{{ m.content }}<|im_end|>\n"),
    "r1": _CHAT + "{% if add_generation_prompt %}<|im_start|>assistant\n<think>\n{% endif %}",
    "mistral": _mistral("system if loop.first"),
    "mistral last": _mistral(f"system if m == {_LAST_USER}"),
    "demanding": "{% if messages[0].role != 'system' %}{{ raise_exception('A system turn is needed') }}{% endif %}"
    + _CHAT
    + _OPEN,
    "raising": "{{ raise_exception('No\nchat') }}",
    "undefined": "{{ messages[0].content.nothing.at_all }}",
    "system last": "".join(
        f"{{% for m in messages if m.role {sign} 'system' %}}{_TURN}{{% endfor %}}" for sign in ("!=", "==")
    )
    + _OPEN,
    "dated": _DAY + _CHAT + _OPEN,
    "clock unused": "{% if 0 %}{{ strftime_now('%Y') }}{% endif %}" + _CHAT + _OPEN,
    "tools": _TOOLS + _OPEN,
    "cutting": _CHAT.replace("m.content", "m.content.split('</think>')[-1] | trim") + _OPEN,
}
TEMPLATES["two"] = {"default": TEMPLATES["chatml"], "tool_use": TEMPLATES["tools"]}
TEMPLATES["other marked"] = {"default": TEMPLATES["chatml"], "rag": TEMPLATES["marked"]}
TEMPLATES["no default"] = {"chat": TEMPLATES["chatml"]}


@functools.cache
def build_tokenizer(kind: str = "bytes", template: str = "chatml"):
    """A tokenizer of a kind, with a chat template of a kind. Built once: a test that changes it copies it."""
    tokenizer = BUILDERS[kind]()
    tokenizer.chat_template = TEMPLATES[template]
    return tokenizer


@functools.cache
def tiny_model():
    """A one-layer Llama in float64 whose LoRA has moved, with an embedding for any of the tokenizers' tokens."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = LlamaForCausalLM(LlamaConfig(**SMALL, num_hidden_layers=1)).double().requires_grad_(False)
        model = get_peft_model(model, LoraConfig(r=2, target_modules="all-linear")).double()
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.data.normal_(std=0.3)
    return model.eval()


def plain_gradient(model, ids, labels, mask=None, positions=None, reduction="mean"):
    """The gradient of one row by plain PyTorch, for all that is trained, as one vector; and the count of its labels."""
    inputs = {"attention_mask": mask, "position_ids": positions}
    inputs = {name: torch.tensor([values]) for name, values in inputs.items() if values is not None}
    output = model(input_ids=torch.tensor([ids]), labels=torch.tensor([labels]), use_cache=False, **inputs)
    loss = torch.nn.functional.cross_entropy(output.logits[0, :-1], torch.tensor(labels[1:]))
    if getattr(model, "peft_type", None) != "ADALORA":  # which adds a term that keeps its matrices orthogonal
        torch.testing.assert_close(loss, output.loss.double(), rtol=1e-5, atol=0)  # transformers' is in float32
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    grads = torch.autograd.grad(loss, trained, allow_unused=True)
    flat = [torch.zeros_like(p) if grad is None else grad for p, grad in zip(trained, grads, strict=True)]
    count = sum(label != -100 for label in labels[1:])
    return torch.cat([grad.flatten() for grad in flat]) * (count if reduction == "sum" else 1), count
