"""For the tests of the flow: random workflows, a slow evaluator that is obviously right, and a driver in random order."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from weftwork.core.checksum import Checksum
from weftwork.core.condition import And, Compare, Condition, Not, Or, Term
from weftwork.core.expression import ITEM, KEY, Expression, InputOf, ListOf, Literal, OutputOf
from weftwork.core.flow import Flow
from weftwork.core.grammar import parse
from weftwork.core.messages import (
    Cancel,
    CancelAll,
    Choose,
    Chosen,
    Ended,
    Event,
    Expand,
    Finish,
    Instruction,
    Items,
    LookUp,
    Outcome,
    Settle,
    Submit,
)
from weftwork.core.module import Command, Input, Module, Output
from weftwork.core.step import Candidate, ForEach, Race, Step
from weftwork.core.values import Ref, Type
from weftwork.core.workflow import Workflow

FLOAT, ANY = Type("float"), Type("any")
MODULE = Module(
    "m",
    (Input("x", ANY), Input("y", ANY, 7.0), Input("z", Type("any", optional=True)), Input("key", ANY, "")),
    (Output("r", ANY), Output("v", FLOAT)),
    Command(("true",)),
)
MODULES = {MODULE.checksum: MODULE}
GOOD_BELOW = 5.0


def ref(name: str) -> Ref:
    return Ref(FLOAT, Checksum.of(name.encode()), 8)


@dataclass(frozen=True)
class Script:
    """What each task will do: fail, or end well with a value of ``v``; and how many items a reference holds."""

    seed: int

    def _dice(self, *about: str) -> random.Random:
        return random.Random(repr((self.seed, about)))

    def fails(self, task: str) -> bool:
        return self._dice("fails", task).random() < 0.2

    def value(self, name: str) -> float:
        """Of a step; of a candidate it says whether it is good enough."""
        values = [0.0, 0.0, 9.0] if name.endswith("}") else [0.0, 1.0, 2.0, 3.0, 4.0]
        return self._dice("value", name).choice(values)

    def items(self, name: str) -> int:
        return self._dice("items", name).randint(0, 3)


@dataclass(frozen=True)
class Case:
    workflow: Workflow
    script: Script


def condition(dice: random.Random, before: list[Step], depth: int = 2) -> Condition:
    """A random condition over the steps before."""
    kind = dice.randrange(7) if depth else dice.randrange(2)
    if kind >= 4:
        return Not(condition(dice, before, depth - 1))
    if kind >= 2:
        parts = tuple(condition(dice, before, depth - 1) for _ in range(dice.randint(2, 3)))
        return And(parts) if kind == 2 else Or(parts)
    step = dice.choice(before)
    if kind == 1 and step.for_each is None:
        return Compare(OutputOf(step.name, "v"), dice.choice(["<", ">="]), Literal(dice.choice([1.0, 3.0])))
    return Term(step.name, dice.choice(["done", "succeeded", "failed"]))


def source(dice: random.Random, before: list[Step], deep: bool = True) -> Expression:
    """Where an input comes from: a step before, the workflow's input, a list of such."""
    kind = dice.randrange(6)
    if kind == 0 and deep:
        return ListOf(tuple(source(dice, before, False) for _ in range(dice.randrange(3))))
    return OutputOf(dice.choice(before).name, "r") if before and kind > 1 else InputOf("seed")


def one_step(dice: random.Random, before: list[Step]) -> Step:
    name = f"s{len(before)}"
    inputs = {each: source(dice, before) for each in "xyz" if each == "x" or dice.random() < 0.4}
    over = None
    if dice.random() < 0.25:
        over = ForEach("i", Literal([1] * dice.randrange(4)) if dice.random() < 0.4 else source(dice, before))
        inputs |= {"x": ITEM, "key": KEY}
    when = condition(dice, before) if before and dice.random() < 0.35 else None
    race = None
    if dice.random() < 0.25:
        accept = parse(f"${name}.v < {GOOD_BELOW}") if dice.random() < 0.6 else None
        race = Race(tuple(Candidate(each, MODULE.checksum) for each in "abc"[: dice.randint(1, 3)]), accept)
    return Step(name, None if race else MODULE.checksum, inputs, when, over, race)


