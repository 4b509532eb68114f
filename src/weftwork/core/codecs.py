"""Codecs: a converted value ↔ its canonical bytes, and the text forms of a value.

A value that holds other buffers is canonical JSON with their checksums: a ``directory`` is the
sorted list of ``[path, executable, checksum]``, a ``collection`` the list of ``[name, checksum]``
in its own order, a ``list`` or ``record`` of such values has a checksum in each place, also where
the item is a list itself: so a value is the same bytes, given by reference or not.
Everything else is bytes of its own. Files and directories stand in a value as
:class:`~weftwork.core.values.Ref`: reading a disk is not this module's business.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from weftwork.core.checksum import Checksum, canonical, canonical_all, from_canonical, shorten
from weftwork.core.values import ANY, JSON, SCALARS, File, Get, Put, Ref, Type, convert, infer
from weftwork.errors import Invalid

VERSION = 1
"""Counts in every program's identity: raised when the bytes of an equal value change."""


def encode(declared: Type, value: Any, put: Put) -> tuple[Type, bytes]:
    """The concrete type and canonical bytes of a converted value.

    ``put`` stores the bytes of what the value holds and names them. A ``File`` must have
    been replaced by its ``Ref`` before; a ``Ref`` itself has no bytes here.
    """
    if value is None:
        return Type("null"), b"null"
    actual = _resolved(declared, value)
    if actual.inline:
        return actual.concrete, canonical(value)
    return actual.concrete, _encode(actual, value, put)


def encode_all(declared: Type, values: Sequence[Any], put: Put) -> list[tuple[Type, bytes]]:
    """:func:`encode` of each. Plain values of one kind are encoded together."""
    kinds = set(map(type, values))
    if len(kinds) == 1 and kinds <= _PLAIN_VALUES and declared.name in ("any", "json", *SCALARS):
        concrete = infer(values[0]) if declared.name == "any" else declared.concrete
        return [(concrete, data) for data in canonical_all(values)]
    return [encode(declared, value, put) for value in values]


_PLAIN_VALUES = frozenset({bool, int, float, str})


def _encode(actual: Type, value: Any, put: Put) -> bytes:
    match actual.name:
        case "bytes" | "image":
            return bytes(value)
        case "text":
            return _utf8(value)
        case "array":
            from weftwork.core import arrays

            return arrays.encode(value)
        case "table":
            from weftwork.core import tables

            return tables.encode(value)
        case "list" | "record" | "collection":
            return canonical(_deep(actual, value, put))
    raise Invalid(f"{shorten(value)}: a {actual.name} must be in a store before it can be named")


def _resolved(declared: Type, value: Any) -> Type:
    """The declared type with each ``any`` in it, at any depth, replaced by what the value is of itself."""
    match declared.name:
        case "any":
            return infer(value)
        case "list" | "collection" if declared.item is not None and not declared.inline:
            held = value.values() if declared.name == "collection" else value
            if not isinstance(value, Ref) and _has_any(declared.item):
                return replace(declared, item=_common([_resolved(declared.item, each) for each in held], value))
        case "record" if not isinstance(value, Ref):
            fields = [
                (name, _resolved(item, value[name]) if _has_any(item) else item) for name, item in declared.fields
            ]
            return replace(declared, fields=tuple(fields))
    return declared


def _has_any(declared: Type) -> bool:
    held = [declared.item] if declared.item is not None else [item for _, item in declared.fields]
    return declared.name == "any" or any(_has_any(each) for each in held)


def _common(kinds: list[Type], value: Any) -> Type:
    """The one type of several items: their own where it is the same, json where all can be written in it."""
    found = {each.concrete for each in kinds if each.name != "null"}
    if all(each.inline for each in found):
        return JSON
    if len(found) > 1:
        raise Invalid(f"{shorten(value)} mixes {', '.join(sorted(map(str, found)))}: its items must be of one type")
    return found.pop()


def _deep(actual: Type, value: Any, put: Put) -> Any:
    """The JSON that stands for a value which holds buffers: inline items as they are, others by checksum."""
    match actual.name:
        case "list":
            assert actual.item is not None
            return [_item(actual.item, each, put) for each in value]
        case "record":
            return {name: _item(item, value[name], put) for name, item in actual.fields}
    assert actual.item is not None
    return [[name, None if each is None else _leaf(actual.item, each, put)] for name, each in value.items()]


def _item(item: Type, value: Any, put: Put) -> Any:
    if value is None or (item.inline and not isinstance(value, Ref)):
        return value
    if item.inline:
        raise Invalid(
            f"a reference to a {value.type} stands where {item} itself is expected: its value must be read first"
        )
    return _leaf(item, value, put)


def _leaf(actual: Type, value: Any, put: Put) -> str:
    if isinstance(value, Ref):
        return str(value.checksum)
    return str(put(encode(actual, value, put)[1]))


def decode(actual: Type, data: bytes, get: Get, local: Callable[[Type, Checksum], File]) -> Any:
    """The value of canonical bytes, fresh: two calls never share a mutable object.

    ``get`` gives the bytes of a checksum that the value holds; ``local`` a ``File`` or
    ``Directory`` with a readable path for one.
    """
    if actual.inline:
        return from_canonical(data)
    if actual.name in ("list", "record", "collection"):
        return _undeep(actual, from_canonical(data), get, local)
    return decode_bytes(actual, data)


def decode_bytes(actual: Type, data: bytes) -> Any:
    """The value of a type whose bytes hold no checksums."""
    if actual.inline:
        return from_canonical(data)
    match actual.name:
        case "bytes" | "image" | "file":
            return data
        case "text":
            return data.decode("utf-8")
        case "array":
            from weftwork.core import arrays

            return arrays.decode(data)
        case "table":
            from weftwork.core import tables

            return tables.decode(data)
    raise Invalid(f"a {actual.name} cannot be decoded by itself")


