"""Statements of Python by what they do: their canonical text, and the names that they use and bind.

What a cache ignores within a statement is decided here: comments, layout, docstrings, blocks for type checkers, the
words of errors, warnings and printed messages, and the texts of progress bars and pages. Which modules it ignores: see
`code_fingerprint`.
"""

import ast
from collections.abc import Iterator
from typing import Any

DEFINITION = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
ASSIGNMENT = (ast.Assign, ast.AnnAssign, ast.AugAssign)
IMPORT = (ast.Import, ast.ImportFrom)

_Function = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
_Comprehension = ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp
_PRINTING = {("print",), ("warn",), ("warnings", "warn")}
_TEXTS = {"desc", "unit", "progress", "display_name", "equation", "reference"}  # arguments for progress bars and pages
_IGNORED = {"ctx", "kind", "msg", "type_comment", "type_params"}  # redundant, mere words, or unknown to Python 3.11
_NEVER = {"TYPE_CHECKING", "typing.TYPE_CHECKING", "__name__ == '__main__'"}


def canonical_text(node: Any) -> str:
    """The node as one line, the same in every Python from 3.11; `ast.dump` is not."""
    if isinstance(node, ast.Constant):
        return f"Constant({ascii(node.value)})"  # what `repr` escapes depends on Python's table of characters
    if isinstance(node, ast.AST):
        fields = ", ".join(f"{name}={canonical_text(value)}" for name, value in _fields(node).items())
        return f"{type(node).__name__}({fields})"
    if isinstance(node, list):
        return f"[{', '.join(map(canonical_text, node))}]"
    return ascii(node)


def used_names(node: ast.AST, local: frozenset[str] = frozenset()) -> Iterator[tuple[str, ...]]:
    """The dotted names in the node that are looked up outside it, such as ("torch", "nn").

    In doubt a name counts (those that `except`, `match` or a class body bind): rather too many than too few.
    """
    if dotted := _dotted(node):
        if dotted[0] not in local:
            yield dotted
        return
    if isinstance(node, ast.Global):
        yield from ((name,) for name in node.names)
    if isinstance(node, _Comprehension):
        yield from used_names(node.generators[0].iter, local)  # evaluated outside it
        local |= {name for generator in node.generators for name in _assigned(generator.target)}
    inner = _inside(node, local) if isinstance(node, _Function) else local
    for name, value in _fields(node).items():
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST):
                yield from used_names(child, inner if name == "body" else local)


def bound_names(statement: ast.stmt) -> set[str]:
    """The names of its module that a statement defines, assigns to or changes by subscript or attribute."""
    if isinstance(statement, DEFINITION):
        return {statement.name}
    nodes = list(ast.walk(statement))
    if isinstance(statement, ASSIGNMENT):
        targets: list[ast.expr] = [node.target for node in nodes if isinstance(node, ast.NamedExpr)]
        targets += statement.targets if isinstance(statement, ast.Assign) else [statement.target]
        return {node.id for target in targets for node in ast.walk(target) if isinstance(node, ast.Name)}
    return _assigned(statement) | {node.name for node in nodes if isinstance(node, DEFINITION)}


def run_on_import(tree: ast.Module | ast.If) -> Iterator[ast.stmt]:
    """A module's statements, without docstrings and the blocks for type checkers and for `python -m`."""
    for statement in tree.body if isinstance(tree, ast.Module) else tree.orelse:
        if isinstance(statement, ast.If) and ast.unparse(statement.test) in _NEVER:
            yield from run_on_import(statement)
        elif not _is_docstring(statement):
            yield statement


def _fields(node: ast.AST) -> dict[str, Any]:
    """The fields that count: no docstrings, an error's class alone, and of a message only that there is one."""
    fields = {name: getattr(node, name, None) for name in node._fields if name not in _IGNORED}
    if isinstance(node, ast.Raise):
        raised = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
        fields = {"exc": raised, "cause": node.cause is not None}
    elif isinstance(node, ast.Call) and _dotted(node.func) in _PRINTING:
        fields = {"func": node.func}
    elif isinstance(node, ast.Call):
        fields["keywords"] = [word for word in node.keywords if not (word.arg in _TEXTS and _is_words(word.value))]
    elif isinstance(node, ast.JoinedStr):
        fields["values"] = _merged(node.values)
    for name, value in fields.items():
        if isinstance(value, list):
            fields[name] = [item for item in value if not _is_docstring(item)]
    return {name: value for name, value in fields.items() if value is not None and value != []}


def _merged(pieces: list[ast.expr]) -> list[ast.expr]:
    """The pieces of an f-string with its constant parts joined: parsers differ in where they split them."""
    merged: list[ast.expr] = []
    for piece in pieces:
        if isinstance(piece, ast.Constant) and merged and isinstance(merged[-1], ast.Constant):
            merged[-1] = ast.Constant(str(merged[-1].value) + str(piece.value))
        else:
            merged.append(piece)
    return [piece for piece in merged if not isinstance(piece, ast.Constant) or piece.value]


def _inside(function: _Function, local: frozenset[str]) -> frozenset[str]:
    """The local names inside a function: also its parameters and variables, without what it shares or imports."""
    names, outer, todo = set(), set(), list(ast.iter_child_nodes(function))
    while todo:
        node = todo.pop()
        if isinstance(node, DEFINITION):
            names.add(node.name)
        elif isinstance(node, ast.arg):
            names.add(node.arg)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, ast.Global):
            outer.update(node.names)
        elif isinstance(node, ast.alias):
            outer.add(node.asname or node.name.split(".")[0])
        if not isinstance(node, _Function | _Comprehension | ast.ClassDef):
            todo += ast.iter_child_nodes(node)
    return (local | names) - outer


def _assigned(node: ast.AST) -> set[str]:
    return {name.id for name in ast.walk(node) if isinstance(name, ast.Name) and isinstance(name.ctx, ast.Store)}


def _dotted(node: ast.AST) -> tuple[str, ...] | None:
    """The names of `a.b.c`; None for anything else, and for a name that is assigned to."""
    if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Store):
        return (node.id,)
    if isinstance(node, ast.Attribute) and (before := _dotted(node.value)):
        return (*before, node.attr)
    return None


def _is_docstring(node: Any) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _is_words(node: ast.expr) -> bool:
    return isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str))
