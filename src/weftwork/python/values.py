"""Captured values by value: how data that a function reaches is written into its bundle.

Owns data. Functions, classes and modules are walked by :mod:`weftwork.python.walk`; :mod:`weftwork.node.rebuild` reads
all of this back. The same value gives the same document in every process: nothing depends on hashes of strings or
addresses. The order of a dict is kept, and counts where the program may see it.
"""

from __future__ import annotations

import base64
import copyreg
import datetime
import decimal
import fractions
import json
import pathlib
import re
import types
from collections.abc import Callable, Iterable
from typing import Any, Protocol

from weftwork.core.checksum import Checksum
from weftwork.errors import Refused

BLOB_SIZE = 4096
"""Bytes above this size leave the document and are named in it by their checksum."""


class Encoder(Protocol):
    """What the rules here need of the walker."""

    arrays: list[tuple[Any, dict[str, Any]]]
    """Every array met, with its node."""

    def encode(self, value: Any) -> Any:
        """The JSON form of any value."""

    def node(self, value: Any, kind: str) -> dict[str, Any]:
        """A new node for a value that has an identity of its own."""

    def ref(self, value: Any) -> Any:
        """The reference to the value's node."""

    def blob(self, data: bytes) -> Checksum:
        """Keep bytes beside the document."""

    def sort_key(self, value: Any) -> bytes:
        """A key that orders values alike in every process."""

    def uses_package(self, module: str) -> None:
        """Note the distribution that a module belongs to."""

    def refused(self, what: str) -> Refused:
        """The error that says what cannot be captured, and where it was reached."""


def encode_str(_: Encoder, value: str) -> Any:
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:  # lone surrogates, as in file names that are no UTF-8
            return {"text": value.encode("utf-16-be", "surrogatepass").hex()}
    return value


def encode_int(_: Encoder, value: int) -> Any:
    return value if value.bit_length() <= 64 else {"int": hex(value)}


def encode_bytes(encoder: Encoder, value: bytes) -> Any:
    if len(value) > BLOB_SIZE:
        return {"blob": encoder.blob(value)}
    return {"bytes": base64.b64encode(value).decode("ascii")}


def _bytearray(encoder: Encoder, value: bytearray) -> Any:
    encoder.node(value, "bytearray")["bytes"] = encode_bytes(encoder, bytes(value))
    return encoder.ref(value)


def _tuple(encoder: Encoder, value: tuple[Any, ...]) -> Any:
    return {"tuple": [encoder.encode(item) for item in value]}


def _list(encoder: Encoder, value: list[Any]) -> Any:
    node = encoder.node(value, "list")
    node["items"] = [encoder.encode(item) for item in value]
    return encoder.ref(value)


def _dict(encoder: Encoder, value: dict[Any, Any]) -> Any:
    node = encoder.node(value, "dict")
    node.update(entries(encoder, value))
    return encoder.ref(value)


def entries(encoder: Encoder, value: dict[Any, Any]) -> dict[str, Any]:
    """The items of a dict, with the order of their keys unless it is the sorted one."""
    if all(type(key) is str and encode_str(encoder, key) is key for key in value):
        names = sorted(value)
        found: dict[str, Any] = {"entries": {key: encoder.encode(value[key]) for key in names}}
        if names != list(value):
            found["order"] = list(value)
        return found
    return {"items": [[encoder.encode(key), encoder.encode(item)] for key, item in value.items()]}


def in_order(encoder: Encoder, values: Iterable[Any]) -> list[Any]:
    """Members of a set, encoded in an order that does not depend on the process."""
    return [encoder.encode(item) for item in sorted(values, key=encoder.sort_key)]


def _set(encoder: Encoder, value: set[Any]) -> Any:
    encoder.node(value, "set")["items"] = in_order(encoder, value)
    return encoder.ref(value)


def _frozenset(encoder: Encoder, value: frozenset[Any]) -> Any:
    return {"frozenset": in_order(encoder, value)}


