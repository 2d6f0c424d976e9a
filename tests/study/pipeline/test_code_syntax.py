import ast
import hashlib
import os
import shutil
import subprocess
from pathlib import Path

import pytest

import ifcore
from study.pipeline import code_syntax

# What parsers of different Pythons could tell differently. A backslash in a raw f-string's format is left out: there
# they do, and it runs differently too.
NASTY = r'''
from __future__ import annotations

@decorate(lambda *a, k=(1, 2), **kw: (a, k, kw))
async def f(a, /, b: "int | None" = -1, *args: *Ts, c=..., **kw) -> dict[str, list[int]]:
    """Words."""
    text = f"{a!r:>{b}.{c}}" f'x{{y}} {kw["k"]}' "plain" u"old" f"{a=}" f"{b = !s:^10}" f"{c:}" f""
    text += "\u2028\x00é\U0001fae8"
    raw, data = rf"\d{a}" r"\n", b"a" rb"\b"
    if (n := len(text)) > 1_000 and not 0x10 <= n < 1e400 or 2j:
        print(f"{n} words", *args)
    first, *rest = x[1:2, ..., ::n], y[*args, 1], {**kw, "k": [i async for i in a if i], **{}}
    for i, (j, *k) in enumerate(rest): del x[i], j.k
    else: assert first, "message"
    match a:
        case {"k": 1 | 2 as v, **others} if v: pass
        case Point(x=0, y=-1.5) | [1, _, *tail] | None | "a" "b": return await v
        case _: yield
    try:
        async with open(a) as g, b: global G; G = nonlocals = yield f"{'nested'}{f'{a}{b:{c}}'}"
    except* (ValueError, OSError) as error:
        raise RuntimeError(f"{error}") from error
    finally:
        x: int = 3; x @= 2; (z): int

class C(Base, metaclass=Meta):
    """Words."""
    a = b = not +~1 if x is not None else (yield_,)
'''


def test_every_python_reads_the_same():
    digest = hashlib.sha256(code_syntax.canonical_text(ast.parse(NASTY)).encode()).hexdigest()
    assert digest == "9f117023114d331e0b731ca87906a1b282ca8ad353faab85aa834a193ccf001b"


@pytest.mark.parametrize("other", ["python3.11", "python3.12", "python3.13"])
def test_another_python_reads_both_packages_as_this_one_does(other):
    program = shutil.which(other)
    if program is None or subprocess.run([program, "-c", ""], capture_output=True).returncode:
        pytest.skip(f"{other} is not installed")
    root = Path(ifcore.__file__).parents[1]
    script = (
        "import ast, pathlib, sys; from study.pipeline import code_syntax\n"
        "for path in map(pathlib.Path, sys.argv[1:]):\n"
        "    tree = ast.parse(path.read_text(encoding='utf-8'))\n"
        "    print(path, code_syntax.canonical_text(tree), sorted(code_syntax.used_names(tree)))"
    )
    paths = sorted(path for package in ("ifcore", "study") for path in (root / package).rglob("*.py"))
    environment = os.environ | {"PYTHONPATH": str(root), "PYTHONUTF8": "1"}
    command = [program, "-c", script, *map(str, paths)]
    output = subprocess.run(command, env=environment, capture_output=True, check=True).stdout
    expected = []
    for path in paths:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        expected.append(f"{path} {code_syntax.canonical_text(tree)} {sorted(code_syntax.used_names(tree))}")
    assert output.decode("utf-8").splitlines() == expected


@pytest.mark.parametrize(
    "source, names",
    [
        ("def f(a, b=a): return a + b.c + d.e", {"a", "d.e"}),
        ("def f():\n    x = 1\n    return [x, (lambda y: y + z)(x)]", {"z"}),
        ("[x.a for x in x if y for y in z]", {"x", "z"}),
        ("def f():\n    global n\n    n = n + 1", {"n"}),
        ("def f():\n    n = 1\n    def g():\n        global n\n        n", {"n"}),
        ("def f():\n    try: from a import b\n    except E: b = None\n    return b", {"E", "b"}),
        ("def f():\n    raise E(words(a))", {"E"}),
        ("def f():\n    [x for x in a]\n    return x()", {"a", "x"}),
    ],
)
def test_names_looked_up_outside(source, names):
    assert {".".join(name) for name in code_syntax.used_names(ast.parse(source))} == names


@pytest.mark.parametrize(
    "one, other",
    [
        ("f(1)", "f(True)"),
        ("f('a')", "f(b'a')"),
        ("f(1)", "f(1.0)"),
        ("f(x)", "f(*x)"),
        ("{None: a}", "{**a}"),
        ("f'{x}'", "f'{x!s}'"),
        ("f'{x}'", "f'{x:d}'"),
        ("return_ = None", "return_ = 0"),
        ("raise E", "raise E from x"),
        ("def f(): return", "def f(): yield"),
        ("f(label='a')", "f(label='b')"),
        ("f(progress=a)", "f(progress=b)"),
    ],
)
def test_different_statements_have_different_texts(one, other):
    assert code_syntax.canonical_text(ast.parse(one)) != code_syntax.canonical_text(ast.parse(other))
