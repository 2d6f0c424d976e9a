"""Figures 1 and 2, and the loss curves."""

from __future__ import annotations

import html
from collections.abc import Mapping
from dataclasses import dataclass

import matplotlib
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from scipy.stats import rankdata

from ifcore.examples import Example
from ifcore.sanitize import legible
from study.config import Run
from study.pipeline.attributions import Attribution, Tuned
from study.report.colours import COLOURS
from study.report.names import DATASETS, NAMES
from study.report.plot import STYLE, save


@dataclass(frozen=True)
class Showcase:
    """One validation example, and what each method ranks highest for it. Text from the data is escaped."""

    dataset: str
    example: Example
    top: dict[str, Example]

    def _repr_html_(self) -> str:
        cards = "".join(
            _card(NAMES[method], COLOURS[method], found, found.label == self.example.label)
            for method, found in self.top.items()
        )
        return f'<div class="showcase">{_card("Validation example", "#555555", self.example)}{cards}</div>'


def showcase(attribution: Attribution, val_index: int = 0) -> Showcase:
    """Figure 1: what each method ranks highest for one validation example, the first by default."""
    top = {method: attribution.train[int(scores[val_index].argmax())] for method, scores in attribution.scores.items()}
    return Showcase(attribution.dataset, attribution.val[val_index], top)


def heatmap_figure(run: Run, attribution: Attribution) -> Figure:
    """Figure 2: influence of every training example (columns) on every validation example (rows), a panel a method.

    A cell is the share of training examples that this one outranks in its row, so that rows of different scale, and
    single very large scores, leave the rest readable. Leaves fig2_heatmap.png and .svg.
    """
    labels = [example.label for example in attribution.train]
    edges = [i for i in range(1, len(labels)) if labels[i] != labels[i - 1]]
    blocks = list(zip([0, *edges], [*edges, len(labels)], strict=True))
    methods = list(attribution.scores)
    with matplotlib.rc_context(STYLE | {"axes.spines.top": True, "axes.spines.right": True}):
        columns = min(3, len(methods))
        rows = -(-len(methods) // columns)
        figure, axes = plt.subplots(
            rows, columns, figsize=(7.2, 0.5 + 2.3 * rows), sharex=True, sharey=True, squeeze=False
        )
        for axis, method in zip(axes.flat, methods, strict=False):
            ranks = (rankdata(attribution.scores[method], axis=1) - 1) / max(1, len(labels) - 1)
            image = axis.imshow(ranks, aspect="auto", cmap="Reds", vmin=0, vmax=1, interpolation="nearest")
            axis.set_title(NAMES[method], color=COLOURS[method], fontweight="bold", pad=18)
            for start, end in blocks:
                axis.axvline(start - 0.5, color="black", linewidth=0.8)
                middle = (start + end - 1) / 2
                axis.text(
                    middle,
                    1.02,
                    labels[start],
                    transform=axis.get_xaxis_transform(),
                    ha="center",
                    va="bottom",
                    fontsize=8,
                )
        for axis in axes.flat[len(methods) :]:
            axis.set_visible(False)
        for axis in axes[:, 0]:
            axis.set_ylabel("validation example")
        for column in range(columns):
            last = max(i for i in range(len(methods)) if i % columns == column)
            axes.flat[last].set_xlabel("training example")
            axes.flat[last].tick_params(labelbottom=True)
        figure.colorbar(image, ax=axes, shrink=0.7, label="share of training examples outranked")
        save(run, "fig2_heatmap", figure)
    return figure


def curves_figure(run: Run, tuned: Mapping[str, Tuned]) -> Figure:
    """Training and dev loss over the epochs, and the norm of the gradient on an axis of its own, a panel a data set.

    The norm is a batch's, dropout on, before clipping, the mean over an epoch's steps: with the noise of batches in it,
    it tends to stay above ‖∇R‖, the norm of the whole training loss's gradient. Leaves curves.*.
    """
    with matplotlib.rc_context(STYLE):
        columns = min(4, len(tuned))
        rows = -(-len(tuned) // columns)
        figure, axes = plt.subplots(rows, columns, figsize=(7.2, 0.4 + 1.7 * rows), sharex=True, squeeze=False)
        for axis, (dataset, found) in zip(axes.flat, tuned.items(), strict=False):
            history = found.history
            axis.plot(history.epoch, history.train_loss, color="#999999", marker="o", markersize=3, label="training")
            axis.plot(history.epoch, history.dev_loss, color="black", marker="o", markersize=3, label="dev")
            norm = axis.twinx()
            style = {"color": _NORM, "linestyle": ":", "marker": "o", "markersize": 2}
            norm.plot(history.epoch, history.grad_norm, label="norm of the gradient (right)", **style)
            norm.spines["right"].set_visible(True)
            for each in (axis, norm):
                each.set_ylim(0, 1.1 * each.get_ylim()[1])
            axis.set_title(DATASETS[dataset])
            axis.xaxis.get_major_locator().set_params(integer=True)
        for axis in axes.flat[len(tuned) :]:
            axis.set_visible(False)
        figure.supxlabel("epoch (0: before fine-tuning)", fontsize=9)
        figure.supylabel("loss (nats per response token)", fontsize=9)
        lines = [*axes[0, 0].get_lines(), *norm.get_lines()]
        figure.legend(handles=lines, loc="outside upper center", ncols=3, frameon=False)
        save(run, "curves", figure)
    return figure


_NORM = "#56B4E9"  # no method's colour


def _card(title: str, colour: str, example: Example, correct: bool | None = None) -> str:
    verdict = "" if correct is None else f" · class {'right' if correct else 'wrong'}"
    return (
        f'<div class="showcase-card" style="border-left: 4px solid {colour}; padding-left: 0.8rem">'
        f"<p><strong>{html.escape(title)}</strong> "
        f"<em>{html.escape(example.label)}{verdict}</em></p>"
        f"<p>{_text(example.prompt)}</p><p>→ {_text(example.response)}</p></div>"
    )


def _text(text: str) -> str:
    return html.escape(legible(text))
