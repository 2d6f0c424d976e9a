"""How far models are apart in parameters, in behaviour and in their predictions; along fine-tuning; by layer."""

from collections.abc import Mapping
from itertools import combinations

import pandas as pd
import torch
from scipy.spatial.distance import squareform
from torch import Tensor
from tqdm import tqdm

from ifcore import adapter_distance, io, lora
from ifcore.batches import example_batches
from study import selection, statistics
from study.chapters.parameter_change import two_layer
from study.config import Run
from study.datasets import digits
from study.pipeline import attack, checkpoints, judging
from study.pipeline.attributions import Attribution, Tuned, change, quality, scored, tune
from study.pipeline.stages import cached_frame, recorded_digest
from study.pipeline.task import Task
from study.schema import COLUMNS

MODELS = {"original": "O", "benign": "B", "harmful": "H", "mixed": "M"}  # as the paper's Table 6 has them
SETTLED = 0.95  # of the last task accuracy
PAIRS = {f"{first}-{second}": (first, second) for first, second in combinations(MODELS, 2)}


def pairs(run: Run) -> pd.DataFrame:
    """Table 6: how far apart each pair of models is, a row for each (pair, metric).

    `asr`, `steps`: the absolute difference of attack success rates, and of the numbers of optimiser steps. `delta`,
    `delta_unscaled`: the mean over LoRA modules of the Frobenius norm of the difference of the updates, with and
    without the scaling α/r; its ends are one standard deviation away. `kl`, `kl_first`: the KL divergence of next-token
    distributions in nats, averaged over both directions, over the prompt's tokens or for the response's first token
    alone; 95 % t-intervals over validation prompts.
    """
    success = {model.fine_tuned_on: model.success for model in attack.attack_model(run, None)}
    success["original"] = success["nothing"]
    tuned = {name: tune(Task(run, "mixed_small", only=only)) for name, only in attack.PARTS.items()}
    steps = {"original": 0} | {name: model.history.step.max() for name, model in tuned.items()}
    updates = {name: adapter_distance.updates(model.checkpoint) for name, model in tuned.items()}
    divergences = _divergences(run, tuned).groupby(["pair", "metric"]).value
    rows = []
    for pair, (first, second) in PAIRS.items():
        rates = [judging.success_rate(success[name]).value for name in (first, second)]
        apart = round(abs(rates[0] - rates[1]), 9)  # equal shares must tie when they are ranked
        cells: list[tuple] = [("asr", apart, None, None), ("steps", abs(steps[first] - steps[second]), None, None)]
        for metric, scaled in (("delta", True), ("delta_unscaled", False)):
            norms = adapter_distance.distances(updates.get(first, {}), updates[second], scaled)
            cells.append((metric, *_mean_and_spread(norms)))
        for metric in ("kl", "kl_first"):
            values = divergences.get_group((pair, metric))
            cells.append((metric, values.mean(), *statistics.interval_of_mean(values)))
        rows += [(pair, *cell, len(success[first])) for cell in cells]
    table = pd.DataFrame(rows, columns=["dataset", "metric", "value", "ci_low", "ci_high", "n_val"])
    return table.assign(method="fine-tune", n_train=len(tuned["mixed"].train))[COLUMNS]


def correlations(frame: pd.DataFrame) -> pd.DataFrame:
    """Whether pairs of Table 6 that are further apart in a metric are so in ASR: a row for each (seed, metric).

    `value`, `p`: Spearman's correlation over pairs and Mantel's p; `smallest`: the smallest p that these distances
    allow. All are NaN where either distance is the same for all pairs.
    """
    rows = []
    for seed, part in frame.groupby("seed"):
        wide = part.pivot_table(index="dataset", columns="metric", values="value").loc[list(PAIRS)]
        for metric in wide.columns.intersection(["delta", "kl", "kl_first"]):
            rows.append((seed, metric, *statistics.mantel(squareform(wide.asr), squareform(wide[metric]))))
    return pd.DataFrame(rows, columns=["seed", "metric", "value", "p", "smallest"])


