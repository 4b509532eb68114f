"""The command lane of the engine: one task a job while it runs, from its job folder to its outcome."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import TYPE_CHECKING

from weftwork.core.job import Event
from weftwork.engine.jobs import Live, internal
from weftwork.errors import Cancelled, Unavailable, WeftError
from weftwork.node.outcome import read_outcome
from weftwork.ports import Process, Report

if TYPE_CHECKING:
    from weftwork.engine.engine import Engine


class Running:
    """Attempts at commands, for one engine."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def run(self, live: Live, *, rejoin: bool) -> None:
        """One attempt; ``rejoin``: first look for the one that a dead owner left."""
        try:
            if rejoin and live.attempt > 0 and await self._rejoin(live):
                return
            await self._attempt(live)
        except WeftError as error:
            await self._engine.failed(live, error)
        except OSError as error:
            root = self._engine.folders.root
            told = Unavailable(f"the job folder of {live.id} cannot be made below {root}: {error}")
            await self._engine.failed(live, told)
        except Exception as error:
            await self._engine.failed(live, internal(error))

    async def _attempt(self, live: Live) -> None:
        """A fresh attempt: its name is durable before it is handed over. Its folder may be there earlier: nobody runs it."""
        engine = self._engine
        live.attempt += 1
        submitted, live.submitted = live.submitted, False
        held, live.held = live.held, False
        handed = False
        try:
            writing = asyncio.to_thread(self._write, live)
            if submitted:
                folder = await writing
            else:
                written, folder = await asyncio.gather(self._submitted(live), writing)
                if not written:
                    engine.lost_lease(live)
                    return
            _go_on(live)
            handed = True
            await self._hand_over(live, folder, held)
        finally:
            if held and not handed:
                engine.scribe.free(live.task)

    async def _submitted(self, live: Live) -> bool:
        event = Event("submitted", time.time(), {"attempt": live.attempt, "site": live.site.name})
        return await self._engine.scribe.written(live.id, live.epoch, event)

    def _write(self, live: Live) -> Path:
        request = live.request
        return self._engine.folders.write(
            live.task, request.calculation, request.module, request.placement.resources, live.site
        )

    async def _rejoin(self, live: Live) -> bool:
        """Go on with the attempt that a dead owner left: its outcome, or itself while it still runs."""
        folder = self._engine.folders.path(live.task)
        ended = await asyncio.to_thread(read_outcome, str(folder)) is not None
        if not ended and live.task not in await live.site.scheduler.find([live.task]):
            return False
        if ended:
            self._engine.report(live)(Report(live.task, "ended"))
        else:
            await self._hand_over(live, folder)
        return True

    async def _hand_over(self, live: Live, folder: Path, held: bool = False) -> None:
        task = Process(live.task, live.id, folder, live.request.placement.resources, held)
        await live.site.scheduler.run([task], self._engine.report(live))


def _go_on(live: Live) -> None:
    """Raise what a job ends with that was cancelled before its site heard of it."""
    if live.cancelled_by is not None:
        raise Cancelled(f"job {live.id} was cancelled by {live.cancelled_by}", by=live.cancelled_by)
