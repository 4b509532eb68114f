"""The canonical form of one Arrow column: one layout of buffers for equal values (Arrow columnar format, version 1.5).

Validity is there only where there are nulls; the slots of nulls are zero, the parts of null lists and structs gone
or null; offsets begin at 0; dictionaries are decoded and views are large strings. Fields inside have their standard
names. Floats keep their bits: ``-0.0`` and the payloads of NaN stay apart.
"""

from __future__ import annotations

from typing import Any

from weftwork.errors import Invalid


def canonical_type(kind: Any, where: str) -> Any:
    """The type that a column gets. Raises :class:`~weftwork.errors.Invalid` for one that has no canonical bytes."""
    import pyarrow
    from pyarrow import types

    if types.is_dictionary(kind):
        return canonical_type(kind.value_type, where)
    if types.is_string_view(kind):
        return pyarrow.large_string()
    if types.is_binary_view(kind):
        return pyarrow.large_binary()
    if types.is_struct(kind):
        return pyarrow.struct([pyarrow.field(each.name, canonical_type(each.type, where)) for each in kind])
    if types.is_fixed_size_list(kind):
        return pyarrow.list_(pyarrow.field("item", canonical_type(kind.value_type, where)), kind.list_size)
    if types.is_large_list(kind):
        return pyarrow.large_list(pyarrow.field("item", canonical_type(kind.value_type, where)))
    if types.is_list(kind):
        return pyarrow.list_(pyarrow.field("item", canonical_type(kind.value_type, where)))
    plain = (types.is_primitive, types.is_decimal, types.is_null, types.is_fixed_size_binary, _is_variable)
    if isinstance(kind, pyarrow.BaseExtensionType) or not any(is_so(kind) for is_so in plain):
        raise Invalid(
            f"{where} is of the type {kind}, which has no canonical bytes; "
            "cast it to numbers, strings, times, lists or structs of these"
        )
    return kind


def _is_variable(kind: Any) -> bool:
    from pyarrow import types

    return bool(
        types.is_string(kind) or types.is_large_string(kind) or types.is_binary(kind) or types.is_large_binary(kind)
    )


def canonical(array: Any, kind: Any) -> Any:
    """The array with the canonical type and layout; ``kind`` is its :func:`canonical_type`."""
    import pyarrow
    from pyarrow import types

    if types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if types.is_string_view(array.type) or types.is_binary_view(array.type):
        array = array.cast(kind)
    if types.is_null(kind):
        return pyarrow.nulls(len(array))
    valid = _valid(array)
    if types.is_struct(kind):
        return _struct(array, kind, valid)
    if types.is_fixed_size_list(kind):
        return _fixed_list(array, kind, valid)
    if types.is_list(kind) or types.is_large_list(kind):
        return _list(array, kind, valid)
    if _is_variable(kind):
        return _variable(array, kind, valid)
    data = _bits(array, valid) if types.is_boolean(kind) else _fixed(array, kind, valid)
    return _build(kind, array, valid, [data])


def _valid(array: Any) -> Any:
    """Which slots hold a value, as numpy booleans; ``None`` where all do."""
    if array.null_count == 0:
        return None
    return array.is_valid().to_numpy(zero_copy_only=False)


def _build(kind: Any, array: Any, valid: Any, buffers: list[Any], children: list[Any] | None = None) -> Any:
    import numpy
    import pyarrow

    bitmap = None if valid is None else pyarrow.py_buffer(numpy.packbits(valid, bitorder="little"))
    nulls = 0 if valid is None else int(len(valid) - valid.sum())
    return pyarrow.Array.from_buffers(kind, len(array), [bitmap, *map(pyarrow.py_buffer, buffers)], nulls, 0, children)


def _bits(array: Any, valid: Any) -> Any:
    import numpy

    buffer = array.buffers()[1]
    if len(array) == 0 or buffer is None:
        return b""
    raw = numpy.frombuffer(buffer, "u1")[array.offset // 8 : (array.offset + len(array) + 7) // 8]
    start = array.offset % 8
    bits = numpy.unpackbits(raw, bitorder="little")[start : start + len(array)]
    return numpy.packbits(bits if valid is None else bits & valid, bitorder="little")


def _fixed(array: Any, kind: Any, valid: Any) -> Any:
    import numpy

    width = kind.bit_width // 8
    buffer = array.buffers()[1]
    if len(array) == 0 or width == 0 or buffer is None:
        return b""
    raw = numpy.frombuffer(buffer, "u1", len(array) * width, array.offset * width)
    if valid is None:
        return raw
    rows = raw.reshape(len(array), width).copy()
    rows[~valid] = 0
    return rows


def _variable(array: Any, kind: Any, valid: Any) -> Any:
    """Strings and bytes: offsets from 0, nothing in the data but what the slots hold."""
    import numpy
    from pyarrow import types

    if valid is not None:
        array = array.fill_null("" if types.is_string(kind) or types.is_large_string(kind) else b"")
    wide = types.is_large_string(kind) or types.is_large_binary(kind)
    offsets = _offsets(array, wide)
    buffer = array.buffers()[2]
    data = b"" if buffer is None else numpy.frombuffer(buffer, "u1")[offsets[0] : offsets[-1]]
    return _build(kind, array, valid, [offsets - offsets[0], data])


def _offsets(array: Any, wide: bool) -> Any:
    import numpy

    dtype = "i8" if wide else "i4"
    buffer = array.buffers()[1]
    # An empty array may come without any offsets at all.
    if len(array) == 0 or buffer is None:
        return numpy.zeros(1, dtype)
    return numpy.frombuffer(buffer, dtype, len(array) + 1, array.offset * int(dtype[1]))


def _list(array: Any, kind: Any, valid: Any) -> Any:
    import numpy
    from pyarrow import types

    wide = types.is_large_list(kind)
    lengths = numpy.diff(_offsets(array, wide))
    if valid is not None:
        lengths = numpy.where(valid, lengths, 0)
    offsets = numpy.zeros(len(array) + 1, "i8" if wide else "i4")
    numpy.cumsum(lengths, out=offsets[1:])
    # flatten() leaves out what null lists hold.
    return _build(kind, array, valid, [offsets], [canonical(array.flatten(), kind.value_type)])


def _fixed_list(array: Any, kind: Any, valid: Any) -> Any:
    import numpy
    import pyarrow
    from pyarrow import compute

    size = kind.list_size
    values = array.values.slice(array.offset * size, len(array) * size)
    if valid is not None:
        # Null lists have slots in the values: there is no other way to say that nothing is in them.
        slots = numpy.flatnonzero(numpy.repeat(valid, size))
        places = numpy.full(len(values), -1, "i8")
        places[slots] = slots
        values = compute.take(values, pyarrow.array(places, mask=places < 0))
    return _build(kind, array, valid, [], [canonical(values, kind.value_type)])


def _struct(array: Any, kind: Any, valid: Any) -> Any:
    # flatten() makes the fields of null structs null.
    children = [canonical(child, each.type) for child, each in zip(array.flatten(), kind, strict=True)]
    return _build(kind, array, valid, [], children)
