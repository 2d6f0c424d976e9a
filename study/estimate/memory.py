"""The memory and the disk that a run takes, counted from the sizes of its model and its data."""

from collections.abc import Sequence
from dataclasses import dataclass

from transformers import PreTrainedTokenizerBase

from ifcore.retraining_plan import DRAWS
from study.chapters.counterfactual.measure import REMOVED_FROM
from study.chapters.parameter_change import graded
from study.config import Run
from study.estimate.counting import count_split, tokenizer_of
from study.methods import COMPUTED
from study.pipeline.answers import BATCH
from study.pipeline.architectures import Architecture, architecture
from study.profile import Profile

JUDGE_WEIGHTS = 149e6  # Longformer-base (Beltagy et al., arXiv 2004.05150), in float32
CARDS = (8, 16, 24, 48, 80)  # GB
SPARE = 1.1  # a tenth is left for the driver and the allocator's gaps
GB = 1e9


@dataclass(frozen=True)
class Size:
    """One data set: how many examples, and the tokens (prompt, response) of each, training first."""

    train: int
    val: int
    tokens: list[tuple[int, int]]

    @property
    def epoch(self) -> int:
        return sum(map(sum, self.tokens[: self.train]))

    @property
    def longest(self) -> int:
        return max(map(sum, self.tokens))


def size_of(run: Run, name: str, tokenizer: PreTrainedTokenizerBase | None) -> Size:
    """The sizes of a data set of the run, counted with a tokenizer or, without one, estimated."""
    split = count_split(run, name, tokenizer)
    tokens = [(example.prompt, example.response) for example in split["train"] + split["val"]]
    return Size(len(split["train"]), len(split["val"]), tokens)


def memory(profile: Profile, shape: Architecture, sizes: dict[str, Size]) -> list[str]:
    """What takes memory, and on which card it fits, as lines of text."""
    resident, phases = _parts(profile, shape, sizes)
    peak = sum(resident.values()) + max(phases.values())
    precision, (longest, response), rows = _counted_as(profile), _lengths(sizes), _at_once(profile)
    counted = precision if profile.precision == precision else f"{profile.precision}, counted as {precision}"
    lines = [f"Memory of the GPU, or of the machine without one ({counted}; sequences of {longest} tokens)"]
    lines += [_line(name, size) for name, size in (resident | phases).items() if size]
    lines += [_line("together, at most", peak)]
    card = next((card for card in CARDS if SPARE * peak <= card * GB), None)
    verdict = f"it fits in {card} GB" if card else f"it does not fit in {CARDS[-1]} GB"
    free = 48 * GB / SPARE - sum(resident.values()) - shape.activations(rows, longest, rows * response, precision)
    tokens = longest + int(free / shape.activations(rows, 1, 0, precision))
    limit = f"takes sequences of up to {tokens:,} tokens" if tokens > 0 else "is too much at any length"
    return [*lines, f"  With a tenth to spare {verdict}. In 48 GB {rows} at a time {limit}."]


def disk(profile: Profile, shape: Architecture, sizes: dict[str, Size], cells: Sequence[tuple[Size, int]]) -> list[str]:
    """What takes disk space. `cells`: the data set and the epochs of each fine-tune of the sensitivity chapter."""
    P, B, models = shape.lora(profile.lora_rank), 4 * shape.layers, 1 + len(profile.further_models)
    lines = [f"Gradients on disk (P = {P:,}: {_bytes(4 * P)} an example), Gram matrices in memory (B = {B})"]
    stored = {name: 4 * P * (size.train + size.val) for name, size in sizes.items()}
    for name, size in sizes.items():
        lines.append(f"{_line(name, stored[name])} {_bytes(8 * B * size.train * (size.train + size.val)):>10}")
    # Each model is fine-tuned on mixed_small three times, on all, the harmful and the benign examples, for Table 1.
    tunes = [*sizes, *["mixed_small"] * ("mixed_small" in sizes) * (3 * models - 1)]
    # An epoch leaves an adapter and its second moments, the untouched adapter has none.
    saved = sum(2 * (profile.datasets[name].epochs or profile.epochs) + 1 for name in tunes)
    adapters = _line(f"adapters of {len(tunes)} fine-tunes", 4 * P * saved)
    lines += [_line("all gradients", sum(stored.values())), adapters]
    if cells:
        bytes_left = sum(4 * P * (size.train + size.val + 2 * epochs + 1) for size, epochs in cells)
        lines.append(_line(f"{len(cells)} fine-tunes of the sensitivity", bytes_left))
    if graded.DATASET in sizes:
        lines.append(_line(f"adapters of {graded.GRADES} graded mixtures", 4 * P * graded.GRADES))
    if plan := profile.counterfactual:
        alone = sizes[REMOVED_FROM].train if plan.left_out and REMOVED_FROM in sizes else 0
        retrained = len(plan.datasets) * (1 + plan.halves + plan.again) + len(plan.by or COMPUTED) + 2 * DRAWS + alone
        lines.append(_line(f"adapters of {retrained} retrained", 4 * P * retrained))
    # Beside each gradient lies a hidden state, and all of them once more, in float32.
    examples = sum(size.train + size.val for size in sizes.values())
    lines.append(_line("hidden states", 8 * shape.hidden * examples))
    if profile.alignment:
        lines.append(_line("the alignment's adapter", 4 * shape.wide_lora(profile.alignment.lora_rank)))
    return lines


