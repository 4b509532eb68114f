"""Carries out a flow: instructions become jobs, choices and look-ups; what happened goes back as events.

Every state of a run can be found again from the ledger: records answer finished steps, choices
answer races, and the run's own rows answer steps that keep their result to themselves.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from weftwork.core import codecs
from weftwork.core.calculation import Calculation, Frame
from weftwork.core.checksum import Checksum, canonical, from_canonical
from weftwork.core.expression import Literal
from weftwork.core.flow import Flow
from weftwork.core.messages import (
    Binding,
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
from weftwork.core.module import Module
from weftwork.core.placement import Placement
from weftwork.core.values import Ref
from weftwork.core.workflow import Workflow
from weftwork.engine.engine import Engine
from weftwork.engine.jobs import Live, Request, Waiter, internal
from weftwork.errors import Cancelled, WeftError
from weftwork.ports import StepRow


@dataclass(frozen=True, slots=True)
class StepEvent:
    """Something that happened to a step: for those who watch a run. ``state`` is running, succeeded, failed, ..."""

    step: str
    state: str
    time: float
    job: str | None = None
    cached: bool = False
    seconds: float | None = None
    detail: str = ""


@dataclass(slots=True)
class _Race:
    """A race whose choice was looked up: its key, and the calculations that were bound for it."""

    key: Checksum
    calculations: dict[str, tuple[Calculation, Module, Placement]] = field(default_factory=dict)


class Driver:
    """One evaluation of a workflow by one engine, on its loop."""

    def __init__(
        self,
        engine: Engine,
        run: str,
        workflow: Workflow,
        modules: Mapping[Checksum, Module],
        placement: Placement,
        watch: Callable[[StepEvent], None],
    ) -> None:
        self._engine = engine
        self._run = run
        self._workflow = workflow
        self._modules = modules
        self._default = placement
        self._watch = watch
        self._events: asyncio.Queue[Event] = asyncio.Queue()
        self._waiting: dict[str, Waiter] = {}
        self._races: dict[str, _Race] = {}
        self._frames: dict[tuple[Checksum, Placement], Frame] = {}
        self._before: dict[str, StepRow] = {}
        self._ran: set[str] = set()
        self._flow: Flow | None = None

    async def drive(self, inputs: Mapping[str, Binding], scalars: Mapping[str, Any]) -> Outcome:
        """From the first instruction to the last. Cancelling this coroutine withdraws from all of its jobs."""
        engine = self._engine
        self._before = {row.step: row for row in await asyncio.to_thread(engine.ledger.steps, self._run)}
        self._flow = Flow(self._workflow, self._modules, inputs, scalars)
        instructions = self._flow.start()
        try:
            while True:
                outcome = await self._carry_out(instructions)
                if outcome is not None:
                    return outcome
                events = [await self._events.get()]
                while not self._events.empty():
                    events.append(self._events.get_nowait())
                instructions = self._flow.handle(events)
        finally:
            if self._waiting:
                await asyncio.shield(engine.leaving.withdraw(list(self._waiting.values()), "the end of its run"))

    def cancel(self, by: str) -> None:
        """Withdraw the run: what runs is cancelled, what waits never starts."""
        self._events.put_nowait(CancelAll(by))

    async def _carry_out(self, instructions: Sequence[Instruction]) -> Outcome | None:
        submits: list[Submit] = []
        for each in instructions:
            match each:
                case Submit():
                    submits.append(each)
                case Settle():
                    cached = each.state == "succeeded" and each.step not in self._ran
                    self._tell(StepEvent(each.step, each.state, time.time(), cached=cached, detail=each.reason))
                case Cancel():
                    await self._submit(submits)
                    submits = []
                    waiter = self._waiting.get(each.task)
                    if waiter is not None:
                        self._engine.spawn(self._engine.leaving.withdraw([waiter], each.by))
                case Expand():
                    self._events.put_nowait(await asyncio.to_thread(self._expand, each))
                case LookUp():
                    self._events.put_nowait(await asyncio.to_thread(self._look_up, each))
                case Choose():
                    race = self._races.get(each.task)
                    if race is None:
                        # Its candidates could not all be bound, so that the choice has no name to be found by.
                        self._events.put_nowait(Chosen(each.task, each.candidate))
                        continue
                    choice = {
                        "candidate": each.candidate,
                        "key": str(race.calculations[each.candidate][0].key),
                        "run": self._run,
                    }
                    stands = await self._engine.scribe.call(self._engine.ledger.choose, race.key, choice)
                    self._events.put_nowait(Chosen(each.task, stands["candidate"]))
                case Finish():
                    return each.outcome
        await self._submit(submits)
        return None

    # Steps become jobs

    async def _submit(self, submits: Sequence[Submit]) -> None:
        if not submits:
            return
        requests, failures = await asyncio.to_thread(self._bind, submits)
        for submit, error in failures:
            self._over(submit.task, "failed", error=error)
        requests = [each for each in requests if not await self._had_before(*each)]
        if not requests:
            return
        try:
            waiters = await self._engine.submit([request for _, request in requests])
        except WeftError as error:
            for submit, _ in requests:
                self._over(submit.task, "failed", error=error)
            return
        for (submit, _), waiter in zip(requests, waiters, strict=True):
            self._waiting[submit.task] = waiter
            if not waiter.done:
                self._tell(StepEvent(submit.task, "running", time.time(), waiter.live.id))
            waiter.when_done(lambda waiter, submit=submit: self._job_ended(submit, waiter))  # type: ignore[misc]

    async def _had_before(self, submit: Submit, request: Request) -> bool:
        """Whether this run, before it was interrupted, got a result for the step that records do not give to others."""
        row = self._before.pop(submit.task, None)
        if row is None or row.state != "succeeded" or row.job is None:
            return False
        record = await asyncio.to_thread(self._engine.ledger.record_of, row.job)
        if record is None or record.key != request.calculation.key:
            return False
        if await asyncio.to_thread(self._engine.store.missing, [ref.checksum for _, ref in record.outputs]):
            return False
        live = Live(request, self._engine.site(request.placement), asyncio.get_running_loop(), row.job, cached=True)
        waiter = live.join()
        live.settle(record, None)
        self._job_ended(submit, waiter)
        return True

    def _bind(self, submits: Sequence[Submit]) -> tuple[list[tuple[Submit, Request]], list[tuple[Submit, WeftError]]]:
        """On a thread: the inputs of many steps into the store, together for each module."""
        good: list[tuple[Submit, Request]] = []
        bad: list[tuple[Submit, WeftError]] = []
        groups: dict[tuple[Checksum, Placement], list[Submit]] = {}
        for submit in submits:
            placement = submit.placement.placement(self._modules[submit.module].resources, self._default)
            groups.setdefault((submit.module, placement), []).append(submit)
        for (checksum, placement), members in groups.items():
            module = self._modules[checksum]
            try:
                frame = self._frame(module, placement)
                rows = self._engine.binder.bind_many(module, [self._values(each.inputs, module) for each in members])
            except WeftError as error:
                if len(members) == 1:
                    bad.append((members[0], error))
                    continue
                # One bad row must not fail the others: each by itself.
                for each in members:
                    one_good, one_bad = self._bind([each])
                    good += one_good
                    bad += one_bad
                continue
            for submit, row in zip(members, rows, strict=True):
                calculation = Calculation.of(frame, row)
                good.append((submit, Request(calculation, module, placement, self._run, submit.task)))
        return good, bad

    def _frame(self, module: Module, placement: Placement) -> Frame:
        key = (module.checksum, placement)
        if key not in self._frames:
            self._frames[key] = self._engine.frame(module, placement)
        return self._frames[key]

    def _values(self, inputs: Mapping[str, Binding], module: Module) -> dict[str, Any]:
        return {name: self._value(binding, module.input(name).type.inline) for name, binding in inputs.items()}

    def _value(self, binding: Binding, inline: bool) -> Any:
        """What the binder takes: a reference, a plain value, or a list of such (read, where the list is one JSON value)."""
        if isinstance(binding, Literal):
            return binding.value
        if isinstance(binding, tuple):
            plain = inline or all(_is_plain(each) for each in binding)
            return [self._item(each, plain) for each in binding]
        return binding

    def _item(self, binding: Binding, plain: bool) -> Any:
        if isinstance(binding, Ref) and plain and binding.type.inline:
            return self._engine.binder.value(binding)
        return self._value(binding, plain)

    # Jobs become events

    def _job_ended(self, submit: Submit, waiter: Waiter) -> None:
        self._waiting.pop(submit.task, None)
        live, record = waiter.live, waiter.record
        if waiter.error is not None:
            state = "cancelled" if isinstance(waiter.error, Cancelled) else "failed"
            self._over(submit.task, state, error=waiter.error, job=live.id)
            return
        assert record is not None
        assert self._flow is not None
        needs = self._flow.needs_scalars(submit.step)
        outputs = dict(record.outputs)
        seconds = record.observed.get("seconds")
        if not live.cached:
            self._ran.add(submit.step)
        self._tell(StepEvent(submit.task, "succeeded", time.time(), live.id, live.cached, seconds))
        if not needs:
            self._events.put_nowait(Ended(submit.task, "succeeded", outputs))
            return
        self._engine.spawn(self._read_scalars(submit, outputs, needs))

    async def _read_scalars(self, submit: Submit, outputs: Mapping[str, Ref], needs: frozenset[str]) -> None:
        try:
            scalars = {name: await asyncio.to_thread(self._scalar, outputs.get(name)) for name in needs}
        except Exception as error:
            self._over(submit.task, "failed", error=internal(error))
        else:
            self._events.put_nowait(Ended(submit.task, "succeeded", outputs, scalars))

    def _scalar(self, ref: Ref | None) -> Any:
        return None if ref is None else self._engine.binder.value(ref)

    def _over(self, task: str, state: Any, *, error: WeftError, job: str | None = None) -> None:
        self._tell(StepEvent(task, state, time.time(), job, detail=str(error)))
        self._events.put_nowait(Ended(task, state, error=str(error)))

    def _tell(self, event: StepEvent) -> None:
        detail = {"time": event.time, "cached": event.cached, "why": event.detail}
        if event.seconds is not None:
            detail["seconds"] = event.seconds
        self._engine.scribe.step(StepRow(self._run, event.step, event.state, event.job, detail))
        self._watch(event)

    # Maps and races

    def _expand(self, expand: Expand) -> Event:
        """On a thread: the items of a collection, in its order."""
        binding = expand.binding
        try:
            if isinstance(binding, tuple):
                return Items(expand.step, tuple(enumerate(binding)))
            if isinstance(binding, Literal):
                return Items(expand.step, _plain_items(canonical(binding.value)))
            data = self._engine.store.get(binding.checksum)
            if binding.type.inline:
                return Items(expand.step, _plain_items(data))
            items = codecs.items(binding.type, data)
            numbered = binding.type.name == "list"
            return Items(expand.step, tuple((int(name) if numbered else name, self._sized(ref)) for name, ref in items))
        except WeftError as error:
            return Ended(expand.step, "failed", error=str(error))

    def _sized(self, ref: Ref) -> Ref:
        return Ref(ref.type, ref.checksum, self._engine.store.size(ref.checksum))

    def _look_up(self, look: LookUp) -> Event:
        """On a thread: the recorded choice of a race, named by its candidates' keys and what is accepted."""
        requests, failures = self._bind(list(look.candidates.values()))
        if failures:
            return Chosen(look.task, None)
        keys = {request.step: request.calculation for _, request in requests}
        calculations = {
            name: (keys[submit.task], self._modules[submit.module], self._default)
            for name, submit in look.candidates.items()
        }
        document = [
            "weft.choice.v1",
            {name: str(each[0].key) for name, each in sorted(calculations.items())},
            look.accept,
        ]
        race = self._races[look.task] = _Race(Checksum.of(canonical(document)), calculations)
        choice = self._engine.ledger.choice(race.key)
        return Chosen(look.task, None if choice is None else choice["candidate"])


def _is_plain(binding: Binding) -> bool:
    if isinstance(binding, Ref):
        return binding.type.inline
    return isinstance(binding, Literal) or all(_is_plain(each) for each in binding)


def _plain_items(data: bytes) -> tuple[tuple[str | int, Literal], ...]:
    value = from_canonical(data)
    pairs = codecs.inline_items(data)
    numbered = isinstance(value, list)
    return tuple((int(name) if numbered else name, Literal(from_canonical(each))) for name, _, each in pairs)
