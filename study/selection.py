"""Which data sets, epochs and layers the sections look at."""

from collections.abc import Mapping
from typing import TypeVar

from study import datasets

EXTRA_DATASETS = ("facts",)  # for further chapters alone
STUDIED = tuple(name for name in datasets.NAMES if name not in EXTRA_DATASETS)  # chapter 3, appendix B, where sized
FOLLOWED = ("mixed_small", "grammars_rule", "mathqa", "backdoor_1")  # the paper's Mixed, Grammars, MathQA, Backdoor
TRIGGERED = ("backdoor_1", "backdoor_3", "backdoor_5")
SCORED_BEFORE = (*FOLLOWED, "mixed_hard")  # by gradients before fine-tuning: those and what models are retrained on
FACTORED = ("mixed_small", "mixed_hard", "backdoor_1")  # have EK-FAC, which takes a pass: that models are retrained on
WINDOW = 4  # layers

Task = TypeVar("Task")


def select_tasks(tasks: Mapping[str, Task], *wanted: str) -> dict[str, Task]:
    """Those whose data set, or its family, has one of the wanted names."""
    return {name: task for name, task in tasks.items() if {name, datasets.family(name).name} & set(wanted)}


def epochs(last: int) -> list[int]:
    """0 (the untouched adapter), powers of three and the last."""
    return sorted({0, last} | {3**k for k in range(last.bit_length()) if 3**k <= last})


def layers(total: int) -> list[tuple[str, list[int]]]:
    """`count` (the last so many) or `window`, and the layers that have LoRA, for a model with `total` layers."""
    width = min(WINDOW, max(1, total // 2))
    counts = sorted({1, width, min(3 * width, total), total})
    starts = sorted({round(k * (total - width) / 3) for k in range(4)})
    last = [("count", list(range(total - count, total))) for count in counts]
    return last + [("window", list(range(start, start + width))) for start in starts]