def counted_memory(run: Run) -> float:
    """Bytes of the GPU, or of the machine without one, that the run takes at most. The model's sizes must be known."""
    profile = located_profile(run)
    tokenizer, shape = tokenizer_of(profile.model), architecture(profile.model)
    if shape is None:
        raise ValueError(f"model: the sizes of {profile.model} are not known here")
    sizes = {name: size_of(run, name, tokenizer) for name in profile.datasets}
    resident, phases = _parts(profile, shape, sizes)
    return sum(resident.values()) + max(phases.values())


def located_profile(run: Run) -> Profile:
    """The run's profile, in which models that it names by a relative path have their absolute one."""
    model, *others = map(run.located, (run.profile.model, *run.profile.further_models))
    return run.profile.model_copy(update={"model": model, "further_models": others})


def _parts(profile: Profile, shape: Architecture, sizes: dict[str, Size]) -> tuple[dict[str, float], dict[str, float]]:
    """Bytes of what stays loaded, and of the phases, one of which runs at a time."""
    precision, P, rows = _counted_as(profile), shape.lora(profile.lora_rank), _at_once(profile)
    width = 2 if precision == "bfloat16" else 4
    longest, response = _lengths(sizes)
    others = filter(None, map(architecture, profile.further_models))

    def batch(rows: int) -> float:
        return shape.activations(rows, longest, rows * response, precision)

    resident = {
        "weights": width * shape.weights,
        "weights of further models": width * sum(other.weights for other in others),
        "judge": 4 * JUDGE_WEIGHTS if profile.judge != "refusal" else 0,
        "adapter, its gradient and two moments": 16 * P,
    }
    cache = 2 * shape.layers * shape.kv_width * width * (longest + profile.max_new_tokens)
    phases = {
        f"fine-tuning, {rows} sequences at a time": batch(rows),
        f"or gradients, a batch of {profile.gradient_batch}": batch(profile.gradient_batch)
        + profile.gradient_batch * 4 * P,
        f"or answers, a batch of {BATCH}": BATCH * cache,
    }
    if settings := profile.alignment:  # counted as if its examples were as long as the longest
        rows = min(settings.batch_size, settings.micro_batch or settings.batch_size)
        phases["or alignment, with its adapter"] = batch(rows) + 16 * shape.wide_lora(settings.lora_rank)
    return resident, phases


def _counted_as(profile: Profile) -> str:
    return "bfloat16" if profile.precision == "bfloat16" else "float32"


def _lengths(sizes: dict[str, Size]) -> tuple[int, int]:
    """Tokens of the longest example, and of the longest response."""
    responses = max(tokens for size in sizes.values() for _, tokens in size.tokens)
    return max(size.longest for size in sizes.values()), responses


def _at_once(profile: Profile) -> int:
    """Sequences at a time in fine-tuning."""
    return min(profile.batch_size, profile.micro_batch or profile.batch_size)


def _line(name: str, size: float) -> str:
    return f"  {name:<37} {_bytes(size):>10}"


def _bytes(size: float) -> str:
    return f"{size / GB:,.2f} GB" if size >= GB / 100 else f"{size / 1e6:,.2f} MB"
