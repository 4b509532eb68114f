"""The pool: which worker is started, which call goes where, what becomes of the calls of one that ended.

Guarantees. *Each call* of a ``run`` is reported as ended, lost or unavailable exactly once. It *begins* at most once
for good: a call whose worker died in it is blamed, and not begun again; calls that its worker had not begun run
elsewhere. A call is never held behind another one while a worker that could take it is idle. *When* ``run`` is
cancelled or the pool closed, no process of theirs is left.
"""

from __future__ import annotations

import asyncio
import os
import traceback
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol

from weftwork.core.placement import Resources
from weftwork.errors import Cancelled, SiteFailed, Unavailable, WeftError
from weftwork.ports import Call, CallOutcome, Report, Store
from weftwork.sites.schedulers.workers.feeding import Feeder
from weftwork.sites.schedulers.workers.lane import Entry, Group, Key, Lane, Seat
from weftwork.sites.schedulers.workers.limits import Limits
from weftwork.sites.schedulers.workers.staff import Staff
from weftwork.sites.schedulers.workers.wire import Buffers


class Slots(Protocol):
    """The machine's CPUs, memory and GPUs, shared with other processes. A busy worker holds its own."""

    capacity: Resources

    def acquire(self, holder: str, resources: Resources) -> Awaitable[None]: ...

    def release(self, holder: str) -> None: ...


class Unshared:
    """Slots that nobody else wants."""

    def __init__(self, capacity: Resources | None = None) -> None:
        self.capacity = capacity or Resources(cpus=os.cpu_count() or 1)

    async def acquire(self, holder: str, resources: Resources) -> None:
        return

    def release(self, holder: str) -> None:
        return


