"""The pool: which worker is started, which call goes where, what becomes of the calls of one that ended.

Guarantees. *Each call* of a ``run`` is reported as ended, lost or unavailable exactly once. It *begins* at most once
for good: a call whose worker died in it is blamed, and not begun again; calls that its worker had not begun run
elsewhere. A call is never held behind another one while a worker that could take it is idle. *When* ``run`` is
cancelled or the pool closed, no process of theirs is left.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Awaitable, Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, Protocol

from weftwork.core.checksum import Checksum
from weftwork.core.placement import Resources
from weftwork.errors import Cancelled, Unavailable, WeftError, from_document
from weftwork.node.frames import Frame, pack
from weftwork.node.handover import remove
from weftwork.node.keeper import kill_marked
from weftwork.node.surroundings import LOG_LIMIT
from weftwork.ports import Call, CallOutcome, Report, Store
from weftwork.sites.schedulers.workers.lane import Entry, Group, Key, Lane, Seat, death
from weftwork.sites.schedulers.workers.limits import Limits
from weftwork.sites.schedulers.workers.process import ROOT, WorkerProcess
from weftwork.sites.schedulers.workers.wire import Buffers, Results

_SETUP_TRIES: Final = 3
_WORTH_A_WORKER: Final = 0.02
"""Seconds of work that must wait before another worker is started for it."""


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
        self._home = Path(folder)
        self._folder = self._home / f"{os.getpid()}-{uuid.uuid4().hex[:8]}"
        self._store = store
        self._slots: Slots = slots if slots is not None else Unshared()
        self._free = isinstance(self._slots, Unshared)
        self._executor = ThreadPoolExecutor(2, thread_name_prefix="weft-workers")
        self._buffers = Buffers(store, self._executor)
        self._results = Results()
        self._limits = Limits(self, idle)
        self._lanes: dict[Key, Lane] = {}
        self._entries: dict[str, Entry] = {}
        self._seats: dict[WorkerProcess, Seat] = {}
        self._names = itertools.count(1)
        self._tasks: set[asyncio.Task[None]] = set()
        self._keeper: subprocess.Popen[bytes] | None = None
        self._woken = False
        self._closed = False

    # What the scheduler asks

    def capacity(self) -> Resources:
        """What all workers together may take."""
        return self._slots.capacity

    async def run(self, calls: Sequence[Call], report: Callable[[Report], None]) -> None:
        """Run the calls; come back when each was reported. Cancelled, it ends them, and their processes are gone."""
        if self._closed:
            raise Unavailable("the workers of this process are closed")
        group = Group(report, len(calls), asyncio.get_running_loop().create_future())
        for call in calls:
            key = Lane.key(call)
            lane = self._lanes.get(key)
            if lane is None:
                lane = self._lanes[key] = Lane(call)
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
        seats = list(self._seats.values())
        for seat in seats:
            self.kill(seat)
        for seat in seats:
            await seat.buried.wait()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._limits.stop()
        if self._keeper is not None and self._keeper.stdin is not None:
            self._keeper.stdin.close()
            await asyncio.get_running_loop().run_in_executor(self._executor, self._keeper.wait)
        self._executor.shutdown()

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
                self.kill(seat)
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
            self._feed(lane)
        for key, lane in list(self._lanes.items()):
            if not lane.ready and not lane.seats and not lane.loading:
                del self._lanes[key]
        self._limits.start()

    def _feed(self, lane: Lane) -> None:
        lane.rebalance()
        if not lane.ready:
            lane.starved_since = None
            return
        if lane.bundle is None:
            if not lane.loading:
                lane.loading = True
                self._spawn(self._load(lane))
            return
        self._acquire(lane)
        while lane.ready:
            size = lane.batch()
            seats = [seat for seat in lane.seats if seat.usable and seat.held and seat.load <= size]
            if not seats:
                break
            seat = min(seats, key=lambda each: (each.load, not each.process.ready))
            entries = lane.take(size)
            if entries:
                self._assign(seat, entries)
        if lane.ready:
            self._grow(lane)

    def _acquire(self, lane: Lane) -> None:
        """Get slots for workers that have none, as many as there is work for."""
        wanted = len(lane.ready) - sum(1 for seat in lane.seats if seat.acquiring is not None)
        for seat in lane.seats:
            if wanted > 0 and not seat.held and seat.usable and seat.acquiring is None:
                wanted -= 1
                seat.held = self._free
                if not self._free:
                    seat.acquiring = self._spawn(self._hold(seat))

    async def _hold(self, seat: Seat) -> None:
        try:
            await self._slots.acquire(seat.process.name, seat.lane.resources)
            seat.held = True
            seat.idle_since = time.monotonic()
            if seat.process.gone:
                self.release(seat)
        except WeftError as error:
            self._fail(seat.lane, error)
        finally:
            seat.acquiring = None
            self.wake()

    def release(self, seat: Seat) -> None:
        """Free the slots of a worker that is idle or gone."""
        if seat.held:
            seat.held = False
            if not self._free:
                self._slots.release(seat.process.name)

    def _assign(self, seat: Seat, entries: list[Entry]) -> None:
        if not seat.outstanding:
            seat.since = time.monotonic()
        sources = self._buffers.known(entry.call for entry in entries)
        if sources is not None:
            self._send(seat, entries, sources)
            return
        for entry in entries:
            entry.seat, entry.number = seat, 0
        seat.loading += len(entries)
        self._spawn(self._load_and_send(seat, entries))

    async def _load_and_send(self, seat: Seat, entries: list[Entry]) -> None:
        try:
            found = await self._buffers.load([entry.call for entry in entries])
        finally:
            seat.loading -= len(entries)
        sources: dict[Checksum, bytes | str] = {}
        errors: dict[Checksum, WeftError] = {}
        for checksum, each in found.items():
            if isinstance(each, WeftError):
                errors[checksum] = each
            else:
                sources[checksum] = each
        for entry in entries if errors else ():
            bad = [ref.checksum for _, ref in entry.call.calculation.inputs if ref.checksum in errors]
            if bad:
                self.finish(entry, CallOutcome(error=errors[bad[0]]))
        entries = [entry for entry in entries if not entry.done]
        if seat.usable:
            self._send(seat, entries, sources)
        else:
            seat.lane.put_back(entries)
        self.wake()

    def _send(self, seat: Seat, entries: list[Entry], sources: dict[Checksum, bytes | str]) -> None:
        if not entries:
            return
        first = seat.numbered + 1
        seat.numbered += len(entries)
        numbers = range(first, seat.numbered + 1)
        for number, entry in zip(numbers, entries, strict=True):
            entry.seat, entry.number = seat, number
            seat.outstanding[number] = entry
        frame = seat.process.batches.pack(((entry.number, entry.call) for entry in entries), sources)
        seat.process.send(frame, numbers)

    async def _load(self, lane: Lane) -> None:
        try:
            source = await self._buffers.one(lane.program.bundle)
            if isinstance(source, str):
                source = await asyncio.get_running_loop().run_in_executor(self._executor, Path(source).read_bytes)
            if isinstance(source, WeftError):
                self._fail(lane, source)
            else:
                lane.bundle = source
        except OSError as error:
            self._fail(lane, Unavailable(f"the program's bundle cannot be read: {error}"))
        finally:
            lane.loading = False
            self.wake()

    # Workers

    def _grow(self, lane: Lane) -> None:
        """Start workers for calls that wait, while there is room and they are worth it."""
        while True:
            starting = sum(1 for seat in lane.seats if not seat.process.ready or not seat.load)
            slow = lane.mean is None or any(time.monotonic() - seat.since > _WORTH_A_WORKER for seat in lane.seats)
            worth = slow or len(lane.ready) * (lane.mean or 0.0) > _WORTH_A_WORKER
            if lane.seats and (not worth or starting >= len(lane.ready)):
                return
            if not self._room(lane):
                if not lane.seats and lane.starved_since is None:
                    lane.starved_since = time.monotonic()
                return
            lane.starved_since = None
            try:
                self._start(lane)
            except OSError as error:
                self._fail(lane, Unavailable(f"a worker cannot be started: {error}"))
                return
            self._acquire(lane)
            if not self._free:
                continue
            for seat in lane.seats[-1:]:
                self._assign(seat, lane.take(1))
            if not lane.ready:
                return

    def _room(self, lane: Lane) -> bool:
        """Whether another worker of the lane has room; an idle one of another lane makes room at once."""
        others = [seat for seat in self._seats.values() if not seat.killed]
        used = sum(seat.process.cpus for seat in others)
        idle = sorted(
            (seat for seat in others if seat.idle and seat.lane is not lane), key=lambda each: each.idle_since
        )
        while others and used + lane.resources.cpus > self._slots.capacity.cpus:
            if not idle:
                # What asks for more than there is gets all of it.
                return False
            seat = idle.pop(0)
            others.remove(seat)
            used -= seat.process.cpus
            self.kill(seat)
        return True

    def _start(self, lane: Lane) -> None:
        self._keep()
        name = f"{self._folder.name}-{next(self._names)}"
        process = WorkerProcess(
            name, self._folder / name, self._folder / "spool", lane.setup(), self._heard, self._exited
        )
        seat = Seat(process, lane, held=self._free)
        lane.seats.append(seat)
        self._seats[process] = seat
        self._note(f"+{process.pid}\n")

    def kill(self, seat: Seat) -> None:
        """End a worker: what it has not begun runs elsewhere, and nothing is blamed but what has a verdict."""
        seat.killed = True
        seat.process.kill()

    def retire(self, seat: Seat) -> None:
        """End a worker after the call that it is in."""
        seat.process.retiring = True
        seat.lane.put_back(seat.reclaim())
        if not seat.load:
            self.kill(seat)

    def _heard(self, process: WorkerProcess, frame: Frame) -> None:
        seat, header = self._seats[process], frame.header
        if "n" in header:
            self._result(seat, frame)
        elif "need" in header:
            self._spawn(self._supply(process, Checksum(header["need"])))
        elif "ready" in header:
            process.ready = True
            process.log_end = header["log_end"]
            seat.since = time.monotonic()
            seat.lane.failures = 0
        elif "refused" in header:
            seat.refusal = from_document(header["refused"])
        self.wake()

    def _result(self, seat: Seat, frame: Frame) -> None:
        header = frame.header
        entry = seat.outstanding.pop(header["n"], None)
        seat.process.log_end = header["log_end"]
        seat.since = time.monotonic()
        seat.lane.took(header["s"])
        if not seat.outstanding:
            seat.idle_since = seat.since
        if entry is not None:
            self.finish(entry, self._results.outcome(frame))
        if "retire" in header:
            self.retire(seat)
        elif seat.process.retiring and not seat.load:
            self.kill(seat)

    async def _supply(self, process: WorkerProcess, checksum: Checksum) -> None:
        source = await self._buffers.one(checksum)
        if isinstance(source, bytes):
            process.send(pack({"have": checksum}, [source]))
        elif isinstance(source, str):
            process.send(pack({"have": checksum, "path": source}))
        else:
            process.send(pack({"have": checksum}))

    def _exited(self, process: WorkerProcess) -> None:
        seat = self._seats.pop(process)
        seat.lane.seats.remove(seat)
        if seat.acquiring is not None:
            seat.acquiring.cancel()
        self.release(seat)
        self._note(f"-{process.pid}\n")
        begun = [entry for number, entry in seat.outstanding.items() if number not in process.left]
        culprit = begun.pop() if begun and process.ready else None
        log = process.written(LOG_LIMIT)
        seat.outstanding = {number: entry for number, entry in seat.outstanding.items() if entry is not culprit}
        if culprit is not None and culprit.verdict is None and seat.killed:
            seat.lane.put_back([culprit])
            culprit = None
        seat.lane.put_back(seat.outstanding.values())
        if not process.ready and not seat.killed:
            self._failed_setup(seat)
        self._spawn(self._bury(seat, culprit, log))
        self.wake()

    def _failed_setup(self, seat: Seat) -> None:
        lane = seat.lane
        if seat.refusal is not None:
            self._fail(lane, seat.refusal)
            return
        lane.failures += 1
        if lane.failures >= _SETUP_TRIES:
            lane.failures = 0
            tail = seat.process.tail()
            detail = f"the worker ended {_SETUP_TRIES} times while it was being set up" + (f":\n{tail}" if tail else "")
            for entry in lane.take(len(lane.ready)):
                self._report(entry, Report(entry.call.name, "unavailable", detail=detail))

    async def _bury(self, seat: Seat, culprit: Entry | None, log: bytes) -> None:
        """Leave nothing of a worker that is gone; then tell of the call in which it ended."""
        loop = asyncio.get_running_loop()
        try:
            await loop.run_in_executor(self._executor, _sweep, self._folder / seat.process.name)
        finally:
            seat.buried.set()
            if culprit is not None:
                error = culprit.verdict or death(culprit, seat.process, log)
                self.finish(culprit, CallOutcome(error=error, log=log))

    def _keep(self) -> None:
        """Start what cleans up behind this process if it is killed."""
        if self._keeper is not None and self._keeper.poll() is None:
            return
        (self._folder / "spool").mkdir(parents=True, exist_ok=True)
        boot = "import sys; sys.path.insert(0, sys.argv[1]); from weftwork.node.keeper import main; main(sys.argv[2])"
        self._keeper = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", boot, ROOT, str(self._folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            bufsize=0,
        )
        for seat in self._seats.values():
            self._note(f"+{seat.process.pid}\n")

    def _note(self, line: str) -> None:
        if self._keeper is not None and self._keeper.stdin is not None:
            with contextlib.suppress(OSError):
                self._keeper.stdin.write(line.encode("ascii"))

    # Ends

    def finish(self, entry: Entry, outcome: CallOutcome) -> None:
        """A call is over."""
        self._report(entry, Report(entry.call.name, "ended", outcome))

    def _fail(self, lane: Lane, error: WeftError) -> None:
        for entry in lane.take(len(lane.ready)):
            self.finish(entry, CallOutcome(error=error))

    def started(self, entry: Entry, seat: Seat) -> None:
        """A call runs, and has for long enough to be worth telling."""
        entry.told = True
        if not entry.group.withdrawn:
            detail = f"{seat.process.log}:{seat.process.log_end}"
            entry.group.report(Report(entry.call.name, "started", detail=detail))

    def _report(self, entry: Entry, report: Report) -> None:
        if entry.done:
            return
        entry.done = True
        self._entries.pop(entry.call.name, None)
        group = entry.group
        group.remaining -= 1
        if not group.withdrawn:
            group.report(report)
        if not group.remaining and not group.done.done():
            group.done.set_result(None)

    # For the limits

    def seats(self) -> list[Seat]:
        return list(self._seats.values())

    def lanes(self) -> list[Lane]:
        return list(self._lanes.values())

    def _spawn(self, work: object) -> asyncio.Task[None]:
        task: asyncio.Task[None] = asyncio.get_running_loop().create_task(work)  # type: ignore[arg-type]
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


def _sweep(folder: Path) -> None:
    while kill_marked(str(folder)):
        time.sleep(0.005)
    remove(str(folder))
