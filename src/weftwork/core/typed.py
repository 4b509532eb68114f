"""The type of each expression of a workflow, so far as it is known before anything runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from weftwork.core.checksum import Checksum
from weftwork.core.condition import RESERVED
from weftwork.core.expression import Constant, Expression, InputOf, Key, ListOf, Literal, OutputOf
from weftwork.core.module import Module, nearest
from weftwork.core.step import Step
from weftwork.core.values import ANY, JSON, STR, Type, fits, infer
from weftwork.core.workflow import Workflow
from weftwork.errors import Invalid

_INT = Type("int")


class Types:
    """The type of each expression, so far as it is known before anything runs.

    The outputs of a mapped step are lists. Raises :class:`~weftwork.errors.Invalid` for a reference to what is not there.
    """

    def __init__(self, workflow: Workflow, modules: Mapping[Checksum, Module]) -> None:
        self.modules = modules
        self.inputs = {each.name: each.type for each in workflow.inputs}
        self.steps = {each.name: each for each in workflow.steps}
        self._outputs: dict[str, dict[str, Type]] = {}
        self._modules: dict[Checksum, Signature] = {}

    def signature(self, module: Checksum) -> Signature:
        """The inputs and outputs of a module by name."""
        known = self._modules.get(module)
        if known is None:
            known = self._modules[module] = Signature(self.modules[module])
        return known

    def of(self, expression: Expression, step: Step | None = None) -> Type:
        """The type of an expression, which stands in a step where it is about an item."""
        match expression:
            case OutputOf():
                return self.output(expression.step, expression.output)
            case InputOf():
                return self.input(expression.name)
            case Constant():
                return expression.ref.type
            case Literal():
                return infer(expression.value)
            case ListOf():
                kinds = {self.of(each, step) for each in expression.items}
                inline = all(each.inline for each in kinds)
                return Type("list", kinds.pop() if len(kinds) == 1 else JSON if inline else ANY)
        if step is None or step.for_each is None:
            raise Invalid("an item exists only in a step with for_each")
        key, item = self.item(step)
        return key if isinstance(expression, Key) else item

    def input(self, name: str) -> Type:
        if name not in self.inputs:
            raise Invalid(f"the workflow has no input {name!r}{self._meant(name)}")
        return self.inputs[name]

    def output(self, step: str, output: str) -> Type:
        """The type of a step's output as others see it: a list, where the step is mapped."""
        declared = self.unmapped(step, output)
        return declared if self.steps[step].for_each is None else Type("list", replace(declared, optional=False))

    def declared(self, expression: OutputOf) -> Type | None:
        """The type of an output of a step with one module, that runs once; ``None`` for any other, and where there is none."""
        step = self.steps.get(expression.step)
        if step is None or step.module is None or step.for_each is not None:
            return None
        return self.signature(step.module).outputs.get(expression.output)

    def unmapped(self, step: str, output: str) -> Type:
        """The type of the output of one item of a step. All candidates of a race must have it, of one type."""
        if step not in self.steps:
            raise Invalid(f"there is no step {step!r}{nearest(step, self.steps)}")
        own = self.steps[step].module
        known = self.signature(own).outputs if own is not None else self._common_outputs(step)
        if output not in known:
            raise Invalid(
                f"step {step} has no output {output!r}{nearest(output, known)}; its outputs are {', '.join(known)}"
            )
        return known[output]

    def _common_outputs(self, step: str) -> dict[str, Type]:
        """The outputs that every candidate has; where their types differ, the one that all fit, else any."""
        if step not in self._outputs:
            each_has = [self.signature(program.module).outputs for program in self.steps[step].programs()]
            common = self._outputs[step] = {}
            for name in each_has[0]:
                types = [has[name] for has in each_has if name in has]
                if len(types) == len(each_has):
                    widest = [one for one in types if all(fits(other, one) for other in types)]
                    common[name] = widest[0] if widest else ANY
        return self._outputs[step]

    def item(self, step: Step) -> tuple[Type, Type]:
        """The types of the key and the item of a step's ``for_each``."""
        assert step.for_each is not None
        over = self.of(step.for_each.over)
        if over.name in ("list", "collection"):
            return (_INT if over.name == "list" else STR), over.item or ANY
        if over.name == "directory":
            return STR, Type("file")
        if over.name in ("json", "any"):
            return JSON, over
        raise Invalid(f"for_each needs a list, a collection, a directory or json, and this is of type {over}")

    def _meant(self, name: str) -> str:
        if name in self.steps:
            return f"; {name} is a step: write ${name}.OUTPUT, or ${name}.succeeded"
        return nearest(name, self.inputs)


class Signature:
    """A module as many steps are held against it. ``fitting`` are types that were found to fit an input."""

    def __init__(self, module: Module) -> None:
        self.name = module.name
        self.inputs = {each.name: each for each in module.inputs}
        self.required = [each for each in module.inputs if each.required]
        self.outputs = {each.name: each.type for each in module.outputs}
        self.reserved = [each.name for each in module.outputs if each.name in RESERVED]
        self.fitting: dict[str, list[Type]] = {}

    def fits(self, name: str, actual: Type) -> bool:
        """Whether a value of a type may stand at an input."""
        fitting = self.fitting.get(name)
        if fitting is None:
            fitting = self.fitting[name] = []
        for each in fitting:
            if each is actual:
                break
        else:
            if not may_fit(actual, self.inputs[name].type):
                return False
            fitting.append(actual)
        return True


def may_fit(actual: Type, declared: Type) -> bool:
    """Whether a value may stand there; what is declared ``any`` shows its type only at run time."""
    if actual.name == "list" and actual.item is not None and declared.name in ("list", "json"):
        return may_fit(actual.item, (declared.item or ANY) if declared.name == "list" else JSON)
    return actual.name == "any" or fits(actual, declared)