def _undeep(actual: Type, value: Any, get: Get, local: Callable[[Type, Checksum], File]) -> Any:
    if actual.name == "record":
        return {name: _unitem(item, value.get(name), get, local) for name, item in actual.fields}
    assert actual.item is not None
    item = actual.item
    if actual.name == "list":
        return [_unitem(item, each, get, local) for each in value]
    return {name: None if each is None else read(item, Checksum(each), get, local) for name, each in value}


def _unitem(item: Type, value: Any, get: Get, local: Callable[[Type, Checksum], File]) -> Any:
    return value if value is None or item.inline else read(item, Checksum(value), get, local)


def read(actual: Type, checksum: Checksum, get: Get, local: Callable[[Type, Checksum], File]) -> Any:
    """The value that a checksum names, fresh; for a file or directory its local path and nothing read."""
    if actual.name in ("file", "directory"):
        return local(actual, checksum)
    return decode(actual, get(checksum), get, local)


def links(actual: Type, data: bytes) -> list[Checksum]:
    """The checksums that canonical bytes hold directly: what must be present beside them."""
    return [ref.checksum for _, ref in items(actual, data)] if has_links(actual) else []


def has_links(actual: Type) -> bool:
    """Whether values of the type hold other buffers."""
    return actual.name in ("directory", "collection") or (actual.name in ("list", "record") and not actual.inline)


def items(actual: Type, data: bytes) -> list[tuple[str, Ref]]:
    """What a value holds, each with its name (an index for a list) as a ``Ref`` of unknown size (-1).

    For a list of inline values see :func:`inline_items`.
    """
    value = from_canonical(data)
    match actual.name:
        case "directory":
            return [(path, Ref(Type("file"), Checksum(each), -1)) for path, _, each in value]
        case "collection":
            assert actual.item is not None
            return [(name, Ref(actual.item, Checksum(each), -1)) for name, each in value if each is not None]
        case "list":
            assert actual.item is not None
            item = actual.item
            return [(str(i), Ref(item, Checksum(each), -1)) for i, each in enumerate(value) if isinstance(each, str)]
        case "record":
            deep = [(name, item) for name, item in actual.fields if not item.inline]
            return [
                (name, Ref(item, Checksum(value[name]), -1)) for name, item in deep if isinstance(value.get(name), str)
            ]
    raise Invalid(f"a {actual} holds nothing that could be gone through one by one")


def inline_items(data: bytes) -> list[tuple[str, Type, bytes]]:
    """The items of a JSON list (by index) or object (by name, sorted): name, own type, canonical bytes."""
    value = from_canonical(data)
    if isinstance(value, list):
        pairs = [(str(index), each) for index, each in enumerate(value)]
    elif isinstance(value, dict):
        pairs = list(value.items())
    else:
        raise Invalid(f"{shorten(value)} is neither a list nor an object: there is nothing to go through one by one")
    return [(name, infer(each).concrete, canonical(each)) for name, each in pairs]


def directory_bytes(entries: list[tuple[str, bool, Checksum]]) -> bytes:
    """The canonical bytes of a directory: its files as ``(relative path, executable, checksum)``, in any order."""
    return canonical([[path, executable, str(each)] for path, executable, each in sorted(entries)])


def from_text(declared: Type, text: str, where: str) -> Any:
    """The value that a person's text stands for: ``-i x=1``, or what a program printed.

    ``str`` and ``text`` take it as it is; numbers as Python reads them, ``true``/``false``/``null`` and JSON as JSON
    has them; a list is a JSON list or words between commas; ``any`` reads JSON where it is JSON, else a string.
    """
    name = declared.name
    if name in ("str", "text", "file", "directory"):
        return convert(declared, text, where)
    stripped = text.strip()
    if declared.optional and stripped in ("null", ""):
        return None
    if name == "bytes":
        return text.encode("utf-8")
    if name == "list" and not stripped.startswith("["):
        assert declared.item is not None
        words = [word.strip() for word in stripped.split(",")] if stripped else []
        return convert(
            declared, [from_text(declared.item, word, f"{where}[{i}]") for i, word in enumerate(words)], where
        )
    try:
        value = _number(name, stripped) if name in ("int", "float") else json.loads(stripped)
    except RecursionError:
        raise Invalid(f"{where}: {shorten(text)} is nested too deeply") from None
    except ValueError:
        if name in ("any", "json"):
            return convert(ANY, text, where) if name == "any" else _not_read(declared, text, where)
        return _not_read(declared, text, where)
    return convert(declared, value, where)


def _number(name: str, text: str) -> int | float:
    if "_" in text:
        raise ValueError(text)
    try:
        return int(text)
    except ValueError:
        return float(text)


def _not_read(declared: Type, text: str, where: str) -> Any:
    example = {"bool": "true or false", "int": "such as 3", "float": "such as 1.5", "null": "null"}.get(
        declared.name, "in JSON"
    )
    raise Invalid(f"{where}: {text!r} cannot be read as {declared}; write it {example}")


def to_text(actual: Type, value: Any) -> str:
    """The text of a scalar or JSON value, as a command gets it in a word or variable."""
    if actual.name in ("str", "text") or isinstance(value, str):
        return str(value)
    if isinstance(value, bool) or value is None or isinstance(value, (list, dict)):
        return canonical(value).decode("utf-8")
    return repr(value)


def _utf8(value: str) -> bytes:
    try:
        return value.encode("utf-8")
    except UnicodeEncodeError as error:
        raise Invalid(f"the text has no UTF-8 encoding: {error}") from None
