"""Do scores predict what retraining the model does? Fine-tune again on halves of its data, and look."""

import sys
import tempfile
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd
from peft import PeftModel
from transformers import PreTrainedTokenizerBase

from ifcore.attribution import memory_bytes
from ifcore.bank import Bank, Retraining
from ifcore.baselines import NAMES, baseline_scores, texts_of
from ifcore.checkpoints import read_checkpoints
from ifcore.datamodels import Estimate
from ifcore.explain_loss import explain
from ifcore.inputs import Inputs, process_share
from ifcore.judge import CEILING, Judge
from ifcore.losses import evaluate_losses
from ifcore.methods import DEFAULT, check_inputs, check_methods
from ifcore.parts import Parts, Rows, tokenise_parts
from ifcore.retraining_forecast import announcement, retraining_seconds
from ifcore.retraining_plan import WITHIN, Plan, Scores, fit, make_plan
from ifcore.tokens import Loss, LossOn, Reduction, Side
from ifcore.training import Settings, read_settings
from ifcore.tuning import choose_dampings, is_damped, scores_at

COLUMNS = ["question", "method", "against", "value", "low", "high"]


@dataclass(frozen=True, repr=False)
class Validation:
    """What retraining says of scores.

    `table` has a row for each question, method and what it is held `against` (nothing: the value itself), with the ends
    of its 95 % interval. Question `halves`: the linear datamodeling score over retrained halves, with method `ceiling`
    the agreement of two seeds of retraining; `alone`: the same over fine-tunes without one example; `removal`: by how
    much the explained loss rises without the `removed` examples on top. `scores`: those of methods and baselines,
    [M, N]. `damping`: that which was chosen. `refitted`: the mean explained loss of the adapter that was given, and of
    the fine-tune on all examples.
    """

    table: pd.DataFrame
    scores: dict[str, pd.DataFrame]
    plan: Plan
    damping: dict[str, float] = field(default_factory=dict)
    refitted: tuple[float, float] = (np.nan, np.nan)

    def estimate(self, question: str, method: str, against: str = "") -> Estimate | None:
        """One row of the table."""
        table = self.table
        rows = table[(table.question == question) & (table.method == method) & (table.against == against)]
        return None if rows.empty else Estimate(*rows[["value", "low", "high"]].iloc[0].tolist())


