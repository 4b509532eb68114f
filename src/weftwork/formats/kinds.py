"""What may stand at a place of a document: one description, from which both the reading and the JSON Schema come.

A kind says what is wrong with a value (:meth:`Kind.faults`) and how JSON Schema says the same (:meth:`Kind.schema`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Protocol

from weftwork.core.checksum import shorten
from weftwork.core.module import nearest
from weftwork.formats.nodes import Where

Fault = tuple[Where, str]
Schema = dict[str, Any]


class Kind(Protocol):
    """What may stand at a place. ``text`` names it in a message: ``a text``, ``a list of words``."""

    @property
    def text(self) -> str: ...

    def faults(self, value: Any, path: Where) -> Sequence[Fault]:
        """What is wrong with the structure of a value; nothing when it fits."""
        ...

    def schema(self) -> Schema:
        """The same as JSON Schema (2020-12); a section is a reference into ``$defs``."""
        ...

    def sections(self) -> Iterator[Section]:
        """The sections that the schema refers to directly."""
        ...


@dataclass(frozen=True, slots=True)
class Leaf:
    """A value without parts that this floor looks into. ``hint`` is added to what is said of a wrong one."""

    text: str
    document: Mapping[str, Any]
    fits: Callable[[Any], bool]
    hint: str = ""

    def faults(self, value: Any, path: Where) -> Sequence[Fault]:
        if self.fits(value):
            return ()
        return [(path, f"{given(value)} is given where {self.text} is expected{self.hint or _quotes(self, value)}")]

    def schema(self) -> Schema:
        return dict(self.document)

    def sections(self) -> Iterator[Section]:
        return iter(())


@dataclass(frozen=True, slots=True)
class Listed:
    """A list of things of one kind."""

    item: Kind
    text: str = "a list"
    least: int = 0
    most: int | None = None

    def faults(self, value: Any, path: Where) -> Sequence[Fault]:
        wrong = [(path, f"{given(value)} is given where {self.text} is expected")]
        if not isinstance(value, list):
            return wrong
        found = wrong if len(value) < self.least or (self.most is not None and len(value) > self.most) else []
        for index, each in enumerate(value):
            found += self.item.faults(each, (*path, index))
        return found

    def schema(self) -> Schema:
        out: Schema = {"type": "array", "items": self.item.schema()}
        if self.least:
            out["minItems"] = self.least
        if self.most is not None:
            out["maxItems"] = self.most
        return out

    def sections(self) -> Iterator[Section]:
        return self.item.sections()


@dataclass(frozen=True, slots=True)
class Named:
    """A mapping whose keys are names that the author chose; ``what`` says of what (``an input``)."""

    item: Kind
    what: str
    pattern: str = r"[A-Za-z_][A-Za-z0-9_]*"
    rule: str = "letters, digits and '_', not beginning with a digit"
    least: int = 0

    @property
    def text(self) -> str:
        return f"a mapping that gives {self.what} by its name"

    def faults(self, value: Any, path: Where) -> Sequence[Fault]:
        if not isinstance(value, dict):
            return [
                (path, f"{given(value)} is given where {self.text} is expected; write `name: ...`, a line each"),
            ]
        found: list[Fault] = []
        if len(value) < self.least:
            found.append((path, f"it is empty; {self.what} at least is expected"))
        matches, faults, right = _matcher(self.pattern), self.item.faults, _right(self.item)
        for name, each in value.items():
            if not matches(name):
                what = f"{shorten(name)} is not the name of {self.what}; {self.rule} are expected"
                found.append(((*path, name), what))
            elif not right(each) and (inner := faults(each, (*path, name))):
                found += inner
        return found

    def schema(self) -> Schema:
        out: Schema = {
            "type": "object",
            "propertyNames": {"pattern": f"^{self.pattern}$"},
            "additionalProperties": self.item.schema(),
        }
        return out | ({"minProperties": self.least} if self.least else {})

    def sections(self) -> Iterator[Section]:
        return self.item.sections()


@dataclass(frozen=True, slots=True)
class Either:
    """One of several kinds. A mapping is judged by the kind that is one, a list likewise: its faults are the useful ones."""

    kinds: tuple[Kind, ...]
    text: str

    def faults(self, value: Any, path: Where) -> Sequence[Fault]:
        found = [kind.faults(value, path) for kind in self.kinds]
        if not all(found):
            return ()
        # The right kind is one that gets past the first look at the value.
        inner = [each for each in found if each[0][0] != path or not each[0][1].startswith(given(value))]
        return inner[0] if inner else [(path, f"{given(value)} is given where {self.text} is expected")]

    def schema(self) -> Schema:
        return {"anyOf": [kind.schema() for kind in self.kinds]}

    def sections(self) -> Iterator[Section]:
        for kind in self.kinds:
            yield from kind.sections()


@dataclass(frozen=True, slots=True)
class Key:
    """A known key of a section: what may stand there, and a text for people."""

    kind: Kind
    description: str
    required: bool = False
    beside: tuple[str, ...] = ()
    """Keys of which one must be there too: the key has a meaning only beside it."""


@dataclass(slots=True, eq=False)
class Section:
    """A mapping with known keys. ``one_of`` names keys of which exactly one is expected."""

    name: str
    description: str
    keys: dict[str, Key] = field(default_factory=dict)
    one_of: tuple[str, ...] = ()
    _required: tuple[str, ...] | None = None

    @property
    def text(self) -> str:
        return f"a mapping with the keys of {self.name}"

    def faults(self, value: Any, path: Where) -> Sequence[Fault]:
        if not isinstance(value, dict):
            return [(path, f"{given(value)} is given where {self.text} ({', '.join(self.keys)}) is expected")]
        found: list[Fault] = []
        for name, each in value.items():
            key = self.keys.get(name)
            if key is None:
                found.append(((*path, name), self._unknown(name, each)))
                continue
            if key.beside and not any(other in value for other in key.beside):
                what = f"{name} has a meaning only beside {' or '.join(key.beside)}; remove it or add that"
                found.append(((*path, name), what))
            if not _right(key.kind)(each) and (inner := key.kind.faults(each, (*path, name))):
                found += inner
        if self._required is None:
            self._required = tuple(name for name, key in self.keys.items() if key.required)
        for name in self._required:
            if name not in value:
                found.append((path, f"the key {name!r} is missing: {self.keys[name].description}"))
        if self.one_of and sum([name in value for name in self.one_of]) != 1:
            found += self._one_expected(value, path)
        return found

    def _unknown(self, name: str, value: Any) -> str:
        keys = ", ".join(self.keys)
        if value is None and re.fullmatch(r"[A-Za-z_]\w*", name) and not nearest(name, self.keys):
            keys += f'; put a text that begins with a brace in quotes: "{{{name}}}"'
            return f"the key {name!r} is not known in {self.name}; its keys are {keys}"
        return (
            f"the key {shorten(name)} is not known in {self.name}{nearest(name, self.keys) or ';'} its keys are {keys}"
        )

    def _one_expected(self, value: dict[str, Any], path: Where) -> Iterator[Fault]:
        found = [name for name in self.one_of if name in value]
        options = ", ".join(self.one_of[:-1]) + " or " + self.one_of[-1]
        # A misspelled one is told as such already.
        if not found and not any(nearest(name, self.one_of) for name in value if name not in self.keys):
            yield path, f"{self.name} has none of {options}; exactly one is expected"
        elif found:
            yield (*path, found[1]), f"{self.name} has {' and '.join(found)}; exactly one of {options} is expected"

    def schema(self) -> Schema:
        return {"$ref": f"#/$defs/{self.name.replace(' ', '-')}"}

    def sections(self) -> Iterator[Section]:
        yield self

    def definition(self) -> Schema:
        """What the reference of :meth:`schema` leads to."""
        out: Schema = {"type": "object", "description": self.description, "additionalProperties": False}
        out["properties"] = {
            name: {**key.kind.schema(), "description": key.description} for name, key in self.keys.items()
        }
        required = [name for name, key in self.keys.items() if key.required]
        if required:
            out["required"] = required
        if self.one_of:
            out["oneOf"] = [{"required": [name]} for name in self.one_of]
        beside = {
            name: {"anyOf": [{"required": [other]} for other in key.beside]}
            for name, key in self.keys.items()
            if key.beside
        }
        return out | ({"dependentSchemas": beside} if beside else {})


def _right(kind: Kind) -> Callable[[Any], bool]:
    """What says quickly that a value is right, where a kind has that: most values of a document are, and need no place."""
    return kind.fits if type(kind) is Leaf else _unsure


def _unsure(_: Any) -> bool:
    return False


@cache
def _matcher(pattern: str) -> Callable[[str], object]:
    return re.compile(pattern).fullmatch


def given(value: Any) -> str:
    """A value as a message shows it."""
    if value is None:
        return "nothing (null)"
    if isinstance(value, dict):
        return f"a mapping ({_inside(value)})" if value else "an empty mapping"
    if isinstance(value, list):
        return f"a list ({_inside(value)})" if value else "an empty list"
    kind = {bool: "a truth value", int: "a whole number", float: "a number", str: "a text"}[type(value)]
    return f"{_json(value)}, {kind},"


def _json(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else shorten(value, 60)


def _inside(value: Any) -> str:
    return shorten(value, 40)[1:-1] if len(repr(value)) <= 40 else f"{len(value)} items"


def _quotes(kind: Leaf, value: Any) -> str:
    if kind.document.get("type") != "string":
        return ""
    if isinstance(value, dict) and len(value) == 1 and next(iter(value.values())) is None:
        return f'; put a text that begins with a brace in quotes: "{{{next(iter(value))}}}"'
    return f'; put it in quotes: "{_json(value)}"' if isinstance(value, (bool, int, float)) else ""


def is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


TEXT = Leaf("a text", {"type": "string"}, lambda value: isinstance(value, str))
SOME_TEXT = Leaf("a text", {"type": "string", "minLength": 1}, lambda value: isinstance(value, str) and value != "")
TRUTH = Leaf("true or false", {"type": "boolean"}, lambda value: isinstance(value, bool))
NUMBER = Leaf("a number", {"type": "number"}, is_number)
ANYTHING = Leaf("a value", {}, lambda value: True)
NOTHING = Leaf("null", {"type": "null"}, lambda value: value is None)
AT_LEAST_ZERO = Leaf(
    "a number of at least 0",
    {"type": "number", "minimum": 0},
    lambda value: is_number(value) and value >= 0,
)


def whole(least: int) -> Leaf:
    """A whole number of at least so much."""
    return Leaf(
        f"a whole number of at least {least}",
        {"type": "integer", "minimum": least},
        lambda value: type(value) is int and value >= least,
    )


def matching(pattern: str, text: str) -> Leaf:
    """A text that a pattern matches as a whole."""
    return Leaf(
        text,
        {"type": "string", "pattern": f"^{pattern}$"},
        lambda value: isinstance(value, str) and re.fullmatch(pattern, value) is not None,
    )
