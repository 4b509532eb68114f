"""What a document's text is made of: nodes with their places; and the message for a text that cannot be read.

Owns the limits that hold for every document, whatever its notation.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NoReturn

from weftwork.errors import Invalid

MAX_DEPTH = 100
"""Mappings and lists within each other; a workflow needs about ten."""

MAX_ALIASED = 100_000
"""Nodes that aliases may add: a text of a kilobyte must not become a document of a gigabyte."""


Where = tuple[str | int, ...]
"""The way from the root of a document to a place in it: keys and indices."""


@dataclass(slots=True)
class Node:
    """A value with its place (line and column from 1). A mapping holds ``name: (line, column, node)``, a list nodes.

    ``size`` and ``height`` say how many nodes, and how many levels, there are with all aliases written out.
    """

    line: int
    column: int
    value: Any
    size: int = 1
    height: int = 0

    def child(self, part: str | int) -> tuple[int, int, Node] | None:
        """The place of a key (or item) and its node; ``None`` where there is none."""
        if isinstance(self.value, dict) and isinstance(part, str):
            return self.value.get(part)
        if isinstance(self.value, list) and isinstance(part, int) and 0 <= part < len(self.value):
            node: Node = self.value[part]
            return node.line, node.column, node
        return None


def locate(node: Node, path: Iterable[str | int]) -> tuple[int, int]:
    """Line and column of a path, or of the nearest thing above it that is there."""
    place = (node.line, node.column)
    for part in path:
        found = node.child(part)
        if found is None:
            break
        place, node = found[:2], found[2]
    return place


def plain(node: Node) -> Any:
    """The node as plain Python values. Raises :class:`~weftwork.errors.Invalid` where a value is beyond the limits."""
    if isinstance(node.value, dict):
        return {name: plain(each) for name, (_, _, each) in node.value.items()}
    if isinstance(node.value, list):
        return [plain(each) for each in node.value]
    return node.value


def refuse(name: str, text: str, line: int, column: int, what: str) -> NoReturn:
    """Raise what is wrong with a text at a place: ``file:line:column``, what and what would be right, and the line itself."""
    lines = text.split("\n")
    shown = lines[line - 1].rstrip("\r") if 0 < line <= len(lines) else ""
    start = max(0, min(column - 1, len(shown)) - 60)
    shown = shown[start : start + 120]
    pointer = "".join("\t" if each == "\t" else " " for each in shown[: column - 1 - start]) + "^"
    message = f"{name}:{line}:{column}: {what}"
    if shown.strip():
        message += f"\n    {shown}\n    {pointer}"
    problem = {"file": name, "line": line, "column": column, "path": [], "message": what}
    raise Invalid(message, problems=[problem])


def twice(key: str, first: int, second: int) -> str:
    """What to say of a key that is there twice."""
    return f"the key {key!r} is in lines {first} and {second}; a key may be in a mapping once: remove or rename one of them"


def number(text: str, *, floating: bool) -> int | float:
    """The number that a text stands for. Raises ``ValueError`` with what is wrong when no value can hold it."""
    if floating:
        value = float(text)
        if math.isinf(value):
            raise ValueError(f"{text} is too large for a float; the largest is about 1.8e308 (infinity is .inf)")
        return value
    if len(text) > 4000:
        raise ValueError("a number of more than 4000 digits; put it in quotes if it is a text")
    return int(text)


def utf8(text: str) -> bool:
    """Whether the text can be stored: half of a surrogate pair, written as an escape, cannot."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
