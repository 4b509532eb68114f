"""Types and conversion: a type is its text or document; a value is converted once and for all, or refused by name."""

from __future__ import annotations

import enum
import fractions
import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st
from valued import texts, typed

from weftwork.core import codecs
from weftwork.core.checksum import Checksum, canonical, from_canonical
from weftwork.core.values import NAMES, Directory, File, Ref, Type, convert, convert_all, fits, infer
from weftwork.errors import Invalid

restricted = st.builds(
    lambda name, low, span, choices, optional: Type(
        name, optional=optional, choices=tuple(choices), minimum=low, maximum=None if low is None else low + span
    ),
    st.sampled_from(["int", "float"]),
    st.none() | st.integers(-5, 5),
    st.integers(0, 5),
    st.lists(st.integers(), max_size=3),
    st.booleans(),
)
types = st.recursive(
    st.sampled_from(sorted(NAMES - {"list", "record", "collection"})).map(Type) | restricted,
    lambda inner: (
        st.builds(lambda item, optional: Type("list", item, optional=optional), inner, st.booleans())
        | st.builds(lambda item: Type("collection", item), inner)
        | st.dictionaries(texts, inner, max_size=3).map(
            lambda fields: Type("record", fields=tuple(sorted(fields.items())))
        )
    ),
    max_leaves=5,
)


@given(types)
def test_a_type_comes_back_from_its_document(kind: Type) -> None:
    assert Type.of(from_canonical(canonical(kind.document()))) == kind
    assert Type.of(kind) is kind


@given(types)
def test_a_type_that_is_said_by_a_text_comes_back_from_it(kind: Type) -> None:
    if isinstance(kind.document(), str):
        assert Type.of(str(kind)) == kind
        assert Type.of(f" {kind} ") == kind


@given(types, types)
def test_types_that_differ_have_different_documents(one: Type, other: Type) -> None:
    assert (canonical(one.document()) == canonical(other.document())) == (one == other)


@given(types)
def test_what_only_restricts_does_not_count(kind: Type) -> None:
    concrete = kind.concrete
    assert concrete.concrete == concrete
    assert fits(concrete, kind) or kind.name == "null"


@pytest.mark.parametrize(
    ("document", "named"),
    [
        ("flaot", "'flaot' is not a value type"),
        ("list[", "is not a type"),
        ("int[file]", "only list and collection"),
        ("list[flaot]", "'flaot'"),
        ("", "is not a type"),
        (5, "5 is not a type"),
        ({"range": [1, 2]}, "needs a name under `type`"),
        ({"type": "int", "rnage": [1, 2]}, "no 'rnage'"),
        ({"type": "int", "range": [2, 1]}, "2..1 is empty"),
        ({"type": "int", "item": "file"}, "has no items"),
        ({"type": "int", "fields": {"a": "file"}}, "has no fields"),
    ],
)
def test_what_is_no_type_is_refused(document: Any, named: str) -> None:
    with pytest.raises(Invalid, match=named):
        Type.of(document)


@given(typed)
def test_converting_again_changes_nothing(pair: tuple[Type, Any]) -> None:
    kind, value = pair
    converted = convert(kind, value)
    assert converted == value
    assert convert(kind, converted) == converted


@given(typed)
def test_optional_admits_none_and_nothing_else_changes(pair: tuple[Type, Any]) -> None:
    kind, value = pair
    assert convert(replace(kind, optional=True), None) is None
    assert convert(replace(kind, optional=True), value) == value


class Colour(enum.IntEnum):
    RED = 1


class Word(str):
    pass


@dataclass
class Point:
    x: int
    y: float = 2.0


class Pair(NamedTuple):
    x: int
    y: float


POINT = Type("record", fields=(("x", Type("int")), ("y", Type("float"))))