def _datetime(encoder: Encoder, value: datetime.datetime) -> Any:
    naive = value.replace(tzinfo=None, fold=0)
    return {"datetime": [naive.isoformat(), value.fold, encoder.encode(value.tzinfo)]}


def _time(encoder: Encoder, value: datetime.time) -> Any:
    naive = value.replace(tzinfo=None, fold=0)
    return {"time": [naive.isoformat(), value.fold, encoder.encode(value.tzinfo)]}


def _slice(encoder: Encoder, value: slice) -> Any:
    return {"slice": [encoder.encode(value.start), encoder.encode(value.stop), encoder.encode(value.step)]}


def _namespace(encoder: Encoder, value: types.SimpleNamespace) -> Any:
    encoder.node(value, "namespace").update(entries(encoder, vars(value)))
    return encoder.ref(value)


def _proxy(encoder: Encoder, value: types.MappingProxyType[Any, Any]) -> Any:
    return {"proxy": encoder.encode(copyable(value))}


def copyable(value: types.MappingProxyType[Any, Any]) -> dict[Any, Any]:
    """The dict behind a proxy; a copy where it cannot be had, so that sharing with it is lost."""
    return dict(value)


BY_TYPE: dict[type, Callable[[Any, Any], Any]] = {
    str: encode_str,
    int: encode_int,
    bytes: encode_bytes,
    bytearray: _bytearray,
    tuple: _tuple,
    list: _list,
    dict: _dict,
    set: _set,
    frozenset: _frozenset,
    slice: _slice,
    datetime.datetime: _datetime,
    datetime.time: _time,
    types.SimpleNamespace: _namespace,
    types.MappingProxyType: _proxy,
    Checksum: lambda _, value: {"checksum": str(value)},
    complex: lambda _, value: {"complex": [value.real, value.imag]},
    range: lambda e, value: {"range": [e.encode(value.start), e.encode(value.stop), e.encode(value.step)]},
    type(Ellipsis): lambda _, value: {"name": ["builtins", "Ellipsis"]},
    type(NotImplemented): lambda _, value: {"name": ["builtins", "NotImplemented"]},
    decimal.Decimal: lambda _, value: {"decimal": str(value)},
    fractions.Fraction: lambda e, value: {"fraction": [e.encode(value.numerator), e.encode(value.denominator)]},
    datetime.date: lambda _, value: {"date": value.isoformat()},
    datetime.timedelta: lambda _, value: {"timedelta": [value.days, value.seconds, value.microseconds]},
    re.Pattern: lambda e, value: {"regex": [e.encode(value.pattern), value.flags]},
    **{
        kind: lambda e, value: {"path": [type(value).__name__, e.encode(str(value))]}
        for kind in (pathlib.PurePosixPath, pathlib.PureWindowsPath, pathlib.PosixPath, pathlib.WindowsPath)
    },
}


def _descr(encoder: Encoder, dtype: Any) -> Any:
    """The form in which the ``.npy`` format writes a dtype, as JSON: tuples become lists."""
    if dtype.hasobject:
        raise encoder.refused(f"an array of {dtype}, whose elements are not plain numbers,")
    from numpy.lib import format as npy  # numpy is here: there is an array

    return json.loads(json.dumps(npy.dtype_to_descr(dtype.newbyteorder("<"))))


def encode_numpy(encoder: Encoder, value: Any) -> Any:
    """Arrays, scalars and dtypes; ``None`` for anything else."""
    import numpy

    if isinstance(value, numpy.dtype):
        encoder.uses_package("numpy")
        return {"dtype": _descr(encoder, value) if value.kind != "O" else "|O"}
    if isinstance(value, numpy.generic):
        encoder.uses_package("numpy")
        little = value.dtype.newbyteorder("<")
        return {"scalar": [_descr(encoder, little), encode_bytes(encoder, numpy.asarray(value, little).tobytes())]}
    if type(value) is numpy.ndarray:
        return _array(encoder, value)
    return None


