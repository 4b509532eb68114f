"""A workflow file: a YAML or JSON document read into core values, its module references unresolved.

:mod:`weftwork.formats.workflow_build` makes the :class:`~weftwork.core.workflow.Workflow` of it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from weftwork.core.checksum import Checksum
from weftwork.core.expression import Expression, Literal
from weftwork.core.module import Module, nearest
from weftwork.core.step import NOTHING, Overrides
from weftwork.core.workflow import Workflow
from weftwork.errors import Invalid
from weftwork.formats.document import Document, Problems, read
from weftwork.formats.module_file import build_module, read_resources
from weftwork.formats.module_keys import PROGRAM_KEYS
from weftwork.formats.nodes import Where
from weftwork.formats.references import ModuleReference, Scope, module_reference
from weftwork.formats.signature import declared_inputs
from weftwork.formats.workflow_build import Put, Resolve, build
from weftwork.formats.workflow_keys import DECLARED_INPUT, PLACEMENT_KEYS, WORKFLOW
from weftwork.formats.workflow_parts import CandidateFile, StepFile, WorkflowParts

_INLINE = ("command", "script")
_DEFAULT_VARIABLE = "item"


class WorkflowFile(WorkflowParts):
    """A workflow as its document says it, with its module references unresolved."""

    __slots__ = ()

    @property
    def source(self) -> str:
        """The file, as it was given."""
        return self.document.name

    def references(self) -> tuple[ModuleReference, ...]:
        """The modules that the steps name, in their order."""
        return tuple(each.module for step in self.steps for each in step.candidates)

    def to_workflow(self, resolve: Resolve, put: Put | None = None) -> tuple[Workflow, dict[Checksum, Module]]:
        """The workflow, checked, and its modules by checksum. See :func:`weftwork.formats.workflow_build.build`."""
        return build(self, resolve, put)


def read_workflow(path: str | os.PathLike[str]) -> WorkflowFile:
    """The workflow in a file. Raises :class:`~weftwork.errors.Invalid` with all problems, each with its line."""
    return workflow_of(read(path))


def workflow_of(document: Document) -> WorkflowFile:
    """The workflow that a document describes. Its plain value is used up; places are found in its text."""
    problems = Problems(document)
    for path, what in WORKFLOW.faults(document.value, ()):
        problems.add(path, what)
    problems.raise_all()
    found = _Reader(document, problems).workflow()
    document.value = None
    problems.raise_all()
    return found


class _Reader:
    def __init__(self, document: Document, problems: Problems) -> None:
        self._document = document
        self._value: dict[str, Any] = document.value
        self._problems = problems
        self._aliases = self._value.get("modules", {})
        self._inline_aliases: dict[str, ModuleReference | None] = {}
        self._references: dict[str, ModuleReference] = {}

    def workflow(self) -> WorkflowFile:
        value = self._value
        inputs = declared_inputs(value.get("inputs", {}), ("inputs",), self._problems, self._document.folder)
        names = [*value.get("inputs", {})]
        for name in value["steps"]:
            if name in names:
                self._problems.add(
                    ("steps", name), f"{name!r} is an input as well; ${name} could be either: rename one"
                )
        self._scope = Scope(dict.fromkeys(names), value["steps"], self._problems)
        for alias in self._aliases:
            self._alias(alias)
        steps = tuple(map(self._used_up, value["steps"]))
        outputs = {name: self._output(each, ("outputs", name)) for name, each in value.get("outputs", {}).items()}
        return WorkflowFile(
            self._document,
            value["name"],
            inputs,
            steps,
            outputs,
            value.get("version", ""),
            value.get("description", ""),
        )

    def _output(self, text: str, path: Where) -> Expression:
        found = self._scope.expression(text, path)
        if isinstance(found, Literal) and not text.startswith("$"):
            step = text.partition(".")[0]
            meant = f"; did you mean ${text}?" if step in self._scope.steps else ""
            self._problems.add(path, f"{text!r} is no reference; an output is $step.output or $input{meant}")
        return found

    def _used_up(self, name: str) -> StepFile:
        """A step, whose plain value is given up: of a large workflow it is as much as all that is made of it."""
        steps = self._value["steps"]
        value, steps[name] = steps[name], None
        return self._step(name, value, ("steps", name))

    def _step(self, name: str, value: dict[str, Any], path: Where) -> StepFile:
        scope, for_each = self._for_each(value, path) if "for_each" in value else (self._scope, None)
        race = "race" in value
        if race:
            self._race_keys(value, path)
            candidates = [
                self._candidate(each, content, (*path, "race", each), scope, name)
                for each, content in value["race"].items()
            ]
        else:
            candidates = [self._candidate("", value, path, scope, name)]
        return StepFile(
            name,
            () if None in candidates else tuple(candidates),  # type: ignore[arg-type]
            race,
            path,
            scope.expressions(value.get("inputs", {}), (*path, "inputs")) if race else _NONE,
            scope.condition(value["when"], (*path, "when")) if "when" in value else None,
            scope.condition(value["accept"], (*path, "accept")) if "accept" in value else None,
            for_each,
            self._placement(value, path) if race else NOTHING,
            value.get("description", ""),
        )

    def _race_keys(self, value: dict[str, Any], path: Where) -> None:
        for name, content in value["race"].items():
            for key in _INLINE:
                if key in content and value.get("inputs"):
                    self._problems.add(
                        (*path, "race", name, key),
                        "a race with inputs of its own has modules by name only; give this candidate its inputs, or a file",
                    )

    def _for_each(self, value: dict[str, Any], path: Where) -> tuple[Scope, tuple[str, Expression]]:
        over, where = value["for_each"], (*path, "for_each")
        variable = _DEFAULT_VARIABLE
        if isinstance(over, dict):
            if len(over) > 1:
                self._problems.add(
                    where, f"{len(over)} variables ({', '.join(over)}); a map has one: {{variable: $step.output}}"
                )
            variable = next(iter(over))
            over, where = over[variable], (*where, variable)
        if variable in self._scope.steps or variable in self._scope.inputs:
            self._problems.add(where, f"${variable} is a step or an input as well; give the variable another name")
        expression = self._scope.expression(over, where)
        if isinstance(expression, Literal) and not isinstance(expression.value, (list, dict)):
            self._problems.add(where, f"{over!r} has no items; write a reference such as $step.output, or a list")
        scope = Scope(self._scope.inputs, self._scope.steps, self._problems, variable)
        return scope, (variable, expression)

    def _candidate(
        self, name: str, value: dict[str, Any], path: Where, scope: Scope, step: str
    ) -> CandidateFile | None:
        placement = self._placement(value, path)
        if "module" not in value:
            return self._inline(name, value, path, scope, placement, f"{step}.{name}" if name else step)
        reference = self._reference(value["module"], (*path, "module"))
        inputs = scope.expressions(value.get("inputs", {}), (*path, "inputs"))
        return None if reference is None else CandidateFile(name, reference, inputs, path, placement)

    def _placement(self, value: dict[str, Any], path: Where) -> Overrides:
        if _PLACING.isdisjoint(value):
            return NOTHING
        said = value.get("resources", {})
        resources = read_resources(said, (*path, "resources"), self._problems)
        return Overrides(
            value.get("at"),
            tuple((name, getattr(resources, name)) for name in sorted(said)),
            value.get("cache"),
            value.get("retries"),
            value.get("priority"),
        )

    def _inline(
        self, name: str, value: dict[str, Any], path: Where, scope: Scope, placement: Overrides, called: str
    ) -> CandidateFile | None:
        """A command or script within the step: its inputs have their values, and mostly their types, with them."""
        declared: dict[str, Any] = {}
        inputs: dict[str, Expression] = {}
        untyped = []
        for each, content in value.get("inputs", {}).items():
            where = (*path, "inputs", each)
            if not (isinstance(content, dict) and "type" in content):
                declared[each] = "any"
                untyped.append(each)
                inputs[each] = scope.expression(content, where)
                continue
            faults = DECLARED_INPUT.faults(content, where)
            for place, what in faults:
                self._problems.add(place, what)
            if faults:
                return None
            declared[each] = {key: item for key, item in content.items() if key != "value"}
            if "value" in content:
                inputs[each] = scope.expression(content["value"], (*where, "value"))
            elif "default" not in content and not str(content["type"]).endswith("?") and not content.get("optional"):
                self._problems.add(where, "an input without value and default; add `value: $step.output` or a value")
        document = {key: item for key, item in value.items() if key in _MODULE_KEYS}
        document |= {"name": called, "inputs": declared}
        module = build_module(document, path, self._document, self._problems)
        if module is None:
            return None
        key = next(each for each in _INLINE if each in value)
        reference = ModuleReference(called, self._document, (*path, key), inline=module)
        return CandidateFile(name, reference, inputs, path, placement, frozenset(untyped))

    def _reference(self, text: str, path: Where) -> ModuleReference | None:
        if text in self._aliases:
            return self._alias(text)
        return self._outside(text, path)

    def _outside(self, text: str, path: Where) -> ModuleReference | None:
        known = self._references.get(text)
        if known is not None:
            return known
        try:
            found = self._references[text] = module_reference(text, self._document, path)
            return found
        except Invalid as error:
            self._problems.add(path, str(error).rstrip() + nearest(text, self._aliases))
            return None

    def _alias(self, name: str) -> ModuleReference | None:
        path = ("modules", name)
        value = self._aliases[name]
        if isinstance(value, str):
            return self._outside(value, path)
        if name not in self._inline_aliases:
            module = build_module({"name": name, **value}, path, self._document, self._problems)
            self._inline_aliases[name] = (
                None if module is None else ModuleReference(name, self._document, path, inline=module)
            )
        return self._inline_aliases[name]


_NONE: Mapping[str, Expression] = MappingProxyType({})

_PLACING = frozenset(PLACEMENT_KEYS)

_MODULE_KEYS = frozenset({"outputs", "description", *PROGRAM_KEYS})
