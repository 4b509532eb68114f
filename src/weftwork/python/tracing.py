"""Tracing: a function that calls modules becomes a workflow, by being called once with promises.

Within a trace a module's call adds a step and answers a :class:`Promise` of its outputs. What the
function does besides (loops, arithmetic on plain values) happens while it is traced, not when the workflow runs.
"""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from weftwork.core.checksum import Checksum, shorten
from weftwork.core.condition import Compare, Condition, Term, Truth
from weftwork.core.expression import ITEM, Constant, Expression, InputOf, ListOf, Literal, OutputOf
from weftwork.core.module import Carried, Input, Module, nearest
from weftwork.core.step import Candidate, ForEach, Overrides, Race, Step
from weftwork.core.values import ANY, File, Ref, Type, convert
from weftwork.core.workflow import Workflow
from weftwork.errors import Invalid

_current: contextvars.ContextVar[Trace | None] = contextvars.ContextVar("weft_trace", default=None)

Keep = Callable[[Type, Any, str], Ref]


def current() -> Trace | None:
    """The trace that runs now, if any."""
    return _current.get()


class Promise:
    """A value that does not exist yet: an input of the workflow, or the outputs of a step.

    ``promise.output`` is one output; ``.done``, ``.succeeded`` and ``.failed`` are conditions, and so is a
    comparison with a scalar. A step's promise with a single output stands for that output.
    """

    __slots__ = ("_expressions", "_name", "_step")

    def __init__(self, name: str, expressions: Mapping[str, Expression], step: str | None = None) -> None:
        self._name = name
        self._expressions = dict(expressions)
        self._step = step

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if self._step is not None and name in ("done", "succeeded", "failed"):
            return Term(self._step, name)
        if self._step is None or name not in self._expressions:
            known = ", ".join(self._expressions) if self._step is not None else "none"
            raise AttributeError(
                f"{self._name} has no output {name!r}{nearest(name, self._expressions)}; its outputs are {known}"
            )
        return Promise(f"{self._name}.{name}", {name: self._expressions[name]})

    def _expression(self) -> Expression:
        if len(self._expressions) != 1:
            raise Invalid(
                f"{self._name} has the outputs {', '.join(self._expressions)}: say which one, as in {self._name}.{next(iter(self._expressions))}"
            )
        return next(iter(self._expressions.values()))

    def _compare(self, operator: str, other: Any) -> Condition:
        right = _operand(other._expression() if isinstance(other, Promise) else Literal(other), self._name)
        return Compare(_operand(self._expression(), self._name), operator, right)

    def __lt__(self, other: Any) -> Condition:
        return self._compare("<", other)

    def __le__(self, other: Any) -> Condition:
        return self._compare("<=", other)

    def __gt__(self, other: Any) -> Condition:
        return self._compare(">", other)

    def __ge__(self, other: Any) -> Condition:
        return self._compare(">=", other)

    def __eq__(self, other: object) -> Any:
        return self._compare("==", other)

    def __ne__(self, other: object) -> Any:
        return self._compare("!=", other)

    __hash__ = None  # type: ignore[assignment]

    def __and__(self, other: Any) -> Condition:
        return as_condition(self) & as_condition(other)

    def __or__(self, other: Any) -> Condition:
        return as_condition(self) | as_condition(other)

    def __invert__(self) -> Condition:
        return ~as_condition(self)

    def __bool__(self) -> bool:
        raise Invalid(
            f"{self._name} has no value before the run, so it cannot decide an `if`; give the step `.options(when=...)`"
        )

    def __iter__(self) -> Iterator[Any]:
        raise Invalid(f"{self._name} has no items before the run; call a module for each with module.map({self._name})")

    def __getitem__(self, key: Any) -> Any:
        raise Invalid(
            f"{self._name} has no value before the run, so {self._name}[{key!r}] cannot be taken; make a module that does"
        )

    def _valueless(self, *_: Any) -> Any:
        raise Invalid(
            f"{self._name} has no value before the run, so the workflow cannot calculate with it; make a module that does"
        )

    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __matmul__ = __rmatmul__ = _valueless
    __truediv__ = __rtruediv__ = __floordiv__ = __rfloordiv__ = __mod__ = __rmod__ = __pow__ = __rpow__ = _valueless
    __neg__ = __pos__ = __abs__ = __float__ = __int__ = __index__ = __complex__ = __round__ = __len__ = _valueless

    def __str__(self) -> str:
        raise Invalid(
            f"{self._name} has no value before the run, so it cannot stand in a text; make a module that writes the text"
        )

    def __format__(self, specification: str) -> str:
        return str(self)

    def __repr__(self) -> str:
        return f"<promise of {self._name}>"


