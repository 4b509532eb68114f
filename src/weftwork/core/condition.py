"""Conditions: three-valued expressions (true, false, not yet) over the jobs, outputs and inputs of a workflow.

One language for ``when:`` and ``accept:``; its text is read in :mod:`weftwork.core.grammar`. Here are its tree, its
value by Kleene's strong logic (S. C. Kleene, *Introduction to Metamathematics*, 1952, § 64), and the terms that are
responsible for that value. A term is unknown until its step ends and is fixed then, so a condition that has a value
keeps it.

A skipped or cancelled step is neither done nor succeeded nor failed. A comparison over an output that will never
exist, or of values that have no order, stays undecided for ever: see :func:`undecidable`.
"""

from __future__ import annotations

import json
import operator
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeVar

from weftwork.core.checksum import shorten
from weftwork.core.expression import InputOf, Literal, OutputOf
from weftwork.errors import Invalid

RESERVED: Final = ("done", "succeeded", "failed")
"""What may follow a step's name to ask how it ended; no output may have such a name."""

Operand = OutputOf | InputOf | Literal


class _Algebra:
    """The operators ``& | ~`` of Python make conditions, as they do in the text."""

    __slots__ = ()

    def __and__(self, other: object) -> And:
        return And((self, other)) if isinstance(self, Condition) and isinstance(other, Condition) else NotImplemented

    def __or__(self, other: object) -> Or:
        return Or((self, other)) if isinstance(self, Condition) and isinstance(other, Condition) else NotImplemented

    def __invert__(self) -> Not:
        assert isinstance(self, Condition)
        return Not(self)

    def __bool__(self) -> bool:
        raise Invalid(
            f"the condition {self} has no value before the run: combine conditions with & | ~, not and, or, not"
        )


Part = TypeVar("Part", bound="And | Or")


def _flatten(whole: And | Or) -> None:
    """``(a & b) & c`` and ``a & b & c`` are one condition."""
    parts: list[Condition] = []
    for each in whole.parts:
        parts.extend(each.parts if isinstance(each, type(whole)) else (each,))
    if len(parts) < 2:
        raise Invalid(f"{type(whole).__name__} needs at least two conditions")
    object.__setattr__(whole, "parts", tuple(parts))


@dataclass(frozen=True, slots=True)
class And(_Algebra):
    """All of its parts hold."""

    parts: tuple[Condition, ...]

    def __post_init__(self) -> None:
        _flatten(self)

    def __str__(self) -> str:
        return " & ".join(f"({each})" if isinstance(each, Or) else str(each) for each in self.parts)


@dataclass(frozen=True, slots=True)
class Or(_Algebra):
    """At least one of its parts holds."""

    parts: tuple[Condition, ...]

    def __post_init__(self) -> None:
        _flatten(self)

    def __str__(self) -> str:
        return " | ".join(map(str, self.parts))


@dataclass(frozen=True, slots=True)
class Not(_Algebra):
    """Its part does not hold."""

    part: Condition

    def __str__(self) -> str:
        return f"~({self.part})" if isinstance(self.part, And | Or | Compare) else f"~{self.part}"


@dataclass(frozen=True, slots=True)
class Compare(_Algebra):
    """``left operator right``: numbers with numbers, texts with texts; ``==`` and ``!=`` compare any two scalars.

    Values of different kinds are not equal; ``true`` is not ``1``. NaN compares as IEEE 754 says: only ``!=`` holds.
    """

    left: Operand
    operator: str
    right: Operand

    def __post_init__(self) -> None:
        if self.operator not in _OPERATORS:
            raise Invalid(f"{self.operator!r} does not compare; the operators are {' '.join(_OPERATORS)}")

    def __str__(self) -> str:
        return f"{text_of(self.left)} {self.operator} {text_of(self.right)}"


@dataclass(frozen=True, slots=True)
class Term(_Algebra):
    """How a step ended: ``$step.done`` (in success or failure), ``$step.succeeded``, ``$step.failed``."""

    step: str
    ending: str

    def __post_init__(self) -> None:
        if self.ending not in RESERVED:
            raise Invalid(f"{self.ending!r} is not how a step ends; write {', '.join(RESERVED)}")

    def __str__(self) -> str:
        return f"${self.step}.{self.ending}"


