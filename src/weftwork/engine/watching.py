"""What other processes do: followed jobs, requests to cancel, the lease. One poll loop, cheap while nothing changes."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from weftwork.errors import Cancelled, Lost, WeftError
from weftwork.ports import Claimed, JobRow

if TYPE_CHECKING:
    from weftwork.engine.engine import Engine
    from weftwork.engine.jobs import Live

INTERVAL = 0.05
"""Seconds between two looks at whether any other process has written."""

PATIENCE = 1.0
"""Seconds after which followed jobs are looked at though nobody wrote: their owner may have died."""


class Watch:
    """Polls the ledger for one engine."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._task: asyncio.Task[None] | None = None
        self._seen = -1
        self._looked = 0.0
        self._renewed = self._reached = time.monotonic()

    def start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._loop())

    def wake(self) -> None:
        """Look at the followed jobs at the next turn, whatever the ledger's version says."""
        self._seen = -1

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _loop(self) -> None:
        from weftwork.engine.engine import LEASE

        engine = self._engine
        pause = INTERVAL
        while True:
            await asyncio.sleep(pause)
            try:
                if time.monotonic() - self._renewed > LEASE / 3:
                    await engine.scribe.call(engine.ledger.renew, engine.owner, LEASE)
                    self._renewed = time.monotonic()
                if lives := engine.lives():
                    await self._turn(lives)
            except WeftError as error:
                # A full disk or a locked file passes; what does not pass ends those who wait for other processes.
                pause = min(2 * pause, 5.0)
                if time.monotonic() - self._reached > LEASE:
                    for live in engine.lives():
                        if live.followed:
                            engine.settle(live, None, error)
            else:
                pause, self._reached = INTERVAL, time.monotonic()

    async def _turn(self, lives: list[Live]) -> None:
        """Look, if anybody wrote since the last look."""
        now = time.monotonic()
        version = await asyncio.to_thread(self._engine.ledger.version)
        if version != self._seen or now - self._looked > PATIENCE:
            self._seen, self._looked = version, now
            await self._look(lives)

    async def _look(self, lives: list[Live]) -> None:
        engine = self._engine
        owned = {live.id: live for live in lives if not live.followed}
        if owned:
            requests = await asyncio.to_thread(engine.ledger.cancels, engine.owner)
            for job, by in requests.items():
                if job in owned:
                    await engine.leaving.cancel([owned[job]], by)
        followed = {live.id: live for live in lives if live.followed}
        if followed:
            answers = await engine.scribe.call(engine.ledger.follow, engine.owner, list(followed))
            for job, answer in answers.items():
                if engine.live(job) is followed[job]:
                    await self._moved(followed[job], answer)

    async def _moved(self, live: Live, answer: Claimed | JobRow) -> None:
        engine = self._engine
        if isinstance(answer, Claimed):
            if answer.answer == "mine":
                engine.taken_over(live, answer)
            return
        job = answer.job
        if job.live:
            return
        if job.state == "succeeded":
            record = await asyncio.to_thread(engine.ledger.record_of, job.id)
            lost = None if record is not None else Lost(f"the record of {job.id} is gone from the ledger")
            engine.ended_elsewhere(live, record, lost)
            return
        error: WeftError | None = job.failure()
        if error is None:
            error = Cancelled(f"job {job.id} was cancelled", job=job.id)
        error.details.setdefault("job", job.id)
        engine.ended_elsewhere(live, None, error)
