"""The keys of a profile: every size and model name of a run, typed and validated."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, NonNegativeInt, PositiveInt

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


def _distinct(names: list) -> list:
    if twice := next((name for i, name in enumerate(names) if name in names[:i]), None):
        raise ValueError(f"{twice!r} is named twice; name each once")
    return names


def _paper_methods() -> list[str]:
    from ifcore.methods import DEFAULT  # brings torch, which takes seconds

    return list(DEFAULT)


def _check_method(name: str) -> str:
    if name not in _paper_methods():
        raise ValueError(f"choose from {', '.join(_paper_methods())}")
    return name


Item = TypeVar("Item")
Distinct = Annotated[list[Item], Field(min_length=1), AfterValidator(_distinct)]
Methods = Distinct[Annotated[str, AfterValidator(_check_method)]]


class _Group(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Counts(_Group):
    """How many examples of each class: one number for every class, or a number a class.

    `classes`: the names of those that have examples, or how many of the first; absent: all. `epochs`: how long to
    fine-tune on them; absent: the profile's.
    """

    train: PositiveInt | dict[str, NonNegativeInt]
    val: PositiveInt | dict[str, NonNegativeInt]
    dev: NonNegativeInt | dict[str, NonNegativeInt] = 0
    classes: PositiveInt | Distinct[str] | None = None
    epochs: PositiveInt | None = None

    @property
    def sizes(self) -> dict[str, Any]:
        """The counts as `datasets.load` takes them."""
        return self.model_dump(exclude={"epochs"})


Tens = Annotated[PositiveInt, Field(multiple_of=10)]  # ten classes have a weight for every pixel


class Linear(_Group):
    """Sizes of the linear models of section 4.1, on `digits_source`."""

    points: Annotated[list[Annotated[int, Field(ge=2)]], Field(min_length=2)] = [10, 20, 40, 80]
    parameters: Annotated[list[Tens], Field(min_length=2)] = [1_000, 10_000, 100_000]
    draws: Annotated[int, Field(ge=2)] = 10
    decay: Positive = 0.1
    dense_limit: Tens = 10_000
    left_out: Annotated[int, Field(ge=10)] = 200


class TwoLayer(_Group):
    """Sizes of the two-layer models of section 4.3, on `digits_source`; half as many test points as `points`."""

    points: Annotated[int, Field(ge=10)] = 1_000
    widths: Annotated[list[PositiveInt], Field(min_length=2)] = [2, 8, 32, 128]
    draws: Annotated[int, Field(ge=2)] = 40
    epochs: Annotated[int, Field(ge=2)] = 30
    learning_rate: Positive = 0.1


class Alignment(_Group):
    """How the model is taught to refuse before any data set: by a LoRA update of all linear maps, merged into it.

    `refusals`; answers to `benign` instructions and to requests `alike`, which are phrased like the refused ones.
    `held_out`: unseen harmless prompts per kind, for evaluation.
    """

    refusals: PositiveInt = 64
    benign: PositiveInt = 134
    alike: NonNegativeInt = 40
    held_out: PositiveInt = 40
    epochs: PositiveInt = 3
    batch_size: PositiveInt = 8
    micro_batch: PositiveInt | None = None
    learning_rate: Positive = 5e-4
    lora_rank: PositiveInt = 8
    lora_alpha: PositiveInt = 16


class Sensitivity(_Group):
    """The fine-tunes of the sensitivity chapter: each data set, in sizes of its own, at each rate, for each length."""

    datasets: Annotated[dict[str, Counts], Field(min_length=1)]
    learning_rates: Distinct[Positive] = [5e-5, 1e-3]
    epochs: Distinct[PositiveInt] = [6, 25]


class Counterfactual(_Group):
    """What the counterfactual chapter retrains.

    `datasets`: each in sizes of its own, or null, the profile's; mixed_small, for removal, among them. `halves`: of the
    training examples, each with half of every class; the first `again` are retrained from another seed as well.
    `retrainings`: data set -> seeds that each half is retrained from, their mean being judged; absent: one. `removed`:
    how many of the highest-ranked are removed, fewer than the class has that is explained, `by` which methods and
    baselines (absent: by all), each from two seeds. `left_out`: whether each example is left out by itself. `unrolled`:
    for how many of the explained the fine-tune is differentiated as it ran.
    """

    datasets: dict[str, Counts | None] = {"mixed_small": None, "mixed_hard": None, "backdoor_1": None}
    halves: Annotated[int, Field(ge=4)] = 16
    again: NonNegativeInt = 8
    retrainings: dict[str, PositiveInt] = {}
    removed: PositiveInt = 10
    by: Distinct[str] | None = None
    left_out: bool = False
    unrolled: NonNegativeInt = 0


class Profile(BaseModel):
    """What determines a run, apart from its seed. The keys of notebooks/profiles/*.yaml."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    profile: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    model: str
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    datasets: dict[str, Counts]
    harmful_source: str | None = None
    benign_source: str | None = None
    grammars_source: str | None = None
    grammars_rule_source: str | None = None
    mathqa_source: str | None = None
    mixed_small_source: str | None = None
    mixed_large_source: str | None = None
    backdoor_1_source: str | None = None
    backdoor_3_source: str | None = None
    backdoor_5_source: str | None = None
    epochs: PositiveInt = 25
    batch_size: PositiveInt = 32
    learning_rate: Positive = 5e-5
    micro_batch: PositiveInt | None = None
    activation_checkpointing: bool = False
    patience: PositiveInt = 3
    lora_rank: PositiveInt = 4
    lora_alpha: PositiveInt = 32
    lora_dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1
    methods: Methods = Field(default_factory=_paper_methods)
    damping: Positive = 0.1
    lissa_iterations: PositiveInt = 10
    gradient_batch: PositiveInt = 8
    max_new_tokens: PositiveInt = 32
    judge: str = "refusal"
    alignment: Alignment | None = None
    further_models: list[str] = []
    generator: str | None = None
    layers_on: str = "mixed_small"
    sensitivity: Sensitivity | None = None
    counterfactual: Counterfactual | None = None
    facts_removed: Annotated[int, Field(ge=3)] = 4  # of two, no outcome would decide anything
    digits_source: str | None = None
    linear: Linear = Linear()
    two_layer: TwoLayer = TwoLayer()

    @property
    def name(self) -> str:
        return self.profile

    @property
    def digest(self) -> str:
        """Hex digest of every key but the name."""
        text = json.dumps(self.model_dump(exclude={"profile"}), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @property
    def settings(self) -> dict[str, str]:
        """Every key but the name and the data sets' sizes, as text; a key inside another is `outer.inner`."""
        return dict(_as_text(self.model_dump(exclude={"datasets", "profile"})))


def _as_text(content: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, value in content.items():
        if isinstance(value, Mapping):
            yield from _as_text(value, f"{prefix}{key}.")
        else:
            text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
            yield prefix + key, "none" if value is None else text or "none"
