"""What the parts of a run cost: items of work for tasks, fine-tunes, answers, gradients, retrained models.

The unit is a token that goes forward and backward through the profile's model, also for what a further model or a pass
through some of the layers costs.
"""

from collections.abc import Iterable, Iterator, Sequence

from study import selection
from study.chapters.counterfactual import subsets
from study.config import Run
from study.datasets import alignment
from study.estimate.counting import TokenCount, count_split, count_tokens, tokenizer_of
from study.estimate.item import Item
from study.estimate.rates import SMALL_BATCH, Rates
from study.methods import NAMES
from study.pipeline.architectures import architecture
from study.pipeline.attack import PARTS
from study.pipeline.task import Task
from study.profile import Alignment

SHUFFLED = 1.13  # with padding: fine-tuning draws its batches at random, all else sorts examples by length
GRADIENT = 200 / 189  # a gradient for each example instead of one for all; measured, as are the following
ALIGNING = 1.2  # LoRA on all linear maps
DIVERGENCE = 10  # of a forward pass: four of them, and six pairs of distributions over the whole vocabulary

# Seconds that don't depend on the model's size, measured in the laptop's profile.
SCORES = 1.0
LINEAR = {  # stage -> seconds, label and number of its bars
    "errors": (15.0, "approximation errors", 1),
    "runtimes": (40.0, "running times", 1),
    "left-out": (40.0, "retraining,", 4),
    "two-layer": (10.0, "two-layer linear models", 1),
}


