"""The keys of a profile: every size and model name of a run, typed and validated."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PositiveInt

Method = Literal["datainf", "lissa", "gradsim", "exact", "repsim"]
METHODS: tuple[Method, ...] = get_args(Method)
Count = Annotated[int, Field(ge=0)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


def _distinct(names: list) -> list:
    if twice := next((name for i, name in enumerate(names) if name in names[:i]), None):
        raise ValueError(f"{twice!r} is named twice; name each once")
    return names


class Counts(BaseModel):
    """How many examples of each class: one number for every class, or a number a class.

    `classes`: the names of those that have examples, or how many of the first; absent: all. `epochs`: how long to
    fine-tune on them; absent: the profile's.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
    train: PositiveInt | dict[str, Count]
    val: PositiveInt | dict[str, Count]
    dev: Count | dict[str, Count] = 0
    classes: PositiveInt | Annotated[list[str], Field(min_length=1), AfterValidator(_distinct)] | None = None
    epochs: PositiveInt | None = None

    @property
    def sizes(self) -> dict[str, Any]:
        """What says which examples there are, as `data.load` takes it."""
        return self.model_dump(exclude={"epochs"})


Tens = Annotated[PositiveInt, Field(multiple_of=10)]  # ten classes have a weight for every pixel


class Linear(BaseModel):
    """Sizes of the linear models of section 4.1, on `digits_source`."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
    points: Annotated[list[Annotated[int, Field(ge=2)]], Field(min_length=2)] = [10, 20, 40, 80]
    parameters: Annotated[list[Tens], Field(min_length=2)] = [1_000, 10_000, 100_000]
    draws: Annotated[int, Field(ge=2)] = 10
    decay: Positive = 0.1
    dense_limit: Tens = 10_000
    left_out: Annotated[int, Field(ge=10)] = 200


class TwoLayer(BaseModel):
    """Sizes of the two-layer models of section 4.3, on `digits_source`; half as many test points as `points`."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
    points: Annotated[int, Field(ge=10)] = 1_000
    widths: Annotated[list[PositiveInt], Field(min_length=2)] = [2, 8, 32, 128]
    draws: Annotated[int, Field(ge=2)] = 5
    epochs: Annotated[int, Field(ge=2)] = 30
    learning_rate: Positive = 0.1


class Alignment(BaseModel):
    """How the model is taught to refuse before any data set: a LoRA update of all linear maps, merged into it.

    `held_out`: how many harmless prompts of each kind that it was not taught with it is asked afterwards.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
    refusals: PositiveInt = 64
    benign: PositiveInt = 134
    held_out: PositiveInt = 40
    epochs: PositiveInt = 3
    batch_size: PositiveInt = 8
    micro_batch: PositiveInt | None = None
    learning_rate: Positive = 5e-4
    lora_rank: PositiveInt = 8
    lora_alpha: PositiveInt = 16


class Sensitivity(BaseModel):
    """The fine-tunes of the sensitivity chapter: each data set, in sizes of its own, at each rate, for each length."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
    datasets: Annotated[dict[str, Counts], Field(min_length=1)]
    learning_rates: Annotated[list[Positive], Field(min_length=1), AfterValidator(_distinct)] = [5e-5, 1e-3]
    epochs: Annotated[list[PositiveInt], Field(min_length=1), AfterValidator(_distinct)] = [6, 25]


class Counterfactual(BaseModel):
    """What the counterfactual chapter retrains.

    `datasets`: each in sizes of its own, or null, the profile's; mixed_small, which is removed from, among them.
    `halves`: random halves of the training examples of each, of which the first `again` are retrained from another seed
    as well. `removed`: how many of the highest-ranked go, `by` which methods and controls; absent: by all. `reseeded`:
    from how many other seeds all are retrained. `left_out`: how many are left out one at a time.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
    datasets: dict[str, Counts | None] = {"mixed_small": None}
    halves: Annotated[int, Field(ge=3)] = 60
    again: Count = 20
    removed: Annotated[list[PositiveInt], Field(min_length=1), AfterValidator(_distinct)] = [10, 20]
    by: Annotated[list[str], Field(min_length=1), AfterValidator(_distinct)] | None = None
    reseeded: Annotated[int, Field(ge=1)] = 3
    left_out: Count = 0


class Profile(BaseModel):
    """What determines a run, its seed aside. The keys of notebooks/profiles/*.yaml."""

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
    methods: Annotated[list[Method], Field(min_length=1), AfterValidator(_distinct)] = list(METHODS)
    damping: Positive = 0.1
    lissa_iterations: PositiveInt = 10
    gradient_batch: PositiveInt = 8
    max_new_tokens: PositiveInt = 32
    judge: str = "refusal"
    alignment: Alignment | None = None
    further_models: list[str] = []
    generator: str | None = None
    layers_on: str = "harmfulcheck"
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
        return _as_text(self.model_dump(exclude={"datasets", "profile"}))


def _as_text(content: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    found: dict[str, str] = {}
    for key, value in content.items():
        if isinstance(value, Mapping):
            found |= _as_text(value, f"{prefix}{key}.")
        else:
            text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
            found[prefix + key] = "none" if value is None else text or "none"
    return found
