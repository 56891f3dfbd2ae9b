"""The code of a function as a digest: the same for the same statements, whatever comments, docstrings and line breaks stand around them."""

from __future__ import annotations

import ast
import hashlib
import inspect
import linecache
import types
from collections.abc import Iterator
from functools import cache
from typing import Any

__all__ = ["changed_attributes", "changed_names", "code_digest", "code_of_class", "is_of_library"]

#: Modules whose code belongs to the versions, which may differ: torch's, and ours except what a paper's model computes.
LIBRARY = ("torch", "torch_rechub", "builtins", "functools", "abc", "typing", "numpy", "enum", "dataclasses")
PAPERS = "torch_rechub.models."
#: Methods that change a list, dict or set in place.
MUTATING = {
    *("append", "extend", "insert", "remove", "pop", "clear", "sort", "reverse", "update", "setdefault", "popitem"),
    *("add", "discard", "appendleft", "popleft", "put"),
}


def is_of_library(value: Any) -> bool:
    """Whether a function or class belongs to torch or to this package (its models aside), whose versions may differ."""
    module = getattr(value, "__module__", None) or ""
    return module.partition(".")[0] in LIBRARY and not module.startswith(PAPERS)


def code_digest(function: types.FunctionType) -> str:
    """A digest of the syntax tree of ``function``, without docstring and decorators; of its bytecode where there is no source."""
    node = _node_of(function)
    text = _text_of(node) if node is not None else repr(_instructions(function.__code__))
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:16]


def code_of_class(kind: type) -> dict[str, types.FunctionType]:
    """The functions that a class and its bases define outside of libraries, by name; the first base in the resolution order counts."""
    functions: dict[str, types.FunctionType] = {}
    for each in reversed(kind.__mro__):
        for name, member in vars(each).items():
            function = _function_of(member)
            if function is None:
                functions.pop(name, None)
            elif not is_of_library(function):
                functions[name] = function
            else:
                functions.pop(name, None)
    return functions


def changed_names(function: types.FunctionType) -> set[str]:
    """Names around a function that it changes itself, such as a list that it appends to: they are its state, not its settings."""
    node = _node_of(function)
    return set() if node is None else {target.id for target in _mutated(node) if isinstance(target, ast.Name)}


def changed_attributes(kind: type) -> set[str]:
    """Attributes that methods of a class other than ``__init__`` assign or change: they are its state, not its settings."""
    nodes = [_node_of(function) for name, function in code_of_class(kind).items() if name != "__init__"]
    targets = [target for node in nodes if node is not None for target in (*_assigned(node), *_mutated(node))]
    return {target.attr for target in targets if isinstance(target, ast.Attribute)}


def _assigned(tree: ast.AST) -> Iterator[ast.expr]:
    for node in ast.walk(tree):
        targets: list[ast.expr] = node.targets if isinstance(node, ast.Assign | ast.Delete) else []
        targets = [node.target] if isinstance(node, ast.AugAssign | ast.AnnAssign | ast.For) else targets
        for target in targets:
            yield from target.elts if isinstance(target, ast.Tuple | ast.List) else [target]


def _mutated(tree: ast.AST) -> Iterator[ast.expr]:
    """What is changed in place: ``x[...] = ``, ``x.append(...)``; and names declared ``nonlocal`` or ``global``."""
    yield from (target.value for target in _assigned(tree) if isinstance(target, ast.Subscript))
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in MUTATING:
            yield node.func.value
        elif isinstance(node, ast.Nonlocal | ast.Global):
            yield from (ast.Name(name) for name in node.names)


def _function_of(member: Any) -> types.FunctionType | None:
    """The Python function of a method, a static or class method, or the getter of a property."""
    inner = member.fget if isinstance(member, property) else getattr(member, "__func__", member)
    inner = inspect.unwrap(inner) if callable(inner) else inner
    return inner if isinstance(inner, types.FunctionType) else None


def _node_of(function: types.FunctionType) -> ast.AST | None:
    """The node of a function in the syntax tree of its file; None where the file is not there, or holds other code at this place."""
    code = function.__code__
    lines = linecache.getlines(code.co_filename, function.__globals__)
    candidates = _functions_of("".join(lines)).get(code.co_firstlineno, [])
    arguments = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    fitting = [node for node in candidates if _name_of(node) == code.co_name and _arguments_of(node) == arguments]
    if len(fitting) > 1:  # several lambdas in one line: the column of the body tells them apart
        columns = {(start, column) for start, _, column, _ in code.co_positions() if start is not None and column is not None}
        fitting = [node for node in fitting if isinstance(node, ast.Lambda) and columns & _places_of(node.body)]
    return fitting[0] if len(fitting) == 1 else None


@cache
def _functions_of(source: str) -> dict[int, list[ast.AST]]:
    """The functions of a file, by the line at which Python says that they begin: that of the first decorator."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return {}
    functions: dict[int, list[ast.AST]] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            decorators = getattr(node, "decorator_list", [])
            functions.setdefault(min([node.lineno, *(each.lineno for each in decorators)]), []).append(node)
    return functions


def _name_of(node: Any) -> str:
    return getattr(node, "name", "<lambda>")


def _arguments_of(node: Any) -> tuple[str, ...]:
    arguments = node.args
    return tuple(each.arg for each in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs))


def _places_of(body: ast.AST) -> set[tuple[int, int]]:
    return {(node.lineno, node.col_offset) for node in ast.walk(body) if isinstance(node, ast.expr)}


def _text_of(node: Any) -> str:
    """The statements of a function as Python writes them, without comments, docstrings, decorators and annotations of its arguments."""
    if isinstance(node, ast.Lambda):
        return ast.unparse(node)
    bare = _WithoutDocstrings().visit(ast.parse(ast.unparse(node)).body[0])
    bare.decorator_list, bare.returns = [], None
    return ast.unparse(bare)


class _WithoutDocstrings(ast.NodeTransformer):
    """Removes docstrings, also those of inner functions."""

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        self.generic_visit(node)
        first = node.body[0]
        if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str):
            node.body = node.body[1:] or [ast.Pass()]
        return node


def _instructions(code: types.CodeType) -> Any:
    """What a function does, in this version of Python: its bytecode, names and constants without the docstring."""
    constants = [_instructions(each) if isinstance(each, types.CodeType) else repr(each) for each in code.co_consts[1:]]
    first = code.co_consts[:1]
    has_docstring = bool(first) and isinstance(first[0], str)
    return [code.co_code.hex(), code.co_names, code.co_varnames, [] if has_docstring else [repr(each) for each in first], constants]
