"""Arrays: equal arrays have equal bytes; bytes give a fresh, writable array; what has no fixed meaning is refused."""

from __future__ import annotations

import io
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weftwork.core import arrays
from weftwork.errors import Invalid

numpy = pytest.importorskip("numpy")
npst = pytest.importorskip("hypothesis.extra.numpy")

dtypes = (
    npst.boolean_dtypes()
    | npst.integer_dtypes(endianness="?")
    | npst.unsigned_integer_dtypes(endianness="?")
    | npst.floating_dtypes(sizes=(16, 32, 64), endianness="?")
    | npst.complex_number_dtypes(sizes=(64, 128), endianness="?")
    | npst.byte_string_dtypes(max_len=4)
    | npst.unicode_string_dtypes(max_len=4, endianness="?")
    | npst.datetime64_dtypes(endianness="?")
    | npst.timedelta64_dtypes(endianness="?")
)
any_arrays = dtypes.flatmap(lambda dtype: npst.arrays(dtype, npst.array_shapes(min_dims=0, min_side=0, max_side=4)))


def same(one: Any, other: Any) -> bool:
    native = one.dtype.newbyteorder("=") == other.dtype.newbyteorder("=")
    return native and one.shape == other.shape and one.tolist().__repr__() == other.tolist().__repr__()


@settings(max_examples=40, deadline=None)
@given(any_arrays)
def test_an_array_comes_back_fresh_and_writable(array: Any) -> None:
    data = arrays.encode(array)
    again = arrays.decode(data)
    assert same(array, again)
    assert arrays.encode(again) == data
    assert again.flags.writeable
    assert again.flags.c_contiguous
    assert again.dtype.isnative
    assert not numpy.shares_memory(again, arrays.decode(data))


@settings(max_examples=40, deadline=None)
@given(any_arrays)
def test_order_strides_and_byte_order_do_not_count(array: Any) -> None:
    data = arrays.encode(array)
    spread = numpy.repeat(array.reshape(-1), 2)[::2].reshape(array.shape)
    for other in (
        numpy.asfortranarray(array).reshape(array.shape),
        array.astype(array.dtype.newbyteorder("S")),
        spread,
        array[::-1][::-1] if array.ndim else array,
        array.T.copy().T,
    ):
        assert arrays.encode(other) == data


@settings(max_examples=40, deadline=None)
@given(any_arrays)
def test_the_bytes_are_numpys_own_format(array: Any) -> None:
    assert same(numpy.load(io.BytesIO(arrays.encode(array)), allow_pickle=False), array)


@settings(max_examples=40, deadline=None)
@given(any_arrays, st.sampled_from([(1, 0), (2, 0), (3, 0)]), st.booleans())
def test_what_another_program_wrote_is_read(array: Any, version: tuple[int, int], fortran: bool) -> None:
    stream = io.BytesIO()
    given_array = numpy.asfortranarray(array) if fortran and array.ndim else array
    numpy.lib.format.write_array(stream, given_array, version=version, allow_pickle=False)
    again = arrays.decode(stream.getvalue())
    assert arrays.encode(again) == arrays.encode(array)
    assert again.flags.writeable


@settings(max_examples=40, deadline=None)
@given(any_arrays)
def test_converting_again_changes_nothing(array: Any) -> None:
    converted = arrays.convert(array, "x")
    assert arrays.convert(converted, "x") is converted
    assert same(converted, array)


def test_types_shapes_and_bits_count() -> None:
    different = [
        numpy.zeros(2), numpy.zeros(2, "f4"), numpy.zeros(2, "i8"), numpy.zeros((1, 2)), numpy.zeros((2, 1)), numpy.zeros(3),
        -numpy.zeros(2), numpy.zeros(()), numpy.zeros(0), numpy.zeros((0, 2)), numpy.zeros(2, "M8[s]"), numpy.zeros(2, "M8[ns]"),
    ]  # fmt: skip
    assert len({arrays.encode(each) for each in different}) == len(different)


def test_truth_is_one_value() -> None:
    odd = numpy.array([0, 1, 2, 255], "u1").view("?")
    assert arrays.encode(odd) == arrays.encode(numpy.array([False, True, True, True]))
    assert arrays.decode(arrays.encode(odd)).view("u1").tolist() == [0, 1, 1, 1]


def test_lists_are_arrays() -> None:
    assert arrays.convert([1, 2], "x").dtype == "int64"
    assert arrays.convert([[1.0, 2], [3, 4]], "x").shape == (2, 2)
    assert arrays.convert((True, False), "x").dtype == "bool"
    assert arrays.convert(["a", "bc"], "x").dtype == "U2"
    assert arrays.convert([], "x").shape == (0,)
    assert arrays.convert([numpy.arange(2), numpy.arange(2)], "x").shape == (2, 2)


class Like:
    """What other libraries' arrays have."""

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        return numpy.arange(3)


class Special(numpy.ndarray):
    """A subclass that means nothing to its canonical bytes."""


def test_array_likes_are_arrays() -> None:
    assert arrays.convert(Like(), "x").tolist() == [0, 1, 2]
    assert arrays.convert(numpy.float64(3), "x").shape == ()
    assert type(arrays.convert(numpy.arange(2).view(Special), "x")) is numpy.ndarray


@pytest.mark.parametrize(
    ("value", "named"),
    [
        (numpy.array([object()]), "dtype object .* Python objects"),
        (numpy.array([(1, 2.0)], "i4,f8"), "structured array; use a table"),
        (numpy.ma.array([1, 2], mask=[True, False]), "masked array"),
        (numpy.zeros(2, "longdouble"), r"use \.astype\('float64'\)"),
        (numpy.zeros(2, "clongdouble"), r"use \.astype\('complex128'\)"),
        ([1, None], "object"),
        ([1, [2, 3]], "cannot be read as an array"),
        ([1, "a"], "mixes 1 with strings"),
        ([2**53 + 1, 0.5], "9007199254740993 is not exactly a float"),
        ([2**70], "object"),
        ([{1}], "object"),
        (5, "5, a int"),
        ("abc", "'abc', a str"),
        (b"abc", "a bytes"),
        ({"a": 1}, "a dict"),
        (None, "None"),
        (numpy.ndarray, "type"),
    ],
    ids=range(17),
)
def test_what_has_no_canonical_bytes_is_refused(value: Any, named: str) -> None:
    with pytest.raises(Invalid, match=named) as found:
        arrays.convert(value, "m: input 'x'")
    assert str(found.value).startswith("m: input 'x'")


def test_strings_of_variable_width_are_refused() -> None:
    if hasattr(numpy.dtypes, "StringDType"):
        with pytest.raises(Invalid, match=r"astype\('U'\)"):
            arrays.convert(numpy.array(["a"], numpy.dtypes.StringDType()), "x")


def test_what_is_no_array_is_refused() -> None:
    data = arrays.encode(numpy.arange(10))
    pickled = io.BytesIO()
    numpy.save(pickled, numpy.array([object()]), allow_pickle=True)
    for wrong in (b"", b"text", data[:-1], data + b"x", data[:20], b"\x93NUMPY\x01\x00\xff\xff", pickled.getvalue()):
        with pytest.raises(Invalid):
            arrays.decode(wrong)
    hostile = data.replace(b"(10,)", b"(99999999999,)").replace(b"         \n", b"\n")
    with pytest.raises(Invalid):
        arrays.decode(hostile)
