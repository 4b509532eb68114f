"""Keys: the template says what the definition says, for whatever stands in the parts."""

from __future__ import annotations

from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from weftwork.core.calculation import TAG, Calculation, Explanation, Frame, key_of
from weftwork.core.checksum import Checksum, canonical, from_canonical
from weftwork.core.values import Ref, Type

MARKS = [f"{index:064x}" for index in range(4)]
"""What a template that searches for its places would mistake for one."""

names = st.sampled_from([*MARKS, "x", "a", "inputs", '"', "\\", "", "é", '":["float","' + MARKS[0]]) | st.text(
    st.characters(exclude_categories=["Cs"]), max_size=5
)
checksums = st.sampled_from([*map(Checksum, MARKS), Checksum.of(b"x")]) | st.binary(max_size=3).map(Checksum.of)
types = st.sampled_from(
    [
        Type("float"),
        Type("list", Type("file")),
        Type("record", fields=(("b", Type("file")), ("a", Type("int")))),
        Type("str", choices=(MARKS[0], "x")),
        Type("str", choices=(MARKS[1],)),
        Type("float", minimum=1),
        Type("float", minimum=1.0),
        Type("int", choices=(1,)),
        Type("int", choices=(True,)),
        Type("list", Type("float", minimum=0)),
    ]
)
refs = st.builds(Ref, types, checksums, st.integers(-1, 10))
inputs = st.dictionaries(names, refs, max_size=4)
documents = st.dictionaries(
    names,
    st.recursive(names | st.integers() | st.none(), lambda inner: st.lists(inner, max_size=3), max_leaves=5),
    max_size=3,
)


def frame_of(program: dict[str, Any], environment: dict[str, Any], outputs: dict[str, Any]) -> Frame:
    return Frame(Checksum.of(b"module"), "name", program, environment, outputs)


@given(documents, documents, documents, st.lists(inputs, min_size=1, max_size=4))
@example({"x": ["float", MARKS[0]]}, {}, {}, [{"x": Ref(Type("float"), Checksum.of(b"1"), 1)}])
@example(
    {}, {}, {}, [{MARKS[0]: Ref(Type("float"), Checksum.of(b"1"), 1), "a": Ref(Type("float"), Checksum.of(b"2"), 1)}]
)
@example({}, {}, {}, [{"x": Ref(Type("str", choices=(MARKS[0],)), Checksum.of(b"1"), 1)}])
@example({}, {}, {}, [{"x": Ref(kind, Checksum.of(b"1"), 1)} for kind in (Type("float"), Type("float", minimum=1))])
def test_the_template_gives_the_key_of_the_definition(
    program: dict[str, Any], environment: dict[str, Any], outputs: dict[str, Any], many: list[dict[str, Ref]]
) -> None:
    # One frame for all: a template of one call must not serve another that differs.
    frame = frame_of(program, environment, outputs)
    for each in many:
        calculation = Calculation.of(frame, each)
        assert calculation.key == key_of(calculation.parts)
        parts = calculation.parts
        assert calculation.key == Checksum.of(
            canonical([TAG, parts["program"], parts["environment"], parts["inputs"], parts["outputs"]])
        )


@given(documents, st.lists(names, unique=True, max_size=3), st.data())
def test_calculations_made_together_are_those_made_one_by_one(
    program: dict[str, Any], given_names: list[str], data: st.DataObject
) -> None:
    count = data.draw(st.integers(1, 4))
    columns = {name: data.draw(st.lists(refs, min_size=count, max_size=count)) for name in given_names}
    frame = frame_of(program, {}, {})
    together = Calculation.of_columns(frame, columns, count)
    rows = [{name: column[at] for name, column in columns.items()} for at in range(count)]
    assert together == [Calculation.of(frame_of(program, {}, {}), row) for row in rows]
    assert [each.key for each in together] == [key_of(each.parts) for each in together]


@given(documents, documents, documents, inputs)
def test_a_calculation_comes_back_from_its_document(
    program: dict[str, Any], environment: dict[str, Any], outputs: dict[str, Any], bound: dict[str, Ref]
) -> None:
    calculation = Calculation.of(frame_of(program, environment, outputs), bound)
    again = Calculation.from_document(from_canonical(canonical(calculation.document())))
    assert again.key == calculation.key
    assert canonical(again.parts) == canonical(calculation.parts)


def test_each_part_counts_and_names_do_not() -> None:
    x = {"x": Ref(Type("float"), Checksum.of(b"1"), 1)}
    plain = Calculation.of(frame_of({"p": 1}, {"e": 1}, {"o": 1}), x).key
    others = [
        Calculation.of(frame_of({"p": 2}, {"e": 1}, {"o": 1}), x),
        Calculation.of(frame_of({"p": 1.0}, {"e": 1}, {"o": 1}), x),
        Calculation.of(frame_of({"p": 1}, {"e": 2}, {"o": 1}), x),
        Calculation.of(frame_of({"p": 1}, {"e": 1}, {"o": 2}), x),
        Calculation.of(frame_of({"p": 1}, {"e": 1}, {"o": 1}), {"y": x["x"]}),
        Calculation.of(frame_of({"p": 1}, {"e": 1}, {"o": 1}), {"x": Ref(Type("int"), Checksum.of(b"1"), 1)}),
        Calculation.of(frame_of({"p": 1}, {"e": 1}, {"o": 1}), {"x": Ref(Type("float"), Checksum.of(b"2"), 1)}),
        Calculation.of(frame_of({"p": 1}, {"e": 1}, {"o": 1}), {}),
    ]
    assert len({plain, *(each.key for each in others)}) == 1 + len(others)
    named = Frame(Checksum.of(b"another"), "another name", {"p": 1}, {"e": 1}, {"o": 1})
    assert Calculation.of(named, {"x": Ref(Type("float"), Checksum.of(b"1"), 99)}).key == plain


def test_an_explanation_shows_every_part() -> None:
    calculation = Calculation.of(frame_of({"kind": "f"}, {"python": "3.11"}, {"o": "int"}), {})
    text = str(Explanation(calculation.key, calculation.parts, ("uses the clock",)))
    for part in (calculation.key, "kind: f", "python: 3.11", "o: int", "warning: uses the clock"):
        assert part in text
