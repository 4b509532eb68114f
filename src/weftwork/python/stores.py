"""Attributes and items that a file sets, and the calls at its top, seen in its tree: the syntax alone."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Store:
    """``a.b.key = ...`` or ``a.b["key"] = ...`` (an ``item``) as written; for a call ``a.b.key(...)``."""

    path: tuple[str, ...]
    key: str
    item: bool
    line: int


_SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)


def stores(tree: ast.AST) -> tuple[Store, ...]:
    """Everything that is set in what a name of the module leads to, also inside functions."""
    return tuple(dict.fromkeys(_stores(tree, frozenset())))


def _stores(node: ast.AST, local: frozenset[str]) -> Iterator[Store]:
    if isinstance(node, _SCOPES):
        local |= _bound(node)
    found = _target(node)
    if found is not None and found.path[0] not in local:
        yield found
    for child in ast.iter_child_nodes(node):
        yield from _stores(child, local)


def _bound(function: Any) -> frozenset[str]:
    """The names that a function binds, its parameters among them."""
    given = {node.arg for node in ast.walk(function.args) if isinstance(node, ast.arg)}
    made = {node.id for node in ast.walk(function) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    declared = {name for node in ast.walk(function) if isinstance(node, ast.Global) for name in node.names}
    return frozenset((given | made) - declared)


def _target(node: ast.AST) -> Store | None:
    if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
        return _store(node.value, node.attr, item=False, line=node.lineno)
    if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store):
        return _store(node.value, _text(node.slice), item=True, line=node.lineno)
    if (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "setattr"
        and len(node.args) == 3
    ):
        return _store(node.args[0], _text(node.args[1]), item=False, line=node.lineno)
    return None


def _text(node: ast.AST) -> str | None:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def _store(owner: ast.AST, key: str | None, *, item: bool, line: int) -> Store | None:
    path: list[str] = []
    while isinstance(owner, ast.Attribute):
        path.append(owner.attr)
        owner = owner.value
    if key is None or not isinstance(owner, ast.Name):
        return None
    return Store((owner.id, *reversed(path)), key, item, line)


def calls(tree: ast.Module) -> tuple[Store, ...]:
    """Calls whose answer nobody takes, made while the module is imported."""
    return tuple(_calls(tree.body))


def _calls(body: list[ast.stmt]) -> Iterator[Store]:
    for statement in body:
        if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call):
            function = statement.value.func
            found = None
            if isinstance(function, ast.Attribute):
                found = _store(function.value, function.attr, item=False, line=statement.lineno)
            if found is not None:
                yield found
        elif isinstance(statement, ast.If) and _is_main_guard(statement.test):
            continue
        elif isinstance(statement, ast.If | ast.Try | ast.With):
            yield from _calls(statement.body)


def _is_main_guard(test: ast.expr) -> bool:
    return any(isinstance(node, ast.Name) and node.id == "__name__" for node in ast.walk(test))


def imports(tree: ast.Module) -> tuple[tuple[str, int, tuple[str, ...]], ...]:
    """The imports of a file: module, level, names."""
    found: list[tuple[str, int, tuple[str, ...]]] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [(alias.name, 0, ()) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            found.append((node.module or "", node.level, tuple(alias.name for alias in node.names)))
    return tuple(dict.fromkeys(found))
