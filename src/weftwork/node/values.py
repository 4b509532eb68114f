"""Captured values read back from a bundle; :mod:`weftwork.python.values` writes them."""

from __future__ import annotations

import base64
import datetime
import decimal
import fractions
import functools
import importlib
import logging
import operator
import pathlib
import re
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from weftwork.core.checksum import Checksum


class Decoder(Protocol):
    """What the rules here need."""

    get_blob: Callable[[Checksum], bytes]

    def decode(self, form: Any) -> Any:
        """The value of a form."""


Made = Callable[[Any], None]


def entries(decoder: Decoder, node: Mapping[str, Any]) -> dict[Any, Any]:
    """The items of a dict's node."""
    if "entries" in node:
        held = node["entries"]
        return {key: decoder.decode(held[key]) for key in node.get("order", held)}
    return {decoder.decode(key): decoder.decode(item) for key, item in node["items"]}


def named(_: Any, name: list[str]) -> Any:
    """An object by its module and qualified name."""
    found: Any = importlib.import_module(name[0])
    for part in name[1].split("."):
        found = getattr(found, part)
    return found


def _attribute(decoder: Decoder, form: list[Any]) -> Any:
    found = decoder.decode(form[0])
    for part in form[1].split("."):
        found = getattr(found, part)
    return found


def _bytes(decoder: Decoder, form: Any) -> bytes:
    found: bytes = decoder.decode(form)
    return found


def _datetime(decoder: Decoder, form: list[Any]) -> datetime.datetime:
    naive = datetime.datetime.fromisoformat(form[0])
    return naive.replace(fold=form[1], tzinfo=decoder.decode(form[2]))


def _time(decoder: Decoder, form: list[Any]) -> datetime.time:
    return datetime.time.fromisoformat(form[0]).replace(fold=form[1], tzinfo=decoder.decode(form[2]))


def _typevar(_: Any, form: list[str]) -> Any:
    return getattr(typing, form[0])(form[1])


def _dtype(descr: Any) -> Any:
    from numpy.lib import format as npy

    return npy.descr_to_dtype(_tuples(descr))


def _tuples(descr: Any) -> Any:
    """A dtype's description has tuples where JSON has lists."""
    if isinstance(descr, str):
        return descr
    if len(descr) == 2 and isinstance(descr[1], list) and all(isinstance(size, int) for size in descr[1]):
        return (_tuples(descr[0]), tuple(descr[1]))  # a subarray
    return [_field(item) for item in descr]


def _field(item: list[Any]) -> tuple[Any, ...]:
    name = tuple(item[0]) if isinstance(item[0], list) else item[0]
    shape = (tuple(item[2]),) if len(item) > 2 else ()
    return (name, _tuples(item[1]), *shape)


def _scalar(decoder: Decoder, form: list[Any]) -> Any:
    import numpy

    return numpy.frombuffer(_bytes(decoder, form[1]), _dtype(form[0]), count=1)[0]


INLINE: dict[str, Callable[[Any, Any], Any]] = {
    "name": named,
    "attribute": _attribute,
    "datetime": _datetime,
    "time": _time,
    "typevar": _typevar,
    "scalar": _scalar,
    "dtype": lambda _, form: _dtype(form),
    "tuple": lambda d, form: tuple(d.decode(item) for item in form),
    "frozenset": lambda d, form: frozenset(d.decode(item) for item in form),
    "bytes": lambda _, form: base64.b64decode(form),
    "blob": lambda d, form: d.get_blob(Checksum(form)),
    "checksum": lambda _, form: Checksum(form),
    "int": lambda _, form: int(form, 16),
    "text": lambda _, form: bytes.fromhex(form).decode("utf-16-be", "surrogatepass"),
    "complex": lambda _, form: complex(*form),
    "range": lambda d, form: range(*(d.decode(item) for item in form)),
    "slice": lambda d, form: slice(*(d.decode(item) for item in form)),
    "decimal": lambda _, form: decimal.Decimal(form),
    "fraction": lambda d, form: fractions.Fraction(*(d.decode(item) for item in form)),
    "date": lambda _, form: datetime.date.fromisoformat(form),
    "timedelta": lambda _, form: datetime.timedelta(*form),
    "path": lambda d, form: getattr(pathlib, form[0])(d.decode(form[1])),
    "regex": lambda d, form: re.compile(d.decode(form[0]), form[1] & ~re.DEBUG),
    "proxy": lambda d, form: types.MappingProxyType(d.decode(form)),
    "module": lambda _, form: importlib.import_module(form),
    "logger": lambda _, form: logging.getLogger(form),
    "member": lambda d, form: d.decode(form[0])[form[1]],
    "flags": lambda d, form: d.decode(form[0])(d.decode(form[1])),
    "method": lambda d, form: types.MethodType(*(d.decode(item) for item in form)),
    "newtype": lambda d, form: typing.NewType(form[0], d.decode(form[1])),
    "call": lambda d, form: d.decode(form[0])(*(d.decode(item) for item in form[1])),
    "union": lambda d, form: functools.reduce(operator.or_, (d.decode(item) for item in form)),
}


