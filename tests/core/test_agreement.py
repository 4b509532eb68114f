"""Two results agree or not, whatever they are made of; the largest difference and its place are told."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from typing import Any, BinaryIO

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_tables import columns
from valued import Memory, json_values, typed

from weftwork.core import codecs
from weftwork.core.agreement import Agreement, agreement
from weftwork.core.checksum import Checksum, canonical
from weftwork.core.nearness import Widest, arrays, relative
from weftwork.core.values import Ref, Type

numpy = pytest.importorskip("numpy")


class Place(Memory):
    """Buffers that say which of them were read."""

    def __init__(self) -> None:
        super().__init__()
        self.read: list[Checksum] = []

    def get(self, checksum: Checksum) -> bytes:
        self.read.append(checksum)
        return super().get(checksum)

    def open(self, checksum: Checksum) -> BinaryIO:
        return io.BytesIO(self.get(checksum))

    def file(self, data: bytes) -> Ref:
        return Ref(Type("file"), self.put(data), len(data))

    def directory(self, **files: Ref) -> Ref:
        entries = [(name, False, ref.checksum) for name, ref in files.items()]
        data = codecs.directory_bytes(entries)
        return Ref(Type("directory"), self.put(data), len(data))

    def held(self, one: Ref, other: Ref, tolerance: float = 0.0) -> Agreement:
        return agreement({"v": one}, {"v": other}, lambda _: tolerance, self)

    def values(self, kind: str, one: Any, other: Any, tolerance: float = 0.0) -> Agreement:
        return self.held(self.encode(Type.of(kind), one), self.encode(Type.of(kind), other), tolerance)


@pytest.fixture
def place() -> Place:
    return Place()


@given(typed)
def test_a_value_is_identical_to_itself_and_nothing_of_it_is_read(pair: tuple[Type, Any]) -> None:
    place = Place()
    kind, value = pair
    ref = value if isinstance(value, Ref) else place.encode(kind, value)
    assert place.held(ref, ref).state == "identical"
    assert not place.read


numbers = st.integers() | st.floats()


@given(numbers, numbers)
def test_the_relative_difference_is_one_measure_for_all_numbers(one: float, other: float) -> None:
    found = relative(one, other)
    assert found == relative(other, one)
    if one == other or (one != one and other != other):
        assert found == 0
    elif math.isfinite(float_of(one)) and math.isfinite(float_of(other)):
        exact = [Fraction(each) for each in (one, other)]
        assert found == pytest.approx(float(abs(exact[0] - exact[1]) / max(map(abs, exact))), rel=1e-15)
    else:
        assert found == math.inf or type(one) is type(other) is int


def float_of(value: float) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf


def changed(value: Any, change: Callable[[float], float]) -> Any:
    if isinstance(value, float):
        return change(value)
    if isinstance(value, list):
        return [changed(each, change) for each in value]
    if isinstance(value, dict):
        return {name: changed(each, change) for name, each in value.items()}
    return value


def leaves(value: Any, at: tuple[Any, ...] = ()) -> dict[tuple[Any, ...], Any]:
    pairs = enumerate(value) if isinstance(value, list) else value.items() if isinstance(value, dict) else None
    if pairs is None:
        return {at: value}
    return {path: leaf for name, each in pairs for path, leaf in leaves(each, (*at, name)).items()}


def path_of(at: tuple[Any, ...]) -> str:
    return "v" + "".join(f".{n}" if isinstance(n, str) and n.isidentifier() else f"[{n!r}]" for n in at)


@given(json_values, st.data())
def test_the_widest_of_all_numbers_is_told_with_its_place(value: Any, data: st.DataObject) -> None:
    place = Place()
    steps = st.sampled_from([0.0, 1e-15, 1e-12, 1e-9, 1e-3])
    other = changed(value, lambda each: each * (1 + data.draw(steps)))
    before, after = leaves(value), leaves(other)
    expected = {
        at: relative(leaf, after[at])
        for at, leaf in before.items()
        if isinstance(leaf, float) and repr(leaf) != repr(after[at])
    }
    found = place.values("json", value, other, tolerance=1e-10)
    if not expected:
        assert found.state == "identical"
        return
    largest = max(expected.values())
    assert found.relative == largest
    assert found.state == ("within" if largest <= 1e-10 else "different")
    assert (found.where, found.one, found.other) in {
        (path_of(at), repr(before[at]), repr(after[at])) for at, size in expected.items() if size == largest
    }
    assert place.values("json", value, other).state == "different", "without a tolerance the bytes count"
    assert place.values("json", other, value, tolerance=1e-10) == replace(found, one=found.other, other=found.one)


@given(json_values, json_values)
def test_what_is_no_number_must_be_the_same(one: Any, other: Any) -> None:
    def skeleton(value: Any) -> bytes:
        plain = changed(value, lambda each: 0.0 if math.isfinite(each) else each)
        return re.sub(rb"(?<=[\[:,])-?\d+(?=[\],}])", b"0", b"[" + canonical(plain) + b"]")

    found = Place().values("json", one, other, tolerance=1e300)
    assert (found.state != "different") == (skeleton(one) == skeleton(other))


@pytest.mark.parametrize(
    ("kind", "one", "other", "where", "texts"),
    [
        ("json", {"a": [1, 2.5]}, {"a": [1, 2]}, "v.a[1]", ("2.5", "2")),
        ("json", {"a b": [True]}, {"a b": [1]}, "v['a b'][0]", ("True", "1")),
        ("json", [1, 2], [1], "the length of v", ("2", "1")),
        ("json", {"a": 1, "b": 2}, {"a": 1, "c": 2}, "the keys of v", ("also b", "also c")),
        ("float", math.inf, 1e308, "v", ("inf", "1e+308")),
        ("float", math.nan, 1.0, "v", ("nan", "1.0")),
        ("str", "yes", "no", "v", ("'yes'", "'no'")),
        ("int?", None, 1, "v", ("null 74234e98afe7", "int 6b86b273ff34")),
        ("text", "one\ntwo\n", "one\ntoo\n", "v line 2", ("'two'", "'too'")),
        ("text", "one\n", "one\ntwo", "v line 2", ("its end", "'two'")),
        ("bytes", b"\0ab", b"\0aC", "v byte 2", ("62", "43")),
        ("list[text]", ["a", "b"], ["a", "c"], "v[1] line 1", ("'b'", "'c'")),
        ("list[text?]", ["a", None], ["a", "c"], "v[1]", ("null", "text 2e7d2c03a950")),
        ("collection[text]", {"x": "a"}, {"x": "b"}, "v['x'] line 1", ("'a'", "'b'")),
        ("collection[text]", {"x": "a"}, {"y": "a"}, "the names in v", ("x", "y")),
        ("array", numpy.arange(3), numpy.arange(4), "v", ("int64 (3,)", "int64 (4,)")),
        ("array", numpy.arange(3), numpy.arange(3.0), "v", ("int64 (3,)", "float64 (3,)")),
        ("array", numpy.array(["a", "b"]), numpy.array(["a", "c"]), "v[1]", ("'b'", "'c'")),
        ("array", numpy.array([[True, False]]), numpy.array([[True, True]]), "v[0, 1]", ("False", "True")),
        ("table", {"x": [1, None]}, {"x": [1, 2]}, "v['x'][1]", ("None", "2")),
        ("table", {"x": [1]}, {"y": [1]}, "the columns' names of v", ("x", "y")),
        ("table", {"x": [1]}, {"x": [1.0]}, "the columns' types of v", ("int64", "double")),
        ("table", {"x": [1]}, {"x": [1, 2]}, "v", ("1 rows", "2 rows")),
        ("table", {"x": ["a", "b", "c"]}, {"x": ["a", "b", "d"]}, "v['x'][2]", ("'c'", "'d'")),
        ("table", {"x": [[1], [2, 3]]}, {"x": [[1], [2]]}, "the length of v['x'][1]", ("2", "1")),
    ],
)  # fmt: skip
def test_what_no_tolerance_spans_is_told_with_both(
    place: Place, kind: str, one: Any, other: Any, where: str, texts: tuple[str, str]
) -> None:
    if kind == "table":
        pytest.importorskip("pyarrow")
        from weftwork.core import tables

        one, other = tables.convert(one, "v"), tables.convert(other, "v")
    found = place.values(kind, one, other, tolerance=10.0)
    assert (found.state, found.relative) == ("different", math.inf)
    assert (found.where, found.one, found.other) == (where, *texts)


DTYPES = ["f8", "f4", "f2", "i8", "u8", "i1", "u4", "c16", "c8"]


@settings(max_examples=150)
@given(st.sampled_from(DTYPES), st.data())
def test_arrays_are_measured_as_their_numbers_are(name: str, data: st.DataObject) -> None:
    dtype = numpy.dtype(name)
    width = 8 * dtype.itemsize
    number = {
        "f": st.floats(width=min(64, width)),
        "c": st.complex_numbers(width=128 if width == 128 else 64),
        "i": st.integers(-(2 ** (width - 1)), 2 ** (width - 1) - 1),
        "u": st.integers(0, 2**width - 1),
    }[dtype.kind]
    pairs = data.draw(st.lists(st.tuples(number, number), min_size=1, max_size=5))
    one, other = (numpy.array(each, dtype) for each in zip(*pairs, strict=True))
    widest = Widest()
    with numpy.errstate(all="ignore"):
        arrays(widest, one, other, "v")
    if one.tobytes() == other.tobytes():
        assert widest.relative < 0
        return
    if dtype.kind == "c":
        assert 0 <= widest.relative <= 2.001 or widest.relative == math.inf
        return
    expected = [relative(a, b) for a, b in zip(one.tolist(), other.tolist(), strict=True)]
    assert widest.relative == pytest.approx(max(expected), rel=1e-15)


def test_an_array_is_told_by_the_index_of_its_widest_number(place: Place) -> None:
    one = numpy.linspace(1, 2, 12).reshape(3, 4)
    other = one.copy()
    other[1, 2] *= 1 + 1e-12
    other[2, 3] *= 1 - 1e-10
    found = place.values("array", one, other, tolerance=1e-9)
    assert (found.state, found.where) == ("within", "v[2, 3]")
    assert found.relative == pytest.approx(1e-10, rel=1e-3)
    assert place.values("array", one, other, tolerance=1e-11).state == "different"
    assert str(place.values("array", one, other)).startswith("DIFFERENT at v[2, 3]: 2.0 ↔ 1.9999999998")


def test_a_sum_in_another_order_is_within_a_tolerance(place: Place) -> None:
    values = numpy.random.default_rng(3).normal(size=10_000)
    one, other = float(values.sum()), float(sum(values.tolist()))
    assert one != other
    assert place.values("float", one, other).state == "different"
    assert place.values("float", one, other, tolerance=1e-9).state == "within"


def test_zeros_and_nans_that_have_other_bits_are_no_difference_of_numbers(place: Place) -> None:
    quiet = numpy.array([0x7FF8000000000000, 0], "u8").view("f8")
    other = numpy.array([0x7FF8000000000001, 1 << 63], "u8").view("f8")
    found = place.values("array", quiet, other, tolerance=1e-300)
    assert (found.state, found.relative) == ("within", 0.0)
    assert place.values("array", quiet, other).state == "different"
    assert place.values("float", 0.0, -0.0).state == "different"
    assert place.values("float", 0.0, -0.0, tolerance=1e-300).state == "within"


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_tables_agree_as_their_values_do(data: st.DataObject) -> None:
    pa = pytest.importorskip("pyarrow")
    chosen = data.draw(st.lists(columns, min_size=1, max_size=2))
    count = data.draw(st.integers(0, 6))
    one, other = (
        pa.table(
            {
                f"c{i}": pa.array(data.draw(st.lists(values, min_size=count, max_size=count)), kind)
                for i, (kind, values) in enumerate(chosen)
            }
        )
        for _ in range(2)
    )
    place = Place()
    found = place.values("table", one, other, tolerance=1e300)
    same = [place.encode(Type("table"), each).checksum for each in (one, other)]
    assert (found.state == "identical") == (same[0] == same[1])
    if found.state != "identical":
        rows = [leaves(each.to_pylist()) for each in (one, other)]
        measured = [measure(rows[0].get(at, "none"), rows[1].get(at, "none")) for at in {**rows[0], **rows[1]}]
        assert found.relative == pytest.approx(max(measured), rel=1e-12)


def measure(one: Any, other: Any) -> float:
    if repr(one) == repr(other):
        return 0.0
    numeric = type(one) is type(other) and type(one) in (int, float, Decimal)
    return relative(float(one), float(other)) if numeric else math.inf


def test_numbers_deep_in_a_table_have_their_place(place: Place) -> None:
    pa = pytest.importorskip("pyarrow")
    rows = [{"x": None}, {"x": [{"a": 1.0}, {"a": 2.0}]}, {"x": []}, {"x": [{"a": 3.0}, None]}]
    other = [{"x": None}, {"x": [{"a": 1.0}, {"a": 2.0}]}, {"x": []}, {"x": [{"a": 3.0 + 1e-9}, None]}]
    found = place.values("table", pa.Table.from_pylist(rows), pa.Table.from_pylist(other), tolerance=1e-6)
    assert (found.state, found.where) == ("within", "v['x'][3][0].a")


def test_a_directory_is_told_by_its_files(place: Place) -> None:
    data, text = place.file(b"\0\1"), place.file("Längen\n1.0\n".encode())
    one = place.directory(data=data, text=text)
    assert place.held(one, place.directory(data=data)).where == "v/text"
    assert place.held(one, place.directory(data=data, text=place.file("Längen\n1.1\n".encode()))) == Agreement(
        "different", math.inf, "v/text line 2", "'1.0'", "'1.1'"
    )
    entries = [("data", True, data.checksum), ("text", False, text.checksum)]
    executable = Ref(Type("directory"), place.put(codecs.directory_bytes(entries)), 0)
    assert place.held(one, executable).one == "not executable"


@given(
    st.sampled_from([1, 2**19 - 1, 2**19, 2**19 + 1]), st.text(st.characters(exclude_categories=["Cs"]), max_size=200)
)
@settings(max_examples=20, deadline=None)
def test_large_files_are_told_by_the_line_that_differs(lines: int, rest: str) -> None:
    place = Place()
    rest = rest.replace("\0", "").replace("\n", "")
    before = ("x\n" * lines).encode()
    found = place.held(place.file(before + f"a{rest}".encode()), place.file(before + f"b{rest}".encode()))
    assert found.where == f"v line {lines + 1}"
    assert found.one[1:].startswith("a")
    assert len(found.one) < 200


def test_a_difference_far_into_a_line_is_shown(place: Place) -> None:
    found = place.held(
        place.file(b"q" * 5000 + "ä1\n".encode() + b"z" * 50), place.file(b"q" * 5000 + "ä2\n".encode() + b"z" * 50)
    )
    assert found.where == "v line 1"
    assert "ä1" in found.one
    assert "ä2" in found.other


def test_of_several_outputs_the_one_beyond_its_tolerance_is_told(place: Place) -> None:
    one = {name: place.encode(Type("float"), 1.0) for name in ("a", "b", "c")}
    other = {**one, "a": place.encode(Type("float"), 1.1), "b": place.encode(Type("float"), 1 + 1e-9)}
    found = agreement(one, other, lambda name: {"a": 0.5, "b": 1e-12}.get(name, 0.0), place)
    assert (found.state, found.where) == ("different", "b")
    found = agreement(one, other, lambda name: 0.5, place)
    assert (found.state, found.where) == ("within", "a")
