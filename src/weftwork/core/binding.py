"""What the inputs of a step are bound to, once the steps before it have ended."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from weftwork.core.checksum import Checksum, shorten
from weftwork.core.condition import leaves, operands
from weftwork.core.expression import Constant, Expression, InputOf, Key, ListOf, Literal, OutputOf
from weftwork.core.expression import leaves as parts
from weftwork.core.messages import Binding, Submit, TaskId
from weftwork.core.module import ABSENT, Module, nearest
from weftwork.core.step import Overrides, Step
from weftwork.core.values import Ref
from weftwork.core.workflow import Workflow
from weftwork.errors import Invalid

Item = tuple[str | int, Binding]
NULL = Literal(None)


@dataclass(slots=True)
class Values:
    """The values that there are: of the workflow's inputs, and the outputs of steps that have succeeded."""

    modules: Mapping[Checksum, Module]
    inputs: Mapping[str, Binding]
    outputs: dict[str, Mapping[str, Binding]] = field(default_factory=dict)

    def resolve(self, expression: Expression, item: Item | None = None) -> Binding | None:
        """The binding of an expression; ``None`` where a step that it reads was skipped."""
        match expression:
            case OutputOf():
                outputs = self.outputs.get(expression.step)
                # An optional output that the program did not give is null, as the module's signature says.
                return None if outputs is None else outputs.get(expression.output, NULL)
            case InputOf():
                return self.inputs[expression.name]
            case Literal():
                return expression
            case Constant():
                return expression.ref
            case ListOf():
                found = tuple(self.resolve(each, item) for each in expression.items)
                whole = tuple(each for each in found if each is not None)
                return whole if len(whole) == len(found) else None
        if item is None:
            raise Invalid("an item is used in a step without for_each")
        return Literal(item[0]) if isinstance(expression, Key) else item[1]

    def submit(
        self,
        step: str,
        task: TaskId,
        module: Checksum,
        inputs: Mapping[str, Expression],
        placement: Overrides,
        item: Item | None = None,
    ) -> Submit:
        """The task of a module with its inputs bound. Inputs that read a skipped step are left to their defaults."""
        bound = {}
        for name, expression in inputs.items():
            value = self.resolve(expression, item)
            if value is not None:
                bound[name] = value
        return Submit(task, step, module, bound, placement)

    def missing(self, step: Step) -> str:
        """Why the step cannot run because a step that it reads was skipped; empty if it can."""
        if all(each in self.outputs for each in step.reads()):
            return ""
        if step.for_each is not None and self._skipped(step.for_each.over):
            return f"the items of for_each come from {self._skipped(step.for_each.over)}, which was skipped"
        for program in step.programs():
            module = self.modules[program.module]
            for name, expression in program.inputs.items():
                skipped = self._skipped(expression)
                if skipped and module.input(name).required:
                    return f"its input {name} comes from {skipped}, which was skipped"
        return ""

    def _skipped(self, expression: Expression) -> str:
        for each in parts(expression):
            if isinstance(each, OutputOf) and each.step not in self.outputs:
                return f"{each.step}.{each.output}"
        return ""


def items_of(over: Binding) -> tuple[Item, ...] | str | None:
    """The items of a list or object that is written out; ``None`` for one that must be read; a text where it is neither."""
    if isinstance(over, Ref):
        return None
    if isinstance(over, tuple):
        return tuple(enumerate(over))
    if isinstance(over.value, list):
        return tuple((index, Literal(each)) for index, each in enumerate(over.value))
    if isinstance(over.value, dict):
        # Canonical JSON sorts the names, so this is the one order that survives being stored.
        return tuple((name, Literal(over.value[name])) for name in sorted(over.value))
    return f"for_each needs a list, a collection or a directory, and was given {shorten(over.value)}"


def bound_inputs(workflow: Workflow, given: Mapping[str, Binding]) -> dict[str, Binding]:
    """The workflow's inputs with defaults filled in. Raises Invalid for one that is missing or not known."""
    known = [each.name for each in workflow.inputs]
    for name in given:
        if name not in known:
            raise Invalid(f"workflow {workflow.name} has no input {name!r}{nearest(name, known)}")
    bound: dict[str, Binding] = {}
    for each in workflow.inputs:
        if each.name in given:
            bound[each.name] = given[each.name]
        elif each.required:
            raise Invalid(
                f"workflow {workflow.name}: input {each.name!r} is missing; a value of type {each.type} is expected"
            )
        else:
            bound[each.name] = NULL if each.default is ABSENT else Literal(each.default)
    return bound


def scalar_inputs(workflow: Workflow) -> frozenset[str]:
    """The inputs of the workflow whose values its conditions need."""
    return frozenset(
        operand.name
        for step in workflow.steps
        if step.when is not None or step.race is not None
        for condition in step.conditions()
        for leaf in leaves(condition)
        for operand in operands(leaf)
        if isinstance(operand, InputOf)
    )


def input_scalars(workflow: Workflow, bound: Mapping[str, Binding], given: Mapping[str, Any]) -> dict[str, Any]:
    """The values of the inputs that conditions need: as given, or as written in the binding itself."""
    values: dict[str, Any] = {}
    for name in scalar_inputs(workflow):
        binding = bound[name]
        if name in given:
            values[name] = given[name]
        elif isinstance(binding, Literal):
            values[name] = binding.value
        else:
            raise Invalid(f"a condition asks for the value of the input {name!r}, which was not given")
    return values


def binding_document(binding: Binding) -> dict[str, Any]:
    """A binding as a JSON document: ``{"ref": …}``, ``{"value": …}`` or ``{"list": […]}``."""
    if isinstance(binding, Ref):
        return {"ref": binding.document()}
    if isinstance(binding, Literal):
        return {"value": binding.value}
    return {"list": [binding_document(each) for each in binding]}


def binding_of(document: Mapping[str, Any]) -> Binding:
    """The binding that :func:`binding_document` wrote."""
    if "ref" in document:
        return Ref.of(document["ref"])
    if "list" in document:
        return tuple(binding_of(each) for each in document["list"])
    return Literal(document["value"])
