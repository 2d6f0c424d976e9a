"""How far models are apart in parameters, in behaviour and in what they say; along fine-tuning; by layer."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from ifcore import adapter_distance, io, lora, metrics
from study import correlation, datasets, selection, statistics
from study.chapters.parameter_change import two_layer
from study.config import Run
from study.datasets import digits
from study.pipeline import attack, checkpoints, judging
from study.pipeline.attributions import Attribution, Tuned, quality, scored, tune
from study.pipeline.stages import digest_in, frame
from study.pipeline.task import Task
from study.report.names import COLUMNS

MODELS = {"original": "O", "benign": "B", "harmful": "H", "mixed": "M"}  # as the paper's Table 6 has them


def pairs(run: Run) -> pd.DataFrame:
    """Table 6: for each pair of models, how far apart they are in behaviour, in parameters and in what they say.

    Metrics: `asr`, the absolute difference of the attack success rate; `delta` and `delta_unscaled`, the mean over LoRA
    modules of the Frobenius norm of the difference of the updates, with and without the scaling α/r, the ends being
    one standard deviation; `kl`, the mean over validation prompts of the KL divergence of the next token's
    distributions, averaged over the positions of the prompt and over both directions, and `kl_first`, the same for the
    first token of the response, both in nats with 95 % t-intervals over prompts; `steps`, the absolute difference of
    the numbers of optimiser steps, the original model having none.
    """
    attacks = {each.fine_tuned_on: each for each in attack.attack_model(run, None)}
    success = {name: attacks["nothing" if name == "original" else name].success for name in MODELS}
    tuned = {name: tune(Task(run, "mixed_small", only=only)) for name, only in attack.PARTS.items()}
    steps = {name: tuned[name].history.step.max() if name in tuned else 0 for name in MODELS}
    updates = {name: adapter_distance.updates(tuned[name].checkpoint) if name in tuned else {} for name in MODELS}

    divergences = _divergences(run, tuned)
    rows = []
    for first, second in combinations(MODELS, 2):
        dataset, size = f"{first}-{second}", len(success[first])
        rates = [judging.attack_success(success[name]).value for name in (first, second)]
        apart = round(abs(rates[0] - rates[1]), 9)  # equal shares must tie when they are ranked
        rows.append((dataset, "asr", apart, None, None, size))
        rows.append((dataset, "steps", abs(steps[first] - steps[second]), None, None, size))
        for metric, scaled in (("delta", True), ("delta_unscaled", False)):
            norms = adapter_distance.distances(updates[first], updates[second], scaled)
            mean, sd = norms.mean().item(), norms.std().item()
            rows.append((dataset, metric, mean, mean - sd, mean + sd, size))
        for metric in ("kl", "kl_first"):
            values = divergences[(divergences["pair"] == dataset) & (divergences.metric == metric)].value
            rows.append((dataset, metric, values.mean(), *statistics.interval_of_mean(values), size))
    table = pd.DataFrame(rows, columns=["dataset", "metric", "value", "ci_low", "ci_high", "n_val"])
    return table.assign(method="fine-tune", n_train=len(tuned["mixed"].train))[COLUMNS]


def correlations(frame: pd.DataFrame) -> pd.DataFrame:
    """Whether the pairs of Table 6 that are further apart in a metric are so in ASR too: a row for each (seed, metric).

    `value`: Spearman's correlation over the pairs; `p`: Mantel's test over all relabellings of the models; `smallest`:
    the smallest p that these distances allow. All are NaN where one of the two is the same for all pairs.
    """
    rows = []
    for seed, part in frame.groupby("seed"):
        wide = part.pivot_table(index="dataset", columns="metric", values="value")
        asr = _matrix(wide.asr)
        for metric in wide.columns.intersection(["delta", "kl", "kl_first"]):
            other = _matrix(wide[metric])
            rows.append((seed, metric, *correlation.mantel(asr, other), correlation.smallest_p(asr, other)))
    return pd.DataFrame(rows, columns=["seed", "metric", "value", "p", "smallest"])


def drift(run: Run, tasks: Mapping[str, Attribution]) -> pd.DataFrame:
    """Figure 6: a row for each (data set, epoch, metric).

    `delta`: the mean over LoRA modules of the norm of the scaled update, the ends being one standard deviation;
    `train_loss`, `dev_loss`; `task_accuracy` with its interval, at the checkpoints that Figure 5 looks at.
    """
    rows = []
    for dataset, found in tasks.items():
        sizes = len(found.train), len(found.val)
        looked_at = checkpoints.followed_epochs(found)
        for row in found.history.itertuples():
            norms = adapter_distance.distances(adapter_distance.updates(Task(run, dataset).checkpoint(row.epoch)), {})
            mean, sd = norms.mean().item(), norms.std().item()
            about = (*sizes, row.epoch, row.step)
            rows.append((dataset, "fine-tune", "delta", mean, mean - sd, mean + sd, *about))
            for metric in ("train_loss", "dev_loss"):
                rows.append((dataset, "fine-tune", metric, getattr(row, metric), None, None, *about))
            if row.epoch in looked_at:
                rate = judging.task_accuracy(dataset, found.val, checkpoints.answers(run, found, row.epoch))
                rows.append((dataset, "fine-tune", "task_accuracy", rate.value, rate.low, rate.high, *about))
    return pd.DataFrame(rows, columns=[*COLUMNS, "epoch", "step"])


def linear_models(run: Run) -> pd.DataFrame:
    """Figure 7: two-layer linear models of growing width on digits; a row for each (width, draw, epoch)."""
    sizes = run.profile.two_layer

    def build() -> pd.DataFrame:
        found = []
        for width in tqdm(sizes.widths, desc="two-layer linear models", unit="model"):
            for draw in range(sizes.draws):
                seed = 1_000 * run.seed + draw
                train, test = digits.draw(run.digits, sizes.points, sizes.points // 2, None, seed)
                rate = sizes.learning_rate
                table = two_layer.train(train, test, digits.CLASSES, width, sizes.epochs, rate, seed=seed)
                parameters = width * (train.inputs.shape[1] + digits.CLASSES)
                found.append(table.assign(width=width, parameters=parameters, draw=draw))
        return pd.concat(found, ignore_index=True)

    key = {"two_layer": sizes.model_dump(), "digits": digits.digest(run.digits)}
    key |= {"seed": run.seed, "torch": torch.__version__}
    return frame(run.artifacts / "linear", "two-layer", key, build)


def linear_means(run: Run, drawn: pd.DataFrame) -> pd.DataFrame:
    """`linear_models` averaged over draws, tidy: `delta` (as a share of the last), `test_accuracy` and, over the epochs
    of one training, `pearson` and `spearman` correlation of the two; each with a 95 % t-interval over draws."""
    drawn = drawn.assign(delta=drawn.delta / drawn.groupby(["width", "draw"]).delta.transform("last"))
    rows = []
    name, points = digits.name(run.profile.digits_source), run.profile.two_layer.points

    def add(metric: str, values: pd.Series, parameters: int, epoch: int | None) -> None:
        about = (points, points // 2, "two-layer", parameters, epoch)
        rows.append((name, "two-layer", metric, values.mean(), *statistics.interval_of_mean(values), *about))

    sizes = sorted(drawn.parameters.unique())
    for parameters, part in drawn.groupby("parameters"):
        for epoch, each in part.groupby("epoch"):
            for metric in ("delta", "test_accuracy"):
                add(metric, each[metric], parameters, epoch)
    for metric in ("pearson", "spearman"):
        found = drawn.groupby(["parameters", "draw"])[["delta", "test_accuracy"]].apply(
            lambda each, metric=metric: each.delta.corr(each.test_accuracy, method=metric)
        )
        for parameters in sizes:
            add(metric, found[parameters], parameters, None)
        add(f"{metric}_change", found[sizes[-1]] - found[sizes[0]], sizes[-1], None)
    return pd.DataFrame(rows, columns=[*COLUMNS, "model", "parameters", "epoch"])


def layers(run: Run) -> pd.DataFrame:
    """Figure 8: accuracy and coverage of the methods with LoRA on some layers only.

    `over` is `count` (the last so many layers; all of them is section 3's fine-tune) or `window` (a few layers from
    layer `first` on, counted from 0). Metrics `accuracy_gain` and `coverage_gain`: what they are more than with LoRA
    on all layers, paired by validation example; `dev_loss_before` and `dev_loss` (method `fine-tune`): at step 0 and
    at the last.
    """
    dataset = run.profile.layers_on
    total = Task(run, dataset).base()[0].config.num_hidden_layers
    everywhere = scored(Task(run, dataset))[1]
    rows = []
    for over, chosen in selection.layers(total):
        task = Task(run, dataset, layers=None if len(chosen) == total else tuple(chosen))
        split, scores = scored(task)
        labels = [[example.label for example in part] for part in (split.train, split.val)]
        clusters = datasets.requests(dataset, split.val)
        sizes, where = tuple(map(len, labels)), (over, len(chosen), chosen[0])
        rows += [(*row, *where) for row in quality(dataset, split, scores)]
        for method, each in scores.items() if task.layers else ():
            for metric in (metrics.accuracy, metrics.coverage):
                gain = statistics.change(metric, everywhere[method], each, *labels, clusters)
                rows.append((dataset, method, f"{metric.__name__}_gain", *gain, *sizes, *where))
        losses = io.read_csv(task.folder / "history.csv").dev_loss
        for metric, loss in (("dev_loss_before", losses.iloc[0]), ("dev_loss", losses.iloc[-1])):
            rows.append((dataset, "fine-tune", metric, loss, None, None, *sizes, *where))
    return pd.DataFrame(rows, columns=[*COLUMNS, "over", "layers", "first"])


def learning(frame: pd.DataFrame) -> pd.DataFrame:
    """Whether the fine-tunes of Figure 8 have learnt their task: a row for each (over, layers, first), over all seeds.

    `share`: the fall of the dev loss as a share of its fall with LoRA on all layers, the smallest of the seeds, NaN
    where that did not fall or there are no dev examples; `learnt`: the share is at least half.
    """
    where = ["over", "layers", "first"]
    wide = frame.pivot_table(index=["seed", *where], columns="metric", values="value")
    wide = wide.reindex(columns=["dev_loss_before", "dev_loss"])  # all empty, they are no columns of a pivot table
    fall = (wide.dev_loss_before - wide.dev_loss).reset_index(name="fall")
    whole = fall[fall.layers == fall.layers.max()].groupby("seed").fall.first()
    fall["share"] = fall.fall / fall.seed.map(whole.where(whole > 0))
    share = fall.groupby(where, sort=False).share.agg(lambda each: each.min(skipna=False)).reset_index()
    return share.assign(learnt=share.share >= 0.5)


def _matrix(pairs: pd.Series) -> np.ndarray:
    """The values of pairs of models, named `first-second`, as a symmetric matrix [models, models]."""
    names = list(MODELS)
    matrix = np.zeros((len(names), len(names)))
    for pair, value in pairs.items():
        first, second = map(names.index, pair.split("-"))
        matrix[first, second] = matrix[second, first] = value
    return matrix


def _divergences(run: Run, tuned: Mapping[str, Tuned]) -> pd.DataFrame:
    """KL divergences of every pair of models on every validation prompt of mixed_small: pair, metric, prompt, value."""

    def build() -> pd.DataFrame:
        base, tokenizer = Task(run, "mixed_small").base()
        first, *others = tuned
        known = {first: "default"} | {name: name for name in others}
        rows = []
        with lora.adapted(base, tuned[first].checkpoint) as model:
            for name in others:
                model.load_adapter(tuned[name].checkpoint, name)
            model.eval()
            batches = lora.example_batches(model, tokenizer, tuned["mixed"].val, run.profile.gradient_batch)
            for batch in tqdm(batches, desc="next-token distributions", unit="batch"):
                said = {}
                for name in MODELS:
                    if name in known:
                        model.set_adapter(known[name])
                        said[name] = adapter_distance.next_token_log_probs(model, batch)
                    else:
                        with model.disable_adapter():
                            said[name] = adapter_distance.next_token_log_probs(model, batch)
                for first, second in combinations(MODELS, 2):
                    for row, p, q in zip(batch.rows.tolist(), said[first], said[second], strict=True):
                        both = (adapter_distance.kl(p, q) + adapter_distance.kl(q, p)) / 2
                        for metric, value in (("kl", both.mean()), ("kl_first", both[-1])):
                            rows.append((f"{first}-{second}", metric, row, value.item()))
        return pd.DataFrame(rows, columns=["pair", "metric", "prompt", "value"])

    key = {
        "of": {name: digest_in(each.folder, "fine-tune") for name, each in tuned.items()},
        "prompts": [example.prompt for example in tuned["mixed"].val],
        "batch": run.profile.gradient_batch,
    }
    return frame(run.artifacts / "divergence", "divergence", key, build)