def case_of(size: int, seed: int) -> Case:
    """A workflow of some steps in any order, and what its tasks will do."""
    dice = random.Random(seed)
    steps: list[Step] = []
    for _ in range(size):
        steps.append(one_step(dice, steps))
    outputs = {f"o{step.name}": OutputOf(step.name, "r") for step in steps[-2:]}
    order = tuple(dice.sample(steps, size))
    return Case(Workflow("w", (Input("seed", ANY),), order, outputs), Script(seed))


# From a seed, since the strategies of a whole workflow take fifty times as long as its evaluation; the size shrinks.
cases = st.builds(case_of, st.integers(1, 12), st.integers(0, 2**32))


class Model:
    """How every step must end: evaluated step after step, looking at everything before it, with no order of events."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.states: dict[str, str] = {}
        for step in sorted(case.workflow.steps, key=lambda each: int(each.name[1:])):
            self.states[step.name] = self._state(step)

    def value(self, step: str) -> float:
        return self.case.script.value(step)

    def truth(self, condition: Condition) -> bool | None:
        match condition:
            case Term():
                endings = {"done": ("succeeded", "failed")}.get(condition.ending, (condition.ending,))
                return self.states[condition.step] in endings
            case Compare(OutputOf(step, _), symbol, Literal(bound)):
                if self.states[step] != "succeeded":
                    return None
                return self.value(step) < bound if symbol == "<" else self.value(step) >= bound
            case Not(part):
                held = self.truth(part)
                return None if held is None else not held
            case And(parts) | Or(parts):
                found = {self.truth(each) for each in parts}
                decides = isinstance(condition, Or)
                return decides if decides in found else None if None in found else not decides
        raise AssertionError(condition)

    def _state(self, step: Step) -> str:
        held = True if step.when is None else self.truth(step.when)
        if held is False:
            return "skipped"
        ends = {self.states[each] for each in step.reads()}
        if held is None or ends & {"failed", "cancelled"}:
            return "cancelled"
        needed = [step.inputs["x"], *([step.for_each.over] if step.for_each else [])]
        if any(self.states[name] == "skipped" for each in needed for name in self._sources(each)):
            return "skipped"
        if step.for_each is None:
            return "succeeded" if self._unit(step, step.name) else "failed"
        count = self.count(step.for_each.over)
        if count is None:
            return "failed"
        units = [self._unit(step, f"{step.name}[{index}]") for index in range(count)]
        return "succeeded" if all(units) else "failed"

    def _sources(self, expression: Expression) -> list[str]:
        if isinstance(expression, ListOf):
            return [name for each in expression.items for name in self._sources(each)]
        return [expression.step] if isinstance(expression, OutputOf) else []

    def _unit(self, step: Step, task: str) -> bool:
        script = self.case.script
        if step.race is None:
            return not script.fails(task)
        names = [f"{task}{{{each.name}}}" for each in step.race.candidates]
        ok = [name for name in names if not script.fails(name)]
        return any(step.race.accept is None or script.value(name) < GOOD_BELOW for name in ok)

    def count(self, over: Expression) -> int | None:
        match over:
            case Literal(value):
                return len(value)
            case ListOf(items):
                return len(items)
            case InputOf(name):
                return self.case.script.items(name)
            case OutputOf(step, _):
                source = self.case.workflow.step(step)
                if source.for_each is not None:
                    return self.count(source.for_each.over)
                return self.case.script.items(step)
        raise AssertionError(over)


class Driver:
    """Carries out instructions in random order and batches, and checks on the way what must hold at any moment."""

    def __init__(self, case: Case, seed: int, cancel_after: int | None = None) -> None:
        self.case, self.random = case, random.Random(seed)
        self.steps = {each.name: each for each in case.workflow.steps}
        self.flow = Flow(case.workflow, MODULES, {"seed": ref("seed")})
        self.log: list[list[Event]] = []
        self.instructions: list[Instruction] = []
        self.submitted: dict[str, Submit] = {}
        self.pending: list[Event] = []
        self.ended: dict[str, str] = {}
        self.outcome: Outcome | None = None
        self.cancel_after = cancel_after
        self.withdrawn: set[str] = set()

    def run(self) -> Outcome:
        self._take(self.flow.start())
        while self.outcome is None:
            assert self.pending or self.cancel_after is not None, (
                "nothing can happen any more and the run has not ended"
            )
            batch = self._batch()
            self.log.append(batch)
            self.flow.validate_state()
            for event in batch:
                if isinstance(event, Ended):
                    self.ended[event.task] = event.state
            self._take(self.flow.handle(batch))
            self.flow.validate_state()
        assert not any(isinstance(each, Ended) for each in self.pending), "no task is alive"
        assert self.flow.handle(self.pending) == [], "late answers change nothing"
        return self.outcome

    def _batch(self) -> list[Event]:
        self.random.shuffle(self.pending)
        size = self.random.randint(1, max(1, len(self.pending)))
        batch, self.pending = self.pending[:size], self.pending[size:]
        if self.cancel_after is not None and len(self.log) == self.cancel_after:
            batch.insert(self.random.randint(0, len(batch)), CancelAll("user"))
        return batch

    def _take(self, instructions: list[Instruction]) -> None:
        for each in instructions:
            assert self.outcome is None, "Finish comes last"
            self.instructions.append(each)
            if self.log and any(isinstance(event, CancelAll) for batch in self.log[:-1] for event in batch):
                assert not isinstance(each, Submit | Expand | LookUp | Choose), "a withdrawn run begins nothing"
            match each:
                case Submit():
                    self._submit(each)
                case Expand():
                    self._expand(each)
                case LookUp():
                    names = [*each.candidates, None, None, "elsewhere"]
                    self.pending.append(Chosen(each.task, self.random.choice(names)))
                case Choose():
                    step = self.steps[each.step]
                    assert step.race is not None
                    others = [other.name for other in step.race.candidates]
                    self.pending.append(Chosen(each.task, self.random.choice([each.candidate, *others])))
                case Cancel():
                    self._cancel(each)
                case Settle():
                    pass
                case Finish():
                    self.outcome = each.outcome

    def _submit(self, submit: Submit) -> None:
        assert submit.task not in self.submitted, "a task is submitted once"
        self.submitted[submit.task] = submit
        step = self.steps[submit.step]
        for name in step.reads():
            assert self.flow.state(name) in ("succeeded", "skipped"), "its inputs are there"
        self._check_inputs(step, submit)
        self.pending.append(self._end(submit))

    def _check_inputs(self, step: Step, submit: Submit) -> None:
        assert "x" in submit.inputs
        for name, value in submit.inputs.items():
            if isinstance(step.inputs[name], OutputOf):
                source = step.inputs[name]
                assert isinstance(source, OutputOf)
                if self.steps[source.step].for_each is None:
                    assert isinstance(value, Ref)
                else:
                    assert isinstance(value, tuple)
        for name in step.inputs:
            if name not in submit.inputs:
                assert "skipped" in {self.flow.state(each) for each in step.reads()}

    def _end(self, submit: Submit) -> Ended:
        script = self.case.script
        if script.fails(submit.task):
            return Ended(submit.task, "failed", error="it broke")
        mapped = self.steps[submit.step].for_each is not None
        own = script.value(submit.task) if submit.task.endswith("}") else 0.0
        # All accepted candidates give one value, so that what follows does not depend on which of them wins.
        value = own if own >= GOOD_BELOW or mapped else script.value(submit.step)
        if self.steps[submit.step].race is not None and self.steps[submit.step].race.accept is None:  # type: ignore[union-attr]
            value = script.value(submit.step)
        outputs: Mapping[str, Any] = {"r": ref(submit.task), "v": ref(f"{submit.task}.v")}
        return Ended(submit.task, "succeeded", outputs, dict.fromkeys(self.flow.needs_scalars(submit.step), value))

    def _expand(self, expand: Expand) -> None:
        over = self.steps[expand.step].for_each
        assert over is not None
        count = Model(self.case).count(over.over)
        assert count is not None
        self.pending.append(
            Items(expand.step, tuple((f"k{index}", ref(f"{expand.step}.{index}")) for index in range(count)))
        )

    def _cancel(self, cancel: Cancel) -> None:
        assert cancel.task in self.submitted
        assert cancel.task not in self.withdrawn, "a task is cancelled once"
        self.withdrawn.add(cancel.task)
        if cancel.task in self.ended:
            told = [each.task for each in self.log[-1] if isinstance(each, Ended)]
            assert cancel.task in told, "what has ended is not cancelled, unless the end was told just then"
        elif self.random.random() < 0.7:  # else it was too late: the task ends as it would have
            self.pending = [each for each in self.pending if not (isinstance(each, Ended) and each.task == cancel.task)]
            self.pending.append(Ended(cancel.task, "cancelled"))