def drift(run: Run, tasks: Mapping[str, Attribution]) -> pd.DataFrame:
    """Figure 6: a row for each (data set, epoch, metric).

    `delta`: the mean over LoRA modules of the norm of the scaled update, the ends being one standard deviation;
    `train_loss`, `dev_loss`; `task_accuracy` with its interval, at the checkpoints that Figure 5 looks at. `growth`, at
    the `settled_epoch` if there is one: how many times as large `delta` is at the last epoch.
    """
    rows = []
    for dataset, attribution in tasks.items():
        followed, steps = checkpoints.followed_epochs(attribution), dict[int, int]()
        deltas, accuracies = dict[int, float](), dict[int, float]()
        for epoch in attribution.history.itertuples():
            update = adapter_distance.updates(Task(run, dataset).checkpoint(epoch.epoch))
            cells: list[tuple] = [("delta", *_mean_and_spread(adapter_distance.distances(update, {})))]
            deltas[epoch.epoch], steps[epoch.epoch] = cells[0][1], epoch.step
            cells += [(loss, getattr(epoch, loss), None, None) for loss in ("train_loss", "dev_loss")]
            if epoch.epoch in followed:
                answers = checkpoints.answers(run, attribution, epoch.epoch)
                accuracy = judging.task_accuracy(dataset, attribution.val, answers)
                accuracies[epoch.epoch] = accuracy.value
                cells.append(("task_accuracy", accuracy.value, accuracy.low, accuracy.high))
            place = len(attribution.train), len(attribution.val), epoch.epoch, epoch.step
            rows += [(dataset, "fine-tune", *cell, *place) for cell in cells]
        if (settled := settled_epoch(accuracies)) is not None:
            growth = deltas[attribution.epoch] / deltas[settled]
            place = len(attribution.train), len(attribution.val), settled, steps[settled]
            rows.append((dataset, "fine-tune", "growth", growth, None, None, *place))
    return pd.DataFrame(rows, columns=[*COLUMNS, "epoch", "step"])


def settled_epoch(accuracies: Mapping[int, float]) -> int | None:
    """The first trained epoch, of those with a task accuracy, at which that is at least 95 % of what it is at the last.

    None where that is the last itself, and where the last is no better than epoch 0.
    """
    *earlier, last = sorted(accuracies)
    if accuracies[last] <= accuracies[0]:
        return None
    return next((epoch for epoch in earlier if epoch and accuracies[epoch] >= SETTLED * accuracies[last]), None)


