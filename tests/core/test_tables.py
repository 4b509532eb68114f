"""Tables: equal tables have equal bytes, however they are chunked, sliced, encoded or built."""

from __future__ import annotations

import datetime
import decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weftwork.core import tables
from weftwork.errors import Invalid

pa = pytest.importorskip("pyarrow")

LEAVES: dict[Any, st.SearchStrategy[Any]] = {
    pa.null(): st.none(),
    pa.bool_(): st.booleans(),
    pa.int8(): st.integers(-128, 127),
    pa.uint64(): st.integers(0, 2**64 - 1),
    pa.float32(): st.floats(width=32, allow_nan=False),
    pa.float64(): st.floats(allow_nan=False),
    pa.string(): st.text(st.characters(exclude_categories=["Cs"]), max_size=4),
    pa.large_string(): st.text(st.characters(exclude_categories=["Cs"]), max_size=4),
    pa.binary(): st.binary(max_size=4),
    pa.binary(3): st.binary(min_size=3, max_size=3),
    pa.date32(): st.dates(),
    pa.timestamp("us", "UTC"): st.datetimes(timezones=st.just(datetime.UTC)),
    pa.duration("us"): st.integers(-(10**9), 10**9).map(lambda n: datetime.timedelta(microseconds=n)),
    pa.time64("us"): st.times(),
    pa.decimal128(10, 2): st.decimals(-(10**6), 10**6, places=2).map(lambda n: decimal.Decimal(n)),
    pa.dictionary(pa.int8(), pa.string()): st.sampled_from(["a", "b", "c"]),
}


def _column(kind: Any, values: st.SearchStrategy[Any]) -> st.SearchStrategy[tuple[Any, st.SearchStrategy[Any]]]:
    return st.just((kind, st.none() | values))


leaves = st.sampled_from(list(LEAVES)).flatmap(lambda kind: _column(kind, LEAVES[kind]))
columns = st.recursive(
    leaves,
    lambda inner: inner.flatmap(
        lambda pair: st.one_of(
            _column(pa.list_(pair[0]), st.lists(pair[1], max_size=3)),
            _column(pa.large_list(pair[0]), st.lists(pair[1], max_size=3)),
            _column(pa.list_(pair[0], 2), st.lists(pair[1], min_size=2, max_size=2)),
            _column(
                pa.struct({"a": pair[0], "b": pa.int8()}),
                st.fixed_dictionaries({"a": pair[1], "b": st.none() | st.just(1)}),
            ),
        )
    ),
    max_leaves=2,
)


@st.composite
def any_tables(draw: st.DrawFn) -> Any:
    count = draw(st.integers(0, 12))
    chosen = draw(st.lists(columns, min_size=1, max_size=3))
    data = [pa.array(draw(st.lists(values, min_size=count, max_size=count)), kind) for kind, values in chosen]
    return pa.Table.from_arrays(data, [f"c{index}" for index in range(len(data))])


@settings(max_examples=40, deadline=None)
@given(any_tables())
def test_a_table_comes_back(table: Any) -> None:
    data = tables.encode(table)
    again = tables.decode(data)
    again.validate(full=True)
    assert again.to_pylist() == table.to_pylist()
    assert tables.encode(again) == data
    converted = tables.convert(table, "x")
    assert converted.equals(again, check_metadata=True)
    assert tables.convert(converted, "x").equals(converted, check_metadata=True)
    assert all(column.num_chunks <= 1 for column in again.columns)
    assert not any(pa.types.is_dictionary(kind) for kind in again.schema.types)


@settings(max_examples=40, deadline=None)
@given(any_tables(), st.integers(0, 12), st.integers(1, 5))
def test_chunks_slices_and_metadata_do_not_count(table: Any, cut: int, chunk: int) -> None:
    data = tables.encode(table)
    cut = min(cut, table.num_rows)
    around = pa.concat_tables([table.slice(cut), table, table.slice(0, cut)])
    for other in (
        pa.concat_tables([table.slice(0, cut), table.slice(cut)]),
        around.slice(table.num_rows - cut, table.num_rows),
        around.combine_chunks().slice(table.num_rows - cut, table.num_rows),
        pa.Table.from_batches(table.to_batches(max_chunksize=chunk), table.schema),
        table.replace_schema_metadata({"pandas": "{}"}),
        pa.table(
            [column.combine_chunks() for column in table.columns],
            pa.schema([field.with_metadata({"a": "b"}) for field in table.schema]),
        ),
    ):
        assert tables.encode(other) == data


