"""Carries out a flow: instructions become jobs, choices and look-ups; what happened goes back as events.

Every state of a run can be found again from the ledger: records answer finished steps, choices
answer races, jobs tell of their steps, and the run's own rows of what no job of its own tells. How instructions
become requests, and what is known of those, is the business of :mod:`weftwork.engine.asking`.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import time
from collections import deque
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, Final, NamedTuple

from weftwork.core.building import building
from weftwork.core.checksum import Checksum
from weftwork.core.flow import Flow
from weftwork.core.job import Record
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
    LookUp,
    Outcome,
    Settle,
    Submit,
)
from weftwork.core.module import Module
from weftwork.core.placement import Placement
from weftwork.core.values import Ref
from weftwork.core.workflow import Workflow
from weftwork.engine.asking import Asker, Turn, refs_of
from weftwork.engine.engine import Engine
from weftwork.engine.jobs import Request, Waiter, internal
from weftwork.engine.remaking import TRIES, tolerated
from weftwork.errors import Cancelled, Conflict, WeftError
from weftwork.ports import Claim, StepRow

TOGETHER: Final = 512
"""Answers from records whose jobs are written together at most; fewer as soon as there is nothing else to do."""


_BEHIND: Final = 4
"""Groups of such answers that may wait to be written."""


class StepEvent(NamedTuple):
    """Something that happened to a step: for those who watch a run. ``state`` is running, succeeded, failed, ..."""

    step: str
    state: str
    time: float
    job: str | None = None
    cached: bool = False
    seconds: float | None = None
    detail: str = ""


class Driver:
    """One evaluation of a workflow by one engine, on its loop."""

    def __init__(
        self,
        engine: Engine,
        run: str,
        workflow: Workflow,
        modules: Mapping[Checksum, Module],
        placement: Placement,
        watch: Callable[[StepEvent], None] | None,
    ) -> None:
        self._engine = engine
        self._run = run
        self._workflow = workflow
        self._modules = modules
        self._placement = placement
        self._asker = Asker(engine, run, modules, placement)
        self._watch = watch
        self._events: asyncio.Queue[Event | Submit | None] = asyncio.Queue()
        self._waiting: dict[str, Waiter] = {}
        self._restoring: dict[str, asyncio.Task[None]] = {}
        self._ran: set[str] = set()
        self._written: set[str] = set()
        self._answered: list[tuple[Request, Record]] = []
        self._noting: deque[asyncio.Task[None]] = deque()
        self._reading: set[asyncio.Task[None]] = set()
        self._moved: set[str] = set()
        self._cancelled: str | None = None

    async def drive(self, inputs: Mapping[str, Binding], scalars: Mapping[str, Any]) -> Outcome:
        """From the first instruction to the last. Cancelling this coroutine withdraws from all of its jobs.

        Where a lost result was made again and is another one, which its module allows (``tolerance``), the run is evaluated
        once more, so that all of it follows from the new result: what does not is answered by its records.
        """
        for _ in range(TRIES):
            outcome = await self._evaluate(inputs, scalars)
            if outcome is not None:
                return outcome
            self._again()
        raise Conflict(
            f"run {self._run}: results were lost and came out different {TRIES} times; their modules vary on every run: "
            "declare deterministic: false, or `weft pin` what should stay"
        )

    def _again(self) -> None:
        """Begin anew, with what the run has written."""
        self._asker = Asker(self._engine, self._run, self._modules, self._placement)
        self._events = asyncio.Queue()
        self._moved.clear()
        if self._cancelled is not None:
            self.cancel(self._cancelled)

    async def _evaluate(self, inputs: Mapping[str, Binding], scalars: Mapping[str, Any]) -> Outcome | None:
        """From the first instruction to the last, or until nothing is left that does not wait for a result that moved."""
        try:
            turn = await asyncio.to_thread(self._start, inputs, scalars)
            while True:
                outcome = await self._carry_out(turn)
                if outcome is not None or self._is_over():
                    self._note()
                    await self._heed_notes(0)
                    return outcome
                events: list[Event | Submit | None] = []
                if not self._asker.waiting:
                    if self._events.empty():
                        self._note()
                    events.append(await self._events.get())
                    await self._engine.collector.quiet()
                while not self._events.empty():
                    events.append(self._events.get_nowait())
                happened = [each for each in events if each is not None]
                turn = await asyncio.to_thread(self._asker.handle, happened)
        finally:
            for restoring in self._restoring.values():
                restoring.cancel()
            if self._waiting:
                withdrawing = self._engine.leaving.withdraw(list(self._waiting.values()), "the end of its run")
                await asyncio.shield(withdrawing)

    def _is_over(self) -> bool:
        """Whether all that is left waits for a result that moved."""
        busy = self._waiting or self._restoring or self._reading or not self._events.empty() or self._asker.waiting
        return bool(self._moved) and not busy

    def cancel(self, by: str) -> None:
        """Withdraw the run: what runs is cancelled, what waits never starts."""
        self._cancelled = by
        self._events.put_nowait(CancelAll(by))

    def _start(self, inputs: Mapping[str, Binding], scalars: Mapping[str, Any]) -> Turn:
        """On a thread: the first instructions, and what is known of them."""
        before = {row.step: row for row in self._engine.ledger.steps(self._run)}
        # What was told of a step before may be a row of its own, which then has to be kept true.
        self._written.update(before)
        with building():
            flow = Flow(self._workflow, self._modules, inputs, scalars)
        return self._asker.start(flow, before)

    async def _carry_out(self, turn: Turn) -> Outcome | None:
        self._answered += turn.answered
        for submit, record, job in turn.before:
            if self._watch is not None:
                self._watch(StepEvent(submit.task, "succeeded", time.time(), job, True, record.observed.get("seconds")))
        for task, error in turn.failed:
            self._tell(StepEvent(task, "failed", time.time(), detail=str(error)))
        if turn.requests or len(self._answered) >= TOGETHER:
            self._note()
            await self._heed_notes(_BEHIND)
        for submit, refs in turn.lost:
            self._restoring[submit.task] = self._engine.spawn(self._restore(submit, refs))
        await self._submit(turn.requests)
        for each in turn.others:
            outcome = await self._follow(each)
            if outcome is not None:
                return outcome
        return None

    async def _follow(self, instruction: Instruction) -> Outcome | None:
        """Carry out what is no submission."""
        match instruction:
            case Settle(step, state, reason):
                cached = state == "succeeded" and step not in self._ran
                self._tell(StepEvent(step, state, time.time(), cached=cached, detail=reason))
            case Cancel(task, by):
                waiter, restoring = self._waiting.get(task), self._restoring.get(task)
                if restoring is not None:
                    restoring.cancel()
                if restoring is not None or task in self._moved:
                    self._over(task, "cancelled", error=Cancelled(f"withdrawn by {by}", by=by))
                elif waiter is not None:
                    self._engine.spawn(self._engine.leaving.withdraw([waiter], by))
            case Expand():
                self._read(self._expand(instruction))
            case LookUp():
                self._events.put_nowait(await asyncio.to_thread(self._asker.look_up, instruction))
            case Choose():
                self._events.put_nowait(await self._choose(instruction))
            case Finish(outcome):
                return outcome
        return None

    async def _choose(self, choose: Choose) -> Chosen:
        race = self._asker.race(choose.task)
        if race is None:
            # Its candidates could not all be bound, so that the choice has no name to be found by.
            return Chosen(choose.task, choose.candidate)
        key, keys = race
        choice = {"candidate": choose.candidate, "key": str(keys[choose.candidate]), "run": self._run}
        stands = await self._engine.scribe.call(self._engine.ledger.choose, key, choice)
        return Chosen(choose.task, stands["candidate"])

    # Steps become jobs

    async def _submit(self, requests: Sequence[tuple[Submit, Request]]) -> None:
        if not requests:
            return
        try:
            waiters = await self._engine.submit([request for _, request in requests])
        except WeftError as error:
            for submit, _ in requests:
                self._over(submit.task, "failed", error=error)
            return
        for (submit, request), waiter in zip(requests, waiters, strict=True):
            self._waiting[submit.task] = waiter
            if not waiter.done:
                own = waiter.live.own and waiter.live.request is request
                self._tell(StepEvent(submit.task, "running", time.time(), waiter.live.id), own=own)
            waiter.when_done(lambda waiter, submit=submit, request=request: self._job_ended(submit, request, waiter))  # type: ignore[misc]

    def _note(self) -> None:
        """Have ended jobs written for what records answered. The flow is further on already: its results are durable."""
        if self._answered:
            answered, self._answered = self._answered, []
            self._noting.append(self._engine.spawn(self._write_down(answered)))

    async def _heed_notes(self, left: int) -> None:
        """Wait until but a few groups are still to be written: what waits is held in memory."""
        while len(self._noting) > left:
            await self._noting.popleft()

    async def _write_down(self, answered: Sequence[tuple[Request, Record]]) -> None:
        claims = [Claim(each.calculation, each.placement, each.run, each.step, answered=True) for each, _ in answered]
        written: concurrent.futures.Future[list[str]] = concurrent.futures.Future()
        self._engine.scribe.answered(claims, written)
        jobs, now = await asyncio.wrap_future(written), time.time()
        if self._watch is None and not self._written and all(jobs):
            return
        gone: list[Request] = []
        for (request, record), job in zip(answered, jobs, strict=True):
            assert request.step is not None
            if job:
                seconds = record.observed.get("seconds")
                self._tell(StepEvent(request.step, "succeeded", now, job, True, seconds), own=True)
            else:
                gone.append(request)
        if gone:
            await self._ask_again(gone)

    async def _ask_again(self, requests: Sequence[Request]) -> None:
        """Have steps made whose records have vanished since they answered: what went on from them needs what shows it."""
        for request, waiter in zip(requests, await self._engine.submit(requests), strict=True):
            assert request.step is not None
            live = waiter.live
            try:
                record = await waiter.wait()
            except WeftError as error:
                why = f"its record has vanished, and it could not be made again: {error}"
                self._tell(StepEvent(request.step, "succeeded", time.time(), None, True, detail=why))
            else:
                own, seconds = live.own and live.request is request, record.observed.get("seconds")
                event = StepEvent(request.step, "succeeded", time.time(), live.id, live.cached, seconds)
                self._tell(event, own=own)

    # Jobs become events

    def _job_ended(self, submit: Submit, request: Request, waiter: Waiter) -> None:
        self._waiting.pop(submit.task, None)
        live, record = waiter.live, waiter.record
        if waiter.error is not None:
            if "again" in waiter.error.details:
                self._read(self._failed(submit.task, waiter.error, live.id))
                return
            state = "cancelled" if isinstance(waiter.error, Cancelled) else "failed"
            self._over(submit.task, state, error=waiter.error, job=live.id)
            return
        assert record is not None
        seconds = record.observed.get("seconds")
        if not live.cached:
            self._ran.add(submit.step)
        own = live.own and live.request is request
        self._tell(StepEvent(submit.task, "succeeded", time.time(), live.id, live.cached, seconds), own=own)
        outputs = dict(record.outputs)
        if not self._asker.needs_scalars(submit):
            self._events.put_nowait(Ended(submit.task, "succeeded", outputs))
            return
        self._read(self._read_scalars(submit, record))

    def _read(self, work: Coroutine[Any, Any, None]) -> None:
        """Something that takes a while and ends with an event, or leaves the step to the next evaluation."""
        task = self._engine.spawn(work)
        self._reading.add(task)

        def over(task: asyncio.Task[None]) -> None:
            self._reading.discard(task)
            self._events.put_nowait(None)

        task.add_done_callback(over)

    async def _failed(self, task: str, error: WeftError, job: str | None = None) -> None:
        """A step failed, perhaps since what it needs was made again and moved within what its module allows."""
        if self._placement.strict or not await asyncio.to_thread(tolerated, self._engine, error):
            self._over(task, "failed", error=error, job=job)
        else:
            self._moved.add(task)

    async def _read_scalars(self, submit: Submit, record: Record) -> None:
        refs = [ref for _, ref in record.outputs]
        try:
            event = await self._engine.remaking.reading(refs, lambda: self._asker.ended(submit, record))
        except Exception as error:
            await self._failed(submit.task, internal(error))
            return
        if event.state == "failed":
            self._tell(StepEvent(submit.task, "failed", time.time(), detail=event.error))
        self._events.put_nowait(event)

    async def _restore(self, submit: Submit, refs: Sequence[Ref]) -> None:
        """Have bytes made again that must be read for a step, then submit it."""
        try:
            await self._engine.remaking.make(refs, f"the step {submit.task} of {self._run}", read=True)
        except Exception as error:
            await self._failed(submit.task, internal(error))
        else:
            self._events.put_nowait(submit)
        finally:
            del self._restoring[submit.task]
            self._events.put_nowait(None)

    async def _expand(self, expand: Expand) -> None:
        """The items of a collection, which is made again where its bytes are lost."""
        reading = self._engine.remaking.reading(refs_of(expand.binding), lambda: self._asker.expand(expand))
        try:
            self._events.put_nowait(await reading)
        except Exception as error:
            failure = internal(error)
            if await asyncio.to_thread(tolerated, self._engine, failure) and not self._placement.strict:
                self._moved.add(expand.step)
            else:
                self._events.put_nowait(Ended(expand.step, "failed", error=str(failure)))

    def _over(self, task: str, state: Any, *, error: WeftError, job: str | None = None) -> None:
        self._tell(StepEvent(task, state, time.time(), job, detail=str(error)))
        self._events.put_nowait(Ended(task, state, error=str(error)))

    def _tell(self, event: StepEvent, *, own: bool = False) -> None:
        """Tell of a step. ``own``: the row of the step's own job says it already, unless something else was written before."""
        if not own or event.step in self._written:
            self._written.add(event.step)
            detail = {"time": event.time, "cached": event.cached, "why": event.detail}
            if event.seconds is not None:
                detail["seconds"] = event.seconds
            self._engine.scribe.step(StepRow(self._run, event.step, event.state, event.job, detail))
        if self._watch is not None:
            self._watch(event)
