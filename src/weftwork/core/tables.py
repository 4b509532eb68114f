"""Tables: Arrow tables ↔ their canonical bytes. pyarrow and numpy are imported inside the functions.

The bytes are an Arrow IPC stream (format version 5) of one uncompressed record batch, in one form for equal tables:
validity only where there are nulls, nulls zeroed, offsets from 0, dictionaries decoded, no metadata, no index.
:mod:`weftwork.core.columns` brings a column into that form.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from weftwork.core.checksum import shorten
from weftwork.errors import Invalid


def convert(value: Any, where: str) -> Any:
    """The canonical ``pyarrow.Table`` that a value stands for: an Arrow, pandas or polars table, or a dict of columns.

    Raises :class:`~weftwork.errors.Invalid` with ``where`` and the column that has no canonical bytes.
    """
    try:
        import pyarrow
    except ImportError:
        raise Invalid(f"{where}: tables need pyarrow; `pip install 'weftwork[arrays]'`") from None
    try:
        table = _read(value, where)
    except (pyarrow.ArrowException, TypeError, ValueError, OverflowError) as error:
        if isinstance(error, Invalid):
            raise
        raise Invalid(f"{where}: {shorten(value)} cannot be read as a table: {error}") from None
    return _canonical(table, where)


def encode(table: Any) -> bytes:
    """The canonical bytes of a table: equal tables have equal bytes, however they are chunked, sliced or built."""
    import pyarrow

    table = _canonical(table, "the table")
    columns = [_one(column) for column in table.columns]
    batch = pyarrow.RecordBatch.from_arrays(columns, schema=table.schema)
    sink = pyarrow.BufferOutputStream()
    options = pyarrow.ipc.IpcWriteOptions(metadata_version=pyarrow.ipc.MetadataVersion.V5, compression=None)
    with pyarrow.ipc.new_stream(sink, table.schema, options=options) as writer:
        writer.write_batch(batch)
    data: bytes = sink.getvalue().to_pybytes()
    return data


def decode(data: bytes) -> Any:
    """The table of Arrow IPC bytes, a stream or a file, ours or another program's, in its canonical form.

    Raises :class:`~weftwork.errors.Invalid` for anything else.
    """
    import pyarrow

    try:
        opened = pyarrow.ipc.open_file if data.startswith(b"ARROW1") else pyarrow.ipc.open_stream
        with opened(pyarrow.py_buffer(data)) as reader:
            table = reader.read_all()
        table.validate(full=True)
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        raise Invalid(f"these {len(data)} bytes are not an Arrow table: {error}") from None
    return _canonical(table, "the table")


def _read(value: Any, where: str) -> Any:
    import pyarrow

    if isinstance(value, pyarrow.Table):
        return value
    if isinstance(value, pyarrow.RecordBatch):
        return pyarrow.Table.from_batches([value])
    if isinstance(value, Mapping):
        return pyarrow.table({name: _column(column) for name, column in value.items()})
    if type(value).__module__.split(".")[0] == "pandas" and hasattr(value, "columns"):
        # Before its own Arrow stream, which would bring the index along.
        return pyarrow.Table.from_pandas(value, preserve_index=False)
    if hasattr(value, "__arrow_c_stream__") or hasattr(value, "__arrow_c_array__"):
        return pyarrow.table(value)
    if hasattr(value, "__dataframe__"):
        from pyarrow.interchange import from_dataframe

        return from_dataframe(value)
    raise Invalid(
        f"{where}: {shorten(value)}, a {type(value).__qualname__}, was given where a table is expected; "
        "give an Arrow, pandas or polars table, or a dict of columns"
    )


def _column(column: Any) -> Any:
    # pyarrow would take a tuple or a range only by way of a list.
    return list(column) if isinstance(column, (tuple, range)) else column


def _canonical(table: Any, where: str) -> Any:
    import pyarrow

    from weftwork.core import columns

    fields, arrays = [], []
    for field, column in zip(table.schema, table.columns, strict=True):
        place = f"{where}: column {field.name!r}"
        kind = columns.canonical_type(field.type, place)
        try:
            array = columns.canonical(_one(column), kind)
        except pyarrow.ArrowException as error:
            raise Invalid(f"{place}, of type {field.type}, has no canonical bytes: {error}") from None
        fields.append(pyarrow.field(field.name, kind))
        arrays.append(array)
    return pyarrow.Table.from_arrays(arrays, schema=pyarrow.schema(fields))


def _one(column: Any) -> Any:
    """A chunked column as one array."""
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
