"""Value types: what may be declared, how a type is written, and which one fits where another is expected.

How a value becomes of a type is :mod:`weftwork.core.values`' business, how it becomes bytes that of
:mod:`weftwork.core.codecs`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from weftwork.core.checksum import shorten
from weftwork.errors import Invalid

SCALARS = frozenset({"null", "bool", "int", "float", "str"})
"""Types whose values can be compared in a condition."""

NAMES = frozenset(
    {
        *SCALARS,
        "any",
        "json",
        "bytes",
        "text",
        "array",
        "table",
        "image",
        "file",
        "directory",
        "collection",
        "list",
        "record",
    }
)

_INLINE = frozenset({*SCALARS, "json"})
"""Types whose canonical bytes are canonical JSON of the value itself."""


@dataclass(frozen=True, slots=True)
class Type:
    """The declared type of an input or output.

    ``any`` takes its type from the value. ``item`` belongs to ``list`` and ``collection``,
    ``fields`` to ``record``. ``optional`` admits ``None``; ``choices``, ``minimum`` and
    ``maximum`` (both inclusive) restrict a scalar, or each item of a list of scalars.
    """

    name: str
    item: Type | None = None
    fields: tuple[tuple[str, Type], ...] = ()
    optional: bool = False
    choices: tuple[Any, ...] = ()
    minimum: float | None = None
    maximum: float | None = None

    def __post_init__(self) -> None:
        if self.name not in NAMES:
            raise Invalid(f"{self.name!r} is not a value type; the types are {', '.join(sorted(NAMES))}")
        if self.item is not None and self.name not in ("list", "collection"):
            raise Invalid(f"a {self.name} has no items; only list and collection have an item type")
        if self.fields and self.name != "record":
            raise Invalid(f"a {self.name} has no fields; only record has them")
        if self.name == "list" and self.item is None:
            object.__setattr__(self, "item", ANY_JSON)
        if self.name == "collection" and self.item is None:
            object.__setattr__(self, "item", FILE)
        if self.minimum is not None and self.maximum is not None and self.minimum > self.maximum:
            raise Invalid(f"the range {self.minimum}..{self.maximum} is empty")

    @property
    def inline(self) -> bool:
        """Whether the canonical bytes are JSON of the value, with no reference to other buffers."""
        if self.name == "list":
            return self.item is not None and self.item.inline
        if self.name == "record":
            return all(item.inline for _, item in self.fields)
        return self.name in _INLINE

    @property
    def concrete(self) -> Type:
        """The type as it counts in a key: without what only restricts the values, fields in the order of their names."""
        if self.name == "list" and self.inline:
            return JSON
        if self.name == "record" and self.inline:
            return JSON
        if self.item is None and not self.fields:
            return PLAIN[self.name]
        item = None if self.item is None else self.item.concrete
        return Type(self.name, item, tuple(sorted((name, each.concrete) for name, each in self.fields)))

    @property
    def _plain(self) -> bool:
        """Whether the text says all of the type."""
        return (
            self.name != "record"
            and not self.choices
            and self.minimum is None
            and self.maximum is None
            and (self.item is None or self.item._plain)
        )

    def __str__(self) -> str:
        text = self.name
        if self.name == "record":
            text += "{" + ", ".join(f"{name}: {item}" for name, item in self.fields) + "}"
        elif self.item is not None and not (self.name == "collection" and self.item == FILE):
            text += f"[{self.item}]"
        return text + ("?" if self.optional else "")

    def document(self) -> Any:
        """The type as a JSON value: a text where nothing restricts it, else an object."""
        if self._plain:
            return str(self)
        out: dict[str, Any] = {"type": self.name}
        if self.item is not None:
            out["item"] = self.item.document()
        if self.fields:
            out["fields"] = {name: item.document() for name, item in self.fields}
        if self.optional:
            out["optional"] = True
        if self.choices:
            out["choices"] = list(self.choices)
        if self.minimum is not None or self.maximum is not None:
            out["range"] = [self.minimum, self.maximum]
        return out

    @staticmethod
    def of(document: Any) -> Type:
        """The type that :meth:`document` wrote, or that a person did: ``float``, ``list[file]``, ``int?``, ``{type: …}``.

        Raises :class:`~weftwork.errors.Invalid` with what would be right.
        """
        if isinstance(document, Type):
            return document
        if isinstance(document, str):
            return _parse(document)
        if not isinstance(document, Mapping):
            raise Invalid(f"{shorten(document)} is not a type; write a name such as float, list[file] or int?")
        name = document.get("type")
        if not isinstance(name, str):
            raise Invalid(f"a type needs a name under `type`, such as float; found {shorten(dict(document))}")
        for key in document:
            if key not in _KEYS:
                raise Invalid(f"a type has no {key!r}; its keys are {', '.join(_KEYS)}")
        base = _parse(name)
        low, high = document.get("range") or (None, None)
        fields = document.get("fields") or {}
        return replace(
            base,
            item=Type.of(document["item"]) if "item" in document else base.item,
            fields=tuple((each, Type.of(item)) for each, item in fields.items()) or base.fields,
            optional=bool(document.get("optional", base.optional)),
            choices=tuple(document.get("choices") or ()),
            minimum=low,
            maximum=high,
        )


_KEYS = ("type", "item", "fields", "optional", "choices", "range")

_TYPE_TEXT = re.compile(r"\s*([a-z]+)\s*(?:\[(.*)\])?\s*(\?)?\s*\Z", re.DOTALL)


def _parse(text: str) -> Type:
    match = _TYPE_TEXT.match(text)
    if match is None:
        raise Invalid(f"{text!r} is not a type; write a name such as float, list[file] or int?")
    name, item, optional = match.groups()
    if item is not None and name not in ("list", "collection"):
        raise Invalid(f"{text!r}: only list and collection have an item type")
    return Type(name, _parse(item) if item else None, optional=bool(optional))


PLAIN = {name: Type(name) for name in NAMES - {"list", "collection", "record"}}
ANY, JSON, FILE, DIRECTORY, ARRAY, TABLE, TEXT, BYTES, STR = (
    PLAIN[name] for name in ("any", "json", "file", "directory", "array", "table", "text", "bytes", "str")
)
ANY_JSON = JSON


def fits(actual: Type, declared: Type) -> bool:
    """Whether a value of the actual type can stand where the declared one is expected, without being read."""
    if declared.name in ("any", actual.name) and declared.name not in ("list", "record"):
        return True
    if actual.name == "null" and declared.optional:
        return True
    if declared.name in ("json", "list", "record") and actual.inline and declared.inline:
        return True
    if declared.name == "list" and actual.name == "list" and actual.item and declared.item:
        return fits(actual.item, declared.item)
    if declared.name == "record" and actual.name == "record":
        given = dict(actual.fields)
        return (
            all(fits(given[name], each) if name in given else each.optional for name, each in declared.fields)
            and given.keys() <= dict(declared.fields).keys()
        )
    return (actual.name, declared.name) in _READ_AS


_READ_AS = {
    ("int", "float"),
    ("text", "file"),
    ("bytes", "file"),
    ("image", "file"),
    ("file", "text"),
    ("file", "bytes"),
    ("file", "image"),
    ("text", "bytes"),
    ("image", "bytes"),
    ("file", "json"),
    ("json", "float"),
    ("json", "int"),
    ("json", "str"),
    ("json", "bool"),
}
"""Pairs (actual, declared) whose values pass when they are read as the declared type at the time of running."""
