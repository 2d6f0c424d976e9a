"""Appendix B: the settings of a run, and examples of the data in use."""

from collections.abc import Mapping

from study.config import Run
from study.paper import paper
from study.pipeline.attributions import Tuned
from study.report.names import DATASETS
from study.report.table import Table, plain


def settings_table(run: Run) -> Table:
    """Every key that the profile in use has a value for, beside the paper's setting where it names one."""
    stated = paper()["settings"]
    settings = {key: value for key, value in run.profile.settings.items() if value is not None}
    rows = [[f"`{key}`", plain(value), str(stated.get(key, ""))] for key, value in settings.items()]
    caption = f"The settings of the profile `{run.profile.name}` and the paper's."
    return Table(None, caption, ["Key", "This run", "The paper"], rows, text=True)


def departures_table() -> Table:
    """Where the paper's text, its released code and this book part, and what that may change."""
    keys = {"what": "", "text": "The text", "code": "The released code", "book": "This book", "matters": "May matter"}
    rows = [[plain(departure[key]) or "–" for key in keys] for departure in paper()["departures"]]
    caption = "Where the paper's text, the code released with it and this book part. –: not known."
    return Table(None, caption, list(keys.values()), rows, text=True)


def examples_table(number: int, tuned: Mapping[str, Tuned], caption: str) -> Table:
    """Tables 7 to 11: the first training example of each class of some data sets."""
    rows = []
    for dataset, task in tuned.items():
        for label in dict.fromkeys(example.label for example in task.train):
            first = next(example for example in task.train if example.label == label)
            rows.append([DATASETS[dataset], plain(label), plain(first.prompt), plain(first.response)])
    return Table(f"tab-data-{number}", caption, ["Data set", "Class", "Prompt", "Response"], rows, text=True)