def linear_models(run: Run) -> pd.DataFrame:
    """Figure 7: two-layer linear models of growing width on digits; a row for each (width, draw, epoch)."""
    sizes = run.profile.two_layer

    def build() -> pd.DataFrame:
        seeds = [1_000 * run.seed + draw for draw in range(sizes.draws)]
        pairs = [digits.draw(run.digits, sizes.points, sizes.points // 2, None, seed) for seed in seeds]
        train, test = zip(*pairs, strict=True)
        frames = []
        for width in tqdm(sizes.widths, desc="two-layer linear models", unit="model"):
            table = two_layer.train(train, test, digits.CLASSES, width, sizes.epochs, sizes.learning_rate, seeds)
            parameters = width * (train[0].inputs.shape[1] + digits.CLASSES)
            frames.append(table.assign(width=width, parameters=parameters))
        return pd.concat(frames, ignore_index=True)

    source = digits.digest(run.digits)
    key = {"two_layer": sizes.model_dump(), "digits": source, "seed": run.seed, "torch": torch.__version__}
    return cached_frame(run.artifacts / "linear", "two-layer", key, build)


def linear_means(run: Run, histories: pd.DataFrame) -> pd.DataFrame:
    """`linear_models` averaged over draws, tidy: `delta` (as a share of the last), `test_accuracy` and, over the epochs
    of one training, `pearson` and `spearman` correlation of the two; each with a 95 % t-interval over draws."""
    last = histories.groupby(["width", "draw"]).delta.transform("last")
    histories = histories.assign(delta=histories.delta / last)
    name, points = digits.name(run.profile.digits_source), run.profile.two_layer.points
    cells: list[tuple] = []  # metric, a value a draw, parameters, epoch
    for (parameters, epoch), part in histories.groupby(["parameters", "epoch"]):
        cells += [(metric, part[metric], parameters, epoch) for metric in ("delta", "test_accuracy")]
    for metric in ("pearson", "spearman"):
        values = histories.groupby(["parameters", "draw"])[["delta", "test_accuracy"]].apply(
            lambda part, metric=metric: part.delta.corr(part.test_accuracy, method=metric)
        )
        sizes = values.index.unique("parameters")
        cells += [(metric, values[parameters], parameters, None) for parameters in sizes]
        cells.append((f"{metric}_change", values[sizes[-1]] - values[sizes[0]], sizes[-1], None))
    constants = points, points // 2, "two-layer"
    rows = [
        (name, "two-layer", metric, values.mean(), *statistics.interval_of_mean(values), *constants, *place)
        for metric, values, *place in cells
    ]
    return pd.DataFrame(rows, columns=[*COLUMNS, "model", "parameters", "epoch"])


def layers(run: Run) -> pd.DataFrame:
    """Figure 8: accuracy and coverage of the methods with LoRA on some layers only.

    `over` is `count` (the last layers; all of them is section 3's fine-tune) or `window` (some layers from `first` on,
    counted from 0). `accuracy_gain`, `coverage_gain`: by how much more than with LoRA on all layers, paired by
    validation example. `dev_loss_before`, `dev_loss` (method `fine-tune`): at step 0 and at the last.
    """
    dataset = run.profile.layers_on
    total = Task(run, dataset).base()[0].config.num_hidden_layers
    _, full_scores = scored(Task(run, dataset))
    rows = []
    for over, chosen in selection.layers(total):
        task = Task(run, dataset, layers=None if len(chosen) == total else tuple(chosen))
        split, scores = scored(task)
        cells = [row[1:6] for row in quality(dataset, split, scores)]
        for method, after in scores.items() if task.layers else ():
            gains = change(dataset, split, full_scores[method], after)
            cells += [(method, f"{metric}_gain", *gain) for metric, gain in gains.items()]
        losses = io.read_csv(task.folder / "history.csv").dev_loss
        for metric, loss in (("dev_loss_before", losses.iloc[0]), ("dev_loss", losses.iloc[-1])):
            cells.append(("fine-tune", metric, loss, None, None))
        place = len(split.train), len(split.val), over, len(chosen), chosen[0]
        rows += [(dataset, *cell, *place) for cell in cells]
    return pd.DataFrame(rows, columns=[*COLUMNS, "over", "layers", "first"])


def learning(frame: pd.DataFrame) -> pd.DataFrame:
    """Whether the fine-tunes of Figure 8 learnt their task: a row for each (over, layers, first), over all seeds.

    `share`: the dev loss's fall as a share of its fall with LoRA on all layers, the smallest of the seeds; NaN where
    that did not fall or there are no dev examples. `learnt`: the share is at least half.
    """
    where = ["over", "layers", "first"]
    wide = frame.pivot_table(index=["seed", *where], columns="metric", values="value")
    wide = wide.reindex(columns=["dev_loss_before", "dev_loss"])  # all empty, they are no columns of a pivot table
    fall = (wide.dev_loss_before - wide.dev_loss).reset_index(name="fall")
    whole = fall[fall.layers == fall.layers.max()].groupby("seed").fall.first()
    fall["share"] = fall.fall / fall.seed.map(whole.where(whole > 0))
    smallest = fall.groupby(where, sort=False).share.agg(lambda shares: shares.min(skipna=False)).reset_index()
    return smallest.assign(learnt=smallest.share >= 0.5)


def _mean_and_spread(norms: Tensor) -> tuple[float, float, float]:
    """The mean, and one standard deviation below and above it."""
    mean, sd = norms.mean().item(), norms.std().item()
    return mean, mean - sd, mean + sd


def _divergences(run: Run, tuned: Mapping[str, Tuned]) -> pd.DataFrame:
    """KL divergences of every pair of models on every validation prompt of mixed_small: pair, metric, prompt, value."""

    def build() -> pd.DataFrame:
        base, tokenizer = Task(run, "mixed_small").base()
        first, *others = tuned
        adapters = {first: "default"} | {name: name for name in others}
        rows = []
        with lora.adapted(base, tuned[first].checkpoint) as model:
            for name in others:
                model.load_adapter(tuned[name].checkpoint, name)
            model.eval()
            batches = example_batches(model, tokenizer, tuned["mixed"].val, run.profile.gradient_batch)
            for batch in tqdm(batches, desc="next-token distributions", unit="batch"):
                with model.disable_adapter():
                    log_probs = {"original": adapter_distance.next_token_log_probs(model, batch)}
                for name, adapter in adapters.items():
                    model.set_adapter(adapter)
                    log_probs[name] = adapter_distance.next_token_log_probs(model, batch)
                for pair, (one, other) in PAIRS.items():
                    for row, p, q in zip(batch.rows.tolist(), log_probs[one], log_probs[other], strict=True):
                        kl = (adapter_distance.kl(p, q) + adapter_distance.kl(q, p)) / 2
                        rows.append((pair, "kl", row, kl.mean().item()))
                        rows.append((pair, "kl_first", row, kl[-1].item()))
        return pd.DataFrame(rows, columns=["pair", "metric", "prompt", "value"])

    key = {
        "of": {name: recorded_digest(model.folder, "fine-tune") for name, model in tuned.items()},
        "prompts": [example.prompt for example in tuned["mixed"].val],
        "batch": run.profile.gradient_batch,
    }
    return cached_frame(run.artifacts / "divergence", "divergence", key, build)
