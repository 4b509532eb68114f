"""The one place that writes to the ledger: what is waiting is written together, in order, in one transaction.

Group commit without a timer: while one batch is being written the next gathers. Nothing that
was asked for here is told before it is durable. Only what nobody waits for lies a
moment for what comes next: the start of a short command and the slots that it frees are written with its end.

Whoever comes while nothing is being written writes, with his own, all that lies: the scribe's thread for what the loop asks for, and a
thread that ends jobs by itself. So there is one writer at a time, and no way between threads for who is on one already.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from weftwork.core.job import Event, Record
from weftwork.errors import Refused
from weftwork.ports import Answers, Batch, Claim, Claimed, Ending, Ledger, StepRow, Wants

LINGER = 0.005
"""Seconds for which something lies that nobody waits for, unless something else is written."""

RETRY = 1.0
"""Seconds after which slots are freed again that could not be."""

Told: TypeAlias = "asyncio.Future[Any] | concurrent.futures.Future[Any]"
Ended: TypeAlias = dict[str, Record | None]


class Scribe:
    """Batches of claims, events, endings, slots and steps for one owner. Made on the loop whose coroutines ask it."""

    def __init__(self, ledger: Ledger, owner: str) -> None:
        self._ledger = ledger
        self._owner = owner
        self._loop = asyncio.get_running_loop()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="weft-scribe")
        self._lock = threading.Lock()
        self._next = _Gathered()
        self._writing = False
        self._woken = False
        self._lingering: asyncio.TimerHandle | None = None
        self._closed = False

    async def claim(self, claims: Sequence[Claim]) -> list[Claimed]:
        """The ledger's answer to each claim, in order."""
        future: asyncio.Future[list[Claimed]] = self._loop.create_future()
        with self._gathering() as gathered:
            gathered.claims.append((claims, future))
        return await future

    def answered(self, claims: Sequence[Claim], future: concurrent.futures.Future[list[str]]) -> None:
        """Write down soon what was answered from records; the names of the jobs go to the future."""
        if self._closed:
            future.set_exception(Refused("this engine is closed: nothing can be written by it any more"))
            return
        with self._gathering() as gathered:
            gathered.answered.append((claims, future))

    def append(self, job: str, epoch: int, event: Event) -> None:
        """Write an event soon; nobody waits for it."""
        with self._lock:
            self._next.events.append(((job, epoch, event), None))
        self._linger(LINGER)

    async def written(self, job: str, epoch: int, event: Event) -> bool:
        """Write an event, and come back when it is durable; false when the lease is no longer ours."""
        future: asyncio.Future[bool] = self._loop.create_future()
        with self._gathering() as gathered:
            gathered.events.append(((job, epoch, event), future))
        return await future

    async def end(self, endings: Sequence[Ending]) -> Ended:
        """End jobs with their records; the records that now answer."""
        future: asyncio.Future[Ended] = self._loop.create_future()
        with self._gathering() as gathered:
            gathered.endings.append((endings, future))
        return await future

    def ended(self, endings: Sequence[Ending]) -> Ended:
        """The same from a thread, which writes itself unless another one is at it."""
        future: concurrent.futures.Future[Ended] = concurrent.futures.Future()
        with self._lock:
            self._next.endings.append((endings, future))
            self._next.urgent = True
            mine, self._writing = not self._writing, True
        if mine:
            try:
                self._write()
            finally:
                self._go_on()
        return future.result()

    async def slots(self, asked: Wants) -> set[str]:
        """Ask for slots, once at a time; those who have theirs."""
        future: asyncio.Future[set[str]] = self._loop.create_future()
        with self._gathering() as gathered:
            gathered.slots = (asked, future)
        return await future

    def free(self, holder: str) -> None:
        """Free a holder's slots, or its place in the queue, soon; again where that fails."""
        with self._lock:
            self._next.freed.append(holder)
        self._linger(LINGER)

    def step(self, step: StepRow) -> None:
        """Write a step's state soon."""
        with self._gathering() as gathered:
            gathered.steps.append(step)

    async def call(self, function: Callable[..., Any], *args: Any) -> Any:
        """Any other call of the ledger, on the scribe's thread, after all that was asked for before."""
        await self._flushed()
        return await self._loop.run_in_executor(self._thread, function, *args)

    async def close(self) -> None:
        """Write what is waiting, and end the thread."""
        await self._flushed()
        self._closed = True
        if self._lingering is not None:
            self._lingering.cancel()
        self._thread.shutdown()

    async def _flushed(self) -> None:
        """Come back when all that was asked for before is written."""
        future: asyncio.Future[None] = self._loop.create_future()
        with self._lock:
            if not self._writing and not self._next:
                return
        with self._gathering() as gathered:
            gathered.passed.append(future)
        await future

    # On the loop

    @contextlib.contextmanager
    def _gathering(self) -> Iterator[_Gathered]:
        """What is written next, to be added to. It is begun when this turn of the loop has added all that it has."""
        with self._lock:
            yield self._next
            self._next.urgent = True
        if not self._woken:
            self._woken = True
            self._loop.call_soon(self._begin)

    def _linger(self, seconds: float) -> None:
        if self._lingering is None:
            self._lingering = self._loop.call_later(seconds, self._lingered)

    def _lingered(self) -> None:
        self._lingering = None
        with self._lock:
            self._next.urgent = bool(self._next)
        self._begin()

    def _begin(self) -> None:
        self._woken = False
        with self._lock:
            if self._writing or not self._next.urgent:
                return
            self._writing = True
        self._thread.submit(self._write_all)

    # On a thread

    def _write_all(self) -> None:
        while self._more():
            self._write()

    def _more(self) -> bool:
        """Whether there is something to be written at once; else nobody is writing any more."""
        with self._lock:
            self._writing = self._next.urgent
            return self._writing

    def _go_on(self) -> None:
        """After a thread's own batch: what has gathered meanwhile is the scribe's."""
        if self._more():
            self._thread.submit(self._write_all)

    def _write(self) -> None:
        """Write what is waiting, and tell who waits."""
        with self._lock:
            taken, self._next = self._next, _Gathered()
        answers: Answers | Exception
        try:
            answers = self._ledger.write(self._owner, taken.batch())
        except Exception as error:
            answers = error
            if taken.freed:
                self._loop.call_soon_threadsafe(self._free_again, taken.freed)
        told: list[tuple[Any, Any]] = []
        for future, answer in taken.told(answers):
            if isinstance(future, concurrent.futures.Future):
                _tell(future, answer)
            else:
                told.append((future, answer))
        if told:
            self._loop.call_soon_threadsafe(_tell_all, told)

    def _free_again(self, freed: Sequence[str]) -> None:
        # At the end of this process its owner is released, and with it all that it holds.
        with self._lock:
            self._next.freed += freed
        if not self._closed:
            self._linger(RETRY)


