"""Small packages are written to disk, changed in one place, and sliced again."""

import functools
import importlib
import itertools
import sys

import pytest

from ifcore import influence
from study.pipeline import code_fingerprint, steps

SAMPLE = {
    "__init__.py": "from .shapes import area",
    "main.py": '''
"""What is run."""
from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from tqdm import tqdm

from sample import area, kinds, store
from sample.tools import SIZES, START as FIRST, Box, logged, scale, unused

if TYPE_CHECKING:
    from sample.tools import Lid


@logged
def run(x: Lid, size=SIZES):
    """Docstring."""
    from sample.late import late

    for each in tqdm(x, desc="running", unit="box"):
        if each < FIRST:
            raise ValueError(f"each: {each}; must be {FIRST} or more") from None
    neighbour = kinds.round(np.mean(x))
    return store.write(late(area(scale(Box(neighbour)))))


def neighbour():
    return 1


def dynamic(name):
    return getattr(kinds, name)()


def attribute():
    import sample.kinds

    return sample.kinds.square()


def looped(n):
    return looped(n - 1) + back(n)


def back(n):
    return looped(n)
''',
    "shapes.py": "def area(x):\n    return side(x) ** 2\n\n\ndef side(x):\n    return x + 0\n",
    "kinds/__init__.py": "from sample.kinds.plain import square\n\n\ndef round(x):\n    return x\n",
    "kinds/plain.py": "def square():\n    return 4\n\n\ndef other():\n    return 5\n",
    "store.py": "def write(x):\n    return x\n",
    "late.py": "def late(x):\n    return x\n",
    "tools.py": """
from functools import lru_cache as cache

START, END = 0, 9
SIZES: tuple = (1, 2)
PACE = {}
PACE["slow"] = 3


class Lid:
    flat = True


class Box:
    def __init__(self, x):
        self.x = x

    def volume(self):
        return self.x * PACE["slow"]


def logged(function):
    return function


@cache
def scale(box, by=lambda x: FACTOR * x):
    return [START for START in box] and by(box)


def unused():
    return END


FACTOR = 2
""",
}


@pytest.fixture
def sliced(tmp_path, monkeypatch):
    """The fingerprint of a function of the sample package, in which `old` was replaced with `new`."""
    count = itertools.count()

    def digest(function="run", file="main.py", old="", new="", module="main"):
        forget()
        folder = tmp_path / str(next(count))
        assert old in SAMPLE[file]
        for name, source in SAMPLE.items():
            (folder / "sample" / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / "sample" / name).write_text(source.replace(old, new) if name == file and old else source)
        with monkeypatch.context() as patch:
            patch.syspath_prepend(folder)
            patch.setattr(code_fingerprint, "OPAQUE", {"sample.store"})
            return code_fingerprint.fingerprint(getattr(importlib.import_module(f"sample.{module}"), function))

    def forget():
        code_fingerprint._read.cache_clear()
        for name in [name for name in sys.modules if name.split(".")[0] == "sample"]:
            del sys.modules[name]

    yield digest
    forget()


@pytest.mark.parametrize(
    "file, old, new",
    [
        ("main.py", "kinds.round(", "1 + kinds.round("),
        ("kinds/__init__.py", "return x", "return -x"),  # an attribute of a module
        ("shapes.py", "** 2", "** 3"),  # through a re-export
        ("shapes.py", "x + 0", "x + 1"),  # two modules away
        ("__init__.py", "import area", "import side as area"),
        ("tools.py", "START, END = 0", "START, END = 1"),  # an unpacked constant
        ("tools.py", "(1, 2)", "(1, 3)"),  # a default argument
        ("tools.py", "FACTOR = 2", "FACTOR = 3"),  # a default argument's lambda
        ("tools.py", "self.x * ", "self.x + "),  # a method
        ("tools.py", '["slow"] = 3', '["slow"] = 4'),  # a constant filled later
        ("tools.py", "return function", "return function or 1"),  # a decorator
        ("tools.py", "lru_cache as cache", "cache as cache"),  # something else of another package
        ("main.py", "import numpy as np", "import math as np"),
        ("late.py", "return x", "return -x"),  # an import inside the function
        ("late.py", "def", "print()\n\n\ndef"),  # what runs on import
        ("main.py", "ValueError", "TypeError"),
        ("main.py", "< FIRST", "<= FIRST"),
    ],
)
def test_a_change_in_what_is_run_changes_the_fingerprint(sliced, file, old, new):
    assert sliced(file=file, old=old, new=new) != sliced()