def validate(
    model: PeftModel,
    tokenizer: PreTrainedTokenizerBase,
    train: Rows,
    val: Rows,
    methods: Sequence[str] | Mapping[str, pd.DataFrame] = DEFAULT,
    *,
    bank: str | Path | None = None,
    settings: Settings | None = None,
    labels: Sequence[Hashable] | None = None,
    subsets: int = 16,
    replicates: int | None = None,
    remove: int | None = None,
    leave_one_out: bool | None = None,
    minutes: float | None = None,
    damping: float | str = 0.1,
    iterations: int = 10,
    seed: int = 0,
    checkpoints: str | Path | None = None,
    start: str | Path | None = None,
    clusters: Sequence[Hashable] | None = None,
    batch_size: int = 8,
    loss_on: LossOn = "auto",
    reduction: Reduction = "mean",
    max_length: int | None = None,
    truncation_side: Side = "right",
    chat_template: str = "auto",
    date: str | None = None,
    memory_budget: str | int = "2GiB",
    progress: bool = True,
) -> Validation:
    """Compare scores with what becomes of the explained losses when the model is fine-tuned again on less.

    Every retraining begins where the fine-tune began and has its order and schedule; what is left out weighs nothing.
    Halves keep half of each class, so that whoever counts labels predicts nothing. Beside the methods stand baselines
    that never see the model, and the agreement of two seeds of retraining: what one noisy run says of another.

    Parameters
    ----------
    model : PeftModel
        With the LoRA adapter that was fine-tuned on `train`.
    tokenizer : PreTrainedTokenizerBase
    train, val : list, Dataset or DataFrame
        As `attribute` takes them; a `label` of the training rows is their class.
    methods : sequence of str or mapping of str to DataFrame
        Keys of `methods.METHODS`, or scores [M, N] as `attribute` returns them.
    bank : str or Path, optional
        The folder of the retrained adapters; another call finds those that are there, also one in another process. By
        default a temporary one.
    settings : Settings, optional
        How the adapter was fine-tuned; by default what `finetune` left in `checkpoints`.
    labels : sequence of hashable, optional
        The classes of the training examples, [N]; by default the rows' own, else all are of one.
    subsets : int
        How many halves.
    replicates : int, optional
        How many of them are retrained from another seed as well; by default half, 0 for no ceiling.
    remove : int, optional
        How many of the highest-ranked examples are left out together; by default half of the smallest class, but no
        more than a quarter of all. 0 for none.
    leave_one_out : bool, optional
        Whether each example is left out by itself; by default where there are no more than 30.
    minutes : float, optional
        What all retraining may take; counts are chosen to fit.
    damping : float or "auto"
        Of the methods; "auto" takes that of `tuning.DAMPINGS` with which a method ranks further halves best, on which
        nothing is judged.
    iterations : int
        Of LiSSA.
    seed : int
        Of the halves.
    checkpoints : str or Path, optional
        Those of the fine-tune, for methods that need them; by default those of the fine-tune on all in the bank.
    start : str or Path, optional
        The adapter before the first step; by default that of `checkpoints`, or else one drawn from the settings' seed.
    clusters : sequence of hashable, optional
        [M]; explained examples of one cluster may depend on each other.
    batch_size, loss_on, reduction, max_length, truncation_side, chat_template, date, memory_budget, progress
        As those of `attribute`.

    Returns
    -------
    Validation

    Raises
    ------
    ValueError
        In one line, for what can't be retrained, and for a bank of another model, data or settings.

    References
    ----------
    Park et al. 2023, arXiv 2303.14186 (the score); Bae et al. 2024, arXiv 2405.12186 (retraining as the judge).
    """
    loss = Loss(loss_on, reduction, max_length, truncation_side, chat_template, date)
    settings = _settings(settings, checkpoints)
    default = 0.1 if damping == "auto" else float(damping)
    given, keys = (methods, ()) if isinstance(methods, Mapping) else ({}, tuple[str, ...]())
    if not isinstance(methods, Mapping):
        keys = check_methods(methods, default, iterations, checkpoints or "the bank's")
    if process_share()[1] > 1:
        raise ValueError("validate: several processes of one launcher; start it in each by itself, on one bank")
    parts = tokenise_parts(model, tokenizer, train, val, loss)
    if minutes is not None and not minutes > 0:
        raise ValueError(f"minutes: {minutes:g}; give more than 0")
    if clusters is not None and len(clusters) != len(parts.tokens["val"]):
        raise ValueError(f"clusters: {len(clusters)} for {len(parts.tokens['val'])} explained examples; one for each")
    scores = {name: _ordered(frame, parts, name) for name, frame in given.items()}
    tune = damping == "auto" and is_damped(keys)
    plan = make_plan(_labels(parts, labels), subsets, replicates, remove, leave_one_out, tune, seed)
    inputs = Inputs(
        model,
        parts.sequences,
        tokenizer.pad_token_id,
        batch_size,
        memory_bytes(memory_budget),
        None,
        parts.rejected,
        None if checkpoints is None else Path(checkpoints),
        progress=progress,
    )
    check_inputs(keys, inputs)
    if progress:
        print(explain(tokenizer, parts.rows, parts.tokens, loss), file=sys.stderr)
    baselines = _baselines(parts, tokenizer, seed)
    names = [*keys, *scores, *baselines]
    with tempfile.TemporaryDirectory() if bank is None else nullcontext(bank) as place:
        begin = _start(start, checkpoints)
        adapters = Bank(Path(place), model, parts.sequences["train"], settings, begin, about=asdict(loss))
        if progress or minutes is not None:  # a batch is tried for it
            seconds = retraining_seconds(model, adapters, parts, tokenizer.pad_token_id)
            plan = plan if minutes is None else fit(plan, seconds, names, 60 * minutes, seed)
            if progress:
                print(announcement(plan, adapters, seconds, names), file=sys.stderr)
        adapters.make(plan.subsets(), "retraining" if progress else "")
        if checkpoints is None:
            inputs = replace(inputs, checkpoints_in=adapters.checkpoints)
        judge = Judge(adapters, plan, inputs.batches["val"], inputs.combinations, clusters)
        dampings = choose_dampings(inputs, keys, iterations, judge) if tune else {}
        scores |= scores_at(inputs, keys, default, iterations, dampings) | baselines
        table = _judge(judge, scores, _explained_class(parts, plan), seed, progress)
        before = float((inputs.combinations @ evaluate_losses(model, judge.val).double()).mean())
        refitted = before, float(judge.losses([Retraining()]).mean())
    frames = {name: parts.frame(matrix) for name, matrix in scores.items()}
    return Validation(table, frames, plan, dampings, refitted)


