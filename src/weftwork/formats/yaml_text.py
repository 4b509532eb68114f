"""YAML 1.2 with the core schema and nothing else: no tags, no merge keys, no timestamps, no key twice.

The text is cut into events by ruamel.yaml. What a plain scalar means is decided here, by the table of section 10.3.2 of
the YAML 1.2.2 specification, because ruamel's own 1.2 resolver still knows timestamps, ``0b1``, ``1_000``, ``=`` and ``<<``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NoReturn

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    StreamStartEvent,
)
from ruamel.yaml.scanner import Scanner

from weftwork.formats.nodes import MAX_ALIASED, MAX_DEPTH, Node, number, refuse, twice, utf8

_CONSTANTS: dict[str, Any] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys((".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF"), float("inf")),
    **dict.fromkeys(("-.inf", "-.Inf", "-.INF"), float("-inf")),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), float("nan")),
}
_INT = re.compile(r"[-+]?[0-9]+\Z")
_OCTAL = re.compile(r"0o[0-7]+\Z")
_HEX = re.compile(r"0x[0-9a-fA-F]+\Z")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?\Z")

_HINTS: tuple[tuple[str, str], ...] = (
    (r"found character '\\t'", "a tab is used for indentation; indent with spaces"),
    (r"found character '([@`%])'", r"a text cannot begin with '\1' here; put it in quotes"),
    (
        r"mapping values are not allowed",
        "a ': ' where none can be; put a text with ': ' in quotes, and indent keys of one mapping alike",
    ),
    (
        r"found unexpected end of stream",
        "the quote that begins here is never closed; add the closing quote",
    ),
    (r"found unexpected document separator", "the quote that begins here is never closed; add the closing quote"),
    (
        r"could not find expected ':'",
        "a line that is no 'key: value'; add the ': ', or indent it as part of the text above",
    ),
    (
        r"expected ',' or '([\]}])', but got '(.*)'",
        r"',' or '\1' is expected before '\2'; close the bracket, and put a text with one of []{}, in quotes",
    ),
    (
        r"expected <block end>, but found",
        "this line is indented like nothing above it; indent the keys of a mapping, or the '-' of a list, alike",
    ),
    (r"sequence entries are not allowed", "a list cannot begin here; begin it on a line of its own, or write [a, b]"),
    (
        r"unknown escape character '(.)'",
        r"'\\\1' is no escape in double quotes; write '\\\\' for a backslash, or use single quotes",
    ),
    (r"expected the node content, but found '\?'", "a text cannot begin with '?' here; put it in quotes"),
    (
        r"expected the node content, but found '(.*)'",
        r"a value is expected before '\1'; add it, or put the text in quotes",
    ),
    (r"expected (?:alphabetic|alphanumeric|URI)", "a text cannot begin with '&', '*' or '!' here; put it in quotes"),
)


def parse(text: str, name: str) -> Node:
    """The document in a YAML text. Raises :class:`~weftwork.errors.Invalid` with file, line, column and the line itself."""
    return _Composer(text, name).document()


class _Scanner(Scanner):
    """In flow collections ruamel's scanner reads ``[?x]`` as a mapping, as YAML 1.1 did, and ``{a: :x}`` not at all. By
    YAML 1.2.2, section 7.3.3, ``?`` and ``:`` begin a text unless a space or one of ``,[]{}`` follows."""

    def check_key(self) -> bool:
        return self._indicator()

    def check_value(self) -> bool:
        return self._indicator() or (bool(self.flow_level) and self._after_json_key())

    def check_plain(self) -> bool:
        if self.flow_level and self.reader.peek() in "?:":
            return not (self.check_key() if self.reader.peek() == "?" else self.check_value())
        return bool(super().check_plain())

    def _indicator(self) -> bool:
        after = self.reader.peek(1)
        return after in _ENDS or (bool(self.flow_level) and after in ",[]{}")

    def _after_json_key(self) -> bool:
        """``{"a":1}``: after a quoted key or a collection no space is needed."""
        text, at = self.reader.buffer, self.reader.pointer - 1
        while at >= 0 and text[at] in " \t\r\n":
            at -= 1
        return at >= 0 and text[at] in "\"'}]"


_ENDS = "\0 \t\r\n"


class _Composer:
    def __init__(self, text: str, name: str) -> None:
        self._text = text
        self._name = name
        self._events = self._read()
        self._anchors: dict[str, Node | None] = {}
        self._aliased = 0

    def document(self) -> Node:
        self._breaks()
        event = next(self._events)
        while isinstance(event, StreamStartEvent):
            event = next(self._events)
        if not isinstance(event, DocumentStartEvent):
            self._refuse(1, 1, "the document is empty; at least one 'key: value' is expected")
        if event.version not in (None, (1, 2)):
            version = ".".join(map(str, event.version))
            self._at(event, f"%YAML {version} is asked for; documents are read as YAML 1.2: remove the line")
        root = self._node(next(self._events), 0)
        next(self._events)
        after = next(self._events)
        if isinstance(after, DocumentStartEvent):
            self._at(
                after, "a second document begins; one file holds one document: remove it, or make it a file of its own"
            )
        return root

    def _breaks(self) -> None:
        """Characters that YAML 1.1, and with it ruamel, takes for the end of a line, and YAML 1.2 does not."""
        found = re.search("[\x85\u2028\u2029]", self._text)
        if found:
            before = self._text[: found.start()]
            code = f"{ord(found[0]):04x}"
            what = f"the character U+{code.upper()}, which some readers take for the end of a line; write it in double quotes as \\u{code}"
            self._refuse(before.count("\n") + 1, len(before) - before.rfind("\n"), what)

    def _read(self) -> Iterator[Any]:
        try:
            yaml = YAML(typ="safe", pure=True)
            yaml.Scanner = _Scanner
            yield from yaml.parse(self._text)
        except MarkedYAMLError as error:
            self._syntax(error)
        except (YAMLError, ValueError, OverflowError) as error:
            # A character that YAML does not allow, or an escape of one: the reader gives a place in the text at most.
            position = getattr(error, "position", None)
            before = self._text[: position if isinstance(position, int) else 0]
            line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
            self._refuse(line, column, f"a character that YAML does not allow ({_first_line(error)}); remove it")

    def _syntax(self, error: MarkedYAMLError) -> NoReturn:
        mark = error.problem_mark or error.context_mark
        problem = str(error.problem or error.context or "a syntax error")
        if error.context_mark is not None and re.match("while scanning a (quoted|simple)", str(error.context)):
            mark = error.context_mark
        what = next((match.expand(hint) for match, hint in _matches(problem)), f"not YAML: {problem}")
        line, column = (1, 1) if mark is None else (mark.line + 1, mark.column + 1)
        self._refuse(line, column, what)

    def _node(self, event: Any, depth: int) -> Node:
        if isinstance(event, AliasEvent):
            return self._alias(event, depth)
        if event.tag is not None:
            self._at(event, f"the tag {event.tag!r}; tags are not used in these documents: remove it")
        if event.anchor is not None:
            self._anchors[event.anchor] = None
        node = Node(event.start_mark.line + 1, event.start_mark.column + 1, None)
        if isinstance(event, ScalarEvent):
            node.value = self._scalar(event)
        else:
            if depth >= MAX_DEPTH:
                self._deep(event)
            node.value = self._mapping(depth) if isinstance(event, MappingStartEvent) else self._sequence(depth)
            items = node.value if isinstance(node.value, list) else [each for _, _, each in node.value.values()]
            node.size += sum(each.size for each in items)
            node.height = 1 + max((each.height for each in items), default=0)
        if event.anchor is not None:
            self._anchors[event.anchor] = node
        return node

    def _alias(self, event: Any, depth: int) -> Node:
        if event.anchor not in self._anchors:
            self._at(
                event,
                f"*{event.anchor} refers to nothing; &{event.anchor} must come before it (or put the text in quotes)",
            )
        found = self._anchors[event.anchor]
        if found is None:
            self._at(event, f"*{event.anchor} is inside what &{event.anchor} names; a value cannot contain itself")
        self._aliased += found.size
        if self._aliased > MAX_ALIASED:
            self._at(event, f"aliases add more than {MAX_ALIASED} values; write a document of this size out")
        if depth + found.height > MAX_DEPTH:
            self._deep(event)
        return Node(event.start_mark.line + 1, event.start_mark.column + 1, found.value, found.size, found.height)

    def _deep(self, event: Any) -> NoReturn:
        self._at(event, f"more than {MAX_DEPTH} mappings and lists within each other")

    def _sequence(self, depth: int) -> list[Node]:
        items: list[Node] = []
        while not isinstance(event := next(self._events), SequenceEndEvent):
            items.append(self._node(event, depth + 1))
        return items

    def _mapping(self, depth: int) -> dict[str, tuple[int, int, Node]]:
        items: dict[str, tuple[int, int, Node]] = {}
        while not isinstance(event := next(self._events), MappingEndEvent):
            key = self._key(event)
            line, column = event.start_mark.line + 1, event.start_mark.column + 1
            if key in items:
                self._refuse(line, column, twice(key, items[key][0], line))
            items[key] = (line, column, self._node(next(self._events), depth + 1))
        return items

    def _key(self, event: Any) -> str:
        if not isinstance(event, ScalarEvent):
            self._at(
                event, "a list, mapping or alias as a key; keys are texts (put a word in braces or with '*' in quotes)"
            )
        if event.tag is not None or event.anchor is not None:
            self._at(event, "a key with a tag or an anchor; put it before the value instead")
        key = self._scalar(event)
        if not isinstance(key, str):
            shown = event.value or "nothing"
            self._at(event, f'the key {shown} is no text; put it in quotes: "{event.value}"')
        if key == "<<" and event.implicit[0]:
            self._at(
                event,
                "merge keys ('<<') are not part of YAML 1.2; write the keys out, or name the whole value with an alias",
            )
        return key

    def _scalar(self, event: Any) -> Any:
        text: str = event.value
        if not event.implicit[0]:
            return text if utf8(text) else self._joined(event)
        if text in _CONSTANTS:
            return _CONSTANTS[text]
        try:
            if _INT.match(text):
                return number(text, floating=False)
            if _FLOAT.match(text):
                return number(text, floating=True)
            if _OCTAL.match(text) or _HEX.match(text):
                return int(text, 0)
        except ValueError as error:
            self._at(event, str(error))
        return text

    def _joined(self, event: Any) -> str:
        """Two escapes that are one character, as JSON writes them."""
        try:
            return str(event.value.encode("utf-16", "surrogatepass").decode("utf-16"))
        except UnicodeDecodeError:
            self._at(event, "an escape that is half a character; write the character itself")

    def _at(self, event: Any, what: str) -> NoReturn:
        self._refuse(event.start_mark.line + 1, event.start_mark.column + 1, what)

    def _refuse(self, line: int, column: int, what: str) -> NoReturn:
        refuse(self._name, self._text, line, column, what)


def _matches(problem: str) -> Iterator[tuple[re.Match[str], str]]:
    for pattern, hint in _HINTS:
        match = re.search(pattern, problem)
        if match:
            yield match, hint


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
