"""The code that a cached result depends on: the definitions that a function reaches, and a hash of what they do.

What a cache ignores: the modules in OPAQUE, and what `code_syntax` leaves out, such as comments and messages. What it
cannot see: what only a string names, what a decorator registers, and the class of an object without an annotation.
"""

import ast
import functools
import hashlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

from study.pipeline import code_syntax

PROJECT = {"ifcore", "study"}  # followed from whichever package a function is in

# They only read and write: what they wrote is known by its own hash, what they read is in the key by its value.
OPAQUE = {"ifcore.io", "study.config", "study.profile", "study.pipeline.stages"}

Reference = tuple[str, tuple[str, ...]]  # a module and a dotted name in it; without a name, all of it


def fingerprint(*functions: Callable | type | ModuleType) -> str:
    """Hex SHA-256 of what the functions run: their source and, followed by name, that of all they refer to in this
    project's packages (and in the package that they are in).

    A class or an assignment counts whole, and so does a module that is used without a visible attribute. The hash is
    the same under every Python from 3.11. Raises ValueError for a function that no file defines under a name.
    """
    return hashlib.sha256("\n".join(reached_code(*functions)).encode()).hexdigest()


def reached_code(*functions: Callable | type | ModuleType) -> list[str]:
    """What the fingerprint is taken of: a line for each statement and each imported name, behind its module."""
    todo = [_reference(function) for function in functions]
    seen: set[Reference] = set()
    lines: set[str] = set()
    roots = PROJECT | {_root(module) for module, _ in todo}
    while todo:
        reference = module, path = todo.pop()
        if reference in seen or module in OPAQUE or _root(module) not in roots:
            continue
        seen.add(reference)
        statements, origins = _look_up(module, path)
        lines |= {f"{module}: {statement.text}" for statement in statements}
        lines |= {f"{module}: {'.'.join(path)} is {'.'.join(name)} of {home}" for home, name in origins}
        todo += [*origins, *(used for statement in statements for used in statement.uses)]
    return sorted(lines)


class _Statement(NamedTuple):
    text: str
    uses: frozenset[Reference]


class _Module(NamedTuple):
    """What a module defines and imports, by name; and what it does on import."""

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


def _look_up(module: str, path: tuple[str, ...]) -> tuple[list[_Statement], list[Reference]]:
    """The statements behind a dotted name in `module`, and where it comes from if it is imported."""
    defined, imported, acting = _read(module)
    if path and (path[0] in defined or path[0] in imported):
        origins = [(home, (*name, *path[1:])) for home, name in imported.get(path[0], [])]
        return defined.get(path[0], []) + acting, origins
    if path and _file(f"{module}.{path[0]}"):
        return acting, [(f"{module}.{path[0]}", path[1:])]
    # All of it, with the names that it re-exports; a module that it imports is there for its own use.
    roots = PROJECT | {_root(module)}
    origins = [origin for origin in chain(*imported.values()) if _root(origin[0]) in roots]
    origins = [(home, name) for home, name in origins if not _file(".".join((home, *name)))]
    return [*chain(*defined.values()), *acting], origins


@functools.cache
def _read(module: str) -> _Module:
    contents = _Module({}, {}, [])
    file = _file(module)
    if file is None:  # a folder without an __init__
        return contents
    statements = list(code_syntax.run_on_import(ast.parse(file.read_text(encoding="utf-8"))))
    for statement in statements:
        if not isinstance(statement, code_syntax.DEFINITION):  # what a function imports is its own
            for name, origin in _imports(statement, module, file):
                contents.imported.setdefault(name, []).append(origin)
    names = contents.imported.keys() | {name for statement in statements for name in code_syntax.bound_names(statement)}
    for statement in statements:
        if isinstance(statement, code_syntax.IMPORT):
            continue
        used, imports = list(code_syntax.used_names(statement)), list(_imports(statement, module, file))
        uses: set[Reference] = {(module, path) for path in used if path[0] in names}
        uses |= {(home, (*name, *path[1:])) for path in used for alias, (home, name) in imports if alias == path[0]}
        entry = _Statement(code_syntax.canonical_text(statement), frozenset(uses))
        for name in code_syntax.bound_names(statement):
            contents.defined.setdefault(name, []).append(entry)
        if not isinstance(statement, code_syntax.DEFINITION + code_syntax.ASSIGNMENT):
            contents.acting.append(entry)
    return contents


def _imports(statement: ast.stmt, module: str, file: Path) -> Iterator[tuple[str, Reference]]:
    package = module if file.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(statement):
        if isinstance(node, ast.Import):
            for alias in node.names:
                target = alias.name if alias.asname else _root(alias.name)
                yield alias.asname or target, (target, ())
        elif isinstance(node, ast.ImportFrom):
            home = importlib.util.resolve_name("." * node.level + (node.module or ""), package)
            for alias in node.names:  # what a package imports from itself is a module in its folder
                origin = (f"{home}.{alias.name}", ()) if home == module else (home, (alias.name,))
                yield alias.asname or alias.name, origin


def _root(module: str) -> str:
    return module.split(".")[0]


def _file(module: str) -> Path | None:
    """The module's file, found from where its package was loaded."""
    package = getattr(sys.modules.get(_root(module)), "__file__", None)
    if package is None or module == _root(module):
        return package and Path(package)
    place = Path(package).parent.joinpath(*module.split(".")[1:])
    return next((path for path in (place.with_suffix(".py"), place / "__init__.py") if path.is_file()), None)