@dataclass(frozen=True, slots=True)
class Truth(_Algebra):
    """A boolean value by itself: ``$check.ok``, ``$flag``."""

    operand: Operand

    def __str__(self) -> str:
        return text_of(self.operand)


Condition = And | Or | Not | Compare | Term | Truth
Leaf = Compare | Term | Truth


class Facts(Protocol):
    """What a condition is evaluated over."""

    def state(self, step: str) -> str | None:
        """``succeeded``, ``failed``, ``skipped`` or ``cancelled``; ``None`` while the step has not ended."""
        ...

    def value(self, step: str, output: str) -> Any:
        """A scalar output of a step that has succeeded."""
        ...

    def input(self, name: str) -> Any:
        """A scalar input of the workflow."""
        ...


@dataclass(frozen=True, slots=True)
class Reason:
    """A term responsible for a condition's present value, with a text for people.

    ``steps`` are those it looks at; ``live`` says that it may still change, ``wrong`` that its values cannot be compared.
    """

    leaf: Leaf
    text: str
    steps: tuple[str, ...]
    live: bool = False
    wrong: bool = False


def evaluate(condition: Condition, facts: Facts) -> bool | None:
    """Whether the condition holds; ``None`` while that is undecided."""
    match condition:
        case Term():
            state = facts.state(condition.step)
            return None if state is None else state in _ENDINGS[condition.ending]
        case Compare():
            left, right = _operand(condition.left, facts), _operand(condition.right, facts)
            return None if left is _UNKNOWN or right is _UNKNOWN else _compare(condition.operator, left, right)
        case Truth():
            value = _operand(condition.operand, facts)
            return value if isinstance(value, bool) else None
        case Not():
            held = evaluate(condition.part, facts)
            return None if held is None else not held
        case And():
            return _strongest(condition.parts, False, facts)
        case Or():
            return _strongest(condition.parts, True, facts)


def _strongest(parts: tuple[Condition, ...], decides: bool, facts: Facts) -> bool | None:
    """The value of a conjunction (which one false part decides) or disjunction (which one true part decides)."""
    open_ = False
    for each in parts:
        held = evaluate(each, facts)
        if held is decides:
            return decides
        open_ = open_ or held is None
    return None if open_ else not decides


def undecidable(condition: Condition, facts: Facts) -> bool:
    """Whether the condition is undecided and no step that could still decide it is alive: it can never become true."""
    return evaluate(condition, facts) is None and not any(
        _live(each, facts) for each in _responsible(condition, None, facts)
    )


def why(condition: Condition, facts: Facts) -> tuple[Reason, ...]:
    """The terms responsible for the present value: those that decide it, or, where it is undecided, those that are open."""
    return tuple(_reason(each, facts) for each in _responsible(condition, evaluate(condition, facts), facts))


def _responsible(condition: Condition, value: bool | None, facts: Facts) -> Iterator[Leaf]:
    """The leaves that make the condition have this, its present value."""
    match condition:
        case And() | Or():
            # A part with the value of the whole is what decides it: the false parts of a false conjunction, all parts
            # of a true one, the open parts of an undecided one; likewise for a disjunction.
            for each in condition.parts:
                if evaluate(each, facts) is value:
                    yield from _responsible(each, value, facts)
        case Not():
            yield from _responsible(condition.part, None if value is None else not value, facts)
        case _:
            yield condition


def leaves(condition: Condition) -> Iterator[Leaf]:
    """The terms and comparisons, in the order of the text."""
    match condition:
        case And() | Or():
            for each in condition.parts:
                yield from leaves(each)
        case Not():
            yield from leaves(condition.part)
        case _:
            yield condition


def operands(leaf: Leaf) -> tuple[Operand, ...]:
    """The values that a leaf looks at: none for a term."""
    match leaf:
        case Compare():
            return (leaf.left, leaf.right)
        case Truth():
            return (leaf.operand,)
        case Term():
            return ()


def steps_of(condition: Condition) -> dict[str, None]:
    """The steps that the condition looks at, in the order of the text."""
    found: dict[str, None] = {}
    for leaf in leaves(condition):
        found.update(dict.fromkeys(_steps(leaf)))
    return found


