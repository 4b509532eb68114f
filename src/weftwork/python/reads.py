"""What a definition reads, seen in its tree: names with their attributes, imports, and writes to globals.

Owns the syntax alone. What the names mean in a live module is the business of :mod:`weftwork.python.walk`.
"""

from __future__ import annotations

import ast
import dis
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import CodeType
from typing import Any

from weftwork.core import syntax
from weftwork.python.source import Definition

_READS = frozenset({"LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS"})
_WRITES = frozenset({"STORE_GLOBAL", "DELETE_GLOBAL"})


@dataclass(frozen=True)
class Chain:
    """``root.a.b`` as written; ``call`` holds the call's arguments where it is called at once."""

    root: str
    attributes: tuple[str, ...]
    line: int
    stored: bool = False
    call: ast.Call | None = None


@dataclass(frozen=True)
class Import:
    """One name bound by an import inside a function; ``name`` is ``None`` for ``import module``."""

    module: str
    level: int
    name: str | None
    bound: str
    line: int
    aliased: bool = False
    """``import a.b as c`` binds a.b; ``import a.b`` binds a."""


@dataclass
class Reads:
    """All that one definition reads, nested definitions included."""

    globals: frozenset[str] = frozenset()
    written: dict[str, int] = field(default_factory=dict)
    chains: list[Chain] = field(default_factory=list)
    imports: list[Import] = field(default_factory=list)
    computed: list[Chain] = field(default_factory=list)
    """What a ``getattr`` or ``hasattr`` with a computed name is applied to."""
    mentions: set[str] = field(default_factory=set)
    """Names of attributes, wherever they occur."""
    texts: set[str] = field(default_factory=set)
    """Names in texts that libraries evaluate in the namespace of their caller."""
    called: set[str] = field(default_factory=set)
    """Last names of what is called."""
    iterates: bool = False
    """Whether it goes through anything item by item, or writes anything as text."""


def reads_of(definition: Definition, code: CodeType) -> Reads:
    """What a definition reads; remembered with it."""
    found = definition.cache.get("reads")
    if not isinstance(found, Reads):
        found = _read(syntax.normalised(definition.node), code)
        definition.cache["reads"] = found
    return found


def _read(node: ast.AST, code: CodeType) -> Reads:
    reads = Reads()
    names, written = global_names(code)
    reads.globals = frozenset(names)
    visitor = _Visitor(reads)
    visitor.visit(node)
    reads.texts = set(_evaluated(node))
    reads.iterates = any(isinstance(item, _ITERATES) or _unpacks(item) for item in ast.walk(node))
    for name in sorted(written):
        reads.written[name] = getattr(node, "lineno", 0)
    return reads


_ITERATES = (ast.For, ast.AsyncFor, ast.comprehension, ast.YieldFrom, ast.Starred, ast.JoinedStr)


_EVALUATING = frozenset({"query", "eval", "evaluate", "from_formula", "dmatrix", "dmatrices"})


def _evaluated(tree: ast.AST) -> Iterator[str]:
    """The names in ``df.query("x > @LIMIT")``, ``numexpr.evaluate("a * b")``, and in formulas (``"y ~ centred(x)"``)."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        for text in (item for each in (*node.args, *node.keywords) for item in ast.walk(each)):
            if (
                isinstance(text, ast.Constant)
                and isinstance(text.value, str)
                and (name in _EVALUATING or "~" in text.value)
            ):
                yield from re.findall(r"[^\W\d]\w*", text.value)


def _unpacks(node: ast.AST) -> bool:
    if isinstance(node, ast.Assign):
        return any(isinstance(target, ast.Tuple | ast.List) for target in node.targets)
    if isinstance(node, ast.BinOp):
        return isinstance(node.op, ast.Mod)  # which formats, when its left side is a text
    return (isinstance(node, ast.keyword) and node.arg is None) or (isinstance(node, ast.Dict) and None in node.keys)


def global_names(code: CodeType) -> tuple[set[str], set[str]]:
    """The names that a code object, and those nested in it, read from and write to their module."""
    read: set[str] = set()
    written: set[str] = set()
    for part in _codes(code):
        for instruction in dis.get_instructions(part):
            if instruction.opname in _READS and not str(instruction.argval).startswith("@"):  # pytest's own
                read.add(instruction.argval)
            elif instruction.opname in _WRITES:
                written.add(instruction.argval)
    return read, written


def _codes(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes(constant)


class _Visitor(ast.NodeVisitor):
    def __init__(self, reads: Reads) -> None:
        self._reads = reads

    def visit_Name(self, node: ast.Name) -> None:
        self._chain(node, None)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        self._reads.mentions.add(node.attr)
        if self._chain(node, None) is None:
            self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        function = node.func
        if isinstance(function, ast.Name | ast.Attribute):
            self._reads.called.add(function.id if isinstance(function, ast.Name) else function.attr)
        else:
            self._reads.called.add("()")
        if isinstance(function, ast.Name) and function.id in ("getattr", "hasattr") and len(node.args) >= 2:
            arguments = self._getattr(node)
        else:
            arguments = [*node.args, *node.keywords]
            if self._chain(function, node) is None:
                self.visit(function)
        for item in arguments:
            self.visit(item)

    def _getattr(self, node: ast.Call) -> list[ast.AST]:
        """Note the attribute that is asked for; returns the arguments that are still to be visited."""
        target = _unroll(node.args[0])
        name = node.args[1].value if isinstance(node.args[1], ast.Constant) else None
        if not isinstance(name, str):
            if target is not None:
                self._reads.computed.append(Chain(target[0], target[1], node.lineno))
            return [*node.args, *node.keywords]
        self._reads.mentions.add(name)
        if target is None:
            return [*node.args, *node.keywords]
        self._reads.chains.append(Chain(target[0], (*target[1], name), node.lineno))
        return [*node.args[1:], *node.keywords]

    def _chain(self, node: ast.expr, call: ast.Call | None) -> Chain | None:
        found = _unroll(node)
        if found is None:
            return None
        self._reads.mentions.update(found[1])
        stored = isinstance(getattr(node, "ctx", None), ast.Store | ast.Del)
        if stored and not found[1]:
            return Chain(found[0], (), node.lineno)  # binding a name reads nothing
        chain = Chain(found[0], found[1], node.lineno, stored, call)
        self._reads.chains.append(chain)
        return chain

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            bound = alias.asname or alias.name.partition(".")[0]
            aliased = alias.asname is not None
            self._reads.imports.append(Import(alias.name, 0, None, bound, node.lineno, aliased))

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        for alias in node.names:
            bound = alias.asname or alias.name
            self._reads.imports.append(Import(node.module or "", node.level, alias.name, bound, node.lineno))


def _unroll(node: ast.AST) -> tuple[str, tuple[str, ...]] | None:
    attributes: list[str] = []
    while isinstance(node, ast.Attribute):
        attributes.append(node.attr)
        node = node.value
    return (node.id, tuple(reversed(attributes))) if isinstance(node, ast.Name) else None


def argument_count(call: ast.Call) -> int:
    """How many arguments a call is given, by position and by name."""
    return len(call.args) + len(call.keywords)


def constant_argument(call: ast.Call | None) -> Any:
    """The first argument of a call, where it is a constant."""
    if call is not None and call.args and isinstance(call.args[0], ast.Constant):
        return call.args[0].value
    return None