def _array(encoder: Encoder, value: Any) -> Any:
    encoder.uses_package("numpy")
    node = encoder.node(value, "array")
    encoder.arrays.append((value, node))
    node["shape"] = list(value.shape)
    if value.dtype == object:
        node["items"] = [encoder.encode(item) for item in value.ravel().tolist()]
        return encoder.ref(value)
    little = value.astype(value.dtype.newbyteorder("<"), copy=False)
    node["dtype"] = _descr(encoder, little.dtype)
    node["writeable"] = bool(value.flags.writeable)
    if value.flags.fnc:  # sums go through memory in its order, and their last digits with them
        node["fortran"] = True
    node["bytes"] = encode_bytes(encoder, little.tobytes("F" if value.flags.fnc else "C"))
    return encoder.ref(value)


def share(encoder: Encoder) -> None:
    """Arrays that share memory do so on the node too: each is written as a view of the array that owns it."""
    groups: dict[int, list[tuple[Any, dict[str, Any]]]] = {}
    for value, node in encoder.arrays:
        groups.setdefault(id(_owner(value)), []).append((value, node))
    for group in [group for group in groups.values() if len(group) > 1]:
        owner = _owner(group[0][0])
        shared = [
            each for each in group if any(each[0] is not other and _overlap(each[0], other) for other, _ in group)
        ]
        for value, node in shared:
            if value is owner:
                continue
            contiguous = owner.flags.c_contiguous or owner.flags.f_contiguous
            if not contiguous or owner.dtype != value.dtype or not owner.dtype.isnative or owner.dtype.hasobject:
                raise encoder.refused("an array that shares its memory with another, in a way that cannot be written,")
            offset = value.__array_interface__["data"][0] - owner.__array_interface__["data"][0]
            del node["bytes"]
            node.pop("fortran", None)
            node.update(of=encoder.encode(owner), offset=offset, strides=list(value.strides))


def _owner(value: Any) -> Any:
    while type(value.base) is type(value):
        value = value.base
    return value


def _overlap(one: Any, other: Any) -> bool:
    import numpy

    return numpy.may_share_memory(one, other) and bool(numpy.shares_memory(one, other))


def encode_reduced(encoder: Encoder, value: Any) -> Any:
    """Any other instance, as the copy protocol takes it apart (``__reduce_ex__``): never its pickle's bytes."""
    reducer = copyreg.dispatch_table.get(type(value))
    try:
        reduced = reducer(value) if reducer is not None else value.__reduce_ex__(4)
    except Exception as error:
        raise encoder.refused(f"a live {_kind(value)} ({error})") from None
    if isinstance(reduced, str):
        raise encoder.refused(f"the {_kind(value)} {reduced!r}, which is known by its name alone,")
    function, arguments, state, items, pairs = (*reduced, None, None, None)[:5]
    node = encoder.node(value, "object")
    node["callable"] = encoder.encode(function)
    node["arguments"] = [encoder.encode(argument) for argument in arguments]
    if state is not None:
        node["state"] = _state(encoder, state)
    if items is not None:
        node["items"] = [encoder.encode(item) for item in items]
    if pairs is not None:
        node["pairs"] = [[encoder.encode(key), encoder.encode(item)] for key, item in pairs]
    return encoder.ref(value)


def _state(encoder: Encoder, state: Any) -> Any:
    """A state dict is made for the occasion: written in place, since its address says nothing."""
    if type(state) is dict:
        return entries(encoder, state)
    if type(state) is tuple and len(state) == 2 and all(part is None or type(part) is dict for part in state):
        return {"parts": [None if part is None else entries(encoder, part) for part in state]}
    return {"value": encoder.encode(state)}


def _kind(value: Any) -> str:
    return f"{type(value).__module__}.{type(value).__qualname__}"
