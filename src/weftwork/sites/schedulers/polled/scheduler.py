"""A scheduler out of a batch system's dialect and a shell: job folders on a file system that the nodes share.

One loop does everything, in turns: submit what waits, in arrays; ask once about all, and end what is to be ended; look
for outcomes. What it holds to:

- A task's batch is written into its folder before the batch is submitted, so ``find`` and ``run`` need no memory of ours.
  A submission that was not answered is looked for by its name before it is made again.
- ``outcome.json`` alone says how a task ended. What the batch system says decides when to look, and what to tell of a
  task that was killed or left none. A state that is not known is "ask again"; a task that is shown no more has
  ``patience`` seconds of successful asking, and is then lost, or evicted where it never began: its folder is taken, so
  that it never will.
- While the commands fail nothing is concluded; outcomes are collected all the same.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from weftwork.core.placement import Resources
from weftwork.errors import StagingFailed, WeftError
from weftwork.node.outcome import read_outcome
from weftwork.node.request import request_cancel
from weftwork.ports import Call, CallOutcome, Process, Report, Shell, Store, Task
from weftwork.sites.schedulers.polled import batches
from weftwork.sites.schedulers.polled.asking import Asking
from weftwork.sites.schedulers.polled.batches import Key
from weftwork.sites.schedulers.polled.calls import Calls
from weftwork.sites.schedulers.polled.dialect import Dialect
from weftwork.sites.schedulers.polled.entries import Entry, Found, conclude, look, told
from weftwork.sites.schedulers.polled.pace import Pace, Settings
from weftwork.sites.schedulers.polled.queue import Queue
from weftwork.sites.schedulers.polled.submitting import Submitting

_LAST_WORD = 10.0
"""Seconds in which a scheduler that is closed may still end what was cancelled."""


class Polled:
    """See :class:`weftwork.ports.Scheduler` for what it guarantees; the nodes see ``home`` by the same path."""

    lasting = True
    machine = None

    def __init__(
        self,
        dialect: Dialect,
        shell: Shell,
        home: Path,
        settings: Settings | None = None,
        pace: Pace | None = None,
        store: Store | None = None,
    ) -> None:
        """With the ``store`` of the home it takes calls too, each as a job folder of its own."""
        self.takes = frozenset({"process"} if store is None else {"process", "call"})
        self._calls = None if store is None else Calls(home, store)
        self._home = home
        self._queue = Queue(dialect, shell, home, settings or Settings(), pace or Pace())
        self._submitting = Submitting(self._queue)
        self._asking = Asking(self._queue, self._submitting)
        self._loop: asyncio.Task[None] | None = None
        self._kick = asyncio.Event()
        self._wakes = 0.0
        self._look_at = 0.0

    def capacity(self) -> Resources:
        return self._queue.settings.capacity

    # What the engine asks for

    async def run(self, tasks: Sequence[Task], report: Callable[[Report], None]) -> None:
        processes = [task for task in tasks if isinstance(task, Process)]
        async with asyncio.TaskGroup() as group:
            if processes:
                group.create_task(self._run(processes, report))
            for call in (task for task in tasks if isinstance(task, Call)):
                group.create_task(self._call(call, report))

    async def _call(self, call: Call, report: Callable[[Report], None]) -> None:
        """A call as a job folder: its end is told with what it gave."""
        assert self._calls is not None
        calls, ended = self._calls, list[Report]()

        def told(each: Report) -> None:
            if each.state == "ended":
                ended.append(each)
            else:
                report(each)

        try:
            process = await asyncio.to_thread(calls.process, call)
        except (WeftError, OSError) as error:
            failure = (
                error if isinstance(error, WeftError) else StagingFailed(f"{call.name} cannot be laid out: {error}")
            )
            report(Report(call.name, "ended", CallOutcome(error=failure)))
            return
        await self._run([process], told)
        if ended:
            report(await asyncio.to_thread(calls.report, call, ended[0]))

    async def _run(self, tasks: Sequence[Process], report: Callable[[Report], None]) -> None:
        loop = asyncio.get_running_loop()
        entries = [Entry(task, report, loop.create_future()) for task in tasks]
        for entry in entries:
            self._queue.entries[entry.name] = entry
        keys = await asyncio.to_thread(lambda: [batches.batch_of(entry.folder) for entry in entries])
        for entry, key in zip(entries, keys, strict=True):
            if entry.done.done():
                continue
            if key is None:
                self._submitting.add(entry)
            else:
                self._queue.put(entry, key)
        self._wake()
        try:
            if entries:
                await asyncio.wait([entry.done for entry in entries])
        except asyncio.CancelledError:
            await asyncio.shield(self._give_up(entries))
            raise

    async def find(self, names: Sequence[str]) -> set[str]:
        """Those that were put into a batch: whether the batch system knows them will show when they are joined."""

        def known(name: str) -> bool:
            folder = self._home / "jobs" / name
            return batches.batch_of(folder) is not None or read_outcome(str(folder)) is not None

        return await asyncio.to_thread(lambda: {name for name in names if known(name)})

    async def cancel(self, names: Sequence[str]) -> None:
        """End the tasks. What no node has begun never will, and is over at once; what runs is asked to stop, has its
        grace, and is then ended by the batch system."""
        await self._cancel(names, self._queue.pace.grace)

    async def _cancel(self, names: Iterable[str], grace: float) -> None:
        queue = self._queue
        entries = {name: queue.entries.get(name) for name in names}
        folders = [self._home / "jobs" / name if entry is None else entry.folder for name, entry in entries.items()]
        for entry in entries.values():
            if entry is not None:
                entry.cancelled = True
        stopped = await asyncio.to_thread(lambda: [_stop(folder, grace) for folder in folders])
        for (name, entry), (key, never) in zip(entries.items(), stopped, strict=True):
            if key is not None:
                queue.ending[key] = time.monotonic() + (0.0 if never else grace)
            if never and entry is not None:
                queue.end(entry, Report(name, "lost", detail="it was cancelled before it began"))
        self._asking.at = 0.0
        self._wake()

    async def _give_up(self, entries: Sequence[Entry]) -> None:
        """Nobody waits for these: they are killed. Comes back when they are gone, or was tried for long enough."""
        waiting = [entry for entry in entries if not entry.done.done()]
        await self._cancel([entry.name for entry in waiting], 0.0)
        if left := [entry.done for entry in waiting if not entry.done.done()]:
            await asyncio.wait(left, timeout=2 * self._queue.pace.grace)
        for entry in waiting:
            self._queue.end(entry, None)

    async def leave(self, names: Sequence[str]) -> None:
        for name in names:
            if (entry := self._queue.entries.get(name)) is not None:
                self._queue.leave(entry)

    async def close(self) -> None:
        """Stop asking. What was submitted goes on, and can be found; what was cancelled is ended."""
        if self._loop is not None:
            self._loop.cancel()
            await asyncio.wait([self._loop])
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LAST_WORD):
                await self._asking.end_all()
        for entry in list(self._queue.entries.values()):
            self._queue.leave(entry)

    # The loop

    def _wake(self) -> None:
        """Something is to be done sooner than the loop would."""
        queue = self._queue
        queue.interval = queue.pace.poll
        self._asking.at = min(self._asking.at, time.monotonic() + queue.interval)
        if self._loop is None or self._loop.done():
            self._loop = asyncio.get_running_loop().create_task(self._turns())
            self._loop.add_done_callback(self._stopped)
        elif self._next() < self._wakes:
            self._kick.set()

    async def _turns(self) -> None:
        while self._queue.entries or self._queue.ending:
            self._kick.clear()
            await self._submitting.turn()
            await self._asking.turn()
            await self._look()
            self._wakes = self._next()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(0.01, self._wakes - time.monotonic())):
                    await self._kick.wait()

    def _next(self) -> float:
        return min(self._submitting.due(), self._asking.at, self._look_at)

    def _stopped(self, loop: asyncio.Task[None]) -> None:
        """A fault of ours must not leave anybody waiting: what is submitted can be found again."""
        if not loop.cancelled() and (error := loop.exception()) is not None:
            for entry in list(self._queue.entries.values()):
                detail = f"the loop of its scheduler failed: {type(error).__name__}: {error}"
                self._queue.end(entry, Report(entry.name, "lost", detail=detail))

    async def _look(self) -> None:
        """Outcomes of what may have one, and conclusions about what will have none."""
        now = time.monotonic()
        if now < self._look_at:
            return
        entries = [entry for entry in self._queue.entries.values() if self._may_have_ended(entry)]
        if entries:
            found = await asyncio.to_thread(lambda: [look(entry.folder) for entry in entries])
            for entry, each in zip(entries, found, strict=True):
                if not entry.done.done():
                    await self._judge(entry, each)
        self._look_at = time.monotonic() + self._queue.pace.outcomes

    def _may_have_ended(self, entry: Entry) -> bool:
        if entry.key is None:
            return False
        waits = entry.seen is not None and entry.seen.state == "queued" and entry.over_since is None
        return entry.cancelled or self._asking.failing or not waits

    async def _judge(self, entry: Entry, found: Found) -> None:
        if found.begun:
            entry.begin()
        site = self._queue.dialect.name
        report = None if found.outcome is None else told(entry, found.outcome, site)
        if report is None and self._is_overdue(entry):
            report = await asyncio.to_thread(conclude, entry, site)
        if report is not None:
            if entry.key is not None and entry.seen is not None and entry.seen.state == "stuck":
                self._queue.ending[entry.key] = 0.0
            self._queue.end(entry, report)

    def _is_overdue(self, entry: Entry) -> bool:
        if entry.over_since is None:
            return False
        patience = 0.0 if entry.cancelled and entry.ended else self._queue.pace.patience
        return time.monotonic() - entry.over_since >= patience


def _stop(folder: Path, grace: float) -> tuple[Key | None, bool]:
    """Ask whoever runs a folder to stop; its batch, and whether nobody runs it nor ever will."""
    key = batches.batch_of(folder)
    if batches.withdraw(folder):
        return key, True
    if folder.exists():
        request_cancel(str(folder), "user", None if grace else 0.0)
    return key, False
