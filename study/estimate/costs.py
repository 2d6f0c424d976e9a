"""What the parts of a run cost: items of work for tasks, fine-tunes, answers, gradients, retrained models.

The unit is a token that goes forward and backward through the profile's model. What a further model or a pass
through some of the layers costs is counted in the same unit.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from study import selection
from study.chapters.counterfactual import sets
from study.config import Run
from study.datasets import alignment
from study.estimate.counting import Counted, counted, sized, tokenizer_of
from study.estimate.rates import FEW, Rates
from study.pipeline.architectures import architecture
from study.pipeline.attack import PARTS
from study.pipeline.task import Task
from study.profile import Alignment
from study.report.names import NAMES

SHUFFLED = 1.13  # padding included: fine-tuning draws its batches at random, all else sorts them by length
GRADIENT = 200 / 189  # what a gradient for each example costs, the unit being one for all; measured, as what follows
ALIGNING = 1.2  # LoRA on all linear maps
DIVERGENCE = 10  # of a forward pass: four of them, and six pairs of distributions over the whole vocabulary

# Seconds of what no model's size decides, measured there too in the laptop's profile.
SCORES = 1.0
LINEAR = {  # stage -> seconds, the label of its bars, how many they are
    "errors": (15.0, "approximation errors", 1),
    "runtimes": (40.0, "running times", 1),
    "left-out": (40.0, "retraining,", 4),
    "two-layer": (10.0, "two-layer linear models", 1),
}


@dataclass(frozen=True)
class Item:
    """Something to compute: what `stage` leaves in `folder`, first needed by `chapter`.

    `tokens`: its cost at the speed of the model, `seconds`: what it costs beside that. It shows so many `bars`, whose
    labels are `label` or begin with it.
    """

    folder: Path
    stage: str
    tokens: float = 0.0
    seconds: float = 0.0
    label: str = ""
    bars: int = 1
    chapter: str = ""

    def shows(self, bar: str) -> bool:
        """Whether a progress bar of that label is one of its own."""
        return bool(self.label) and f"{bar} ".startswith(f"{self.label} ")


class Costs:
    """The items of a run's tasks."""

    def __init__(self, run: Run, rates: Rates):
        self.run, self.rates, self.shape = run, rates, architecture(run.located(run.profile.model))
        self._forward = rates.training / rates.forward
        self._tokenizer = tokenizer_of(run.located(run.profile.model))
        self._counted = {name: counted(run, name, self._tokenizer) for name in run.profile.datasets}
        self.studied = [name for name in run.profile.datasets if name in selection.STUDIED]

    def scored(self, task: Task) -> Iterator[Item]:
        """A fine-tune and its scores."""
        tokens, share = self._tokens(task, "train", "val"), self._backward(task)
        gradient = self._forward + (GRADIENT - self._forward) * share
        yield self._fine_tune(task)
        yield Item(task.folder, "gradients", gradient * tokens, label=f"gradients {task.name}")
        yield Item(task.folder, "scores", seconds=SCORES)

    def tuned(self, task: Task) -> Iterator[Item]:
        """A fine-tune and its answers, without the adapter and with it; a part of a data set has only the latter."""
        times = 1 if task.only else 2
        yield self._fine_tune(task)
        yield Item(task.folder, "answers", times * self._answers(task), label=f"answers {task.name}", bars=times)

    def attributed(self, names: Iterable[str]) -> Iterator[Item]:
        yield from self.alignment()
        for name in names:
            if name in self.run.profile.datasets:
                task = Task(self.run, name)
                yield from self.tuned(task)
                yield from self.scored(task)

    def checkpoints(self, stage: str) -> Iterator[Item]:
        """Scores of the data sets that are followed at each epoch but the last, or answers at each but both ends."""
        for name in (each for each in selection.FOLLOWED if each in self.run.profile.datasets):
            task = Task(self.run, name)
            for epoch in selection.epochs(task.epochs)[:-1]:
                folder, of = task.folder / "epochs" / f"{epoch:02d}", f"{task.name} epoch {epoch}"
                if stage == "scores":
                    tokens = self._tokens(task, "train", "val")
                    yield Item(folder, stage, GRADIENT * tokens, SCORES, f"gradients {of}", bars=2)
                elif epoch > 0:
                    yield Item(folder, stage, self._answers(task), label=f"answers {of}")

    def rivals(self, names: Iterable[str]) -> Iterator[Item]:
        """Further methods and controls; the checkpoints that TracIn adds up are followed anyway."""
        names = [name for name in names if name in self.run.profile.datasets]
        for name in names:
            task = Task(self.run, name)
            if name not in selection.FOLLOWED:
                prompts = sum(each.prompt for part in ("train", "val") for each in self._examples(task, part))
                label = f"states before {task.name}"
                yield Item(task.folder / "before", "states", self._forward * prompts, label=label, bars=2)
            yield Item(task.folder / "further", "scores", seconds=2 * SCORES)
            if name in selection.FACTORED:
                cost, label = GRADIENT * self._tokens(task, "train"), f"factors {task.name}"
                yield Item(task.folder / "further", "ekfac", cost, 10 * SCORES, label)
        if set(names) & set(selection.FOLLOWED):
            yield from self.checkpoints("scores")

    def options(self, name: str) -> Iterator[Item]:
        """What each choice of the sensitivity chapter scores on one of its fine-tunes."""
        task = Task(self.run, name)
        examples = [each for part in ("train", "val") for each in self._examples(task, part)]
        longest, tokens = max(each.tokens for each in examples), self._tokens(task, "train", "val")
        passes = {
            "response-reference": 0,
            "response-own": self._tokens(task, "val"),
            "all-reference": tokens,
            "padded-reference": longest * len(examples),
        }
        for option, passed in passes.items():
            label = f"gradients {task.name}, {option.replace('-', ' ')}"
            bars = 0 if not passed else 1 if option == "response-own" else 2
            yield Item(task.folder / "options" / option, "scores", GRADIENT * passed, 10 * SCORES, label, bars)

    def removal(self) -> Iterator[Item]:
        """Facts left out one at a time, where there are any."""
        if "facts" not in self.run.profile.datasets:
            return
        task = Task(self.run, "facts")
        cost = self._fine_tune(task).tokens + self._forward * self._tokens(task, "val")
        for row in range(min(self.run.profile.facts_removed, len(self._examples(task, "train")))):
            left = Task(self.run, "facts", left_out=(row,))
            yield Item(left.folder, "losses", cost, label=f"fine-tuning {left.name}")

    def counterfactuals(self, dataset: str) -> Iterator[Item]:
        """What the counterfactual chapter retrains on one of its data sets; that two methods may remove the same
        examples is not foreseen."""
        asked, task = self.run.profile.counterfactual, Task(self.run, dataset)
        place, whole = task.folder / "counterfactual", self._fine_tune(task).tokens
        size, lost = len(self._examples(task, "train")), self._forward * self._tokens(task, "val")
        many, alone = asked.halves + asked.again, 0
        if dataset == sets.REMOVED_FROM:
            alone, each = min(asked.left_out, size), len(asked.by or NAMES) + sets.DRAWS
            cost = sum(each * (whole * (1 - count / size) + lost + self._answers(task)) for count in asked.removed)
            cost += asked.reseeded * (whole + lost)
            yield Item(place, "removal", cost, label=f"removal {dataset}", bars=2)
        cost = many * (whole / 2 + lost) + alone * (whole + lost)
        bars = 1 + (asked.again >= 3) + bool(alone)
        yield Item(place, "lds", cost, 10 * SCORES, label=f"halves {dataset}", bars=bars)

    def layers(self) -> Iterator[Item]:
        """Fine-tunes with LoRA on some layers; none for a model whose layers are not known here."""
        total = self.shape.layers if self.shape else 0
        for _, chosen in selection.layers(total) if total else ():
            layers = None if len(chosen) == total else tuple(chosen)
            yield from self.scored(Task(self.run, self.run.profile.layers_on, layers=layers))

    def attacks(self) -> Iterator[Item]:
        yield from self.gate()
        for model in (None, *self.run.profile.further_models):
            for only in (None, *filter(None, PARTS.values())):
                yield from self.tuned(Task(self.run, "mixed_small", only=only, model=model))

    def alignment(self) -> Iterator[Item]:
        """The model taught to refuse."""
        if asked := self.run.profile.alignment:
            examples = alignment.examples(asked.refusals, asked.benign)
            cost = asked.epochs * SHUFFLED * ALIGNING * sum(each.tokens for each in sized(examples, self._tokenizer))
            folder = self.run.shared / "alignment"
            yield Item(folder, "fine-tune", cost, label="fine-tuning alignment")

    def gate(self) -> Iterator[Item]:
        """Its answers to harmless prompts."""
        asked = self.run.profile.alignment or Alignment()
        prompts = alignment.held_out(asked.held_out) + alignment.alike(asked.held_out)
        prompts = sized(prompts, self._tokenizer)
        yield Item(self.run.artifacts / "gate", "answers", self._written(prompts), label="answers harmless")

    def linear(self, *names: str) -> Iterator[Item]:
        for name in names:
            seconds, label, bars = LINEAR[name]
            yield Item(self.run.artifacts / "linear", name, 0.0, seconds, label, bars)

    def divergence(self) -> Item:
        tokens = self._tokens(Task(self.run, "mixed_small"), "val")
        folder, label = self.run.artifacts / "divergence", "next-token distributions"
        return Item(folder, "divergence", DIVERGENCE * self._forward * tokens, label=label)

    def _fine_tune(self, task: Task) -> Item:
        """Every epoch over the training examples, and over the dev examples from before the first epoch on."""
        epochs = task.epochs
        step = self._forward + (1 - self._forward) * self._backward(task)
        cost = epochs * SHUFFLED * step * self._tokens(task, "train")
        cost += (epochs + 1) * self._forward * self._tokens(task, "dev")
        return Item(task.folder, "fine-tune", cost, label=f"fine-tuning {task.name}")

    def _answers(self, task: Task) -> float:
        return self._scale(task) * self._written(self._counted[task.dataset]["val"])

    def _written(self, prompts: Sequence[Counted]) -> float:
        """The longest answers that may be given, FEW prompts at a time."""
        rows = [len(prompts[start : start + FEW]) for start in range(0, len(prompts), FEW)]
        seconds = self.run.profile.max_new_tokens * sum(map(self.rates.step, rows))
        return self._forward * sum(each.prompt for each in prompts) + self.rates.training * seconds

    def _tokens(self, task: Task, *parts: str) -> float:
        return self._scale(task) * sum(each.tokens for part in parts for each in self._examples(task, part))

    def _examples(self, task: Task, part: str) -> list[Counted]:
        only = task.only if part != "val" else None
        return [each for each in self._counted[task.dataset][part] if only in (None, each.label)]

    def _scale(self, task: Task) -> float:
        """What a token costs in the task's model, where both are known."""
        other = architecture(task.source)
        return other.weights / self.shape.weights if other and self.shape else 1.0

    def _backward(self, task: Task) -> float:
        """The share of the layers that a backward pass goes through, down to the first that has LoRA."""
        return 1 - task.layers[0] / self.shape.layers if task.layers and self.shape else 1.0