def replaced(condition: Condition, change: Callable[[Operand], Operand]) -> Condition:
    """The condition with each operand changed."""
    match condition:
        case And():
            return And(tuple(replaced(each, change) for each in condition.parts))
        case Or():
            return Or(tuple(replaced(each, change) for each in condition.parts))
        case Not():
            return Not(replaced(condition.part, change))
        case Compare():
            return Compare(change(condition.left), condition.operator, change(condition.right))
        case Truth():
            return Truth(change(condition.operand))
        case Term():
            return condition


def text_of(operand: Operand) -> str:
    """The operand as the language writes it."""
    return show(operand.value) if isinstance(operand, Literal) else str(operand)


def show(value: Any) -> str:
    """A scalar as the language writes it."""
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    return _WORDS.get(str(value), repr(value)) if value is None or isinstance(value, bool) else shorten(value, 400)


_WORDS = {"None": "null", "True": "true", "False": "false"}
_ENDINGS = {"done": ("succeeded", "failed"), "succeeded": ("succeeded",), "failed": ("failed",)}
_UNKNOWN: Final = object()


def _operand(operand: Operand, facts: Facts) -> Any:
    match operand:
        case OutputOf():
            ended_well = facts.state(operand.step) == "succeeded"
            return facts.value(operand.step, operand.output) if ended_well else _UNKNOWN
        case InputOf():
            return facts.input(operand.name)
        case Literal():
            return operand.value


def kind_of(value: Any) -> str:
    """What a value is for comparing: ``number``, ``text``, ``bool``, ``null``, or the name of its Python type."""
    return _KINDS.get(type(value), type(value).__name__)


_KINDS: dict[type, str] = {int: "number", float: "number", str: "text", bool: "bool", type(None): "null"}
_OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
}


def _compare(symbol: str, left: Any, right: Any) -> bool | None:
    """``None`` where the two values have no order."""
    kinds = {kind_of(left), kind_of(right)}
    if not kinds <= {"number", "text", "bool", "null"}:
        return None
    if symbol in ("==", "!="):
        return (left == right if len(kinds) == 1 else False) is (symbol == "==")
    if kinds not in ({"number"}, {"text"}):
        return None
    return _OPERATORS[symbol](left, right)


def _steps(leaf: Leaf) -> tuple[str, ...]:
    if isinstance(leaf, Term):
        return (leaf.step,)
    return tuple(dict.fromkeys(each.step for each in operands(leaf) if isinstance(each, OutputOf)))


def _live(leaf: Leaf, facts: Facts) -> bool:
    """Whether an undecided leaf may still be decided: every value it lacks may still come."""
    states = [facts.state(each) for each in _steps(leaf)]
    return None in states and all(each in (None, "succeeded") for each in states)


def _reason(leaf: Leaf, facts: Facts) -> Reason:
    steps, value = _steps(leaf), evaluate(leaf, facts)
    if isinstance(leaf, Term):
        return Reason(leaf, f"{leaf.step} {_STATES[facts.state(leaf.step)]}", steps, live=value is None)
    lacking = [each for each in operands(leaf) if isinstance(each, OutputOf) and facts.state(each.step) != "succeeded"]
    if lacking:
        first = next((each for each in lacking if facts.state(each.step) is not None), lacking[0])
        text = f"{first.step} {_STATES[facts.state(first.step)]}"
        if facts.state(first.step) is not None:
            text += f": {text_of(first)[1:]} will never be known"
        return Reason(leaf, text, steps, live=_live(leaf, facts))
    return Reason(leaf, _told(leaf, value, facts), steps, wrong=value is None)


_STATES = {
    None: "has not ended yet",
    "succeeded": "succeeded",
    "failed": "failed",
    "skipped": "was skipped",
    "cancelled": "was cancelled",
}


def _told(leaf: Compare | Truth, value: bool | None, facts: Facts) -> str:
    """A leaf over known values, with these."""
    named = [_named(each, facts) for each in operands(leaf)]
    if isinstance(leaf, Truth):
        return named[0] + ("" if value is not None else ", which is neither true nor false")
    if value is None:
        kinds = [kind_of(_operand(each, facts)) for each in operands(leaf)]
        return f"{named[0]} cannot be compared by {leaf.operator} with {named[1]}: a {kinds[0]} and a {kinds[1]}"
    return f"{named[0]}{'' if value else ', not'} {leaf.operator} {named[1]}"


def _named(operand: Operand, facts: Facts) -> str:
    value = show(_operand(operand, facts))
    return value if isinstance(operand, Literal) else f"{text_of(operand)[1:]} = {value}"
