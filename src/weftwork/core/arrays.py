"""Arrays: numpy arrays ↔ their canonical bytes. numpy is imported inside the functions, where a value needs it.

The bytes are the NPY format, version 1.0 (numpy's ``lib/format.py``), with a header of our own that no
version of numpy can change: C order, little endian. Types of fixed meaning only: booleans, integers, floats
up to 64 bits, complex up to 128, byte and text strings of fixed width, dates and durations.
"""

from __future__ import annotations

import io
import math
import re
from typing import Any

from weftwork.core.checksum import shorten
from weftwork.errors import Invalid

KINDS = "biufcSUmM"
"""numpy's letters for the kinds of types that have canonical bytes."""

_MAGIC = b"\x93NUMPY\x01\x00"
_HEADER = re.compile(
    rb"\x93NUMPY\x01\x00..\{'descr': '([<|][A-Za-z0-9\[\]]+)', 'fortran_order': False, "
    rb"'shape': \(((?:\d+(?:, ?\d+)*,?)?)\), \} *\n",
    re.DOTALL,
)


def convert(value: Any, where: str) -> Any:
    """The array that a value stands for: an array, an array-like, or a list of numbers, strings or lists of these.

    In C order and native byte order; the same object where it is so already. Raises
    :class:`~weftwork.errors.Invalid` with ``where``, the type and what would be right.
    """
    import numpy

    if isinstance(value, (list, tuple)):
        return _native(_from_list(value, where), where)
    if not (hasattr(value, "dtype") or hasattr(value, "__array__")) or isinstance(value, type):
        raise Invalid(
            f"{where}: {shorten(value)}, a {_name(value)}, was given where an array is expected; "
            "give a numpy array or a list of numbers"
        )
    if isinstance(value, numpy.ma.MaskedArray):
        raise Invalid(f"{where}: a masked array has no canonical bytes; use .filled(...), or a table with nulls")
    try:
        array = numpy.asarray(value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise Invalid(f"{where}: {_name(value)} cannot be read as an array: {error}") from None
    return _native(array, where)


def encode(array: Any) -> bytes:
    """The canonical bytes of an array: equal arrays have equal bytes, whatever their order, strides and byte order."""
    array = _native(array, "the array")
    little = array.dtype.newbyteorder("<")
    # A file's header is a Python literal, padded so that the data begin at a multiple of 64.
    text = f"{{'descr': '{little.str}', 'fortran_order': False, 'shape': {array.shape}, }}".encode("ascii")
    padding = -(len(_MAGIC) + 2 + len(text) + 1) % 64
    length = len(text) + padding + 1
    data = array.astype(little, copy=False)
    return b"".join((_MAGIC, length.to_bytes(2, "little"), text, b" " * padding, b"\n", data.tobytes("C")))


def decode(data: bytes) -> Any:
    """The array of NPY bytes, ours or any other program's: fresh, writable, in C order and native byte order.

    Raises :class:`~weftwork.errors.Invalid` for anything else.
    """
    import numpy

    match = _HEADER.match(data)
    if match is None or match.end() != 10 + int.from_bytes(data[8:10], "little"):
        return _foreign(data)
    try:
        dtype = numpy.dtype(match[1].decode("ascii"))
    except TypeError as error:
        raise Invalid(f"the array's header is not valid: {error}") from None
    shape = tuple(int(each) for each in match[2].split(b",") if each.strip())
    _check_type(dtype, "the array")
    expected = math.prod(shape) * dtype.itemsize
    if len(data) - match.end() != expected:
        raise Invalid(f"the array should have {expected} bytes of data and has {len(data) - match.end()}")
    array = numpy.empty(shape, dtype)
    # An array of no bytes at all has no buffer to be written through.
    if expected:
        array.reshape(-1).view("u1")[:] = numpy.frombuffer(data, "u1", offset=match.end())
    return array.astype(dtype.newbyteorder("="), copy=False)


def _foreign(data: bytes) -> Any:
    """What another program wrote: big endian, Fortran order, other versions of the format."""
    import numpy

    stream = io.BytesIO(data)
    try:
        array = numpy.lib.format.read_array(stream, allow_pickle=False)
    except (ValueError, TypeError, EOFError, MemoryError, OverflowError, SyntaxError) as error:
        raise Invalid(f"these {len(data)} bytes are not a numpy array: {error}") from None
    if stream.read(1):
        raise Invalid(f"these {len(data)} bytes are a numpy array with something behind it")
    native = _native(array, "the array")
    return native if native.flags.writeable and native.flags.owndata else native.copy()


def _native(array: Any, where: str) -> Any:
    """In C order and native byte order, with the truth values 0 and 1 alone."""
    import numpy

    if type(array) is not numpy.ndarray:
        array = numpy.asarray(array)
    _check_type(array.dtype, where)
    dtype = numpy.dtype(array.dtype.newbyteorder("=").str)
    if array.dtype.kind == "b":
        raw = array.view("u1")
        # A view of bytes can hold other true values than 1, which are equal and would not have equal bytes.
        if raw.size and raw.max() > 1:
            array = raw != 0
    if array.dtype == dtype and array.flags.c_contiguous:
        return array
    return numpy.asarray(array, dtype=dtype, order="C")


def _check_type(dtype: Any, where: str) -> None:
    kind, size = dtype.kind, dtype.itemsize
    advice = {
        "O": "an array of Python objects; use a dtype such as float64 or U10, or an input of type json or list",
        "V": "a structured array; use a table, or one array for each field",
        "T": "an array of strings of variable width; use .astype('U')",
    }
    if kind not in KINDS:
        raise Invalid(
            f"{where}: dtype {dtype} has no canonical bytes: {advice.get(kind, f'it is of the kind {kind!r}')}"
        )
    if (kind == "f" and size > 8) or (kind == "c" and size > 16):
        raise Invalid(
            f"{where}: dtype {dtype} means something else on each platform; use .astype('{'float64' if kind == 'f' else 'complex128'}')"
        )


def _from_list(value: list[Any] | tuple[Any, ...], where: str) -> Any:
    import numpy

    try:
        array = numpy.asarray(value)
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise Invalid(f"{where}: {shorten(value)} cannot be read as an array: {error}") from None
    if array.dtype.kind in "fcUS":
        _check_leaves(value, array.dtype.kind, where)
    return array


def _check_leaves(value: list[Any] | tuple[Any, ...], kind: str, where: str) -> None:
    """Refuse what numpy would change in silence: numbers to strings, integers to the nearest float."""
    for item in value:
        if isinstance(item, (list, tuple)):
            _check_leaves(item, kind, where)
        elif kind in "US" and not isinstance(item, (str, bytes)) and getattr(item, "dtype", None) is None:
            raise Invalid(f"{where}: a list that mixes {shorten(item)} with strings cannot be read as an array")
        elif kind in "fc" and type(item) is int and abs(item) > 2**53 and int(float(item)) != item:
            raise Invalid(f"{where}: the integer {shorten(item)} is not exactly a float")


def _name(value: Any) -> str:
    kind = type(value)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
