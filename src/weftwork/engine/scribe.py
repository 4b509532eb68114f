"""The one place that writes to the ledger: what is waiting is written together, in order, on one thread.

Group commit without a timer: while one batch is being written the next gathers. Nothing that
was asked for here is told before the call that returned it is durable. Only an event that nobody waits for lies a
moment for what comes next: the start of a short command is written with its end.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from weftwork.core.job import Event, Record
from weftwork.errors import Refused, WeftError
from weftwork.ports import Claim, Claimed, Ending, Ledger, StepRow

T = TypeVar("T")

LINGER = 0.005
"""Seconds for which an event lies that nobody waits for, unless something else is written."""


class Scribe:
    """Batches of claims, events, endings and steps for one owner."""

    def __init__(self, ledger: Ledger, owner: str) -> None:
        self._ledger = ledger
        self._owner = owner
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="weft-scribe")
        self._claims: list[tuple[Sequence[Claim], asyncio.Future[list[Claimed]]]] = []
        self._events: list[tuple[tuple[str, int, Event], asyncio.Future[bool] | None]] = []
        self._endings: list[tuple[Sequence[Ending], asyncio.Future[dict[str, Record | None]]]] = []
        self._answered: list[tuple[Sequence[Claim], concurrent.futures.Future[list[str]]]] = []
        self._steps: list[StepRow] = []
        self._flusher: asyncio.Task[None] | None = None
        self._lingering: asyncio.TimerHandle | None = None
        self._closed = False

    async def claim(self, claims: Sequence[Claim]) -> list[Claimed]:
        """The ledger's answer to each claim, in order."""
        future: asyncio.Future[list[Claimed]] = asyncio.get_running_loop().create_future()
        self._claims.append((claims, future))
        self._wake()
        return await future

    def answered(self, claims: Sequence[Claim], future: concurrent.futures.Future[list[str]]) -> None:
        """Write down soon what was answered from records; the names of the jobs go to the future."""
        if self._closed:
            future.set_exception(Refused("this engine is closed: nothing can be written by it any more"))
            return
        self._answered.append((claims, future))
        self._wake()

    def append(self, job: str, epoch: int, event: Event) -> None:
        """Write an event soon; nobody waits for it."""
        self._events.append(((job, epoch, event), None))
        if self._flusher is None and self._lingering is None:
            self._lingering = asyncio.get_running_loop().call_later(LINGER, self._wake)

    async def written(self, job: str, epoch: int, event: Event) -> bool:
        """Write an event, and come back when it is durable; false when the lease is no longer ours."""
        future: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._events.append(((job, epoch, event), future))
        self._wake()
        return await future

    async def end(self, endings: Sequence[Ending]) -> dict[str, Record | None]:
        """End jobs with their records; the records that now answer."""
        future: asyncio.Future[dict[str, Record | None]] = asyncio.get_running_loop().create_future()
        self._endings.append((endings, future))
        self._wake()
        return await future

    def step(self, step: StepRow) -> None:
        """Write a step's state soon."""
        self._steps.append(step)
        self._wake()

    async def call(self, function: Callable[..., Any], *args: Any) -> Any:
        """Any other call of the ledger, on the same thread, after all that was asked for before."""
        await self._flushed()
        return await asyncio.get_running_loop().run_in_executor(self._thread, function, *args)

    async def close(self) -> None:
        """Write what is waiting, and end the thread."""
        await self._flushed()
        self._closed = True
        self._thread.shutdown()

    async def _flushed(self) -> None:
        """Come back when nothing is waiting to be written."""
        if self._lingering is not None:
            self._wake()
        while self._flusher is not None:
            await asyncio.wait([self._flusher])

    def _wake(self) -> None:
        if self._lingering is not None:
            self._lingering.cancel()
            self._lingering = None
        if self._flusher is None:
            self._flusher = asyncio.get_running_loop().create_task(self._flush())

    async def _flush(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while self._claims or self._events or self._endings or self._answered or self._steps:
                events, self._events = self._events, []
                endings, self._endings = self._endings, []
                claims, self._claims = self._claims, []
                answered, self._answered = self._answered, []
                steps, self._steps = self._steps, []
                await loop.run_in_executor(self._thread, self._write, loop, events, endings, claims, answered, steps)
        finally:
            self._flusher = None

    def _write(
        self,
        loop: asyncio.AbstractEventLoop,
        events: Any,
        endings: Any,
        claims: Any,
        answered: Any,
        steps: list[StepRow],
    ) -> None:
        """On the thread: the order is that of cause and effect: events, endings, then new claims. What was answered
        already comes after what somebody waits for."""
        ledger, owner = self._ledger, self._owner
        if events:
            waiting = [(entry[0], future) for entry, future in events if future is not None]
            self._settle(loop, waiting, lambda: _kept(ledger.append(owner, [entry for entry, _ in events]), waiting))
        if endings:
            ends = [ending for batch, _ in endings for ending in batch]
            self._settle(loop, endings, lambda: _each(ledger.end(owner, ends), endings))
        if claims:
            asked = [claim for batch, _ in claims for claim in batch]
            self._settle(loop, claims, lambda: _split(ledger.claim(owner, asked), claims))
        if answered:
            asked = [claim for batch, _ in answered for claim in batch]
            self._settle(loop, answered, lambda: _split(_names(ledger.claim(owner, asked)), answered))
        for run in dict.fromkeys(step.run for step in steps):
            # A run that another process took over is that one's to tell; its own driver hears of it at its end.
            with contextlib.suppress(WeftError):
                ledger.set_steps(owner, [step for step in steps if step.run == run])

    @staticmethod
    def _settle(
        loop: asyncio.AbstractEventLoop, batches: Sequence[tuple[Any, Any]], write: Callable[[], Sequence[Any]]
    ) -> None:
        """Do a write and answer its futures, with its results or its error, on the loop."""
        try:
            answers: Sequence[Any] = write()
        except Exception as error:
            loop.call_soon_threadsafe(_fail, [future for _, future in batches], error)
        else:
            loop.call_soon_threadsafe(_answer, [future for _, future in batches], answers)


def _kept(jobs: set[str], waiting: list[tuple[str, Any]]) -> list[bool]:
    return [job in jobs for job, _ in waiting]


def _each(records: dict[str, Record | None], batches: Any) -> list[dict[str, Record | None]]:
    return [{ending.job: records[ending.job] for ending in batch if ending.job in records} for batch, _ in batches]


def _names(claimed: list[Claimed]) -> list[str]:
    return [each.job for each in claimed]


def _split(answers: list[T], batches: Any) -> list[list[T]]:
    out: list[list[T]] = []
    position = 0
    for batch, _ in batches:
        out.append(answers[position : position + len(batch)])
        position += len(batch)
    return out


def _answer(futures: list[asyncio.Future[Any]], answers: Sequence[Any]) -> None:
    for future, answer in zip(futures, answers, strict=True):
        if not future.done():
            future.set_result(answer)


def _fail(futures: list[asyncio.Future[Any]], error: Exception) -> None:
    for future in futures:
        if not future.done():
            future.set_exception(error)
