"""A fine-tune of a reader's own, and `python -m ifcore attribute` on it, with the scores that it should give."""

import sys
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

import ifcore
from ifcore import loading, lora
from tests.ifcore.test_main import leave

TRAIN = [{"id": f"t{n}", "prompt": f"say {n}", "response": f"it is {'so ' * n}"} for n in range(24)]
VAL = [{"id": f"q{n}", "prompt": f"say it {n}", "response": f"it is so {n}"} for n in range(4)]


@dataclass(frozen=True)
class Attributed:
    """Scores as one undisturbed call gives them; the files lie in `folder`."""

    folder: Path
    scores: dict[str, pd.DataFrame]

    @property
    def tables(self) -> list[str]:
        return [f"{method}.csv" for method in self.scores]

    def command(self, *more: str, out: str = "scores") -> tuple[str, ...]:
        given = ("--model", "path:base", "--adapter", "adapter", "--train", "train.jsonl", "--val", "val.jsonl")
        # The checkout is found wherever the files are.
        run = f"import runpy, sys; sys.path.insert(0, {str(ROOT)!r}); runpy.run_module('ifcore', run_name='__main__')"
        return (sys.executable, "-c", run, "attribute", *given, "--out", out, "--batch-size", "2", *more)

    def assert_same(self, out: Path) -> None:
        for method, frame in self.scores.items():
            found = pd.read_csv(out / f"{method}.csv", index_col=0)
            pd.testing.assert_frame_equal(found, frame, check_names=False, rtol=1e-9)


def attribution(folder: Path, train=TRAIN, val=VAL) -> Attributed:
    """A base model, an adapter, two files of rows, and what they give."""
    leave(folder, train, val)
    model, tokenizer = loading.load(f"path:{folder / 'base'}")
    model = lora.with_adapter(model, folder / "adapter")
    return Attributed(folder, ifcore.attribute(model, tokenizer, train, val, batch_size=2, progress=False))


ROOT = Path(__file__).parents[2]