@pytest.mark.parametrize(
    "file, old, new",
    [
        ("main.py", "return 1", "return 2"),  # a local variable has its name
        ("tools.py", "return END", "return 2"),
        ("kinds/plain.py", "return 4", "return 5"),
        ("main.py", "import numpy", "import math\nimport numpy"),
        ("tools.py", "flat = True", "flat = False"),  # for type checkers only
        ("main.py", "Docstring", "Other words"),
        ("main.py", '"""What is run."""', "# Nothing."),
        ("main.py", "    for each", "\n    # Why.\n    for each"),
        ("main.py", "return store.write(late(area(", "return store . write((late)( area("),
        ("main.py", "; must be {FIRST} or more", " is less than {FIRST}"),
        ("main.py", '"running"', '"walking"'),
        ("main.py", '"box"', 'f"{x} boxes"'),
        ("store.py", "return x", "return None"),  # opaque
        ("late.py", "def", "if __name__ == '__main__':\n    late(1)\n\n\ndef"),
    ],
)
def test_a_change_elsewhere_or_in_words_does_not(sliced, file, old, new):
    assert sliced(file=file, old=old, new=new) == sliced()


def test_a_module_that_is_handed_on_counts_whole(sliced):
    for file, old in (("kinds/__init__.py", "return x"), ("kinds/plain.py", "return 4")):
        assert sliced("dynamic", file, old, "return 9") != sliced("dynamic")
    assert sliced("dynamic", "kinds/plain.py", "return 5", "return 9") == sliced("dynamic")


def test_a_dotted_import_is_followed_to_the_definition(sliced):
    assert sliced("attribute", "kinds/plain.py", "return 4", "return 9") != sliced("attribute")
    assert sliced("attribute", "kinds/__init__.py", "return x", "return 9") == sliced("attribute")


def test_functions_may_call_one_another_in_a_circle(sliced):
    assert sliced("looped") == sliced("back") != sliced("neighbour")


def test_the_place_of_the_package_does_not_matter(sliced):
    assert sliced() == sliced()


def test_the_order_of_the_functions_does_not_matter():
    assert code_fingerprint.fingerprint(influence.exact, influence.lissa) == code_fingerprint.fingerprint(
        influence.lissa, influence.exact
    )


def test_a_wrapped_function_is_the_one_inside():
    wrapped = functools.partial(functools.cache(functools.partial(influence.lissa, iterations=3)), damping=1)
    assert code_fingerprint.fingerprint(wrapped) == code_fingerprint.fingerprint(influence.lissa)


def test_what_is_reached_can_be_read():
    lines = [
        line
        for line in code_fingerprint.reached_code(influence.gradsim)
        if line.startswith("ifcore.influence: FunctionDef")
    ]
    assert [line.split("'")[1] for line in lines] == ["gradsim"]


def test_the_study_is_followed_into_the_engine():
    reached = code_fingerprint.reached_code(steps.fine_tune)
    assert any(line.startswith("ifcore.training: FunctionDef(name='finetune'") for line in reached)


@pytest.mark.parametrize("function", [len, lambda: 0, "run"])
def test_what_no_file_names_is_refused(function):
    with pytest.raises(ValueError, match="^function: .*; give one that has a name in a file$"):
        code_fingerprint.fingerprint(function)