class Costs:
    """The items of a run's tasks."""

    def __init__(self, run: Run, rates: Rates):
        self.run, self.rates, self.shape = run, rates, architecture(run.located(run.profile.model))
        self._forward = rates.training / rates.forward
        self._tokenizer = tokenizer_of(run.located(run.profile.model))
        self._splits = {name: count_split(run, name, self._tokenizer) for name in run.profile.datasets}
        self.studied = [name for name in run.profile.datasets if name in selection.STUDIED]

    def scored(self, task: Task) -> Iterator[Item]:
        """A fine-tune and its scores."""
        tokens, share = self._tokens(task, "train", "val"), self._backward(task)
        gradient = self._forward + (GRADIENT - self._forward) * share
        yield self._fine_tune(task)
        yield Item(task.folder, "gradients", gradient * tokens, label=f"gradients {task.name}", bars=2)
        yield Item(task.folder, "scores", seconds=SCORES)

    def answered(self, task: Task) -> Iterator[Item]:
        """A fine-tune and its answers with and without the adapter; only with it for a part of a data set."""
        times = 1 if task.only else 2
        yield self._fine_tune(task)
        yield Item(task.folder, "answers", times * self._answers(task), label=f"answers {task.name}", bars=times)

    def attributed(self, names: Iterable[str]) -> Iterator[Item]:
        yield from self.alignment()
        for task in self._tasks(names):
            yield from self.answered(task)
            yield from self.scored(task)

    def checkpoints(self, stage: str) -> Iterator[Item]:
        """Of the data sets that are followed: scores at each epoch but the last, or answers at each but both ends."""
        for task in self._tasks(selection.FOLLOWED):
            for epoch in selection.epochs(task.epochs)[:-1]:
                folder, name = task.folder / "epochs" / f"{epoch:02d}", f"{task.name} epoch {epoch}"
                if stage == "scores":
                    tokens = self._tokens(task, "train", "val")
                    yield Item(folder, stage, GRADIENT * tokens, SCORES, f"gradients {name}", bars=2)
                elif epoch > 0:
                    yield Item(folder, stage, self._answers(task), label=f"answers {name}")

    def further_methods(self, names: Iterable[str]) -> Iterator[Item]:
        """Further methods and baselines; TracIn adds up checkpoints that other chapters need as well."""
        tasks = self._tasks(names)
        for task in tasks:
            if task.dataset not in selection.FOLLOWED:
                prompts = sum(example.prompt for example in self._examples(task, "train", "val"))
                label = f"states before {task.name}"
                yield Item(task.folder / "before", "states", self._forward * prompts, label=label, bars=2)
            yield Item(task.folder / "further", "scores", seconds=2 * SCORES)
            if task.dataset in selection.FACTORED:
                cost, label = GRADIENT * self._tokens(task, "train"), f"factors {task.name}"
                yield Item(task.folder / "further", "ekfac", cost, 10 * SCORES, label)
        if any(task.dataset in selection.FOLLOWED for task in tasks):
            yield from self.checkpoints("scores")

    def options(self, name: str) -> Iterator[Item]:
        """What each option of the sensitivity chapter scores on one of its fine-tunes."""
        task = Task(self.run, name)
        examples, tokens = self._examples(task, "train", "val"), self._tokens(task, "train", "val")
        longest = max(example.tokens for example in examples)
        passes = {
            "response-reference": 0,
            "response-own": self._tokens(task, "val"),
            "all-reference": tokens,
            "padded-reference": longest * len(examples),
        }
        for option, count in passes.items():
            label = f"gradients {task.name}, {option.replace('-', ' ')}"
            bars = 0 if not count else 1 if option == "response-own" else 2
            yield Item(task.folder / "options" / option, "scores", GRADIENT * count, 10 * SCORES, label, bars)

    def removal(self) -> Iterator[Item]:
        """Facts left out one at a time, where there are any."""
        if "facts" not in self.run.profile.datasets:
            return
        task = Task(self.run, "facts")
        cost = self._fine_tune(task).tokens + self._forward * self._tokens(task, "val")
        for row in range(min(self.run.profile.facts_removed, len(self._examples(task, "train")))):
            without = Task(self.run, "facts", left_out=(row,))
            yield Item(without.folder, "losses", cost, label=f"fine-tuning {without.name}")

    def counterfactuals(self, dataset: str) -> Iterator[Item]:
        """What the counterfactual chapter retrains on one of its data sets, as if no two methods removed the same."""
        settings, task = self.run.profile.counterfactual, Task(self.run, dataset)
        if settings is None:
            return
        folder, whole = task.folder / "counterfactual", self._fine_tune(task).tokens
        size, losses, alone = len(self._examples(task, "train")), self._forward * self._tokens(task, "val"), 0
        if dataset == subsets.REMOVED_FROM:
            alone, methods = min(settings.left_out, size), len(settings.by or NAMES) + subsets.DRAWS
            retrained = (whole * (1 - count / size) + losses + self._answers(task) for count in settings.removed)
            cost = sum(methods * retraining for retraining in retrained) + settings.reseeded * (whole + losses)
            yield Item(folder, "removal", cost, label=f"removal {dataset}", bars=2)
        cost = (settings.halves + settings.again) * (whole / 2 + losses) + alone * (whole + losses)
        bars = 1 + (settings.again >= 3) + bool(alone)
        yield Item(folder, "lds", cost, 10 * SCORES, label=f"halves {dataset}", bars=bars)

    def layers(self) -> Iterator[Item]:
        """Fine-tunes with LoRA on some layers; none for a model whose layers are not known here."""
        total = self.shape.layers if self.shape else 0
        for _, adapted in selection.layers(total) if total else ():
            layers = None if len(adapted) == total else tuple(adapted)
            yield from self.scored(Task(self.run, self.run.profile.layers_on, layers=layers))

    def attacks(self) -> Iterator[Item]:
        yield from self.gate()
        for model in (None, *self.run.profile.further_models):
            for only in (None, *filter(None, PARTS.values())):
                yield from self.answered(Task(self.run, "mixed_small", only=only, model=model))

    def alignment(self) -> Iterator[Item]:
        """The model taught to refuse."""
        if settings := self.run.profile.alignment:
            examples = count_tokens(alignment.examples(settings.refusals, settings.benign), self._tokenizer)
            cost = settings.epochs * SHUFFLED * ALIGNING * sum(example.tokens for example in examples)
            yield Item(self.run.shared / "alignment", "fine-tune", cost, label="fine-tuning alignment")

    def gate(self) -> Iterator[Item]:
        """Its answers to harmless prompts."""
        count = (self.run.profile.alignment or Alignment()).held_out
        prompts = count_tokens(alignment.held_out(count) + alignment.lookalikes(count), self._tokenizer)
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
        """The training examples once an epoch; the dev examples once more, before the first."""
        step = self._forward + (1 - self._forward) * self._backward(task)
        cost = task.epochs * SHUFFLED * step * self._tokens(task, "train")
        cost += (task.epochs + 1) * self._forward * self._tokens(task, "dev")
        return Item(task.folder, "fine-tune", cost, label=f"fine-tuning {task.name}")

    def _answers(self, task: Task) -> float:
        return self._scale(task) * self._written(self._splits[task.dataset]["val"])

    def _written(self, prompts: Sequence[TokenCount]) -> float:
        """The longest answers that may be given, SMALL_BATCH prompts at a time."""
        rows = [len(prompts[start : start + SMALL_BATCH]) for start in range(0, len(prompts), SMALL_BATCH)]
        seconds = self.run.profile.max_new_tokens * sum(map(self.rates.step, rows))
        return self._forward * sum(prompt.prompt for prompt in prompts) + self.rates.training * seconds

    def _tokens(self, task: Task, *parts: str) -> float:
        return self._scale(task) * sum(example.tokens for example in self._examples(task, *parts))

    def _examples(self, task: Task, *parts: str) -> list[TokenCount]:
        """Of the training and dev examples of a task on one class, those of that class."""
        split = self._splits[task.dataset]
        return [e for part in parts for e in split[part] if part == "val" or task.only in (None, e.label)]

    def _tasks(self, names: Iterable[str]) -> list[Task]:
        """Those of the data sets that the profile sizes."""
        return [Task(self.run, name) for name in names if name in self.run.profile.datasets]

    def _scale(self, task: Task) -> float:
        """What a token costs in the task's model, where both are known."""
        other = architecture(task.source)
        return other.weights / self.shape.weights if other and self.shape else 1.0

    def _backward(self, task: Task) -> float:
        """The share of the layers that a backward pass goes through, down to the first that has LoRA."""
        return 1 - task.layers[0] / self.shape.layers if task.layers and self.shape else 1.0
