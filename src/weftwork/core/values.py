"""Values: the one Python value of a declared type that any accepted value stands for, or a refusal by name.

The types are :mod:`weftwork.core.types`' (and can be had from here), the bytes of a converted value
:mod:`weftwork.core.codecs`'. Arrays and tables need numpy and pyarrow, which :mod:`weftwork.core.arrays`
and :mod:`weftwork.core.tables` import where they are used.
"""

from __future__ import annotations

import math
import numbers
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from weftwork.core.checksum import Checksum, shorten
from weftwork.core.direct import direct
from weftwork.core.types import (
    ANY,
    ANY_JSON,
    ARRAY,
    BYTES,
    DIRECTORY,
    FILE,
    JSON,
    NAMES,
    PLAIN,
    SCALARS,
    STR,
    TABLE,
    TEXT,
    Type,
    fits,
)
from weftwork.errors import Invalid

__all__ = [
    "ANY", "ANY_JSON", "ARRAY", "BYTES", "DIRECTORY", "FILE", "JSON", "NAMES", "SCALARS", "STR", "TABLE", "TEXT",
    "Directory", "File", "Get", "Put", "Ref", "Type", "Value", "convert", "convert_all", "fits", "infer",
]  # fmt: skip


@direct
@dataclass(frozen=True, slots=True)
class Ref:
    """A value by name: its concrete type, the checksum of its canonical bytes, their number."""

    type: Type
    checksum: Checksum
    size: int

    def document(self) -> dict[str, Any]:
        return {"type": self.type.document(), "checksum": str(self.checksum), "size": self.size}

    @staticmethod
    def of(document: Mapping[str, Any]) -> Ref:
        return Ref(Type.of(document["type"]), Checksum(document["checksum"]), int(document["size"]))


@dataclass(frozen=True, slots=True)
class File:
    """A file by its content: a local path, or an ``https://`` or ``s3://`` address that is fetched once.

    As an argument its checksum counts, never its name or place. A module's function gets a
    ``File`` whose :attr:`path` is a local, read-only copy, and may return one that it wrote.
    ``checksum``, where given, is what the content must have.
    """

    source: str
    checksum: Checksum | None = field(default=None, compare=False)

    def __init__(self, source: str | os.PathLike[str], checksum: str | None = None) -> None:
        object.__setattr__(self, "source", os.fspath(source))
        object.__setattr__(self, "checksum", None if checksum is None else Checksum(checksum))

    @property
    def remote(self) -> bool:
        """Whether the source is an address rather than a path."""
        return "://" in self.source

    @property
    def path(self) -> Path:
        """The local path. Raises :class:`~weftwork.errors.Invalid` for an address, which has none before it is fetched."""
        if self.remote:
            raise Invalid(
                f"{self.source} is an address: it has a path only inside the module that takes it as an input"
            )
        return Path(self.source)

    def __fspath__(self) -> str:
        return str(self.path)


class Directory(File):
    """A directory by its content: the sorted relative paths, executable bits and checksums of its files."""

    __slots__ = ()


Value = Any
Put = Callable[[bytes], Checksum]
Get = Callable[[Checksum], bytes]


def infer(value: Any) -> Type:
    """The type that a value has of itself, for inputs and outputs declared ``any``.

    Raises :class:`~weftwork.errors.Invalid` for a value that no type can hold.
    """
    kind = type(value)
    if kind in _NATIVE:
        return _NATIVE[kind]
    if isinstance(value, Ref):
        return value.type
    if isinstance(value, Directory):
        return DIRECTORY
    if isinstance(value, File):
        return FILE
    if isinstance(value, (bytes, bytearray, memoryview)):
        return BYTES
    if _is_array(value):
        unwrapped = value if kind.__name__ == "ndarray" else _unwrap(value)
        return ARRAY if unwrapped is value else infer(unwrapped)
    if _is_table(value):
        return TABLE
    if isinstance(value, (list, tuple)):
        return _infer_list(value)
    if isinstance(value, dict):
        return JSON
    raise Invalid(
        f"{shorten(value)}, a {kind.__module__}.{kind.__qualname__}, is of no value type; return or pass None, bool, int, "
        "float, str, bytes, a list or dict of these, a numpy array, a table, weft.File or weft.Directory"
    )


