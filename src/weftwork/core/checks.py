"""Whether a workflow can run: every reference known, every type fitting, nothing that waits for itself.

All problems are found, not just the first, each with its place in the document, so that a reader of files can name the
line. :class:`~weftwork.core.typed.Types` tells the type of every expression.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from weftwork.core.checksum import Checksum, shorten
from weftwork.core.condition import Compare, Condition, Operand, Term, kind_of, leaves, operands, text_of
from weftwork.core.cycles import cycles
from weftwork.core.expression import Expression, InputOf, Item, Key, ListOf, Literal, OutputOf
from weftwork.core.module import ABSENT, Input, Module, nearest
from weftwork.core.step import Step
from weftwork.core.typed import Types, may_fit
from weftwork.core.values import Type, convert
from weftwork.core.workflow import Workflow
from weftwork.errors import Invalid

Path = tuple[str, ...]

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_CANDIDATE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-]*\Z")
_STORED = frozenset({"file", "directory", "collection", "bytes", "image", "array", "table"})
_KINDS = {"int": "number", "float": "number", "str": "text", "bool": "bool", "null": "null"}


@dataclass(frozen=True, slots=True)
class Problem:
    """Something wrong, and where: ``("steps", "fit", "inputs", "data")``."""

    path: Path
    message: str

    def document(self) -> dict[str, Any]:
        return {"path": list(self.path), "message": self.message}


def validate(workflow: Workflow, modules: Mapping[Checksum, Module]) -> None:
    """Raise :class:`~weftwork.errors.Invalid` that lists all that is wrong; ``details["problems"]`` has each, with its path.

    Paths are ``steps, NAME`` and then ``inputs, NAME`` · ``when`` · ``for_each`` · ``race, accept`` ·
    ``race, candidates, NAME[, inputs, NAME]`` · ``module``; or ``inputs, NAME``; or ``outputs, NAME``.
    """
    found = list(dict.fromkeys(_problems(workflow, modules)))
    if found:
        lines = [f"{'.'.join(each.path)}: {each.message}" for each in found]
        head = lines[0] if len(lines) == 1 else "\n".join([f"{len(lines)} problems", *lines])
        raise Invalid(f"workflow {workflow.name}: {head}", problems=[each.document() for each in found])


def _problems(workflow: Workflow, modules: Mapping[Checksum, Module]) -> Iterator[Problem]:
    for what, names in (
        ("inputs", [each.name for each in workflow.inputs]),
        ("steps", [each.name for each in workflow.steps]),
    ):
        yield from _names(what, names)
    for each in workflow.inputs:
        if each.default is not ABSENT:
            yield from _attempt(("inputs", each.name), partial(convert, each.type, each.default, "the default"))
    unknown = {module for module in workflow.modules() if module not in modules}
    if unknown:
        for step in workflow.steps:
            for program in step.programs():
                if program.module in unknown:
                    yield Problem(("steps", step.name, "module"), f"the module {program.module.short} is not here")
        return
    types = Types(workflow, modules)
    for step in workflow.steps:
        if not _surely_right(step, types):
            yield from _step(step, types)
    for name, expression in workflow.outputs.items():
        yield from _attempt(("outputs", name), partial(types.of, expression))
    for cycle in cycles(_waits(workflow.steps)):
        what = "waits for itself" if len(cycle) == 1 else "is part of a cycle: none of these can begin"
        yield Problem(("steps", cycle[0]), f"{what}: {' → '.join([*cycle, cycle[0]])}")


def _surely_right(step: Step, types: Types) -> bool:
    """Whether nothing is wrong with a step that takes outputs of other steps, as most of a large workflow are. Quick, since it
    tells no reason."""
    if step.module is None or step.for_each is not None or step.when is not None:
        return False
    signature, inputs, known = types.signature(step.module), step.inputs, types.declared
    for name, expression in inputs.items():
        if type(expression) is not OutputOf:
            return False
        actual = known(expression)
        if actual is None or name not in signature.inputs or not signature.fits(name, actual):
            return False
    return not signature.reserved and all(each.name in inputs for each in signature.required)


def _waits(steps: Iterable[Step]) -> dict[str, dict[str, None]]:
    """Who waits for whom, without those that wait only for steps before them which are none of these: mostly nobody."""
    begun: set[str] = set()
    waits: dict[str, dict[str, None]] = {}
    for step in steps:
        needs = step.reads() if step.when is None else {**step.reads(), **step.waits_for()}
        if begun.issuperset(needs):
            begun.add(step.name)
        else:
            waits[step.name] = needs
    return waits


def _names(what: str, names: list[str]) -> Iterator[Problem]:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            yield Problem((what, name), f"two {what} are called {name!r}")
        elif not _NAME.match(name):
            yield Problem((what, name), f"{name!r} is not a name: letters, digits and '_' are expected, no digit first")
        seen.add(name)


def _attempt(path: Path, action: Callable[[], object]) -> Iterator[Problem]:
    """What an action finds wrong."""
    try:
        action()
    except Invalid as error:
        yield Problem(path, error.message)


def _step(step: Step, types: Types) -> Iterator[Problem]:
    path = ("steps", step.name)
    if step.for_each is not None:
        yield from _attempt((*path, "for_each"), lambda: types.item(step))
    if step.when is not None:
        yield from _condition(step.when, types, (*path, "when"))
    if step.module is not None:
        yield from _program(step, "", step.module, step.inputs, types)
    if step.race is not None:
        for each in step.programs():
            yield from _program(step, each.name, each.module, each.inputs, types)
        yield from _race(step, types)


def _program(
    step: Step, candidate: str, module: Checksum, inputs: Mapping[str, Expression], types: Types
) -> Iterator[Problem]:
    """The inputs of a module, against what they are bound to."""
    signature = types.signature(module)
    path: Path = ("steps", step.name)
    own = path if not candidate else (*path, "race", "candidates", candidate)
    for output in signature.reserved:
        yield Problem(own, f"module {signature.name} has an output {output!r}, which asks how a step ended; rename it")
    known = signature.inputs
    for name, expression in inputs.items():
        declared = known.get(name)
        # An input that stands at the step is told there, not once for each candidate.
        shared = step.inputs.get(name) is expression
        where = (*(path if shared else own), "inputs", name)
        if declared is None:
            yield Problem(
                where,
                f"module {signature.name} has no input {name!r}{nearest(name, known)}; its inputs are {', '.join(known) or 'none'}",
            )
        else:
            yield from _input(declared, expression, step, types, where)
    for each in signature.required:
        if each.name not in inputs:
            yield Problem(
                (*own, "inputs"),
                f"input {each.name!r} of module {signature.name} is missing; a value of type {each.type} is expected",
            )


def _input(declared: Input, expression: Expression, step: Step, types: Types, where: Path) -> Iterator[Problem]:
    if isinstance(expression, ListOf) and declared.type.name == "list" and declared.type.item is not None:
        each = replace(declared, type=declared.type.item)
        for item in expression.items:
            yield from _input(each, item, step, types, where)
    elif isinstance(expression, Literal):
        yield from _attempt(where, lambda: _literal(declared.type, expression.value))
    else:
        try:
            actual = types.of(expression, step)
        except Invalid as error:
            # What is wrong with the items themselves is told at for_each.
            if step.for_each is None or not isinstance(expression, Item | Key):
                yield Problem(where, error.message)
            return
        if not may_fit(actual, declared.type):
            yield Problem(where, f"{_told(expression)} is of type {actual}, and {declared.type} is expected")


def _told(expression: Expression) -> str:
    match expression:
        case OutputOf() | InputOf():
            return str(expression)
        case Item():
            return "the item of for_each"
        case Key():
            return "the key of for_each"
    return "the value"


def _literal(declared: Type, value: Any) -> None:
    if declared.name in _STORED and not (value is None and declared.optional):
        raise Invalid(f"{shorten(value)} is written out where {declared} is expected; name it by its checksum")
    convert(declared, value, "the value")


def _race(step: Step, types: Types) -> Iterator[Problem]:
    assert step.race is not None
    path = ("steps", step.name, "race")
    seen: set[str] = set()
    for each in step.race.candidates:
        if each.name in seen:
            yield Problem((*path, "candidates", each.name), f"two candidates are called {each.name!r}")
        elif not _CANDIDATE.match(each.name):
            yield Problem(
                (*path, "candidates", each.name), f"{each.name!r} is not a name: letters, digits, '_', '-' and '.'"
            )
        seen.add(each.name)
    if step.race.accept is not None:
        yield from _condition(step.race.accept, types, (*path, "accept"), step.name)


def _condition(condition: Condition, types: Types, path: Path, candidate: str = "") -> Iterator[Problem]:
    """What is wrong with a condition; ``candidate`` is the racing step whose candidates it accepts."""
    for leaf in leaves(condition):
        if isinstance(leaf, Term):
            if candidate:
                yield Problem(path, f"{leaf} says nothing here: accept is asked of a candidate that succeeded")
            elif leaf.step not in types.steps:
                yield Problem(path, f"there is no step {leaf.step!r}{nearest(leaf.step, types.steps)}")
            continue
        kinds: list[str | None] = []
        for operand in operands(leaf):
            try:
                kinds.append(_kind(operand, types, candidate))
            except Invalid as error:
                yield Problem(path, error.message)
        if len(kinds) == len(operands(leaf)):
            yield from (Problem(path, each) for each in _mismatch(leaf, kinds))


def _kind(operand: Operand, types: Types, candidate: str) -> str | None:
    """What the operand is for comparing, ``None`` where that shows only at run time."""
    match operand:
        case Literal():
            return kind_of(operand.value)
        case InputOf():
            declared = types.input(operand.name)
        case OutputOf():
            if candidate and operand.step != candidate:
                raise Invalid(
                    f"{operand}: accept may use ${candidate}.OUTPUT, which is the candidate's, and inputs of the workflow"
                )
            known = types.unmapped if candidate else types.output
            declared = known(operand.step, operand.output)
    if declared.name in ("json", "any"):
        return None
    if declared.name not in _KINDS:
        raise Invalid(f"{operand} is of type {declared}, and a condition compares numbers, texts and booleans")
    return None if declared.optional else _KINDS[declared.name]


def _mismatch(leaf: Any, kinds: Iterable[str | None]) -> Iterator[str]:
    known = [each for each in kinds if each is not None]
    if not isinstance(leaf, Compare):
        if known and known[0] != "bool":
            yield f"{text_of(leaf.operand)} is a {known[0]}, neither true nor false; compare it with something"
    elif leaf.operator in ("==", "!="):
        if len(set(known) - {"null"}) > 1:
            yield f"{leaf}: a {known[0]} is never equal to a {known[1]}"
    elif set(known) - {"number", "text"} or len(set(known)) > 1:
        yield f"{leaf}: {' and '.join(f'a {each}' for each in known)} cannot be compared by {leaf.operator}"
