"""Where a value in a workflow comes from: a constant, a workflow input, an output of a step, the item of a map.

Owns the expressions and their documents. Nothing here reads a value; conditions over scalars are the business of
:mod:`weftwork.core.condition`, which shares the operands.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from json.encoder import encode_basestring as _quoted
from typing import Any

from weftwork.core.checksum import canonical, shorten
from weftwork.core.values import Ref
from weftwork.errors import Invalid


@dataclass(frozen=True, slots=True)
class Constant:
    """A value that is already encoded and stored."""

    ref: Ref


@dataclass(frozen=True, slots=True, eq=False)
class Literal:
    """A plain JSON value, written in the document itself. Equal when the canonical bytes are: ``1``, ``1.0`` and ``true`` differ."""

    value: Any

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Literal):
            return NotImplemented
        return self is other or canonical(self.value) == canonical(other.value)

    def __hash__(self) -> int:
        return hash(canonical(self.value))


@dataclass(frozen=True, slots=True)
class InputOf:
    """An input of the workflow: ``$name``."""

    name: str

    def __str__(self) -> str:
        return f"${self.name}"


@dataclass(frozen=True, slots=True)
class OutputOf:
    """An output of a step: ``$step.output``. Of a mapped step it is the list of the items' outputs, in their order."""

    step: str
    output: str

    def __str__(self) -> str:
        return f"${self.step}.{self.output}"


@dataclass(frozen=True, slots=True)
class Item:
    """The item that a mapped step is at: ``$variable`` inside a step with ``for_each``."""


@dataclass(frozen=True, slots=True)
class Key:
    """The name (in a collection or directory) or index (in a list, from 0) of the item that a mapped step is at."""


@dataclass(frozen=True, slots=True)
class ListOf:
    """A list of values from different places."""

    items: tuple[Expression, ...]


Expression = Constant | Literal | InputOf | OutputOf | Item | Key | ListOf

ITEM, KEY = Item(), Key()


def document(expression: Expression) -> dict[str, Any]:
    """The expression as a JSON object with one key, which says its kind."""
    match expression:
        case OutputOf():
            return {"output": [expression.step, expression.output]}
        case InputOf():
            return {"input": expression.name}
        case Literal():
            return {"value": expression.value}
        case Constant():
            return {"ref": expression.ref.document()}
        case ListOf():
            return {"list": [document(each) for each in expression.items]}
        case Item():
            return {"item": True}
        case Key():
            return {"key": True}


def encoded(expression: Expression) -> str:
    """The canonical encoding of :func:`document`. An output of a step, of which large workflows have many, is put together."""
    if type(expression) is OutputOf:
        return '{"output":[' + _quoted(expression.step) + "," + _quoted(expression.output) + "]}"
    return canonical(document(expression)).decode("utf-8")


def of(expression: Mapping[str, Any]) -> Expression:
    """The expression that :func:`document` wrote. Raises :class:`~weftwork.errors.Invalid` for anything else."""
    match expression:
        case {"output": [str(step), str(output)]}:
            return OutputOf(step, output)
        case {"input": str(name)}:
            return InputOf(name)
        case {"value": value}:
            return Literal(value)
        case {"ref": ref}:
            return Constant(Ref.of(ref))
        case {"list": list(items)}:
            return ListOf(tuple(of(each) for each in items))
        case {"item": True}:
            return ITEM
        case {"key": True}:
            return KEY
    raise Invalid(
        f"{shorten(expression)} is not an expression: one of output, input, value, ref, list, item, key is expected"
    )


def leaves(expression: Expression) -> Iterator[Expression]:
    """The expression itself, or what a list is made of, however deep."""
    if isinstance(expression, ListOf):
        for each in expression.items:
            yield from leaves(each)
    else:
        yield expression