_NATIVE: dict[type, Type] = {
    type(None): PLAIN["null"],
    bool: PLAIN["bool"],
    int: PLAIN["int"],
    float: PLAIN["float"],
    str: STR,
    bytes: BYTES,
}


def _infer_list(value: list[Any] | tuple[Any, ...]) -> Type:
    for item in value:
        if isinstance(item, (File, Ref, bytes)) or _is_array(item) or _is_table(item):
            try:
                kinds = {infer(each) for each in value}
            except RecursionError:
                raise Invalid("a list that contains itself is of no value type") from None
            if len(kinds) > 1:
                raise Invalid(f"a list that mixes {', '.join(sorted(map(str, kinds)))} is of no value type")
            return Type("list", kinds.pop())
    return JSON


def _is_array(value: Any) -> bool:
    return hasattr(value, "dtype") and hasattr(value, "shape") and hasattr(value, "tobytes")


def _is_table(value: Any) -> bool:
    return hasattr(value, "__arrow_c_stream__") or hasattr(value, "__dataframe__")


def convert(declared: Type, value: Any, where: str = "the value") -> Value:
    """The one Python value of the declared type that ``value`` stands for.

    ``1``, ``1.0`` and ``numpy.float64(1)`` are one float; a ``Ref`` of a fitting type passes
    as it is. Raises :class:`~weftwork.errors.Invalid` with ``where``, the value and what was expected.
    """
    if value is None and (declared.optional or declared.name in ("null", "any", "json")):
        return None
    if isinstance(value, Ref):
        if not fits(value.type, declared):
            raise Invalid(f"{where}: a {value.type} was given where {declared} is expected")
        return value
    if declared.name == "any":
        result = convert(infer(value), value, where)
    else:
        result = _CONVERTERS[declared.name](declared, value, where)
    if declared.choices and declared.name != "list" and not _chosen(result, declared.choices):
        options = ", ".join(map(repr, declared.choices))
        raise Invalid(f"{where}: {shorten(value)} is not one of {options}")
    if (declared.minimum is not None or declared.maximum is not None) and declared.name != "list":
        _check_range(declared, result, where)
    return result


def convert_all(declared: Type, values: Sequence[Any], where: str = "the value") -> list[Value]:
    """:func:`convert` of each. Values that are plainly of the declared type, or all the same one, are looked at once."""
    if not values:
        return []
    if values[0] is values[-1] and len(set(map(id, values))) == 1:
        return [convert(declared, values[0], where)] * len(values)
    kinds = kinds_of_refs(values)
    if kinds is not None and all(fits(kind, declared) for kind in kinds):
        return list(values)
    restricted = declared.choices or declared.minimum is not None or declared.maximum is not None
    if not restricted and set(map(type, values)) in _AS_THEY_ARE.get(declared.name, ()):
        return list(values)
    return [convert(declared, value, where) for value in values]


_REFS = frozenset({Ref})


def kinds_of_refs(values: Sequence[Any]) -> list[Type] | None:
    """The types of values that are all references; ``None`` where one is none. Many share a type: each object is told once."""
    if not _REFS.issuperset(map(type, values)):
        return None
    return list({id(each.type): each.type for each in values}.values())


_AS_THEY_ARE: dict[str, tuple[AbstractSet[type], ...]] = {
    "bool": ({bool},),
    "int": ({int},),
    "float": ({float},),
    "str": ({str},),
    "any": ({bool}, {int}, {float}, {str}),
    "json": ({bool}, {int}, {float}, {str}),
}
"""Kinds of Python values that are what they stand for, by declared type."""