def test_numbers_that_stand_for_one_value_become_it() -> None:
    numpy = pytest.importorskip("numpy")
    for one in (1, 1.0, numpy.float64(1), numpy.int8(1), numpy.float32(1), numpy.array(1), fractions.Fraction(1)):
        assert exact(convert(Type("float"), one)) == (float, 1.0)
    for one in (1, 1.0, numpy.int64(1), numpy.uint8(1), Colour.RED, numpy.float32(1)):
        assert exact(convert(Type("int"), one)) == (int, 1)
    assert exact(convert(Type("bool"), numpy.bool_(True))) == (bool, True)
    assert exact(convert(Type("str"), numpy.str_("x"))) == (str, "x")
    assert exact(convert(Type("str"), Word("x"))) == (str, "x")
    assert convert(Type("json"), {"a": (numpy.float64(1), Word("x"))}) == {"a": [1.0, "x"]}
    assert convert(Type("list", Type("float")), numpy.arange(3)) == [0.0, 1.0, 2.0]
    assert convert(POINT, Point(1)) == convert(POINT, Pair(1, 2)) == convert(POINT, {"y": 2, "x": 1.0})
    assert math.copysign(1, convert(Type("float"), -0.0)) == -1
    assert math.isnan(convert(Type("float"), math.nan))


def exact(value: Any) -> tuple[type, Any]:
    return type(value), value


def endless() -> list[Any]:
    value: list[Any] = []
    value.append(value)
    return value


