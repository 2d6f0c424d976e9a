"""Which data sets, epochs and layers the sections look at."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from study import datasets

EXTRA_DATASETS = ("facts",)  # for further chapters alone
STUDIED = tuple(
    name for name in datasets.NAMES if name not in EXTRA_DATASETS
)  # in chapter 3 and appendix B, where sized
FOLLOWED = ("mixed_small", "grammars_rule", "mathqa", "backdoor_1")  # the paper's Mixed, Grammars, MathQA, Backdoor
FACTORED = ("mixed_small", "grammars_rule")  # those that models are retrained on: have EK-FAC, which takes a pass
WINDOW = 4  # layers

Task = TypeVar("Task")


def select_tasks(tasks: Mapping[str, Task], *wanted: str) -> dict[str, Task]:
    """Those of some data sets that are called so, or whose family is."""
    return {name: task for name, task in tasks.items() if {name, datasets.family(name).name} & set(wanted)}


def epochs(last: int) -> list[int]:
    """0 (the untouched adapter), powers of three and the last."""
    return sorted({0, last} | {3**k for k in range(last.bit_length()) if 3**k <= last})


def layers(total: int) -> list[tuple[str, list[int]]]:
    """`count` (the last so many) or `window`, and the layers that have LoRA, for a model with `total` layers."""
    width = min(WINDOW, max(1, total // 2))
    counts = sorted({1, width, min(3 * width, total), total})
    starts = sorted({round(k * (total - width) / 3) for k in range(4)})
    found = [("count", list(range(total - n, total))) for n in counts]
    return found + [("window", list(range(start, start + width))) for start in starts]