def _wrong(declared: Type, value: Any, where: str) -> Invalid:
    kind = type(value)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    return Invalid(f"{where}: {shorten(value)}, a {name}, was given where {_article(str(declared))} is expected")


def _article(name: str) -> str:
    return ("an " if name[:1] in "aeiou" else "a ") + name


def _chosen(value: Any, choices: tuple[Any, ...]) -> bool:
    """Whether the value is one of the choices: ``1`` and ``1.0`` are the same one, ``1`` and ``true`` are not."""
    return any(isinstance(each, bool) is isinstance(value, bool) and each == value for each in choices)


def _check_range(declared: Type, value: Any, where: str) -> None:
    low, high = declared.minimum, declared.maximum
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise Invalid(f"{where}: {shorten(value)} is no number, and a number in a range is expected")
    if (low is not None and not value >= low) or (high is not None and not value <= high):
        span = f"at least {low}" if high is None else f"at most {high}" if low is None else f"from {low} to {high}"
        raise Invalid(f"{where}: {shorten(value)} is out of range; {span} is expected")


def _unwrap(value: Any) -> Any:
    """A numpy scalar or zero-dimensional array as the Python number or string it holds; anything else as it is."""
    if not _is_array(value) or value.shape != ():
        return value
    # A date's item may be a plain number, a long double's is itself: neither is what it stands for.
    kind = getattr(value.dtype, "kind", "")
    return value.item() if kind in ("b", "i", "u", "U") or (kind == "f" and value.dtype.itemsize <= 8) else value


def _to_null(declared: Type, value: Any, where: str) -> None:
    raise _wrong(declared, value, where)


def _to_bool(declared: Type, value: Any, where: str) -> bool:
    value = _unwrap(value)
    if type(value) is not bool:
        raise _wrong(declared, value, where)
    return value


def _to_int(declared: Type, value: Any, where: str) -> int:
    if type(value) is int:
        return value
    value = _unwrap(value)
    if isinstance(value, numbers.Integral) and not isinstance(value, bool):
        return int(value)
    if type(value) is float and value.is_integer() and abs(value) <= 2**53:
        return int(value)
    raise _wrong(declared, value, where)


def _to_float(declared: Type, value: Any, where: str) -> float:
    if type(value) is float:
        return value
    value = _unwrap(value)
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise _wrong(declared, value, where)
    try:
        result = float(value)
    except OverflowError:
        result = math.inf
    if isinstance(value, numbers.Integral) and result != value:
        raise Invalid(f"{where}: the integer {shorten(value)} is not exactly a float")
    return result


def _to_str(declared: Type, value: Any, where: str) -> str:
    if not isinstance(value, str):
        raise _wrong(declared, value, where)
    return str.__str__(value)


def _to_json(declared: Type, value: Any, where: str) -> Any:
    try:
        return _json(declared, value, where)
    except RecursionError:
        raise Invalid(f"{where}: the value contains itself, or is nested too deeply") from None


def _json(declared: Type, value: Any, where: str) -> Any:
    kind = type(value)
    if value is None or kind in (bool, int, float, str):
        return value
    if isinstance(value, (list, tuple)):
        return [_json(declared, item, f"{where}[{index}]") for index, item in enumerate(value)]
    if isinstance(value, dict):
        for key in value:
            if not isinstance(key, str):
                raise Invalid(f"{where}: the key {shorten(key)} is a {type(key).__qualname__}; keys must be strings")
        return {str.__str__(key): _json(declared, item, f"{where}[{key!r}]") for key, item in value.items()}
    unwrapped = _unwrap(value)
    if unwrapped is not value:
        return _json(declared, unwrapped, where)
    if _is_array(value) and declared.name == "json":
        raise Invalid(f"{where}: a numpy array inside a json value; use an input or output of type array, or .tolist()")
    if isinstance(value, str):
        return str.__str__(value)
    raise _wrong(declared, value, where)