def deep(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


REFUSED: list[tuple[Type, Any, str]] = [
    (Type("int"), True, "True, a bool"),
    (Type("int"), 1.5, "1.5, a float"),
    (Type("int"), 1e300, "1e\\+300"),
    (Type("int"), math.nan, "nan"),
    (Type("int"), "1", "'1', a str"),
    (Type("int"), None, "None, a NoneType"),
    (Type("float"), True, "True, a bool"),
    (Type("float"), "1.0", "'1.0'"),
    (Type("float"), 2**53 + 1, "9007199254740993 is not exactly a float"),
    (Type("float"), 10**400, "is not exactly a float"),
    (Type("float"), 10**5000, "is not exactly a float"),
    (Type("float"), 1j, "1j, a complex"),
    (Type("bool"), 1, "1, a int"),
    (Type("str"), b"x", "b'x', a bytes"),
    (Type("str"), 1, "1, a int"),
    (Type("null"), 0, "0, a int"),
    (Type("json"), {1, 2}, "set"),
    (Type("json"), {1: 2}, "key 1 is a int"),
    (Type("json"), [{"a": b"x"}], r"\[0\]\['a'\]: b'x'"),
    (Type("json"), endless(), "contains itself"),
    (Type("json"), deep(5000), "nested too deeply"),
    (Type("any"), endless(), "contains itself"),
    (Type("any"), [File("x"), endless()], "contains itself|mixes"),
    (Type("any"), object(), "builtins.object, is of no value type"),
    (Type("any"), {1, 2}, "builtins.set, is of no value type"),
    (Type("any"), [File("x"), b"y"], "mixes bytes, file"),
    (Type("any", choices=(1, 2)), 3, "3 is not one of 1, 2"),
    (Type("any", minimum=0), -1, "-1 is out of range"),
    (Type("any", minimum=0), "x", "'x' is no number"),
    (Type("json", choices=(1,)), True, "True is not one of 1"),
    (Type("bytes"), "x", "'x', a str"),
    (Type("image"), b"not one", "does not begin as PNG"),
    (Type("file"), 5, "5, a int"),
    (Type("file"), Directory("x"), "Directory"),
    (Type("directory"), File("x"), "File"),
    (Type("list", Type("int")), "12", "'12', a str"),
    (Type("list", Type("int")), {1, 2}, "is a set, which has no order"),
    (Type("list", Type("int")), frozenset({1}), "is a set, which has no order"),
    (Type("list", Type("int")), {"a": 1}, "dict"),
    (Type("list", Type("int")), bytearray(b"x"), "bytearray"),
    (Type("list", Type("int")), [1, "x"], r"\[1\]: 'x'"),
    (Type("list", Type("int"), choices=(1, 2)), [1, 3], r"\[1\]: 3 is not one of 1, 2"),
    (Type("list", Type("int"), minimum=0), [1, -3], r"\[1\]: -3 is out of range; at least 0"),
    (Type("int", choices=(1, 2)), 3, "3 is not one of 1, 2"),
    (Type("float", minimum=0, maximum=1), 1.1, "from 0 to 1"),
    (Type("float", minimum=0), math.nan, "nan is out of range"),
    (POINT, {"x": 1}, "field 'y', a float, is missing"),
    (POINT, {"x": 1, "y": 1, "z": 1}, "no field 'z'"),
    (POINT, 5, "5, a int"),
    (Type("collection", Type("int")), [1], r"\[1\], a list"),
    (Type("collection", Type("int")), {1: 1}, "1, a int"),
    (Type("table"), 5, "5, a int"),
    (Type("array"), "abc", "'abc', a str"),
    (Type("float"), Ref(Type("file"), Checksum.of(b""), 0), "a file was given where float is expected"),
]


@pytest.mark.parametrize(
    ("kind", "value", "named"), REFUSED, ids=[f"{n}-{row[0].name}" for n, row in enumerate(REFUSED)]
)
def test_hostile_values_are_refused_with_the_place_the_value_and_what_is_right(
    kind: Type, value: Any, named: str
) -> None:
    with pytest.raises(Invalid, match=named) as found:
        convert(kind, value, "m: input 'x'")
    assert len(str(found.value)) < 500
    if kind.name != "any":
        assert str(found.value).startswith("m: input 'x'")


def test_numpy_objects_are_refused_or_are_what_they_stand_for() -> None:
    numpy = pytest.importorskip("numpy")
    date = numpy.datetime64("2020-01-01T00:00:00", "ns")
    for kind, value in [
        ("int", date), ("float", date), ("json", date), ("int", numpy.float64(1.5)), ("float", numpy.bool_(True)),
        ("json", numpy.array([1])), ("json", {"a": numpy.array([1])}), ("float", numpy.array([1.0])), ("str", numpy.bytes_(b"x")),
        ("json", numpy.complex128(1)), ("array", numpy.array([object()])),
    ]:  # fmt: skip
        with pytest.raises(Invalid):
            convert(Type(kind), value)
    assert infer(date) == Type("array")
    assert infer(numpy.float64(1)) == Type("float")
    assert infer(numpy.longdouble(1)) == Type("array")
    assert infer(numpy.array(1.0)) == Type("array")
    with pytest.raises(Invalid, match=r"longdouble|float128|float96"):
        convert(Type("any"), numpy.longdouble(1))


def test_a_file_is_a_path_or_an_address() -> None:
    assert convert(Type("file"), "a/b") == convert(Type("file"), Path("a/b")) == File("a/b")
    assert File("https://example.org/x").remote
    assert not File("/x").remote
    with pytest.raises(Invalid, match="is an address"):
        _ = File("s3://bucket/x").path
    with pytest.raises(Invalid, match="is not a checksum"):
        File("x", checksum="nonsense")
    assert isinstance(convert(Type("directory"), "d"), Directory)


def test_a_record_of_references_fits_field_by_field() -> None:
    files = Type("record", fields=(("a", Type("file")), ("b", Type("text", optional=True))))
    assert fits(Type("record", fields=(("b", Type("text")), ("a", Type("file")))), files)
    assert fits(Type("record", fields=(("a", Type("file")),)), files)
    assert not fits(Type("record", fields=(("b", Type("text")),)), files)
    assert not fits(Type("record", fields=(("a", Type("file")), ("c", Type("file")))), files)
    assert not fits(Type("record", fields=(("a", Type("directory")),)), files)


plain_values = [st.integers(), st.floats(allow_nan=False), st.booleans(), texts, st.none(), st.lists(st.integers())]


@given(
    st.lists(st.one_of(plain_values), max_size=5) | st.sampled_from(plain_values).flatmap(st.lists),
    st.sampled_from(["any", "json", "int", "float", "str", "bool", "list"]),
)
def test_many_values_are_converted_as_each_by_itself(values: list[Any], name: str) -> None:
    declared = Type(name, minimum=0) if name == "int" else Type(name)
    try:
        expected = [convert(declared, value) for value in values]
    except Invalid:
        with pytest.raises(Invalid):
            convert_all(declared, values)
        return
    together = convert_all(declared, values)
    assert list(map(exact, together)) == list(map(exact, expected))
    alone = [codecs.encode(declared, value, Checksum.of) for value in expected]
    assert codecs.encode_all(declared, together, Checksum.of) == alone
