"""Checksums and the canonical encoding: one encoding a value, one value an encoding."""

from __future__ import annotations

import hashlib
import json
import math
import pickle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weftwork.core.checksum import (
    Checksum,
    Hasher,
    canonical,
    canonical_all,
    from_canonical,
    from_canonical_all,
    verified,
)
from weftwork.errors import Corrupt, Invalid

texts = st.text(st.characters(exclude_categories=["Cs"]))
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(texts, inner, max_size=5),
    max_leaves=20,
)


def exact(value: Any) -> Any:
    """A value that equals another only where both are the same to the bit and of one type."""
    if isinstance(value, float):
        return ("float", value.hex() if not math.isnan(value) else "nan")
    if isinstance(value, list):
        return [exact(each) for each in value]
    if isinstance(value, dict):
        return {name: exact(each) for name, each in value.items()}
    return (type(value).__name__, value)


@given(values)
def test_the_canonical_encoding_gives_the_value_back(value: Any) -> None:
    assert exact(from_canonical(canonical(value))) == exact(value)
    assert canonical(from_canonical(canonical(value))) == canonical(value)


@given(
    st.lists(values, max_size=5)
    | st.sampled_from([st.integers(), st.floats(), st.booleans(), texts, st.none()]).flatmap(st.lists)
)
def test_many_values_together_are_encoded_and_read_as_each_by_itself(many: list[Any]) -> None:
    buffers = canonical_all(many)
    assert buffers == [canonical(value) for value in many]
    assert exact(from_canonical_all(buffers)) == exact(many)
    assert Checksum.of_all(buffers) == [Checksum.of(data) for data in buffers]


def test_values_that_are_read_together_share_nothing() -> None:
    one, other = from_canonical_all([b"[1]", b"[1]"])
    one.append(2)
    assert other == [1]


@pytest.mark.parametrize("value", ["\ud800", 10**5000, object(), (1,)], ids=["surrogate", "long", "object", "tuple"])
def test_one_among_many_that_cannot_be_encoded_is_refused(value: Any) -> None:
    with pytest.raises(Invalid):
        canonical_all([type(value)(), value] if isinstance(value, str | int) else [1, value])


@pytest.mark.parametrize("buffers", [[b"1", b""], [b"1,2", b"3"], [b"1", b"[2", b"3]"], [b"x"]])
def test_bytes_that_are_no_value_are_refused_among_others(buffers: list[bytes]) -> None:
    with pytest.raises(Invalid):
        from_canonical_all(buffers)


@given(values, values)
def test_values_have_equal_bytes_just_when_they_are_the_same(one: Any, other: Any) -> None:
    assert (canonical(one) == canonical(other)) == (exact(one) == exact(other))


@given(st.dictionaries(texts, values, max_size=6), st.randoms())
def test_the_order_of_keys_does_not_count(value: dict[str, Any], rng: Any) -> None:
    names = list(value)
    rng.shuffle(names)
    assert canonical({name: value[name] for name in names}) == canonical(value)


def test_numbers_that_compare_equal_stay_apart() -> None:
    apart = [1, 1.0, True, -0.0, 0.0, 0, False, math.nan, math.inf, -math.inf, "1", None]
    assert len({canonical(value) for value in apart}) == len(apart)
    assert canonical({"b": [1, 1.0, -0.0], "a": "é\n"}) == '{"a":"é\\n","b":[1,1.0,-0.0]}'.encode()


class Text(str):
    pass


class Whole(int):
    pass


@pytest.mark.parametrize(
    ("value", "named"),
    [
        ((1, 2), "tuple"),
        ({1, 2}, "set"),
        (b"x", "bytes"),
        ([{"a": (1,)}], r"\[0\]\['a'\] is a builtins.tuple"),
        ({1: 2}, "key 1, a int; keys must be strings"),
        ({"a": {None: 1}}, "key None"),
        (1j, "complex"),
        (object(), "object"),
        (Text("x"), "Text"),
        (Whole(1), "Whole"),
        ({Text("x"): 1}, "Text"),
        pytest.param(10**5000, "no canonical encoding", id="huge"),
        pytest.param("\ud800", "no canonical encoding", id="surrogate"),
        pytest.param({"\udfff": 1}, "no canonical encoding", id="surrogate key"),
    ],
)
def test_what_json_cannot_say_is_refused_by_name(value: Any, named: str) -> None:
    with pytest.raises(Invalid, match=named):
        canonical(value)


def test_numpy_is_refused_by_name() -> None:
    numpy = pytest.importorskip("numpy")
    for value in (numpy.float64(1), numpy.int32(1), numpy.array([1]), numpy.str_("x"), numpy.bool_(True)):
        with pytest.raises(Invalid, match="numpy"):
            canonical([value])


def test_a_value_that_contains_itself_is_refused_and_one_that_stands_twice_is_not() -> None:
    endless: list[Any] = [1]
    endless.append({"again": endless})
    with pytest.raises(Invalid, match="contains itself"):
        canonical(endless)
    twice = [1]
    assert canonical([twice, {"a": twice}]) == b'[[1],{"a":[1]}]'


@pytest.mark.parametrize("depth", [502, 100_000])
def test_deep_nesting_is_refused(depth: int) -> None:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    with pytest.raises(Invalid, match=r"500 levels|recursion"):
        canonical(value)
    with pytest.raises(Invalid):
        from_canonical(b"[" * 100_000)


@pytest.mark.parametrize("data", [b"", b"{", b"nul", b"\xff\xfe", b'{"a":1,}', b"1 2"])
def test_what_is_no_json_is_refused(data: bytes) -> None:
    with pytest.raises(Invalid):
        from_canonical(data)


@given(st.binary(max_size=300))
def test_a_checksum_is_sha256_in_hex(data: bytes) -> None:
    name = Checksum.of(data)
    assert name == hashlib.sha256(data).hexdigest()
    assert Checksum.of_digest(name.digest) == name == Checksum(str(name)) == pickle.loads(pickle.dumps(name))
    assert json.loads(canonical(name)) == name
    assert name.startswith(name.short)


@pytest.mark.parametrize(
    "text", ["", "a" * 63, "A" * 64, "g" * 64, "a" * 64 + "\n", " " + "a" * 63, "١" * 64, None, 5, b"a" * 64]
)
def test_anything_else_is_no_checksum(text: Any) -> None:
    with pytest.raises(Invalid, match="is not a checksum"):
        Checksum(text)
    with pytest.raises(Invalid):
        Checksum.of_digest(b"short")


@given(st.lists(st.binary(max_size=50)))
def test_hashing_in_pieces_is_hashing_the_whole(chunks: list[bytes]) -> None:
    whole = b"".join(chunks)
    hasher = Hasher()
    for chunk in chunks:
        hasher.update(chunk)
    assert (hasher.checksum(), hasher.size) == (Checksum.of(whole), len(whole))
    assert b"".join(verified(chunks, Checksum.of(whole))) == whole
    passed = []
    with pytest.raises(Corrupt):
        passed.extend(verified(chunks, Checksum.of(whole + b"x")))


def test_the_size_is_counted_in_bytes_whatever_the_view() -> None:
    hasher = Hasher()
    hasher.update(memoryview(bytes(80)).cast("d"))
    assert (hasher.size, hasher.checksum()) == (80, Checksum.of(bytes(80)))
