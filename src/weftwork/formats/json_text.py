"""JSON (RFC 8259) with its places, and a key twice refused.

The value is read by :mod:`json`, which is fast enough for a workflow of 100,000 steps; the places, which only a message
needs, are found by a second, slower reading when one is asked for.
"""

from __future__ import annotations

import json
import re
from typing import Any, NoReturn

from weftwork.formats.nodes import MAX_DEPTH, Node, number, refuse, twice, utf8

_TOKEN = re.compile(r'[ \t\r\n]*(?:("(?:[^"\\]|\\.)*")|([\[\]{}:,])|([^\s\[\]{}:,"]+))')
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


_HOLDERS = frozenset({dict, list})


class _Twice(ValueError):
    pass


def loads(text: str, name: str) -> Any:
    """The value in a JSON text. Raises :class:`~weftwork.errors.Invalid` with file, line, column and the line itself."""
    try:
        value = json.loads(text, object_pairs_hook=_mapping, parse_float=_float, parse_int=_int)
    except json.JSONDecodeError as error:
        what = f"not JSON: {error.msg[:1].lower()}{error.msg[1:]}"
        refuse(
            name,
            text,
            error.lineno,
            error.colno,
            what + "; keys and texts are in double quotes, no comma after the last",
        )
    except RecursionError:
        refuse(name, text, 1, 1, f"more than {MAX_DEPTH} objects and arrays within each other")
    except ValueError as error:
        parse(text, name)  # finds the place of a key that is there twice, or of a number beyond its limits
        refuse(name, text, 1, 1, str(error))
    if _deep(value):
        refuse(name, text, 1, 1, f"more than {MAX_DEPTH} objects and arrays within each other")
    if _SURROGATE.search(text) and not utf8(json.dumps(value, ensure_ascii=False)):
        refuse(
            name,
            text,
            1,
            1,
            "an escape that is half a character (\\ud800 to \\udfff alone); write the character itself",
        )
    return value


def parse(text: str, name: str) -> Node:
    """The same document with its places. The text is one that :func:`loads` took, or has a key twice, which is refused."""
    return _Places(text, name).value(0)


def _mapping(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _Twice
    return found


def _float(text: str) -> float:
    return float(number(text, floating=True))


def _int(text: str) -> int:
    return int(number(text, floating=False))


def _deep(value: Any) -> bool:
    level = [value] if type(value) in _HOLDERS else []
    for _ in range(MAX_DEPTH + 1):
        if not level:
            return False
        level = [
            item for each in level for item in (each.values() if type(each) is dict else each) if type(item) in _HOLDERS
        ]
    return bool(level)


class _Places:
    """A reading for places only: values are plain, structure is trusted as far as :mod:`json` has found it sound."""

    def __init__(self, text: str, name: str) -> None:
        self._text = text
        self._name = name
        self._position = 0
        self._line, self._line_start = 1, 0

    def value(self, depth: int) -> Node:
        token, line, column = self._next()
        if depth > MAX_DEPTH + 1:
            refuse(self._name, self._text, line, column, f"more than {MAX_DEPTH} objects and arrays within each other")
        if token == "{":
            return Node(line, column, self._object(depth))
        if token == "[":
            return Node(line, column, self._array(depth))
        try:
            return Node(line, column, json.loads(token, parse_float=_float, parse_int=_int))
        except ValueError as error:
            refuse(self._name, self._text, line, column, str(error))

    def _object(self, depth: int) -> dict[str, tuple[int, int, Node]]:
        items: dict[str, tuple[int, int, Node]] = {}
        token, line, column = self._next()
        while token != "}":
            if token == ",":
                token, line, column = self._next()
            key = json.loads(token)
            if key in items:
                refuse(self._name, self._text, line, column, twice(key, items[key][0], line))
            self._next()
            items[key] = (line, column, self.value(depth + 1))
            token, line, column = self._next()
        return items

    def _array(self, depth: int) -> list[Node]:
        items: list[Node] = []
        while self._peek() != "]":
            if self._peek() == ",":
                self._next()
            items.append(self.value(depth + 1))
        self._next()
        return items

    def _peek(self) -> str:
        match = _TOKEN.match(self._text, self._position)
        return "" if match is None else match[0].lstrip()

    def _next(self) -> tuple[str, int, int]:
        match = _TOKEN.match(self._text, self._position)
        if match is None:
            self._end()
        start = match.start(match.lastindex or 0)
        breaks = self._text.count("\n", self._position, start)
        if breaks:
            self._line += breaks
            self._line_start = self._text.rindex("\n", 0, start) + 1
        self._position = match.end()
        return self._text[start : match.end()], self._line, start - self._line_start + 1

    def _end(self) -> NoReturn:
        refuse(self._name, self._text, self._line, 1, "the document ends too early")
