"""This machine's CPUs, memory and GPUs, shared by every process of the home: rows of the ledger, waited for here."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from weftwork.core.placement import Resources
from weftwork.engine.jobs import internal
from weftwork.errors import Refused, WeftError
from weftwork.ports import Ledger

INTERVAL = 0.02
"""Seconds between two looks while somebody waits for a slot that another process has."""

LINGER = 0.005
"""Seconds for which a freed slot waits for the next want of this process: then both are one transaction."""

AHEAD = 8
"""Wants that stand in the ledger's queue at least: enough that what is freed goes to the next in the same transaction."""


class Slots:
    """Takes and frees slots for one owner. Whoever waits does so in the order of asking.

    Only the first of them stand in the ledger's queue, which every turn reads: a thousand that wait cost no more than ten.
    ``running`` says of a holder whether it goes on although its owner is dead: a command does, under its supervisor.
    """

    def __init__(
        self,
        ledger: Ledger,
        owner: str,
        host: str,
        capacity: Resources,
        running: Callable[[str], bool] = lambda holder: False,
    ) -> None:
        self._ledger = ledger
        self._owner = owner
        self._host = host
        self._running = running
        self.capacity = capacity
        self._ahead = max(AHEAD, 2 * capacity.cpus)
        self._waiting: dict[str, tuple[Resources, asyncio.Future[None]]] = {}
        self._freed: list[str] = []
        self._task: asyncio.Task[None] | None = None
        self._news = asyncio.Event()
        self._lingering: asyncio.TimerHandle | None = None
        self._closed = False
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="weft-slots")

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
        self._freed.append(holder)
        if self._waiting or self._task is not None:
            self._wake()
        elif self._lingering is None:
            self._lingering = asyncio.get_running_loop().call_later(LINGER, self._wake)

    async def close(self) -> None:
        """Free what is to be freed, and stop."""
        self._closed = True
        self._waiting.clear()
        if self._lingering is not None:
            self._wake()
        if self._task is not None:
            await asyncio.wait([self._task])
        self._thread.shutdown()

    def _wake(self) -> None:
        if self._lingering is not None:
            self._lingering.cancel()
            self._lingering = None
        self._news.set()
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._loop())

    async def _loop(self) -> None:
        try:
            while self._waiting or self._freed:
                self._news.clear()
                if not await self._turn() and self._waiting:
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(self._news.wait(), INTERVAL)
        finally:
            self._task = None

    async def _turn(self) -> bool:
        """Free what is to be freed and ask for those who wait, in one transaction; whether anybody got something."""
        freed, self._freed = self._freed, []
        wants = [(holder, resources) for holder, (resources, _) in itertools.islice(self._waiting.items(), self._ahead)]
        try:
            got = await asyncio.get_running_loop().run_in_executor(self._thread, self._ask, wants, freed)
        except Exception as error:
            self._fail(internal(error))
            # Tried again; at the end of this process its owner is released, and with it all that it holds.
            if freed and not self._closed:
                self._freed += freed
                await asyncio.sleep(1.0)
            return True
        for holder in got:
            waiting = self._waiting.pop(holder, None)
            if waiting is None:
                self._freed.append(holder)
            elif not waiting[1].done():
                waiting[1].set_result(None)
        return bool(got)

    def _ask(self, wants: Sequence[tuple[str, Resources]], freed: Sequence[str]) -> set[str]:
        """On the thread."""
        if not wants:
            self._ledger.free_slots(self._owner, freed)
            return set()
        return self._ledger.take_slots(self._owner, self._host, self.capacity, wants, self._running, freed)

    def _fail(self, error: WeftError) -> None:
        waiting, self._waiting = self._waiting, {}
        for _, future in waiting.values():
            if not future.done():
                future.set_exception(error)
