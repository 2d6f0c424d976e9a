"""What code a result depends on: the definitions that a function reaches, and a hash of what they do.

Files are read for it; nothing is imported or run. Not seen are what only a string names, what a decorator registers,
and the class of an object that is handed in without an annotation.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from study.pipeline import code_syntax

PROJECT = {"ifcore", "study"}  # followed from whichever package a function is in

# Modules that only keep: what they wrote is known by its own hash, what they read is in the key by its value.
OPAQUE = {"ifcore.io", "study.config", "study.profile", "study.pipeline.stages"}

Reference = tuple[str, tuple[str, ...]]  # a module and a dotted name in it; without a name, all of it


def fingerprint(*functions: Callable | type | ModuleType) -> str:
    """Hex SHA-256 of what the given functions run: their source and, followed by name, that of everything they
    refer to in this project's packages (and in the package that they are in).

    A class or an assignment counts whole, and so does a module that is used without a visible attribute. Comments,
    docstrings, layout, the words of errors, messages and progress bars don't count, nor do the modules in OPAQUE. It is
    the same under every Python from 3.11. Raises ValueError for a function that no file defines under a name.
    """
    return hashlib.sha256("\n".join(reached(*functions)).encode()).hexdigest()


def reached(*functions: Callable | type | ModuleType) -> list[str]:
    """What the fingerprint is taken of: a line for each statement and each imported name, behind its module."""
    todo, seen, lines = [_reference(function) for function in functions], set(), set()
    roots = PROJECT | {_root(module) for module, _ in todo}
    while todo:
        reference = module, path = todo.pop()
        if reference in seen or module in OPAQUE or _root(module) not in roots:
            continue
        seen.add(reference)
        statements, origins = _meant(module, path)
        lines |= {f"{module}: {statement.text}" for statement in statements}
        lines |= {f"{module}: {'.'.join(path)} is {'.'.join(name)} of {of}" for of, name in origins}
        todo += [*origins, *(used for statement in statements for used in statement.uses)]
    return sorted(lines)


class _Statement(NamedTuple):
    text: str
    uses: frozenset[Reference]


class _Module(NamedTuple):
    """By name, what a module defines and what it imports; and what it does when it is imported."""

    defined: dict[str, list[_Statement]]
    imported: dict[str, list[Reference]]
    acting: list[_Statement]


def _reference(function: Callable | type | ModuleType) -> Reference:
    if isinstance(function, ModuleType):
        return function.__name__, ()
    while isinstance(function, functools.partial) or hasattr(function, "__wrapped__"):
        function = function.func if isinstance(function, functools.partial) else inspect.unwrap(function)
    if not hasattr(function, "__qualname__"):  # an object that can be called
        function = type(function)
    module, name = function.__module__, function.__qualname__.split(".")[0]
    if not _file(module) or name not in _read(module).defined:
        raise ValueError(f"function: {function!r}; no file of {module} defines it; give one that has a name in a file")
    return module, (name,)


def _meant(module: str, path: tuple[str, ...]) -> tuple[list[_Statement], list[Reference]]:
    """The statements behind a dotted name in `module`, and where it comes from if it is imported."""
    defined, imported, acting = _read(module)
    name, rest = path[:1], path[1:]
    if name and (name[0] in defined or name[0] in imported):
        return defined.get(name[0], []) + acting, [(of, as_ + rest) for of, as_ in imported.get(name[0], [])]
    if name and _file(f"{module}.{name[0]}"):
        return acting, [(f"{module}.{name[0]}", rest)]
    # All of it, with what it hands on; a module that it imports is there for its own use.
    origins = [origin for of in imported.values() for origin in of if _root(origin[0]) in PROJECT | {_root(module)}]
    every = [statement for of in defined.values() for statement in of]
    return every + acting, [(of, as_) for of, as_ in origins if not _file(".".join((of, *as_)))]


@functools.cache
def _read(module: str) -> _Module:
    read = _Module({}, {}, [])
    file = _file(module)
    if file is None:  # a folder without an __init__
        return read
    statements = list(code_syntax.run_on_import(ast.parse(file.read_text(encoding="utf-8"))))
    for statement in statements:
        if not isinstance(statement, code_syntax.DEFINITION):  # what a function imports is its own
            _add(read.imported, _imports(statement, module))
    names = read.imported.keys() | {name for statement in statements for name in code_syntax.bound(statement)}
    for statement in (each for each in statements if not isinstance(each, code_syntax.IMPORT)):
        own: dict[str, list[Reference]] = {}
        _add(own, _imports(statement, module))
        used = set()
        for name, *rest in code_syntax.uses(statement):
            used |= {(of, (*as_, *rest)) for of, as_ in own.get(name, [])}
            if name in names:
                used.add((module, (name, *rest)))
        done = _Statement(code_syntax.text(statement), frozenset(used))
        _add(read.defined, [(name, done) for name in code_syntax.bound(statement)])
        if not isinstance(statement, code_syntax.DEFINITION + code_syntax.ASSIGNMENT):
            read.acting.append(done)
    return read


def _imports(statement: ast.stmt, module: str) -> Iterator[tuple[str, Reference]]:
    """The names that a statement imports, and of what."""
    package = module if _file(module).name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(statement):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield (alias.asname, (alias.name, ())) if alias.asname else (_root(alias.name), (_root(alias.name), ()))
        elif isinstance(node, ast.ImportFrom):
            of = importlib.util.resolve_name("." * node.level + (node.module or ""), package)
            for alias in node.names:  # what a package imports from itself is a module in its folder
                origin = (f"{of}.{alias.name}", ()) if of == module else (of, (alias.name,))
                yield alias.asname or alias.name, origin


def _add(table: dict[str, list], entries: Iterable[tuple[str, Any]]) -> None:
    for name, entry in entries:
        table.setdefault(name, []).append(entry)


def _root(module: str) -> str:
    return module.split(".")[0]


def _file(module: str) -> Path | None:
    """The module's file, told from where its package was loaded."""
    package = getattr(sys.modules.get(_root(module)), "__file__", None)
    if package is None or module == _root(module):
        return package and Path(package)
    place = Path(package).parent.joinpath(*module.split(".")[1:])
    return next((path for path in (place.with_suffix(".py"), place / "__init__.py") if path.is_file()), None)
