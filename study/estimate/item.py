"""An item of work: something that a run has to compute, and what it costs."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Item:
    """Something to compute: what `stage` leaves in `folder`, first needed by `chapter`.

    `tokens`: its cost at the speed of the model; `seconds`: its cost beside that. It shows as many progress bars as
    `bars` says, whose labels are `label` or begin with it.
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
