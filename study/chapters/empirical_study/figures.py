"""Figures 1 and 2, and the loss curves."""

import html
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import groupby

import matplotlib
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from scipy.stats import rankdata

from ifcore.examples import Example
from ifcore.sanitize import legible
from study import statistics
from study.chapters.empirical_study.measure import SCORES, assess_learning
from study.config import Run
from study.datasets.family import prompt_text
from study.methods import BASELINES, COLOURS, NAMES
from study.pipeline.attributions import Attribution, Tuned
from study.report.names import DATASETS
from study.report.plot import STYLE, draw_interval, handle, panels, save, with_style


@dataclass(frozen=True)
class Showcase:
    """One validation example, and what each method ranks highest for it. Text from the data is escaped."""

    example: Example
    top: dict[str, Example]

    def _repr_html_(self) -> str:
        cards = "".join(
            _card(NAMES[method], COLOURS[method], example, example.label == self.example.label)
            for method, example in self.top.items()
        )
        return f'<div class="showcase">{_card("Validation example", "#555555", self.example)}{cards}</div>'


@with_style
def scores_figure(run: Run, number: int, frame: pd.DataFrame, attributions: Mapping[str, Attribution]) -> Figure:
    """Table 2, 3 or 4 as dots: coverage (filled) and accuracy (hollow) of each method, a panel a data set. Dotted,
    chance; dashed, the best baseline's coverage. Leaves fig_table2.* and so on."""
    methods = [name for name in NAMES if name in set(frame.method) and name not in BASELINES][::-1]
    columns = min(3, len(attributions))
    rows = -(-len(attributions) // columns)
    size = (7.2, 0.7 + (0.45 + 0.19 * len(methods)) * rows)
    figure, axes = plt.subplots(rows, columns, figsize=size, sharex=True, sharey=True, squeeze=False)
    for axis in axes.flat[len(attributions) :]:
        axis.set_visible(False)
    for axis, (dataset, attribution) in zip(axes.flat, attributions.items(), strict=False):
        part = frame[frame.dataset == dataset]
        for metric, shift, face in (("coverage", 0.16, {}), ("accuracy", -0.16, {"mfc": "white"})):
            for method, estimates in part[part.metric == metric].groupby("method"):
                value, low, high = (100 * end for end in statistics.pooled(estimates, 0.0, 1.0))
                if method in methods:
                    place = methods.index(method) + shift
                    draw_interval(axis, place, (value, low, high), color=COLOURS[method], **face)
        coverage = part[part.metric == "coverage"].groupby("method").value.mean() * 100
        axis.axvline(coverage["chance"], color="black", linewidth=0.8, linestyle=":")
        if len(baselines := coverage[coverage.index.isin(list(BASELINES))]):
            axis.axvline(baselines.max(), color="#777777", linewidth=0.8, linestyle="--")
        axis.set_title(DATASETS[dataset] + ("" if assess_learning(attribution).learnt else " †"))
        axis.set_xlim(-3, 103)
        axis.set_yticks(range(len(methods)), [NAMES[name] for name in methods])
    figure.supxlabel("training examples of the right kind (%)", fontsize=9)
    handles = [
        handle("coverage"),
        handle("accuracy", mfc="white"),
        plt.Line2D([], [], color="black", linewidth=0.8, linestyle=":", label="chance"),
        plt.Line2D([], [], color="#777777", linewidth=0.8, linestyle="--", label="best baseline's coverage"),
    ]
    figure.legend(handles=handles, loc="outside upper center", ncols=4, frameon=False)
    return save(run, f"fig_table{number}", figure, (SCORES[number],))


def showcase(attribution: Attribution, val_index: int = 0) -> Showcase:
    """Figure 1: what each method ranks highest for one validation example, the first by default."""
    top = {method: attribution.train[int(scores[val_index].argmax())] for method, scores in attribution.scores.items()}
    return Showcase(attribution.val[val_index], top)


def heatmap_figure(run: Run, attribution: Attribution) -> Figure:
    """Figure 2: influence of every training example (columns) on every validation example (rows), a panel a method.

    A cell is the share of training examples that this one outranks in its row, so that rows of different scale, and
    single very large scores, leave the rest readable. Leaves fig2_heatmap.png and .svg.
    """
    labels, count = [example.label for example in attribution.train], len(attribution.scores)
    with matplotlib.rc_context(STYLE | {"axes.spines.top": True, "axes.spines.right": True}):
        figure, axes = panels(count, 3, height=2.3)
        figure.set_figheight(0.5 + 2.3 * len(axes))
        for axis, (method, scores) in zip(axes.flat, attribution.scores.items(), strict=False):
            ranks = (rankdata(scores, axis=1) - 1) / max(1, len(labels) - 1)
            image = axis.imshow(ranks, aspect="auto", cmap="Reds", vmin=0, vmax=1, interpolation="nearest")
            start, across = 0, axis.get_xaxis_transform()
            for label, block in groupby(labels):
                end = start + len(list(block))
                axis.axvline(start - 0.5, color="black", linewidth=0.8)
                axis.text((start + end - 1) / 2, 1.02, label, transform=across, ha="center", va="bottom", fontsize=8)
                start = end
            axis.set_title(NAMES[method], color=COLOURS[method], fontweight="bold", pad=18)
        for axis in axes[:, 0]:
            axis.set_ylabel("validation example")
        for axis in axes.flat[count - axes.shape[1] : count]:  # the lowest of each column
            axis.set_xlabel("training example")
        figure.colorbar(image, ax=axes, shrink=0.7, label="share of training examples outranked")
        return save(run, "fig2_heatmap", figure)


@with_style
def curves_figure(run: Run, tuned: Mapping[str, Tuned]) -> Figure:
    """Training and dev loss over the epochs, and the norm of the gradient on an axis of its own, a panel a data set.

    The norm is a batch's, dropout on, before clipping, the mean over an epoch's steps: with the noise of batches in it,
    it tends to stay above ‖∇R‖, the norm of the whole training loss's gradient. Leaves curves.*.
    """
    columns = min(4, len(tuned))
    rows = -(-len(tuned) // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(7.2, 0.4 + 1.7 * rows), sharex=True, squeeze=False)
    for axis, (dataset, task) in zip(axes.flat, tuned.items(), strict=False):
        history = task.history
        axis.plot(history.epoch, history.train_loss, color="#999999", marker="o", markersize=3, label="training")
        axis.plot(history.epoch, history.dev_loss, color="black", marker="o", markersize=3, label="dev")
        norm = axis.twinx()
        name = "norm of the gradient (right)"
        norm.plot(history.epoch, history.grad_norm, ":o", color=_NORM, markersize=2, label=name)
        norm.spines["right"].set_visible(True)
        for scale in (axis, norm):
            scale.set_ylim(0, 1.1 * scale.get_ylim()[1])
        axis.set_title(DATASETS[dataset])
        axis.xaxis.get_major_locator().set_params(integer=True)
    for axis in axes.flat[len(tuned) :]:
        axis.set_visible(False)
    figure.supxlabel("epoch (0: before fine-tuning)", fontsize=9)
    figure.supylabel("loss (nats per response token)", fontsize=9)
    lines = [*axes[0, 0].get_lines(), *norm.get_lines()]
    figure.legend(handles=lines, loc="outside upper center", ncols=3, frameon=False)
    return save(run, "curves", figure)


_NORM = "#56B4E9"  # no method's colour


def _card(title: str, colour: str, example: Example, correct: bool | None = None) -> str:
    verdict = "" if correct is None else f" · class {'right' if correct else 'wrong'}"
    prompt, response = (html.escape(legible(text)) for text in (prompt_text(example), example.response))
    return (
        f'<div class="showcase-card" style="border-left: 4px solid {colour}; padding-left: 0.8rem">'
        f"<p><strong>{html.escape(title)}</strong> "
        f"<em>{html.escape(example.label)}{verdict}</em></p>"
        f"<p>{prompt}</p><p>→ {response}</p></div>"
    )
