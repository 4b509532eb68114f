"""From a workflow file to a :class:`~weftwork.core.workflow.Workflow`: modules resolved, ``$step`` alone made its only
output, the types of inline commands' inputs inferred, paths joined to the file's folder, and the whole checked."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from weftwork.core.building import building
from weftwork.core.checks import validate
from weftwork.core.checksum import Checksum, shorten
from weftwork.core.condition import Condition, leaves, operands
from weftwork.core.expression import Constant, Expression, InputOf, Item, Key, ListOf, Literal, OutputOf
from weftwork.core.module import Input, Module, Output
from weftwork.core.step import Candidate, ForEach, Race, Step
from weftwork.core.values import FILE, STR, Ref, Type, convert, infer
from weftwork.core.workflow import Workflow
from weftwork.errors import Invalid, NotFound
from weftwork.formats.document import Problems
from weftwork.formats.nodes import Where
from weftwork.formats.references import ONLY, ModuleReference, condition_with_only_outputs, with_only_outputs
from weftwork.formats.signature import joined, says_all
from weftwork.formats.workflow_parts import CandidateFile, StepFile, WorkflowParts

Resolve = Callable[[ModuleReference], Module]
Put = Callable[[Type, Any], Ref]

INT = Type("int")


def build(file: WorkflowParts, resolve: Resolve, put: Put | None = None) -> tuple[Workflow, dict[Checksum, Module]]:
    """The workflow and its modules by checksum.

    ``resolve`` gives the module of a reference (for an ``inline`` one :meth:`ModuleFile.to_module`, with its helper files
    stored); what it raises as Invalid or NotFound is told with the line of the reference. ``put`` encodes and stores a value
    that is written as paths: it gets the type (``file``, ``list[file]``, ...) and the value of that type, with
    :class:`~weftwork.core.values.File` in it. Raises Invalid with all problems, also where such a value is without a ``put``.
    """
    builder = _Builder(file, resolve, put)
    with building():
        found = builder.workflow()
    builder.problems.raise_all()
    assert found is not None
    return found, builder.modules


@dataclass(slots=True)
class _Signature:
    """What can be referred to in a step: its outputs, and whether they are lists."""

    outputs: tuple[Output, ...]
    mapped: bool

    def type(self, name: str) -> Type | None:
        for each in self.outputs:
            if each.name == name:
                return Type("list", replace(each.type, optional=False)) if self.mapped else each.type
        return None


class _Builder:
    def __init__(self, file: WorkflowParts, resolve: Resolve, put: Put | None) -> None:
        self.problems = Problems(file.document)
        self.modules: dict[Checksum, Module] = {}
        self._file = file
        self._resolve = resolve
        self._put = put
        self._known: dict[tuple[str, str], Module | None] = {}
        self._checksums: dict[int, Checksum] = {}
        self._input_types: dict[int, dict[str, Type]] = {}
        self._resolved: dict[Where, Module | None] = {}
        self._signatures: dict[str, _Signature] = {}
        self._only: dict[str, OutputOf] = {}
        self._inputs = {each.name: each.type for each in file.inputs}

    def workflow(self) -> Workflow | None:
        self._resolve_all()
        self._sign_all()
        if self.problems:
            return None
        for step in self._file.steps:
            for each in step.candidates:
                if each.untyped:
                    self._resolved[each.path] = self._inferred(step, each)
        steps = [self._step(each) for each in self._file.steps]
        outputs = {name: self._checked(each, ("outputs", name)) for name, each in self._file.outputs.items()}
        if self.problems:
            return None
        file = self._file
        workflow = Workflow(
            file.name, file.inputs, tuple(each for each in steps if each), outputs, file.version, file.description
        )
        self._validate(workflow)
        return workflow

    def _sign_all(self) -> None:
        """What can be referred to in each step. Steps with the outputs of one module share it."""
        signatures: dict[tuple[int, bool], _Signature] = {}
        for step in self._file.steps:
            outputs, mapped = self._outputs(step), step.for_each is not None
            at = (id(outputs), mapped)
            if at not in signatures:
                # It holds the outputs, so that their identity is not given to others.
                signatures[at] = _Signature(outputs, mapped)
            self._signatures[step.name] = signatures[at]
            if len(outputs) == 1:
                self._only[step.name] = OutputOf(step.name, outputs[0].name)

    def _resolve_all(self) -> None:
        """The modules of all candidates whose inputs have types. Those that share a reference share its module."""
        known: dict[int, Module | None] = {}
        for step in self._file.steps:
            for each in step.candidates:
                if not each.untyped:
                    at = id(each.module)
                    if at not in known:
                        known[at] = self._module(each.module, each.path)
                    self._resolved[each.path] = known[at]

    def _module(self, reference: ModuleReference, path: Where) -> Module | None:
        key = (reference.text, "" if reference.inline is None else str(path))
        if key not in self._known:
            self._known[key] = None
            try:
                self._known[key] = self._resolve(reference)
            except (Invalid, NotFound) as error:
                what = str(error)
                self.problems.add((*path, "module") if reference.inline is None else path, what)
        module = self._known[key]
        if module is not None and id(module) not in self._checksums:
            checksum = self._checksums[id(module)] = module.checksum
            self.modules[checksum] = module
        return module

    def _outputs(self, step: StepFile) -> tuple[Output, ...]:
        """The outputs that all candidates of the step have."""
        if len(step.candidates) == 1 and (only := self._resolved.get(step.candidates[0].path)) is not None:
            return only.outputs
        found: list[tuple[Output, ...]] = []
        for each in step.candidates:
            if each.untyped:
                assert each.module.inline is not None
                found.append(each.module.inline.outputs)
            else:
                module = self._resolved[each.path]
                found.append(() if module is None else module.outputs)
        others = [{each.name for each in outputs} for outputs in found[1:]]
        return tuple(each for each in found[0] if all(each.name in names for names in others)) if found else ()

    def _inferred(self, step: StepFile, candidate: CandidateFile) -> Module | None:
        inline = candidate.module.inline
        assert inline is not None
        inputs: list[Input] = []
        for each in inline.inputs:
            if each.name in candidate.untyped:
                where = (*candidate.path, "inputs", each.name)
                try:
                    each = replace(each, type=self._type(step, candidate.inputs[each.name], where))
                except Invalid as error:
                    self.problems.add(where, str(error))
            inputs.append(each)
        if self.problems:
            return None
        typed = replace(candidate.module, inline=replace(inline, inputs=tuple(inputs)))
        return self._module(typed, candidate.path)

    def _type(self, step: StepFile, expression: Expression, where: Where) -> Type:
        """The type of what an input refers to. Raises Invalid where it is not obvious."""
        match self._checked(expression, where):
            case OutputOf(name, output):
                return self._signatures[name].type(output) or FILE
            case InputOf(name):
                return self._inputs[name]
            case Item():
                return self._item(step)
            case Key():
                assert step.for_each is not None
                return INT if self._type(step, step.for_each[1], where).name == "list" else STR
            case ListOf(items):
                kinds = {self._type(step, each, where) for each in items}
                if len(kinds) == 1:
                    return Type("list", kinds.pop())
            case Literal(value) if not _may_be_path(value):
                return infer(value)
            case Literal(value):
                raise Invalid(
                    f"{value!r} could be a text or a file; write {{type: file, value: {value}}} or {{type: str, value: {value}}}"
                )
        raise Invalid("the type of the list's items is not obvious; write {type: list[file], value: [...]}")

    def _item(self, step: StepFile) -> Type:
        assert step.for_each is not None
        over = self._type(step, step.for_each[1], (*step.path, "for_each"))
        if over.name in ("list", "collection") and over.item is not None:
            return over.item
        return FILE if over.name == "directory" else Type("json")

    def _step(self, step: StepFile) -> Step | None:
        programs = [self._candidate(step, each) for each in step.candidates]
        when = None if step.when is None else self._condition(step.when, (*step.path, "when"))
        accept = None if step.accept is None else self._condition(step.accept, (*step.path, "accept"))
        for_each = None
        if step.for_each is not None:
            variable, over = step.for_each
            for_each = ForEach(variable, self._checked(over, (*step.path, "for_each")))
        found = [each for each in programs if each is not None]
        if len(found) < len(programs) or not found:
            return None
        if not step.race:
            only = found[0]
            return Step(step.name, only.module, only.inputs, when, for_each, None, only.placement, step.description)
        first = self._resolved[step.candidates[0].path]
        inputs = self._bound(first, step.inputs, (*step.path, "inputs")) if step.inputs else {}
        race = Race(tuple(found), accept)
        return Step(step.name, None, inputs, when, for_each, race, step.placement, step.description)

    def _candidate(self, step: StepFile, candidate: CandidateFile) -> Candidate | None:
        module = self._resolved[candidate.path]
        inputs = self._bound(module, candidate.inputs, (*candidate.path, "inputs"))
        if module is None:
            return None
        return Candidate(candidate.name, self._checksums[id(module)], inputs, candidate.placement)

    def _bound(self, module: Module | None, inputs: Mapping[str, Expression], path: Where) -> dict[str, Expression]:
        known, out = self._types_of(module), dict(inputs)
        for name, expression in inputs.items():
            if type(expression) is OutputOf and (expression.output != ONLY or expression.step in self._only):
                if expression.output == ONLY:
                    out[name] = self._only[expression.step]
                continue
            where = (*path, name)
            found = self._checked(expression, where)
            out[name] = self._stored(known[name], found, where) if name in known else found
        return out

    def _types_of(self, module: Module | None) -> dict[str, Type]:
        """The types of a module's inputs, by name."""
        if module is None:
            return {}
        types = self._input_types.get(id(module))
        if types is None:
            types = self._input_types[id(module)] = {each.name: each.type for each in module.inputs}
        return types

    def _checked(self, expression: Expression, path: Where) -> Expression:
        """The expression with ``$step`` alone made whole, which only a step with one output allows."""
        found = with_only_outputs(expression, self._only)
        for each in found.items if type(found) is ListOf else (found,):
            if type(each) is OutputOf and each.output == ONLY:
                self._several(each.step, path)
        return found

    def _condition(self, condition: Condition, path: Where) -> Condition:
        found = condition_with_only_outputs(condition, self._only)
        for leaf in leaves(found):
            for each in operands(leaf):
                if isinstance(each, OutputOf) and each.output == ONLY:
                    self._several(each.step, path)
        return found

    def _several(self, step: str, path: Where) -> None:
        outputs = [each.name for each in self._signatures[step].outputs]
        options = " or ".join(f"${step}.{each}" for each in outputs) or f"${step}.OUTPUT"
        self.problems.add(path, f"${step} alone is its only output, and it has {len(outputs)}; write {options}")

    def _stored(self, declared: Type, expression: Expression, path: Where) -> Expression:
        """A literal converted to the input's type; one that is written as paths is put into the store.

        What does not convert stays, and is told by the core's check, together with all else that is wrong.
        """
        if isinstance(expression, ListOf):
            item = declared.item if declared.name == "list" and declared.item is not None else declared
            return ListOf(tuple(self._stored(item, each, path) for each in expression.items))
        if not isinstance(expression, Literal) or (expression.value is None and declared.optional):
            return expression
        wanted = _as_files(declared)
        try:
            if says_all(declared):
                return Literal(convert(declared, expression.value))
            value = convert(wanted, joined(expression.value, self._file.document.folder))
        except Invalid:
            return expression
        if self._put is None:
            self.problems.add(path, f"{shorten(expression.value)} names a file, and there is no store to put it into")
            return expression
        try:
            return Constant(self._put(wanted, value))
        except (Invalid, NotFound) as error:
            self.problems.add(path, f"{error}; a path is relative to this document")
        return expression

    def _validate(self, workflow: Workflow) -> None:
        """What the core says of the whole, at the places of this document."""
        try:
            validate(workflow, self.modules)
        except Invalid as error:
            for each in error.details["problems"]:
                path = tuple(each["path"])
                if path[2:4] == ("race", "accept"):
                    path = (*path[:2], "accept")
                elif path[2:4] == ("race", "candidates"):
                    path = (*path[:3], *path[4:])
                self.problems.add(path, each["message"])


def _may_be_path(value: Any) -> bool:
    return isinstance(value, str) and ("/" in value or re.search(r"\.[A-Za-z]\w*\Z", value) is not None)


def _as_files(declared: Type) -> Type:
    """The type with a file wherever bytes or an image are wanted: what a path in a document can give."""
    if declared.name in ("bytes", "image"):
        return replace(FILE, optional=declared.optional)
    if declared.name in ("list", "collection") and declared.item is not None:
        return replace(declared, item=_as_files(declared.item))
    return declared