def _to_bytes(declared: Type, value: Any, where: str) -> bytes:
    if not isinstance(value, (bytes, bytearray, memoryview)):
        raise _wrong(declared, value, where)
    return bytes(value)


_MAGIC = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF8", b"II*\x00", b"MM\x00*", b"%PDF-", b"BM")


def _to_image(declared: Type, value: Any, where: str) -> bytes:
    data = _to_bytes(declared, value, where)
    head = data[:512].lstrip()
    webp = data[:4] == b"RIFF" and data[8:12] == b"WEBP"
    if not (data.startswith(_MAGIC) or webp or head.startswith((b"<svg", b"<?xml"))):
        raise Invalid(f"{where}: {shorten(data[:16])} does not begin as PNG, JPEG, GIF, TIFF, WebP, BMP, SVG or PDF")
    return data


def _to_file(declared: Type, value: Any, where: str) -> File:
    wanted = Directory if declared.name == "directory" else File
    if isinstance(value, File):
        if isinstance(value, Directory) != (wanted is Directory):
            raise _wrong(declared, value, where)
        return value
    if isinstance(value, (str, os.PathLike)):
        return wanted(value)
    raise _wrong(declared, value, where)


def _to_array(declared: Type, value: Any, where: str) -> Any:
    from weftwork.core import arrays

    return arrays.convert(value, where)


def _to_table(declared: Type, value: Any, where: str) -> Any:
    from weftwork.core import tables

    return tables.convert(value, where)


def _to_list(declared: Type, value: Any, where: str) -> list[Any]:
    value = value.tolist() if _is_array(value) and declared.inline else value
    if isinstance(value, AbstractSet):
        raise Invalid(f"{where}: {shorten(value)} is a set, which has no order; give a list, such as sorted(...)")
    if isinstance(value, (str, bytes, bytearray, memoryview, Mapping)) or not isinstance(value, Iterable):
        raise _wrong(declared, value, where)
    assert declared.item is not None
    item = declared.item
    if declared.choices or declared.minimum is not None or declared.maximum is not None:
        item = replace(item, choices=declared.choices, minimum=declared.minimum, maximum=declared.maximum)
    return [convert(item, each, f"{where}[{index}]") for index, each in enumerate(value)]


def _to_record(declared: Type, value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        attributes = _attributes(value)
        if attributes is None:
            raise _wrong(declared, value, where)
        value = attributes
    known = dict(declared.fields)
    for name in value:
        if name not in known:
            raise Invalid(f"{where}: the record has no field {name!r}; its fields are {', '.join(known)}")
    out = {}
    for name, each in declared.fields:
        if name not in value and not each.optional:
            raise Invalid(f"{where}: the field {name!r}, {_article(str(each))}, is missing")
        out[name] = convert(each, value.get(name), f"{where}.{name}")
    return out


def _attributes(value: Any) -> dict[str, Any] | None:
    """The fields of a named tuple or dataclass instance."""
    if hasattr(value, "_asdict"):
        return dict(value._asdict())
    names = getattr(type(value), "__dataclass_fields__", None)
    return None if names is None else {name: getattr(value, name) for name in names}


def _to_collection(declared: Type, value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise _wrong(declared, value, where)
    assert declared.item is not None
    return {
        _to_str(STR, name, f"{where}: the name"): convert(declared.item, each, f"{where}[{name!r}]")
        for name, each in value.items()
    }


_CONVERTERS: dict[str, Callable[[Type, Any, str], Any]] = {
    "null": _to_null,
    "bool": _to_bool,
    "int": _to_int,
    "float": _to_float,
    "str": _to_str,
    "json": _to_json,
    "bytes": _to_bytes,
    "text": _to_str,
    "image": _to_image,
    "array": _to_array,
    "table": _to_table,
    "file": _to_file,
    "directory": _to_file,
    "list": _to_list,
    "record": _to_record,
    "collection": _to_collection,
}