def _operand(expression: Expression, name: str) -> Any:
    if not isinstance(expression, (OutputOf, InputOf, Literal)):
        raise Invalid(f"{name} cannot be compared: only a scalar output, an input or a plain value can")
    return expression


def as_condition(value: Any) -> Condition:
    """A condition as it is; a promise as the truth of its value. Raises Invalid for anything else."""
    if isinstance(value, Promise):
        return Truth(_operand(value._expression(), value._name))
    if isinstance(value, Condition):
        return value
    raise Invalid(f"{shorten(value)} is not a condition; use promise.succeeded, promise.output < 1, and & | ~ of such")


@dataclass(frozen=True, slots=True)
class Options:
    """What a call says besides its inputs; see ``module.options``."""

    name: str | None = None
    when: Any = None
    at: str | None = None
    resources: Mapping[str, Any] = field(default_factory=dict)
    cache: bool | None = None
    retries: int | None = None
    priority: int | None = None

    def overrides(self) -> Overrides:
        return Overrides(self.at, tuple(sorted(self.resources.items())), self.cache, self.retries, self.priority)


@dataclass(frozen=True, slots=True)
class Bound:
    """A module with its inputs, not called yet: a candidate of a race."""

    module: Any
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    options: Options = Options()

    def __call__(self) -> Any:
        return self.module(*self.args, **self.kwargs)


class Trace:
    """Gathers the steps of a workflow while its function runs once."""

    def __init__(self, keep: Keep) -> None:
        self._keep = keep
        self.steps: list[Step] = []
        self.modules: dict[Checksum, Module] = {}
        self.carried: list[Carried] = []
        self._resolved: dict[int, tuple[Any, Module]] = {}
        self._names: dict[str, int] = {}

    @contextlib.contextmanager
    def active(self) -> Iterator[None]:
        """Within this, calls of modules are steps."""
        token = _current.set(self)
        try:
            yield
        finally:
            _current.reset(token)

    def call(
        self, function: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], options: Options = Options()
    ) -> Promise:
        """A step that runs once."""
        module = self._module(function)
        name = self._named(options.name or module.name)
        inputs = self._inputs(module, function.bound(args, kwargs), name)
        return self._add(Step(name, module.checksum, inputs, _when(options), placement=options.overrides()), module)

    def map(
        self, function: Any, columns: tuple[Any, ...], constants: Mapping[str, Any], options: Options = Options()
    ) -> Promise:
        """A step that runs for each item of a list that a promise stands for."""
        module = self._module(function)
        name = self._named(options.name or module.name)
        if len(columns) != 1:
            raise Invalid(f"{name}: within a workflow map takes one column; the other inputs are given by name")
        free = [each for each in function.parameters if each not in constants]
        if not free:
            raise Invalid(
                f"{name}: every input of {module.name} is given by name; leave the one that the column is for"
            )
        variable = free[0]
        inputs = {**self._inputs(module, dict(constants), name), variable: ITEM}
        over = self._expression(columns[0], ANY, f"{name}: what it maps over")
        each = ForEach(variable, over)
        return self._add(
            Step(name, module.checksum, inputs, _when(options), each, placement=options.overrides()), module
        )

    def race(self, candidates: Mapping[str, Bound], accept: Any, options: Options) -> Promise:
        """A step that the first good candidate gives."""
        if len(candidates) < 2:
            raise Invalid("a race needs at least two candidates, each module.bind(...)")
        name = self._named(options.name or "race")
        made, modules = [], []
        for label, bound in candidates.items():
            if not isinstance(bound, Bound):
                raise Invalid(f"race {name}: the candidate {label!r} is {shorten(bound)}; write module.bind(...)")
            module = self._module(bound.module)
            inputs = self._inputs(module, bound.module.bound(bound.args, bound.kwargs), f"{name}{{{label}}}")
            made.append(Candidate(label, module.checksum, inputs, bound.options.overrides()))
            modules.append(module)
        step = Step(
            name,
            None,
            {},
            _when(options),
            None,
            Race(tuple(made), self._accept(name, modules[0], accept)),
            options.overrides(),
        )
        return self._add(step, modules[0])

    @staticmethod
    def _accept(name: str, module: Module, accept: Any) -> Condition | None:
        if accept is None:
            return None
        promise = Promise(name, {each.name: OutputOf(name, each.name) for each in module.outputs}, name)
        return as_condition(accept(promise) if callable(accept) and not isinstance(accept, Promise) else accept)

    def _add(self, step: Step, module: Module) -> Promise:
        self.steps.append(step)
        return Promise(step.name, {each.name: OutputOf(step.name, each.name) for each in module.outputs}, step.name)

    def _module(self, function: Any) -> Module:
        known = self._resolved.get(id(function))
        if known is not None:
            return known[1]
        module, carried = function.resolve()
        self._resolved[id(function)] = (function, module)
        self.modules[module.checksum] = module
        self.carried.append(carried)
        return module  # type: ignore[no-any-return]

    def _named(self, name: str) -> str:
        """The name, made unique by a number: ``fit``, ``fit_2``."""
        name = name.replace(".", "_").replace("-", "_")
        count = self._names[name] = self._names.get(name, 0) + 1
        return name if count == 1 else self._named(f"{name}_{count}")

    def _inputs(self, module: Module, values: Mapping[str, Any], step: str) -> dict[str, Expression]:
        out = {}
        for name, value in values.items():
            out[name] = self._expression(value, module.input(name).type, f"{step}: input {name!r}")
        return out

    def _expression(self, value: Any, declared: Type, where: str) -> Expression:
        if isinstance(value, Promise):
            return value._expression()
        if isinstance(value, Ref):
            return Constant(value)
        if isinstance(value, (list, tuple)) and _has_promise(value):
            item = declared.item or ANY
            return ListOf(tuple(self._expression(each, item, f"{where}[{index}]") for index, each in enumerate(value)))
        if isinstance(value, dict) and _has_promise(value.values()):
            raise Invalid(f"{where}: a dict cannot hold promises; pass them as inputs of their own, or as a list")
        converted = convert(declared, value, where)
        if declared.inline or (declared.name == "any" and isinstance(converted, (type(None), bool, int, float, str))):
            return Literal(converted)
        return Constant(self._keep(declared, converted, where))


