"""The flow of a workflow: events in, instructions out. Sans-IO, deterministic, incremental.

Work is proportional to what an event touches: a step knows how many steps it still needs, and tells its readers when it
has ended. Values are names (:class:`~weftwork.core.values.Ref`); of contents only the scalars in conditions are seen.

How a step ends depends on how all steps before it ended and never on the order in which they did:

1. its condition is false: *skipped*, at once;
2. its condition can never be true, or a step that it reads has failed or was cancelled: *cancelled*, once the
   condition is settled (a condition over values that cannot be compared: *failed*);
3. a step that it reads was skipped, and the input has no default and is not optional: *skipped*, once all have ended;
4. else it runs.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from typing import Literal as OneOf

from weftwork.core.binding import Item, Values, bound_inputs, input_scalars, items_of
from weftwork.core.checksum import Checksum
from weftwork.core.condition import evaluate, leaves, operands, undecidable, why
from weftwork.core.expression import Literal, OutputOf
from weftwork.core.messages import (
    ENDINGS,
    Binding,
    Cancel,
    CancelAll,
    Chosen,
    Ended,
    Event,
    Expand,
    Finish,
    Instruction,
    Items,
    Settle,
    StepResult,
    Submit,
    TaskId,
)
from weftwork.core.module import Module
from weftwork.core.outcome import gathered, outcome, result_of
from weftwork.core.race import RaceOf
from weftwork.core.step import Step
from weftwork.core.workflow import Workflow
from weftwork.errors import Conflict, Invalid

_NONE: Final[frozenset[str]] = frozenset()
_ONE: Final[tuple[Item, ...]] = ((0, Literal(None)),)
"""The items of a race that is not mapped."""


@dataclass(slots=True, eq=False)
class _Node:
    """A step as the flow has it. ``pending`` counts the steps it reads that have not ended; ``verdict`` is what its
    condition came to: true, false, never, or ``None`` while it is open; ``upstream`` is why it must not run; ``lacks``
    says that a step that it reads was skipped."""

    step: Step
    state: str = "waiting"
    pending: int = 0
    readers: list[_Node] = field(default_factory=list)
    watchers: list[_Node] | None = None
    verdict: bool | OneOf["never"] | None = True
    upstream: str = ""
    lacks: bool = False
    result: StepResult | None = None
    scalars: Mapping[str, Any] | None = None
    units: _Units | None = None


@dataclass(slots=True, eq=False)
class _Units:
    """What a mapped or racing step consists of: a unit for each item (one, where it is not mapped)."""

    results: list[StepResult | None]
    open: int
    races: dict[int, RaceOf] = field(default_factory=dict)


_NOBODY: Final[list[_Node]] = []


class Flow:
    """One evaluation of a workflow that :func:`weftwork.core.checks.validate` found right.

    ``inputs`` are the workflow's inputs, ``scalars`` the values of those that :func:`~weftwork.core.binding.scalar_inputs` names (a plain
    JSON value need not be repeated there). Call :meth:`start` once, then :meth:`handle` with what happened; carry out
    the instructions in order. :class:`Finish` comes last, once. The same events give the same instructions.
    """

    def __init__(
        self,
        workflow: Workflow,
        modules: Mapping[Checksum, Module],
        inputs: Mapping[str, Binding],
        scalars: Mapping[str, Any] | None = None,
    ) -> None:
        self.workflow = workflow
        bound = bound_inputs(workflow, inputs)
        self._values = Values(modules, bound)
        self._input_scalars = input_scalars(workflow, bound, scalars or {})
        self._nodes = {step.name: _Node(step) for step in workflow.steps}
        self._needs: dict[str, frozenset[str]] = {}
        self._live: dict[TaskId, tuple[_Node, int, str]] = {}
        self._ended: deque[_Node] = deque()
        self._unended = len(self._nodes)
        self._by: str | None = None
        self._started = self._finished = False
        self._out: list[Instruction] = []
        self._connect()

    def _connect(self) -> None:
        nodes = self._nodes
        for node in nodes.values():
            for name in (reads := node.step.reads()):
                nodes[name].readers.append(node)
            node.pending = len(reads)
            for condition in node.step.conditions():
                for leaf in leaves(condition):
                    for operand in operands(leaf):
                        if isinstance(operand, OutputOf):
                            known = self._needs.get(operand.step, _NONE)
                            self._needs[operand.step] = known | {operand.output}
            if node.step.when is not None:
                node.verdict = None
                for name in node.step.waits_for():
                    watched = nodes[name]
                    if watched.watchers is None:
                        watched.watchers = []
                    watched.watchers.append(node)

    def needs_scalars(self, step: str) -> frozenset[str]:
        """The outputs of a step whose values must come with :class:`Ended`, for conditions."""
        return self._needs.get(step, _NONE)

    def start(self) -> list[Instruction]:
        """The first instructions."""
        if self._started:
            raise Conflict("this flow was started already")
        self._started = True
        for node in self._nodes.values():
            if node.verdict is None:
                self._judge(node)
            self._decide(node)
        return self._answer()

    def handle(self, events: Iterable[Event]) -> list[Instruction]:
        """What follows from the events, taken one after the other. Raises Conflict for one that cannot be."""
        if not self._started:
            raise Conflict("this flow was not started")
        for event in events:
            match event:
                case Ended():
                    self._task_ended(event)
                case Items():
                    self._expanded(event)
                case Chosen():
                    self._choice(event)
                case CancelAll():
                    self._cancel_all(event.by)
            self._spread()
        return self._answer()

    def _answer(self) -> list[Instruction]:
        self._spread()
        if not self._unended and not self._live and not self._finished:
            self._finished = True
            results = {name: node.result for name, node in self._nodes.items() if node.result is not None}
            self._out.append(Finish(outcome(self.workflow, results, self._values, self._by)))
        out, self._out = self._out, []
        return out

    # What the end of a step means for others

    def _spread(self) -> None:
        """Tell those that need the steps which have ended; a list and not a recursion: chains are long."""
        while self._ended:
            node = self._ended.popleft()
            assert node.result is not None
            stops, skipped = node.state in ("failed", "cancelled"), node.state == "skipped"
            for reader in node.readers:
                reader.pending -= 1
                if stops and not reader.upstream:
                    reader.upstream = f"{node.step.name} failed" if node.state == "failed" else node.result.why
                if skipped:
                    reader.lacks = True
                if reader.pending == 0 or stops:
                    self._decide(reader)
            # Nobody is told twice: of a large run they would be a tenth of the memory.
            node.readers = _NOBODY
            for watcher in node.watchers or ():
                if watcher.verdict is None:
                    self._judge(watcher)
                    self._decide(watcher)

    def _judge(self, node: _Node) -> None:
        """Evaluate a step's condition."""
        assert node.step.when is not None
        node.verdict = evaluate(node.step.when, self)
        if node.verdict is None and undecidable(node.step.when, self):
            node.verdict = "never"

    def state(self, step: str) -> str | None:
        """How a step ended, or ``None``. (This and the next two are the facts of conditions.)"""
        state = self._nodes[step].state
        return state if state in ENDINGS else None

    def value(self, step: str, output: str) -> Any:
        return (self._nodes[step].scalars or {})[output]

    def input(self, name: str) -> Any:
        return self._input_scalars[name]

    def _decide(self, node: _Node) -> None:
        """End or begin a waiting step, if that is settled: the four rules above."""
        if node.state != "waiting" or node.verdict is None:
            return
        if node.verdict is False:
            self._settle(node, StepResult("skipped", self._reasons(node)))
        elif node.verdict == "never":
            assert node.step.when is not None
            wrong = any(each.wrong for each in why(node.step.when, self))
            self._settle(node, StepResult("failed" if wrong else "cancelled", self._reasons(node)))
        elif node.upstream:
            self._settle(node, StepResult("cancelled", node.upstream))
        elif node.pending == 0:
            self._begin(node)

    def _reasons(self, node: _Node) -> str:
        assert node.step.when is not None
        return "; ".join(each.text for each in why(node.step.when, self))

    def _end(self, node: _Node, result: StepResult, scalars: Mapping[str, Any] | None = None) -> None:
        node.state, node.result = result.state, result
        if result.state == "succeeded":
            self._values.outputs[node.step.name] = result.outputs
            node.scalars = scalars
        node.units = None
        self._unended -= 1
        self._ended.append(node)

    def _settle(self, node: _Node, result: StepResult) -> None:
        """End a step in a way that no single task's end says."""
        self._out.append(Settle(node.step.name, result.state, result.why))
        self._end(node, result)

    # How a step runs

    def _begin(self, node: _Node) -> None:
        step, values = node.step, self._values
        lacks = values.missing(step) if node.lacks else ""
        if lacks:
            self._settle(node, StepResult("skipped", lacks))
        elif step.for_each is not None:
            self._map(node, values.resolve(step.for_each.over))
        elif step.race is not None:
            self._run(node, _ONE)
        else:
            node.state = "running"
            assert step.module is not None
            self._submit(node, 0, values.submit(step.name, step.name, step.module, step.inputs, step.placement))

    def _map(self, node: _Node, over: Binding | None) -> None:
        assert over is not None
        items = items_of(over)
        if isinstance(items, str):
            self._settle(node, StepResult("failed", items))
        elif items is None:
            node.state = "expanding"
            self._out.append(Expand(node.step.name, over))
        else:
            self._run(node, items)

    def _run(self, node: _Node, items: tuple[Item, ...]) -> None:
        """Start each item of a map, or the one race."""
        step, values = node.step, self._values
        node.state = "running"
        node.units = _Units([None] * len(items), len(items))
        programs = step.programs()
        for index, item in enumerate(items):
            task = step.name if step.for_each is None else f"{step.name}[{index}]"
            if step.race is None:
                only = programs[0]
                submit = values.submit(step.name, task, only.module, only.inputs, only.placement, item)
                self._submit(node, index, submit)
                continue
            candidates = {
                each.name: values.submit(
                    step.name, f"{task}{{{each.name}}}", each.module, each.inputs, each.placement, item
                )
                for each in programs
            }
            race = RaceOf(task, candidates, step.race.accept, self._input_scalars)
            node.units.races[index] = race
            self._follow(node, index, race.start())
        if not items:
            self._units_ended(node, node.units)

    def _submit(self, node: _Node, index: int, submit: Submit, candidate: str = "") -> None:
        self._live[submit.task] = (node, index, candidate)
        self._out.append(submit)

    def _follow(self, node: _Node, index: int, instructions: Iterable[Instruction]) -> None:
        """Pass on what a race wants, and keep account of its candidates."""
        for each in instructions:
            if isinstance(each, Submit):
                self._submit(node, index, each, each.task.rpartition("{")[2][:-1])
            else:
                self._out.append(each)

    def _task_ended(self, event: Ended) -> None:
        found = self._live.pop(event.task, None)
        if found is None:
            self._unexpected(event)
            return
        node, index, candidate = found
        scalars = self._scalars(node, event)
        if node.units is None:
            if candidate == "":
                self._end(node, result_of(event), scalars)
        elif node.step.race is None:
            self._unit_ended(node, node.units, index, result_of(event))
        else:
            race = node.units.races[index]
            self._follow(node, index, race.ended(candidate, event))
            self._race_over(node, node.units, index, race)

    def _unexpected(self, event: Ended) -> None:
        """An end of what is not alive: of a step being expanded; or late, which changes nothing."""
        node = self._nodes.get(event.task.partition("[")[0].partition("{")[0])
        if node is None or node.state == "waiting":
            raise Conflict(f"{event.task} has ended and was never submitted")
        if node.state == "expanding" and event.task == node.step.name:
            self._settle(node, StepResult("failed", event.error or "its items cannot be had"))

    def _scalars(self, node: _Node, event: Ended) -> Mapping[str, Any] | None:
        needs = self._needs.get(node.step.name)
        if not needs or event.state != "succeeded":
            return None
        for name in needs:
            if name not in event.scalars:
                raise Invalid(f"{event.task} has ended without the value of {name}, which a condition asks for")
        return {name: event.scalars[name] for name in needs}

    def _expanded(self, event: Items) -> None:
        node = self._nodes[event.step]
        if node.state == "expanding":
            self._run(node, event.items)
        elif node.state == "waiting":
            raise Conflict(f"the items of {event.step} have come and nobody asked for them")

    def _choice(self, event: Chosen) -> None:
        name, _, rest = event.task.partition("[")
        node, index = self._nodes[name], int(rest[:-1]) if rest else 0
        if node.units is not None and index in node.units.races:
            race = node.units.races[index]
            self._follow(node, index, race.chosen(event.candidate))
            self._race_over(node, node.units, index, race)

    def _race_over(self, node: _Node, units: _Units, index: int, race: RaceOf) -> None:
        if race.result is not None and units.results[index] is None:
            self._unit_ended(node, units, index, race.result)
            if node.step.for_each is None:
                node.scalars = race.scalars

    def _unit_ended(self, node: _Node, units: _Units, index: int, result: StepResult) -> None:
        units.results[index] = result
        units.open -= 1
        if not units.open:
            self._units_ended(node, units)

    def _units_ended(self, node: _Node, units: _Units) -> None:
        results = [each for each in units.results if each is not None]
        if node.step.for_each is None:
            self._settle(node, results[0])
        else:
            module = self._values.modules[node.step.programs()[0].module]
            self._settle(node, gathered(node.step.name, results, module))

    def _cancel_all(self, by: str) -> None:
        if self._by is not None:
            return
        self._by = by
        for node in self._nodes.values():
            if node.state in ("waiting", "expanding"):
                self._settle(node, StepResult("cancelled", f"cancelled by {by}"))
            elif node.units is not None and node.units.races:
                units = node.units
                for index, race in units.races.items():
                    self._follow(node, index, race.stop(by))
                for index, race in units.races.items():
                    self._race_over(node, units, index, race)
        self._out.extend(Cancel(task, by) for task, (node, _, candidate) in self._live.items() if not candidate)

    def validate_state(self) -> None:
        """Check that the accounts agree with the states. For tests: it looks at every step."""
        unended, busy = 0, {id(node) for node, _, _ in self._live.values()}
        for name, node in self._nodes.items():
            ended = node.state in ENDINGS
            unended += not ended
            assert ended is (node.result is not None), name
            assert (name in self._values.outputs) is (node.state == "succeeded"), name
            reads = [self._nodes[each] for each in node.step.reads()]
            assert node.pending == sum(each.state not in ENDINGS for each in reads), name
            if node.state in ("waiting", "expanding"):
                assert id(node) not in busy, name
                assert node.state == "waiting" or (node.pending == 0 and node.verdict is True), name
            if node.state == "running":
                waiting = node.units is not None and any(each.waiting for each in node.units.races.values())
                assert id(node) in busy or waiting, name
            if node.units is not None:
                assert node.units.open == sum(each is None for each in node.units.results) > 0, name
        assert unended == self._unended
        assert self._finished is (self._started and not unended and not self._live)
