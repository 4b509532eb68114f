"""What a value in a workflow file refers to: ``$input``, ``$step.output``, ``$variable``; and modules by name."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from weftwork.core import condition as conditions
from weftwork.core.condition import Condition, Operand
from weftwork.core.expression import ITEM, KEY, Expression, InputOf, ListOf, Literal, OutputOf
from weftwork.core.grammar import parse
from weftwork.core.module import nearest
from weftwork.errors import Invalid
from weftwork.formats.document import Document, Problems
from weftwork.formats.module_file import FunctionReference, ModuleFile
from weftwork.formats.nodes import Where

ONLY = ""
"""The output in ``$step`` alone: the only one that the step has, which is known when its module is."""

_REFERENCE = re.compile(r"\$([A-Za-z_][A-Za-z0-9_]*)(?:\.([A-Za-z_][A-Za-z0-9_]*))?\Z")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.\-]*(?:@[A-Za-z0-9_.\-+]+)?\Z")
_FILE = (".yaml", ".yml", ".json")


@dataclass(frozen=True, slots=True)
class ModuleReference:
    """A module as a workflow file names it, unresolved.

    ``text`` is what is written. Exactly one of ``path`` (a module file), ``function``, ``inline`` (a module written in the
    workflow file itself) and ``name`` (for a registry) is not ``None``.
    """

    text: str
    document: Document = field(repr=False, compare=False)
    at: Where
    path: Path | None = None
    function: FunctionReference | None = None
    inline: ModuleFile | None = None
    name: str | None = None

    @property
    def source(self) -> str:
        """The workflow file, as it was given."""
        return self.document.name

    @property
    def folder(self) -> Path:
        """Where relative paths begin."""
        return self.document.folder

    @property
    def line(self) -> int:
        """The line where it stands, from 1."""
        return self.document.place(self.at)[0]


def module_reference(text: str, document: Document, at: Where) -> ModuleReference:
    """The reference in a text. Raises :class:`~weftwork.errors.Invalid` with what would be right."""
    if text.endswith(_FILE):
        return ModuleReference(text, document, at, path=document.folder / text)
    if ":" in text:
        return ModuleReference(text, document, at, function=FunctionReference.of(text))
    if _NAME.match(text) and not text.endswith(".py"):
        return ModuleReference(text, document, at, name=text)
    raise Invalid(
        f"{text!r} does not name a module; write a module file (column.module.yaml), a function (eos.py:name, "
        "package.module:name), or a name from `modules`"
    )


@dataclass(frozen=True, slots=True)
class Scope:
    """The names that a place in the document can refer to. ``variable`` is the item's, within a step with ``for_each``."""

    inputs: Collection[str]
    steps: Collection[str]
    problems: Problems
    variable: str | None = None
    _known: dict[str, Expression] = field(default_factory=dict, repr=False)

    def expressions(self, values: Mapping[str, Any], path: Where) -> dict[str, Expression]:
        """What each of some values says, by name. References that are written alike are one object."""
        known, found = self._known.get, {}
        for name, value in values.items():
            said = known(value) if type(value) is str else None
            found[name] = self.expression(value, (*path, name)) if said is None else said
        return found

    def expression(self, value: Any, path: Where) -> Expression:
        """What a value says; what is wrong with it is added to the problems."""
        if isinstance(value, str):
            return self._known.get(value) or self._text(value, path)
        if isinstance(value, list):
            items = tuple(self.expression(each, (*path, index)) for index, each in enumerate(value))
            if all(isinstance(each, Literal) for each in items):
                return Literal([each.value for each in items if isinstance(each, Literal)])
            return ListOf(items)
        return Literal(self._literal(value, path))

    def _text(self, text: str, path: Where) -> Expression:
        if not text.startswith("$"):
            return Literal(text)
        if text.startswith("$$"):
            return Literal(text[1:])
        match = _REFERENCE.match(text)
        if match is None:
            self.problems.add(
                path, f"{text!r} is no reference; write $input or $step.output, or ${text} for the text itself"
            )
            return Literal(text)
        name, output = match.groups()
        found = self._named(name, output, path)
        if found is None:
            return Literal(text)
        self._known[text] = found
        return found

    def _named(self, name: str, output: str | None, path: Where) -> Expression | None:
        if name == self.variable:
            if output in (None, "key"):
                return ITEM if output is None else KEY
            what = f"${name} is the item of the map and has no outputs; write ${name}, or ${name}.key for its name or index"
        elif name in self.steps:
            return OutputOf(name, ONLY if output is None else output)
        elif name in self.inputs:
            if output is None:
                return InputOf(name)
            what = f"${name} is an input of the workflow and has no outputs; write ${name}"
        else:
            what = self._unknown(name)
        self.problems.add(path, what)
        return None

    def _unknown(self, name: str) -> str:
        known = [*self.inputs, *self.steps, *([] if self.variable is None else [self.variable])]
        meant = nearest(name, known) or f"; there are {', '.join('$' + each for each in known)}"
        return f"${name} is no input and no step of this workflow{meant}"

    def _literal(self, value: Any, path: Where) -> Any:
        if isinstance(value, dict):
            return {key: self._literal(each, (*path, key)) for key, each in value.items()}
        if isinstance(value, list):
            return [self._literal(each, (*path, index)) for index, each in enumerate(value)]
        if isinstance(value, str) and value.startswith("$"):
            if not value.startswith("$$"):
                self.problems.add(
                    path, f"a reference cannot be inside a mapping; build it in a step, or write ${value} for the text"
                )
            return value[1:]
        return value

    def condition(self, text: str, path: Where) -> Condition | None:
        """The condition in a text, ``$step`` alone standing for its only output."""
        try:
            found = parse(text)
        except Invalid as error:
            self.problems.add(path, str(error))
            return None
        for step in conditions.steps_of(found):
            if step not in self.steps:
                self.problems.add(path, self._step_unknown(step))
        return conditions.replaced(found, lambda operand: self._operand(operand, path))

    def _operand(self, operand: Operand, path: Where) -> Operand:
        if not isinstance(operand, InputOf) or operand.name in self.inputs:
            return operand
        if operand.name in self.steps:
            return OutputOf(operand.name, ONLY)
        if operand.name == self.variable:
            self.problems.add(
                path, f"${operand.name} is the item of the map; a condition is about the whole step, not about an item"
            )
        else:
            self.problems.add(path, self._unknown(operand.name))
        return operand

    def _step_unknown(self, name: str) -> str:
        if name == self.variable:
            return f"${name} is the item of the map; a condition is about the whole step, not about an item"
        if name in self.inputs:
            return f"${name} is an input of the workflow and has neither outputs nor an end; write ${name}"
        meant = nearest(name, self.steps) or f"; the steps are {', '.join(self.steps)}"
        return f"${name} is no step of this workflow{meant}"


def with_only_outputs(expression: Expression, only: Mapping[str, OutputOf]) -> Expression:
    """The expression with ``$step`` alone replaced by the step's only output, for the steps that have one."""
    if type(expression) is OutputOf:
        if expression.output == ONLY:
            return only.get(expression.step, expression)
    elif type(expression) is ListOf:
        return ListOf(tuple(with_only_outputs(each, only) for each in expression.items))
    return expression


def condition_with_only_outputs(condition: Condition, only: Mapping[str, OutputOf]) -> Condition:
    """The condition with ``$step`` alone replaced by the step's only output, for the steps that have one."""

    def change(operand: Operand) -> Operand:
        if isinstance(operand, OutputOf) and operand.output == ONLY:
            return only.get(operand.step, operand)
        return operand

    return conditions.replaced(condition, change)
