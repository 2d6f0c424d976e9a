"""A small fine-tune, the command `python -m ifcore attribute` for it, and the scores that it should give."""

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
    """The inputs, in `folder`, and the scores of an undisturbed call."""

    folder: Path
    scores: dict[str, pd.DataFrame]

    @property
    def tables(self) -> list[str]:
        return [f"{method}.csv" for method in self.scores]

    def command(self, *more: str, out: str = "scores") -> tuple[str, ...]:
        inputs = ("--model", "path:base", "--adapter", "adapter", "--train", "train.jsonl", "--val", "val.jsonl")
        # From any folder, with this checkout.
        code = f"import runpy, sys; sys.path.insert(0, {str(ROOT)!r}); runpy.run_module('ifcore', run_name='__main__')"
        return (sys.executable, "-c", code, "attribute", *inputs, "--out", out, "--batch-size", "2", *more)

    def assert_same(self, out: Path) -> None:
        for method, expected in self.scores.items():
            frame = pd.read_csv(out / f"{method}.csv", index_col=0)
            pd.testing.assert_frame_equal(frame, expected, check_names=False, rtol=1e-9)


def attribution(folder: Path, train=TRAIN, val=VAL) -> Attributed:
    """Write a base model, an adapter and two files of rows to `folder`, and attribute them."""
    leave(folder, train, val)
    model, tokenizer = loading.load(f"path:{folder / 'base'}")
    model = lora.with_adapter(model, folder / "adapter")
    return Attributed(folder, ifcore.attribute(model, tokenizer, train, val, batch_size=2, progress=False))


ROOT = Path(__file__).parents[2]