def _list(decoder: Decoder, node: Mapping[str, Any], made: Made) -> list[Any]:
    value: list[Any] = []
    made(value)
    value.extend(decoder.decode(item) for item in node["items"])
    return value


def _dict(decoder: Decoder, node: Mapping[str, Any], made: Made) -> dict[Any, Any]:
    value: dict[Any, Any] = {}
    made(value)
    value.update(entries(decoder, node))
    return value


def _set(decoder: Decoder, node: Mapping[str, Any], made: Made) -> set[Any]:
    value: set[Any] = set()
    made(value)
    value.update(decoder.decode(item) for item in node["items"])
    return value


def _namespace(decoder: Decoder, node: Mapping[str, Any], made: Made) -> types.SimpleNamespace:
    value = types.SimpleNamespace()
    made(value)
    vars(value).update(entries(decoder, node))
    return value


def _array(decoder: Decoder, node: Mapping[str, Any], made: Made) -> Any:
    import numpy

    if "items" in node:
        value = numpy.empty(node["shape"], dtype=object)
        made(value)
        for position, item in enumerate(node["items"]):
            value.flat[position] = decoder.decode(item)
        return value
    if "of" in node:
        view: Any = numpy.ndarray(
            node["shape"], _dtype(node["dtype"]), decoder.decode(node["of"]), node["offset"], node["strides"]
        )
        view.flags.writeable = node["writeable"]
        return view
    flat = numpy.frombuffer(_bytes(decoder, node["bytes"]), _dtype(node["dtype"]))
    value = flat.reshape(node["shape"], order="F" if node.get("fortran") else "C").copy("K")
    value.flags.writeable = node["writeable"]
    return value


def _partial(decoder: Decoder, node: Mapping[str, Any], made: Made) -> functools.partial[Any]:
    arguments = [decoder.decode(item) for item in node["arguments"]]
    keywords = {name: decoder.decode(item) for name, item in node["keywords"].items()}
    value = functools.partial(decoder.decode(node["function"]), *arguments, **keywords)
    made(value)
    if "attributes" in node:
        vars(value).update(entries(decoder, node["attributes"]))
    return value


def _cached_property(decoder: Decoder, node: Mapping[str, Any], made: Made) -> Any:
    value: Any = functools.cached_property(decoder.decode(node["function"]))
    if node["name"] is not None:
        value.__set_name__(None, node["name"])
    return value


def _lru_cache(decoder: Decoder, node: Mapping[str, Any], made: Made) -> Any:
    return functools.lru_cache(maxsize=node["maxsize"], typed=node["typed"])(decoder.decode(node["function"]))


def _singledispatch(decoder: Decoder, node: Mapping[str, Any], made: Made) -> Any:
    value = functools.singledispatch(decoder.decode(node["function"]))
    made(value)
    for cls, function in node["registry"]:
        value.register(decoder.decode(cls), decoder.decode(function))
    return value


NODES: dict[str, Callable[[Any, Any, Made], Any]] = {
    "list": _list,
    "dict": _dict,
    "set": _set,
    "namespace": _namespace,
    "array": _array,
    "partial": _partial,
    "cached_property": _cached_property,
    "lru_cache": _lru_cache,
    "singledispatch": _singledispatch,
    "bytearray": lambda d, node, _: bytearray(_bytes(d, node["bytes"])),
    "property": lambda d, node, _: property(*(d.decode(part) for part in node["functions"])),
    "staticmethod": lambda d, node, _: staticmethod(d.decode(node["function"])),
    "classmethod": lambda d, node, _: classmethod(d.decode(node["function"])),
}
