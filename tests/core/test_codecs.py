"""Codecs: bytes and back is the identity for every type; equal values have equal bytes, given by reference or not."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from valued import Memory, file_refs, landed, texts, typed

from weftwork.core import codecs
from weftwork.core.checksum import Checksum, canonical
from weftwork.core.values import Ref, Type, convert
from weftwork.errors import Invalid


@given(typed)
def test_a_value_comes_back_from_its_bytes(pair: tuple[Type, Any]) -> None:
    kind, value = pair
    if isinstance(value, Ref):
        return
    memory = Memory()
    ref = memory.encode(kind, value)
    assert ref.type == (Type("null") if value is None else kind.concrete)
    assert memory.decode(ref) == landed(value)
    assert memory.decode(ref) is not memory.decode(ref) or not isinstance(value, (list, dict))


@given(typed)
def test_a_value_of_any_comes_back_too(pair: tuple[Type, Any]) -> None:
    _, value = pair
    if isinstance(value, Ref):
        return
    memory = Memory()
    for declared in (
        Type("list", Type("any")),
        Type("collection", Type("any")),
        Type("record", fields=(("x", Type("any")),)),
    ):
        held = {"list": [value, None, value], "collection": {"x": value}, "record": {"x": value}}[declared.name]
        try:
            converted = convert(declared, held)
        except Invalid:
            continue
        ref = memory.encode(declared, converted)
        assert "any" not in str(ref.type)
        assert memory.decode(ref) == landed(converted)


@given(typed)
def test_what_a_value_holds_is_named_by_its_links(pair: tuple[Type, Any]) -> None:
    kind, value = pair
    if isinstance(value, Ref):
        return
    memory = Memory()
    ref = memory.encode(kind, value)
    needed: set[Checksum] = set()
    waiting = [ref]
    while waiting:
        each = waiting.pop()
        needed.add(each.checksum)
        if codecs.has_links(each.type):
            data = memory.get(each.checksum)
            held = [item for _, item in codecs.items(each.type, data)]
            assert codecs.links(each.type, data) == [item.checksum for item in held]
            waiting += held
    assert needed >= memory.buffers.keys()


@given(st.lists(file_refs, max_size=3), st.lists(file_refs, max_size=3))
def test_a_value_is_the_same_bytes_by_reference_or_not(one: list[Ref], other: list[Ref]) -> None:
    memory = Memory()
    files = Type("list", Type("file"))
    by_value = memory.encode(Type("list", files), [one, other])
    by_reference = memory.encode(Type("list", files), [memory.encode(files, one), other])
    assert by_value == by_reference
    assert memory.decode(by_reference) == [landed(one), landed(other)]
    record = Type("record", fields=(("a", files), ("b", Type("int"))))
    assert memory.encode(record, {"a": one, "b": 1}) == memory.encode(record, {"a": memory.encode(files, one), "b": 1})


@given(st.dictionaries(texts, file_refs, max_size=4))
def test_a_collection_keeps_its_order_and_a_directory_has_none(files: dict[str, Ref]) -> None:
    memory = Memory()
    kind = Type("collection")
    assert list(memory.decode(memory.encode(kind, files))) == list(files)
    backwards = dict(reversed(files.items()))
    assert (memory.encode(kind, files) == memory.encode(kind, backwards)) == (list(files) == list(backwards))
    entries = [(name, False, ref.checksum) for name, ref in files.items()]
    assert codecs.directory_bytes(entries) == codecs.directory_bytes(entries[::-1])


def test_a_reference_where_a_value_must_stand_is_refused() -> None:
    memory = Memory()
    number = Ref(Type("str"), Checksum.of(b'"x"'), 3)
    record = Type("record", fields=(("a", Type("str")), ("f", Type("file"))))
    with pytest.raises(Invalid, match="its value must be read first"):
        memory.encode(record, {"a": number, "f": Ref(Type("file"), Checksum.of(b""), 0)})
    with pytest.raises(Invalid):
        memory.encode(Type("list", Type("str")), [number])


def test_nothing_is_left_out_of_a_list_or_collection_with_gaps() -> None:
    memory = Memory()
    ref = Ref(Type("file"), Checksum.of(b"x"), 1)
    optional = Type("file", optional=True)
    for kind, value in [
        (Type("list", optional), [None, ref, None]),
        (Type("collection", optional), {"a": None, "b": ref}),
        (Type("record", fields=(("a", optional), ("b", Type("bytes")))), {"a": None, "b": b"x"}),
    ]:
        assert memory.decode(memory.encode(kind, value)) == landed(value)


def test_a_mixed_list_of_any_is_refused() -> None:
    with pytest.raises(Invalid, match="mixes"):
        Memory().encode(Type("list", Type("any")), [b"x", Ref(Type("file"), Checksum.of(b"x"), 1)])


@given(st.integers() | st.floats(allow_nan=False) | st.booleans() | texts | st.none())
def test_the_text_of_a_scalar_stands_for_it(value: Any) -> None:
    name = {int: "int", float: "float", bool: "bool", str: "str", type(None): "null"}[type(value)]
    kind = Type(name)
    again = codecs.from_text(kind, codecs.to_text(kind, value), "x")
    assert (type(again), again) == (type(value), value)


@given(st.lists(st.integers(), max_size=4))
def test_lists_are_words_between_commas_or_json(value: list[int]) -> None:
    kind = Type("list", Type("int"))
    assert codecs.from_text(kind, ", ".join(map(str, value)), "x") == value
    assert codecs.from_text(kind, canonical(value).decode(), "x") == value


@pytest.mark.parametrize(
    ("kind", "text", "expected"),
    [
        ("float", "1", 1.0), ("float", " 1e-3 ", 0.001), ("int", "1e3", 1000), ("bool", "true", True), ("str", " x ", " x "),
        ("int?", "null", None), ("int?", "", None), ("any", "1.5", 1.5), ("any", "x y", "x y"), ("json", '{"a": [1]}', {"a": [1]}),
        ("bytes", "é", "é".encode()), ("list[str]", "a,b", ["a", "b"]), ("list[float]", "[1, 2]", [1.0, 2.0]), ("text", "null", "null"),
    ],
)  # fmt: skip
def test_what_a_person_writes(kind: str, text: str, expected: Any) -> None:
    found = codecs.from_text(Type.of(kind), text, "x")
    assert (type(found), found) == (type(expected), expected)


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("int", "1.5"), ("int", "1_000"), ("int", "one"), ("int", ""), ("bool", "yes"), ("bool", "True"), ("bool", "1"), ("float", "1,5"),
        ("float", "0x10"), ("json", "{"), ("json", "[" * 100_000), ("list[int]", "1,,2"), ("int", "9" * 5000 + ".5"), ("null", "none"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_refused(kind: str, text: str) -> None:
    with pytest.raises(Invalid, match=r"^-i x") as found:
        codecs.from_text(Type.of(kind), text, "-i x")
    assert len(str(found.value)) < 300
