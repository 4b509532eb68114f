"""Conditions: the text says the tree, the value is Kleene's, and the reasons are the ones responsible."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weftwork.core.condition import And, Compare, Not, Or, Term, Truth, evaluate, leaves, undecidable, why
from weftwork.core.expression import InputOf, Literal, OutputOf
from weftwork.core.grammar import parse
from weftwork.errors import Invalid

STEPS = ("a", "b", "c")
STATES = (None, "succeeded", "failed", "skipped", "cancelled")


@dataclass
class Known:
    states: dict[str, str | None] = field(default_factory=dict)
    values: dict[str, Any] = field(default_factory=dict)
    inputs: dict[str, Any] = field(default_factory=dict)

    def state(self, step: str) -> str | None:
        return self.states.get(step)

    def value(self, step: str, output: str) -> Any:
        return self.values[f"{step}.{output}"]

    def input(self, name: str) -> Any:
        return self.inputs[name]


names = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,6}", fullmatch=True)
outputs = names.filter(lambda name: name not in ("done", "succeeded", "failed"))
literals = st.builds(
    Literal, st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(exclude_categories=["Cs"]))
)
operands = st.builds(InputOf, names) | st.builds(OutputOf, names, outputs) | literals
symbols = st.sampled_from(["<", "<=", ">", ">=", "==", "!="])
bare = st.builds(InputOf, names) | st.builds(OutputOf, names, outputs) | st.builds(Literal, st.booleans())
leaf = (
    st.builds(Compare, operands, symbols, operands)
    | st.builds(Term, names, st.sampled_from(["done", "succeeded", "failed"]))
    | st.builds(Truth, bare)
)


def trees(leaf: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.recursive(
        leaf,
        lambda inner: (
            st.builds(Not, inner)
            | st.builds(And, st.lists(inner, min_size=2, max_size=3).map(tuple))
            | st.builds(Or, st.lists(inner, min_size=2, max_size=3).map(tuple))
        ),
        max_leaves=8,
    )


@given(trees(leaf))
def test_the_text_of_a_condition_reads_back_as_the_same_condition(condition: Any) -> None:
    assert parse(str(condition)) == condition


@given(st.text("$ab.<>=!&|~()'\"\\0123e+-_ \nandortuefl", max_size=30))
def test_any_text_is_read_or_refused_with_its_column(text: str) -> None:
    refusal, condition = None, None
    try:
        condition = parse(text)
    except Invalid as error:
        refusal = error
    if refusal is None:
        assert parse(str(condition)) == condition
    else:
        assert 0 <= refusal.details["column"] <= len(text)
        assert refusal.message.endswith("^")


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("$a.ok and $b.ok or not $c.ok", "$a.ok & $b.ok | ~$c.ok"),
        ("$a.ok|$b.ok&$c.ok", "$a.ok | ($b.ok & $c.ok)"),
        ("~$a.x < 1", "~($a.x < 1)"),
        ("0.5 < $a.x <= 2", "0.5 < $a.x & $a.x <= 2"),
        ("$name == 'it''s'".replace("''", "\\'"), '$name == "it\'s"'),
        ("$a.x\n  > -1e3", "$a.x > -1000.0"),
    ],
)
def test_two_ways_to_write_one_condition(text: str, same: str) -> None:
    assert parse(text) == parse(same)


@pytest.mark.parametrize(
    ("text", "column", "message"),
    [
        ("fit.chi2 < 1.2", 0, "did you mean $fit.chi2?"),
        ("$fit.chi2 <", 11, "the text ends"),
        ("$a.ok && $b.ok", 6, "did you mean &?"),
        ("$a.x = 1", 5, "did you mean ==?"),
        ("$a.ok == True", 9, "did you mean true?"),
        ("($a.ok", 6, "')' is expected"),
        ("$a.ok)", 5, "never opened"),
        ("$a.x - 1 < 2", 5, "no arithmetic"),
        ("$a.b.c < 2", 0, "$step.output"),
        ("$n == 'x", 6, "no closing '"),
        ("$a.done == true", 8, "by itself"),
        ("$a.x < $b.failed", 7, "by itself"),
        ("3", 0, "neither true nor false"),
        ("", 0, "the text ends"),
        ("(" * 200, 100, "deeper"),
        ("9" * 5000 + " < $x", 0, "too long"),
    ],
)
def test_what_cannot_be_read_is_shown_with_a_caret(text: str, column: int, message: str) -> None:
    with pytest.raises(Invalid) as caught:
        parse(text)
    assert message in caught.value.message
    assert caught.value.details["column"] == column
    assert caught.value.message.splitlines()[-1] == "    " + " " * column + "^"


def test_the_operators_of_python_make_conditions_and_have_no_truth_value() -> None:
    a, b = Term("a", "done"), Compare(OutputOf("b", "x"), "<", Literal(1))
    assert str(a & b | ~a) == "$a.done & $b.x < 1 | ~$a.done"
    with pytest.raises(Invalid, match="combine conditions with"):
        bool(a)
    with pytest.raises(TypeError):
        a & True  # type: ignore[operator]


# A model of Kleene's logic: unknown is 1/2, and is the least, or the greatest, not one minus.


def model(condition: Any, facts: Known) -> float:
    match condition:
        case And():
            return min(model(each, facts) for each in condition.parts)
        case Or():
            return max(model(each, facts) for each in condition.parts)
        case Not():
            return 1 - model(condition.part, facts)
    known = facts.state(condition.step)
    endings = {"done": {"succeeded", "failed"}}.get(condition.ending, {condition.ending})
    return 0.5 if known is None else float(known in endings)


terms = st.builds(Term, st.sampled_from(STEPS), st.sampled_from(["done", "succeeded", "failed"]))
states = st.fixed_dictionaries({step: st.sampled_from(STATES) for step in STEPS})
VALUES = {1.0: True, 0.0: False, 0.5: None}


@given(trees(terms), states)
def test_the_value_is_that_of_kleenes_logic(condition: Any, known: dict[str, str | None]) -> None:
    assert evaluate(condition, Known(known)) is VALUES[model(condition, Known(known))]


@given(trees(terms), states)
def test_a_value_once_there_never_changes_when_more_steps_end(condition: Any, known: dict[str, str | None]) -> None:
    before = evaluate(condition, Known(known))
    open_ = [step for step in STEPS if known[step] is None]
    later = [
        evaluate(condition, Known({**known, **dict(zip(open_, ends, strict=True))}))
        for ends in itertools.product(STATES[1:], repeat=len(open_))
    ]
    if before is not None:
        assert set(later) == {before}
    assert None not in later


@given(trees(terms), states, st.data())
def test_the_reasons_are_enough_for_the_value(
    condition: Any, known: dict[str, str | None], data: st.DataObject
) -> None:
    """Whatever else was known of the steps that no reason names, the value would be the same."""
    facts = Known(known)
    value, reasons = evaluate(condition, facts), why(condition, facts)
    assert reasons
    named = {step for each in reasons for step in each.steps}
    assert named <= {each.step for each in leaves(condition)}
    if value is None:
        assert {known[step] for step in named} == {None}
        return
    other = {step: known[step] if step in named else data.draw(st.sampled_from(STATES)) for step in STEPS}
    assert evaluate(condition, Known(other)) is value


@pytest.mark.parametrize(
    ("text", "value", "reasons"),
    [
        ("$fit.chi2 < 1.2", False, ["fit.chi2 = 1.9, not < 1.2"]),
        ("$fit.chi2 > $limit", True, ["fit.chi2 = 1.9 > limit = 1.5"]),
        ("$fit.chi2 < 1 | $bad.failed", True, ["bad failed"]),
        ("$fit.succeeded & $slow.done", None, ["slow has not ended yet"]),
        ("$fit.chi2 < 1 & $slow.done", False, ["fit.chi2 = 1.9, not < 1"]),
        ("~$bad.failed & $fit.chi2 < 1", False, ["bad failed", "fit.chi2 = 1.9, not < 1"]),
        ("$off.done", False, ["off was skipped"]),
        ("$fit.ok", True, ["fit.ok = true"]),
        ("$bad.x < 1", None, ["bad failed: bad.x will never be known"]),
        ("$fit.chi2 < $slow.x", None, ["slow has not ended yet"]),
    ],
)
def test_the_reasons_are_told_with_the_values(text: str, value: bool | None, reasons: list[str]) -> None:
    facts = Known(
        {"fit": "succeeded", "bad": "failed", "off": "skipped", "slow": None},
        {"fit.chi2": 1.9, "fit.ok": True},
        {"limit": 1.5},
    )
    condition = parse(text)
    assert evaluate(condition, facts) is value
    assert [each.text for each in why(condition, facts)] == reasons


def test_a_condition_without_a_live_term_is_undecidable() -> None:
    facts = Known({"bad": "failed", "slow": None}, {}, {})
    assert undecidable(parse("$bad.x < 1"), facts)
    assert undecidable(parse("$bad.x < $slow.x"), facts)
    assert not undecidable(parse("$bad.x < 1 | $slow.done"), facts)
    assert not undecidable(parse("$bad.x < 1 & $slow.done"), facts), "it may still turn out false"
    assert not undecidable(parse("$bad.done"), facts), "it is decided"


def test_values_of_different_kinds_are_unequal_and_have_no_order() -> None:
    facts = Known({}, {}, {"text": "1", "one": 1, "yes": True, "none": None, "nan": float("nan"), "list": [1]})

    def value(text: str) -> bool | None:
        return evaluate(parse(text), facts)

    assert value("$one == 1.0") is True
    assert value("$text == 1") is False
    assert value("$text != 1") is True
    assert value("$yes == 1") is False
    assert value("$none == null") is True
    assert value("$one == null") is False
    assert value("$nan == $nan") is False
    assert value("$nan != $nan") is True
    assert value("$nan < 1 | $nan >= 1") is False
    for undecided in ("$text < 1", "$yes < true", "$none < 1", "$list == 1", "$one"):
        assert value(undecided) is None
        (reason,) = why(parse(undecided), facts)
        assert reason.wrong
        assert not reason.live
    assert "a text and a number" in why(parse("$text < 1"), facts)[0].text
