"""This machine's CPUs, memory and GPUs, shared by every process of the home: rows of the ledger, waited for here."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import Callable

from weftwork.core.placement import Resources
from weftwork.engine.jobs import internal
from weftwork.engine.scribe import Scribe
from weftwork.errors import Refused, WeftError
from weftwork.ports import Machine, Wants

INTERVAL = 0.02
"""Seconds between two looks while somebody waits for a slot that another process has."""

AHEAD = 8
"""Wants that stand in the ledger's queue at least: enough that what is freed goes to the next in the same transaction."""


class Slots:
    """Takes and frees slots for the owner that a scribe writes for. Whoever waits does so in the order of asking.

    Only the first of them stand in the ledger's queue, which every turn reads: a thousand that wait cost no more than ten.
    ``running`` says of a holder whether it goes on although its owner is dead: a command does, under its supervisor.
    """

    def __init__(
        self,
        scribe: Scribe,
        host: str,
        capacity: Resources,
        running: Callable[[str], bool] = lambda holder: False,
    ) -> None:
        self._scribe = scribe
        self._host = host
        self._running = running
        self.machine = Machine(host, capacity)
        self.capacity = capacity
        self._ahead = max(AHEAD, 2 * capacity.cpus)
        self._waiting: dict[str, tuple[Resources, asyncio.Future[None]]] = {}
        self._task: asyncio.Task[None] | None = None
        self._news = asyncio.Event()

    async def acquire(self, holder: str, resources: Resources) -> None:
        """Come back when the holder has its slots. Raises Refused when the machine is too small for it ever."""
        self._check(holder, resources)
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[holder] = (resources, future)
        if len(self._waiting) <= self._ahead:
            self._wake()
        try:
            await future
        except asyncio.CancelledError:
            self._waiting.pop(holder, None)
            self.release(holder)
            raise

    def _check(self, holder: str, resources: Resources) -> None:
        """One that is too large is refused by itself, and not with all that wait beside it."""
        for what in ("cpus", "memory", "gpus"):
            wanted, there = getattr(resources, what), getattr(self.capacity, what)
            if wanted is not None and there is not None and wanted > there:
                raise Refused(
                    f"{holder} needs {what}: {wanted}, and this machine has {there} to give; lower its resources, or raise WEFT_CPUS"
                    if what == "cpus"
                    else f"{holder} needs {what}: {wanted}, and this machine has {there} to give; lower its resources"
                )

    def release(self, holder: str) -> None:
        """Free a holder's slots, or its place in the queue, soon."""
        self._scribe.free(holder)
        if self._waiting:
            self._wake()

    async def close(self) -> None:
        """Stop. What was freed is written by the scribe."""
        self._waiting.clear()
        self._news.set()
        if self._task is not None:
            await asyncio.wait([self._task])

    def _wake(self) -> None:
        self._news.set()
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._loop())

    async def _loop(self) -> None:
        try:
            while self._waiting:
                self._news.clear()
                if not await self._turn() and self._waiting:
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(self._news.wait(), INTERVAL)
        finally:
            self._task = None

    async def _turn(self) -> bool:
        """Ask for those who wait, with what was freed meanwhile; whether anybody got something."""
        wants = [(holder, resources) for holder, (resources, _) in itertools.islice(self._waiting.items(), self._ahead)]
        try:
            got = await self._scribe.slots(Wants(self._host, self.capacity, wants, self._running))
        except Exception as error:
            self._fail(internal(error))
            return True
        for holder in got:
            waiting = self._waiting.pop(holder, None)
            if waiting is None:
                self._scribe.free(holder)
            elif not waiting[1].done():
                waiting[1].set_result(None)
        return bool(got)

    def _fail(self, error: WeftError) -> None:
        waiting, self._waiting = self._waiting, {}
        for _, future in waiting.values():
            if not future.done():
                future.set_exception(error)