@settings(max_examples=40, deadline=None)
@given(any_tables(), st.lists(st.booleans(), min_size=12, max_size=12))
def test_what_lies_under_a_null_does_not_count(table: Any, kept: list[bool]) -> None:
    mask = pa.array(kept[: table.num_rows], pa.bool_())
    for index, column in enumerate(table.columns):
        plain = column.combine_chunks()
        if pa.types.is_dictionary(plain.type):
            continue
        if isinstance(plain, pa.ChunkedArray):
            plain = plain.chunk(0)
        # The same validity over other bytes: by buffers of our own, and as Arrow builds it from values.
        values = [value if keep else None for value, keep in zip(plain.to_pylist(), kept, strict=False)]
        built = pa.array(values, plain.type)
        if plain.type.num_fields == 0 and not pa.types.is_null(plain.type):
            bits = pa.array([value is not None for value in values], pa.bool_()).buffers()[1]
            hidden = pa.Array.from_buffers(plain.type, len(plain), [bits, *plain.buffers()[1:]], offset=plain.offset)
            assert tables.encode(pa.table({"x": hidden})) == tables.encode(pa.table({"x": built})), index
    assert len(mask) == table.num_rows


def test_what_other_builders_write_is_one_table() -> None:
    data = tables.encode(pa.table({"a": ["x", None, "x"]}))
    assert tables.encode(pa.table({"a": pa.array(["x", None, "x"]).dictionary_encode()})) == data
    assert tables.encode(tables.convert({"a": ["x", None, "x"]}, "x")) == data
    assert tables.encode(tables.convert({"a": ("x", None, "x")}, "x")) == data
    assert tables.encode(tables.convert(pa.record_batch({"a": ["x", None, "x"]}), "x")) == data
    large = tables.encode(pa.table({"a": pa.array(["x", None, "x"], pa.large_string())}))
    assert large != data
    if hasattr(pa, "string_view"):
        assert tables.encode(pa.table({"a": pa.array(["x", None, "x"], pa.string_view())})) == large
    element = pa.list_(pa.field("element", pa.int64(), nullable=False))
    assert tables.encode(pa.table({"a": pa.array([[1], [2]], element)})) == tables.encode(pa.table({"a": [[1], [2]]}))
    assert tables.encode(pa.table({"a": pa.array([1], pa.int8())})) != tables.encode(
        pa.table({"a": pa.array([1], pa.int16())})
    )
    assert tables.encode(pa.table({"a": [0.0]})) != tables.encode(pa.table({"a": [-0.0]}))


def test_streams_and_files_of_other_programs_are_read() -> None:
    table = pa.table({"a": [1, None], "b": ["x", "y"]})
    for new in (pa.ipc.new_stream, pa.ipc.new_file):
        sink = pa.BufferOutputStream()
        with new(sink, table.schema, options=pa.ipc.IpcWriteOptions(compression="zstd")) as writer:
            writer.write_table(table, max_chunksize=1)
        assert tables.encode(tables.decode(sink.getvalue().to_pybytes())) == tables.encode(table)
    for wrong in (b"", b"text", tables.encode(table)[:-50], b"ARROW1 and nothing"):
        with pytest.raises(Invalid, match="not an Arrow table"):
            tables.decode(wrong)


@pytest.mark.parametrize(
    ("value", "named"),
    [
        (5, "5, a int, was given where a table is expected"),
        ([{"a": 1}], "was given where a table is expected"),
        ({"a": [1], "b": [1, 2]}, "cannot be read as a table"),
        ({"a": [1, "x"]}, "cannot be read as a table"),
        ({"a": [object()]}, "cannot be read as a table"),
        ({"\ud800": [1]}, "cannot be read as a table"),
        (pa.table({"m": pa.array([[("a", 1)]], pa.map_(pa.string(), pa.int8()))}), "column 'm' is of the type map"),
        (pa.table({"r": pa.array([{"m": [("a", 1)]}], pa.struct({"m": pa.map_(pa.string(), pa.int8())}))}), "column 'r' is of the type map"),
        (pa.table({"u": pa.UnionArray.from_sparse(pa.array([0], pa.int8()), [pa.array([1])])}), "column 'u' is of the type sparse_union"),
    ],
    ids=range(9),
)  # fmt: skip
def test_what_has_no_canonical_bytes_is_refused(value: Any, named: str) -> None:
    with pytest.raises(Invalid, match=named) as found:
        tables.convert(value, "m: input 'x'")
    assert str(found.value).startswith("m: input 'x'")


def test_pandas_tables_come_without_their_index() -> None:
    pandas = pytest.importorskip("pandas")
    plain = pandas.DataFrame({"a": [1, 2], "b": ["x", "y"]})
    indexed = pandas.DataFrame({"a": [1, 2], "b": ["x", "y"]}, index=[7, 9])
    assert tables.encode(tables.convert(plain, "x")) == tables.encode(tables.convert(indexed, "x"))
    assert tables.convert(indexed, "x").column_names == ["a", "b"]
    assert tables.convert(indexed, "x").schema.metadata is None


def test_polars_tables_are_tables() -> None:
    polars = pytest.importorskip("polars")
    frame = polars.DataFrame({"a": [1, None], "b": ["x", "y"], "c": [["u"], None]})
    table = tables.convert(frame, "x")
    assert table.to_pydict() == {"a": [1, None], "b": ["x", "y"], "c": [["u"], None]}
    assert tables.encode(frame.to_arrow()) == tables.encode(table)