def _has_promise(values: Any) -> bool:
    return any(isinstance(each, Promise) or (isinstance(each, (list, tuple)) and _has_promise(each)) for each in values)


def _when(options: Options) -> Condition | None:
    return None if options.when is None else as_condition(options.when)


@dataclass(frozen=True, slots=True)
class Traced:
    """A workflow with what is needed to run it."""

    workflow: Workflow
    modules: Mapping[Checksum, Module]
    carried: tuple[Carried, ...]


def trace(function: Callable[..., Any], name: str, inputs: tuple[Input, ...], keep: Keep) -> Traced:
    """The workflow that a function describes. Raises Invalid where it needs a value that does not exist yet."""
    tracer = Trace(keep)
    promises = {each.name: Promise(each.name, {each.name: InputOf(each.name)}) for each in inputs}
    with tracer.active():
        answer = function(**promises)
    outputs = {
        each: tracer._expression(value, ANY, f"{name}: output {each!r}")
        for each, value in _named_outputs(answer, name).items()
    }
    description = (function.__doc__ or "").strip().partition("\n")[0]
    workflow = Workflow(name, inputs, tuple(tracer.steps), outputs, description=description)
    return Traced(workflow, tracer.modules, tuple(tracer.carried))


def _named_outputs(answer: Any, name: str) -> dict[str, Any]:
    if answer is None:
        raise Invalid(f"the workflow {name} returns nothing: return a promise, or a dict of them by the outputs' names")
    if isinstance(answer, Mapping):
        return dict(answer)
    if hasattr(answer, "_asdict"):
        return dict(answer._asdict())
    if isinstance(answer, Promise) and answer._step is not None and len(answer._expressions) > 1:
        return {each: getattr(answer, each) for each in answer._expressions}
    if isinstance(answer, (Promise, list, File, str, int, float)):
        return {"result": answer}
    raise Invalid(
        f"the workflow {name} returns {shorten(answer)}; return a promise, or a dict of them by the outputs' names"
    )