@dataclass(slots=True)
class _Gathered:
    """What is to be written together, and the futures that its answers go to. ``urgent``: somebody waits for it, or what follows."""

    events: list[tuple[tuple[str, int, Event], Told | None]] = field(default_factory=list)
    endings: list[tuple[Sequence[Ending], Told]] = field(default_factory=list)
    freed: list[str] = field(default_factory=list)
    slots: tuple[Wants, Told] | None = None
    claims: list[tuple[Sequence[Claim], Told]] = field(default_factory=list)
    steps: list[StepRow] = field(default_factory=list)
    answered: list[tuple[Sequence[Claim], Told]] = field(default_factory=list)
    passed: list[Told] = field(default_factory=list)
    urgent: bool = False

    def __bool__(self) -> bool:
        return self.urgent or bool(self.events or self.freed)

    def batch(self) -> Batch:
        return Batch(
            events=[event for event, _ in self.events],
            endings=_joined(self.endings),
            freed=self.freed,
            slots=self.slots and self.slots[0],
            claims=_joined(self.claims),
            # A run that another process took over is that one's to tell; its own driver hears of it at its end.
            steps=self.steps,
            answered=_joined(self.answered),
        )

    def told(self, answers: Answers | Exception) -> Iterator[tuple[Told, Any]]:
        """What each future is told: its answer, or the error of its part or of everything."""
        failed = answers if isinstance(answers, Exception) else None
        answers = Answers() if isinstance(answers, Exception) else answers
        errors = answers.errors
        for (job, _, _), future in self.events:
            if future is not None:
                yield future, failed or errors.get("events") or job in answers.events
        for endings, future in self.endings:
            jobs = [ending.job for ending in endings]
            ended = {job: answers.endings[job] for job in jobs if job in answers.endings}
            yield future, failed or errors.get("endings") or ended
        if self.slots is not None:
            yield self.slots[1], failed or errors.get("slots") or answers.slots
        at = 0
        for claims, future in self.claims:
            yield future, failed or errors.get("claims") or answers.claims[at : at + len(claims)]
            at += len(claims)
        at = 0
        for claims, future in self.answered:
            names = [each.job for each in answers.answered[at : at + len(claims)]]
            yield future, failed or errors.get("answered") or names
            at += len(claims)
        for future in self.passed:
            yield future, None


def _joined(batches: Sequence[tuple[Sequence[Any], Any]]) -> Sequence[Any]:
    return batches[0][0] if len(batches) == 1 else [each for batch, _ in batches for each in batch]


def _tell_all(told: Sequence[tuple[Any, Any]]) -> None:
    for future, answer in told:
        _tell(future, answer)


def _tell(future: Any, answer: Any) -> None:
    # Who waited may have been cancelled, from whatever thread.
    with contextlib.suppress(asyncio.InvalidStateError, concurrent.futures.InvalidStateError):
        if isinstance(answer, Exception):
            future.set_exception(answer)
        else:
            future.set_result(answer)