def _judge(judge: Judge, scores: Scores, label: Hashable | None, seed: int, progress: bool) -> pd.DataFrame:
    """All that the plan asks for, as the table of a `Validation`."""
    judged = judge.halves(scores)
    if judge.plan.removed:
        judged += judge.removal(scores, label, seed, "removal" if progress else "")
    if judge.plan.alone:
        judged += judge.alone(scores)
    return pd.DataFrame([(*names, *vars(value).values()) for *names, value in judged], columns=COLUMNS)


def _settings(settings: Settings | None, checkpoints: str | Path | None) -> Settings:
    if settings is not None:
        return settings
    if checkpoints is None:
        raise ValueError("settings: none; say how it was fine-tuned (ifcore.Settings), or name its checkpoints")
    return read_settings(Path(checkpoints))


def _start(start: str | Path | None, checkpoints: str | Path | None) -> Path | None:
    """The adapter to start from: the one that is given, else the first of the checkpoints if that is before all."""
    if start is not None or checkpoints is None:
        return None if start is None else Path(start)
    first = read_checkpoints(checkpoints)[0]
    return first.folder if first.spent == 0 else None


def _labels(parts: Parts, labels: Sequence[Hashable] | None) -> list[Hashable]:
    """A class for each training example that has tokens: those that are given, else the rows' own, else one for all."""
    rows = parts.rows["train"]
    if labels is not None and len(labels) != len(rows):
        raise ValueError(f"labels: {len(labels)} for {len(rows)} training examples; give one for each")
    row_labels = [row.label for row in rows.values()]
    if labels is None and None in row_labels and any(label is not None for label in row_labels):
        missing = next(row for row in rows.values() if row.label is None)
        raise ValueError(f"{missing.about}: no label, and others have one; give each row one, or none")
    by_id = dict(zip(rows, row_labels if labels is None else labels, strict=True))
    return [by_id[identity] for identity in parts.tokens["train"]]


def _explained_class(parts: Parts, plan: Plan) -> Hashable | None:
    """The class of most explained examples, if it is one of several of the training examples'."""
    classes = Counter(row.label for row in parts.rows["val"].values() if row.label in plan.labels)
    return classes.most_common(1)[0][0] if classes and len(set(plan.labels)) > 1 else None


def _ordered(frame: pd.DataFrame, parts: Parts, name: str) -> np.ndarray:
    """The scores of a table in the order of the examples."""
    if name in {*NAMES, CEILING, WITHIN}:
        raise ValueError(f"scores: {name} is the name of a baseline or of the ceiling; give them another")
    frame = frame.rename(index=str, columns=str)
    val, train = ([str(identity) for identity in parts.tokens[part]] for part in ("val", "train"))
    for wanted, there in ((val, set(frame.index)), (train, set(frame.columns))):
        if missing := [identity for identity in wanted if identity not in there]:
            raise ValueError(f"scores: {name} has no {missing[0]!r}; give a row for each of val, a column of train")
    values = frame.loc[val, train].to_numpy(dtype=float)
    if not np.isfinite(values).all():
        raise ValueError(f"scores: {name} has {(~np.isfinite(values)).sum()} that are not finite; judge finite ones")
    return values


def _baselines(parts: Parts, tokenizer: PreTrainedTokenizerBase, seed: int) -> Scores:
    texts = {
        part: [texts_of(parts.rows[part][identity].example, tokenizer) for identity in tokens]
        for part, tokens in parts.tokens.items()
    }
    return baseline_scores(texts["train"], texts["val"], seed)
