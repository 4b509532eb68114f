"""Who no longer wants a job: withdrawing, cancelling for everybody, and the end of the engine.

A waiter that withdraws cancels its job only when it was the last one, in any process. A job that others wait for goes
on in the process that has it; when that process ends, one of those who wait takes it over.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from weftwork.core.job import Event, task_name
from weftwork.core.module import Function
from weftwork.engine.jobs import LAST, Live, Waiter
from weftwork.errors import Cancelled, Conflict, WeftError
from weftwork.ports import Claimed, Ending

if TYPE_CHECKING:
    from weftwork.engine.engine import Engine

PATIENCE = 1.0
"""Seconds that an engine which ends waits for what it cancelled; commands are killed by the supervisor in any case."""


class Leaving:
    """Withdrawals and cancellations of one engine."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def withdraw(self, waiters: Iterable[Waiter], by: str) -> None:
        """These callers no longer wait. Each ends with Cancelled: at once while others wait, else with its job."""
        engine, leaving = self._engine, []
        for waiter in waiters:
            if waiter.done or waiter.withdrawn:
                continue
            waiter.withdrawn = True
            live = waiter.live
            if live.wanted:
                live.waiters.remove(waiter)
                waiter.settle(None, _withdrawn(live, by))
            else:
                live.leaving = True
                leaving.append(live)
        for live in leaving:
            await live.claimed()
        leaving = [live for live in leaving if not live.done]
        if not leaving:
            return
        alone = await engine.scribe.call(engine.ledger.withdraw, engine.owner, [live.id for live in leaving])
        # An heir has no job of its own: what it waited for is the job of the one that it inherits from.
        await self.cancel([engine.live(live.id) or live for live in leaving if live.id in alone], by + LAST)
        for live in leaving:
            if live.id not in alone:
                self._leave(live, by)

    def _leave(self, live: Live, by: str) -> None:
        """Others wait for it: nobody here does any more. A job of ours goes on for them."""
        if live.followed or self._engine.live(live.id) is not live:
            self._engine.settle(live, None, _withdrawn(live, by))
            return
        waiters, live.waiters = live.waiters, []
        for waiter in waiters:
            waiter.settle(None, _withdrawn(live, by))

    async def cancel(self, lives: Iterable[Live], by: str) -> None:
        """Cancel jobs for everybody. Comes back when that was asked for; each ends with Cancelled when it is over."""
        engine = self._engine
        mine: dict[str, list[Live]] = {}
        elsewhere = []
        for live in lives:
            if live.done or live.cancelled_by is not None:
                continue
            live.cancelled_by = by
            if live.followed:
                elsewhere.append(live.id)
            elif live.retry is not None:
                live.retry.cancel()
                engine.spawn(engine.failed(live, _cancelled(live.id, by)))
            else:
                mine.setdefault(live.site.name, []).append(live)
        if elsewhere:
            await engine.scribe.call(engine.ledger.request_cancel, elsewhere, by)
        for name, owned in mine.items():
            await self._cancel_at(name, owned, by)

    async def _cancel_at(self, site: str, lives: Sequence[Live], by: str) -> None:
        engine = self._engine
        calls = [
            live
            for live in lives
            if isinstance(live.request.module.program, Function) and not live.site.scheduler.lasting
        ]
        try:
            await engine.sites.named(site).scheduler.cancel([live.task for live in lives])
        except Exception:
            # The site does not listen: the jobs end all the same, and what runs of them is nobody's.
            calls = list(lives)
        # Calls are over when the scheduler has cancelled them; commands leave an outcome that says so.
        for live in calls:
            engine.spawn(engine.failed(live, _cancelled(live.id, by)))

    async def cancel_anywhere(self, job: str, by: str) -> None:
        """Cancel a job for everybody, whichever process owns it; one whose owner is dead is taken over for that."""
        engine = self._engine
        row = await asyncio.to_thread(engine.ledger.job, job)
        if not row.job.live:
            raise Conflict(f"job {row.job.id} has ended already ({row.job.state}): there is nothing to cancel")
        live = engine.live(row.job.id)
        if live is not None:
            await self.cancel([live], by)
            return
        await engine.scribe.call(engine.ledger.request_cancel, [row.job.id], by)
        answer = (await engine.scribe.call(engine.ledger.follow, engine.owner, [row.job.id]))[row.job.id]
        if isinstance(answer, Claimed) and answer.answer == "mine":
            await self.end_orphan(row.job.id, answer, by)

    async def end_orphan(self, job: str, answer: Claimed, by: str) -> None:
        """End a job that a dead owner left: what still runs of it, then the job."""
        task = task_name(job, answer.attempt)
        for scheduler in self._engine.sites.schedulers():
            if task in await scheduler.find([task]):
                await scheduler.cancel([task])
        error = _cancelled(job, by)
        event = Event("cancelled", time.time(), {"error": error.document(), "by": by})
        await self._engine.scribe.end([Ending(job, answer.epoch, event)])

    async def close(self) -> None:
        """Withdraw from everything, and wait a little for what that ends."""
        engine = self._engine
        lives = [each for live in engine.lives() for each in (live, *live.heirs)]
        try:
            await self.withdraw([waiter for live in lives for waiter in live.waiters], "the end of its process")
            await self._let_go()
        except WeftError:
            # The ledger or a site is out of reach: whoever comes after finds the jobs of a dead owner.
            pass
        until = time.monotonic() + PATIENCE
        while engine.tasks and time.monotonic() < until:
            await asyncio.wait(set(engine.tasks), timeout=max(0.0, until - time.monotonic()))
        for live in engine.lives():
            if live.cancelled_by is not None and not live.followed:
                await engine.failed(live, _cancelled(live.id, live.cancelled_by))
        while engine.tasks:
            for task in engine.tasks:
                task.cancel()
            await asyncio.wait(set(engine.tasks))
        for live in engine.lives():
            engine.settle(live, None, _withdrawn(live, "the end of its process"))

    async def _let_go(self) -> None:
        """Commands that other processes wait for go on under the supervisor."""
        by_site: dict[str, list[str]] = {}
        for live in self._engine.lives():
            if not live.followed and live.cancelled_by is None:
                by_site.setdefault(live.site.name, []).append(live.task)
        for name, tasks in by_site.items():
            await self._engine.sites.named(name).scheduler.leave(tasks)


def _withdrawn(live: Live, by: str) -> Cancelled:
    return Cancelled(f"{live.request.calculation.frame.name} was withdrawn by {by} (job {live.id})", by=by, job=live.id)


def _cancelled(job: str, by: str) -> Cancelled:
    return Cancelled(f"job {job} was cancelled by {by}", by=by, job=job)