class Workers:
    """Warm workers of this machine; see the module's text. All methods belong to one event loop.

    ``folder`` takes the folders of workers and the files that large outputs travel in: on the store's file system they
    are moved rather than copied. ``idle`` is after how many seconds without a call a worker is ended.
    """

    def __init__(self, folder: Path, store: Store, slots: Slots | None = None, *, idle: float = 30.0) -> None:
        self.slots: Slots = slots if slots is not None else Unshared()
        self.unshared = isinstance(self.slots, Unshared)
        self.executor = ThreadPoolExecutor(2, thread_name_prefix="weft-workers")
        self.buffers = Buffers(store, self.executor)
        self.staff = Staff(self, Path(folder))
        self._feeder = Feeder(self)
        self._limits = Limits(self, idle)
        self._lanes: dict[Key, Lane] = {}
        self._entries: dict[str, Entry] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._woken = False
        self._closed = False

    # What the scheduler asks

    def capacity(self) -> Resources:
        """What all workers together may take."""
        return self.slots.capacity

    async def run(self, calls: Sequence[Call], report: Callable[[Report], None]) -> None:
        """Run the calls; come back when each was reported. Cancelled, it ends them, and their processes are gone."""
        if self._closed:
            raise Unavailable("the workers of this process are closed")
        group = Group(report, len(calls), asyncio.get_running_loop().create_future())
        lane = frame = resources = None
        for call in calls:
            # The calls of one map share their frame: a lane's key is too dear to be made for each.
            if lane is None or call.calculation.frame is not frame or call.resources is not resources:
                frame, resources = call.calculation.frame, call.resources
                lane = self._lanes.setdefault(Lane.key(call), Lane(call))
            entry = Entry(call, group, lane)
            self._entries[call.name] = entry
            lane.ready.append(entry)
        if not calls:
            return
        self._pump()
        try:
            await group.done
        except asyncio.CancelledError:
            group.withdrawn = True
            names = [call.name for call in calls if call.name in self._entries]
            await asyncio.shield(self._end(names, "its run"))
            raise

    async def cancel(self, names: Sequence[str], by: str = "request") -> None:
        """End the named calls, each reported as cancelled; unknown names are none of ours."""
        await self._end(names, by)

    async def close(self) -> None:
        """End all workers. Calls that are left are reported as cancelled."""
        self._closed = True
        await self._end(list(self._entries), "the end of its engine")
        await self.staff.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._limits.stop()
        await asyncio.to_thread(self.executor.shutdown)

    async def _end(self, names: Iterable[str], by: str) -> None:
        killed = []
        for name in names:
            entry = self._entries.get(name)
            if entry is None:
                continue
            error = Cancelled(f"{entry.call.module.name}: cancelled by {by}", by=by)
            seat = entry.seat
            if seat is not None and entry.number in seat.outstanding:
                entry.lane.put_back(seat.reclaim())
            if seat is not None and entry.number in seat.outstanding:
                entry.verdict = error
                self.staff.kill(seat)
                killed.append(seat)
            else:
                self.finish(entry, CallOutcome(error=error))
        self.wake()
        for seat in killed:
            await seat.buried.wait()

    # Calls to workers

    def wake(self) -> None:
        """Look for work to hand out, once in this turn of the loop."""
        if not self._woken:
            self._woken = True
            asyncio.get_running_loop().call_soon(self._pump)

    def _pump(self) -> None:
        self._woken = False
        if self._closed:
            return
        for lane in list(self._lanes.values()):
            try:
                self._feeder.feed(lane)
            except Exception as error:
                # A fault with one lane's calls: they end with it, nobody waits for them for ever, and the other lanes go on.
                self.give_up(lane, error)
        for key, lane in list(self._lanes.items()):
            if not (lane.ready or lane.seats or lane.loading or lane.pending):
                del self._lanes[key]
        self._limits.start()

    # Ends

    def finish(self, entry: Entry, outcome: CallOutcome) -> None:
        """A call is over."""
        self.report(entry, Report(entry.call.name, "ended", outcome))

    def fail(self, lane: Lane, error: WeftError) -> None:
        """None of the calls that wait in a lane can be run."""
        for entry in lane.take(len(lane.ready)):
            self.finish(entry, CallOutcome(error=error))

    def give_up(self, lane: Lane, error: Exception) -> None:
        """A fault of ours: all calls of a lane fail but those that a worker has."""
        text = "".join(traceback.format_exception(error))
        told = SiteFailed(f"internal error, please report it: {type(error).__name__}: {error}", traceback=text)
        for entry in list(self._entries.values()):
            if entry.lane is lane and (entry.seat is None or entry.number not in entry.seat.outstanding):
                self.finish(entry, CallOutcome(error=told))
        lane.ready.clear()

    def started(self, entry: Entry, seat: Seat) -> None:
        """A call runs, and has for long enough to be worth telling."""
        entry.told = True
        if not entry.group.withdrawn:
            detail = f"{seat.process.log}:{seat.process.log_end}"
            entry.group.report(Report(entry.call.name, "started", detail=detail))

    def report(self, entry: Entry, report: Report) -> None:
        """Tell how a call ended, unless that was told."""
        if entry.done:
            return
        entry.done = True
        self._entries.pop(entry.call.name, None)
        group = entry.group
        group.remaining -= 1
        if not group.withdrawn and not group.done.done():
            try:
                group.report(report)
            except Exception as error:
                # A bug of the receiver: its run ends with it, and the calls of others go on.
                group.done.set_exception(error)
        if not group.remaining and not group.done.done():
            group.done.set_result(None)

    # For the pool's parts

    def release(self, seat: Seat) -> None:
        """Free the slots of a worker that is idle or gone."""
        if seat.held:
            seat.held = False
            if not self.unshared:
                self.slots.release(seat.holder)

    def lanes(self) -> list[Lane]:
        return list(self._lanes.values())

    def spawn(self, work: Coroutine[Any, Any, None], lane: Lane | None = None) -> asyncio.Task[None]:
        """A task that the pool ends with. A fault in what is done for a lane ends the calls that wait in it."""
        task = asyncio.get_running_loop().create_task(work if lane is None else self._guarded(work, lane))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _guarded(self, work: Coroutine[Any, Any, None], lane: Lane) -> None:
        try:
            await work
        except Exception as error:
            self.give_up(lane, error)
