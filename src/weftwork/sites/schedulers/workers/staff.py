"""The worker processes of a pool: their start, what they say, their end, and what is done about their calls then."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import subprocess
import sys
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Final

from weftwork.core.checksum import Checksum
from weftwork.errors import from_document
from weftwork.node import processes
from weftwork.node.frames import Frame, pack
from weftwork.node.handover import remove
from weftwork.node.keeper import kill_marked
from weftwork.node.surroundings import LOG_LIMIT
from weftwork.ports import CallOutcome, Report
from weftwork.sites.schedulers.workers.lane import Entry, Lane, Seat, death
from weftwork.sites.schedulers.workers.process import ROOT, WorkerProcess
from weftwork.sites.schedulers.workers.wire import Results

if TYPE_CHECKING:
    from weftwork.sites.schedulers.workers.pool import Workers

_SETUP_TRIES: Final = 3
_KILLED: Final = -9
_SETUP_KILLS: Final = 10
"""Deaths at set-up by SIGKILL, which comes from outside, before a program is given up."""


class Staff:
    """All workers of a pool, in a folder of this process; beside it a keeper that cleans up if the process is killed."""

    def __init__(self, pool: Workers, home: Path) -> None:
        self._pool = pool
        self._home = home
        self._folder = home / f"{os.getpid()}-{processes.identity(os.getpid())}-{uuid.uuid4().hex[:8]}"
        self._seats: dict[WorkerProcess, Seat] = {}
        self._results = Results()
        self._names = itertools.count(1)
        self._keeper: subprocess.Popen[bytes] | None = None

    @property
    def seats(self) -> list[Seat]:
        return list(self._seats.values())

    def could_grow(self, lane: Lane) -> bool:
        """Whether another worker of the lane would find room, or be given some."""
        others = [seat for seat in self._seats.values() if not seat.killed and (seat.load or seat.lane is lane)]
        return sum(seat.process.cpus for seat in others) + lane.resources.cpus <= self._pool.slots.capacity.cpus

    def make_room(self, lane: Lane) -> bool:
        """Whether another worker of the lane has room; an idle one of another lane makes room at once."""
        since = lane.starved_since or time.monotonic()
        if any(not each.seats and (each.starved_since or since) < since for each in self._pool.lanes()):
            # Another lane has been waiting for its first worker for longer.
            return False
        others = [seat for seat in self._seats.values() if not seat.killed]
        used = sum(seat.process.cpus for seat in others)
        idle = sorted(
            (seat for seat in others if seat.idle and seat.lane is not lane), key=lambda each: each.idle_since
        )
        while others and used + lane.resources.cpus > self._pool.slots.capacity.cpus:
            if not idle:
                # What asks for more than there is gets all of it.
                return False
            seat = idle.pop(0)
            others.remove(seat)
            used -= seat.process.cpus
            self.kill(seat)
        return True

    def start(self, lane: Lane) -> None:
        """Start a worker. Raises ``OSError`` when that cannot be done."""
        self._keep()
        name = f"{self._folder.name}-{next(self._names)}"
        process = WorkerProcess(
            name, self._folder / name, self._folder / "spool", lane.setup(), self._heard, self._exited
        )
        seat = Seat(process, lane, held=self._pool.unshared)
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

    def _heard(self, process: WorkerProcess, frames: list[Frame]) -> None:
        seat = self._seats[process]
        results = [frame for frame in frames if "n" in frame.header]
        if results:
            self._ended(seat, results)
        for frame in frames:
            header = frame.header
            if "need" in header:
                self._pool.spawn(self._supply(process, Checksum(header["need"])))
            elif "ready" in header:
                process.ready = True
                process.log_end = header["log_end"]
                seat.since = time.monotonic()
                seat.lane.deaths.clear()
            elif "refused" in header:
                seat.refusal = from_document(header["refused"])
        self._pool.wake()

    def _ended(self, seat: Seat, results: list[Frame]) -> None:
        """Calls are over, in the order in which they ran."""
        seat.since = time.monotonic()
        seat.process.log_end = results[-1].header["log_end"]
        seat.lane.took(sum([frame.header["s"] for frame in results]) / len(results), len(results))
        for frame in results:
            entry = seat.outstanding.pop(frame.header["n"], None)
            if entry is not None:
                self._pool.finish(entry, self._results.outcome(frame))
        if not seat.outstanding:
            seat.idle_since = seat.since
        if "retire" in results[-1].header:
            self.retire(seat)
        elif seat.process.retiring and not seat.load:
            self.kill(seat)

    async def _supply(self, process: WorkerProcess, checksum: Checksum) -> None:
        source = await self._pool.buffers.one(checksum)
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
        self._pool.release(seat)
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
        self._pool.spawn(self._bury(seat, culprit, log))
        self._pool.wake()

    def _failed_setup(self, seat: Seat) -> None:
        lane = seat.lane
        if seat.refusal is not None:
            self._pool.fail(lane, seat.refusal)
            return
        lane.deaths.append(seat.process.exit_code or 0)
        if len(lane.deaths) - lane.deaths.count(_KILLED) >= _SETUP_TRIES or len(lane.deaths) >= _SETUP_KILLS:
            tail = seat.process.tail()
            detail = f"the worker ended {len(lane.deaths)} times while it was being set up" + (
                f":\n{tail}" if tail else ""
            )
            lane.deaths.clear()
            for entry in lane.take(len(lane.ready)):
                self._pool.report(entry, Report(entry.call.name, "unavailable", detail=detail))

    async def _bury(self, seat: Seat, culprit: Entry | None, log: bytes) -> None:
        """Leave nothing of a worker that is gone; then tell of the call in which it ended."""
        loop = asyncio.get_running_loop()
        try:
            await loop.run_in_executor(self._pool.executor, _sweep, self._folder / seat.process.name)
        finally:
            seat.buried.set()
            if culprit is not None:
                error = culprit.verdict or death(culprit, seat.process, log)
                self._pool.finish(culprit, CallOutcome(error=error, log=log))

    def _keep(self) -> None:
        """See that the keeper is there; at the first worker, clean up behind those whose keeper was killed too."""
        if self._keeper is not None and self._keeper.poll() is None:
            return
        if self._keeper is None:
            (self._folder / "spool").mkdir(parents=True, exist_ok=True)
            self._pool.executor.submit(_clean, self._home)
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

    async def close(self) -> None:
        """End all workers and the keeper; when this returns no process of theirs is left."""
        seats = self.seats
        for seat in seats:
            self.kill(seat)
        for seat in seats:
            await seat.buried.wait()
        if self._keeper is not None and self._keeper.stdin is not None:
            self._keeper.stdin.close()
            await asyncio.get_running_loop().run_in_executor(self._pool.executor, self._keeper.wait)

    def _note(self, line: str) -> None:
        if self._keeper is not None and self._keeper.stdin is not None:
            with contextlib.suppress(OSError):
                self._keeper.stdin.write(line.encode("ascii"))


def _sweep(folder: Path) -> None:
    """Kill what names the folder in its environment, and remove it."""
    deadline = time.monotonic() + 5
    while kill_marked(str(folder)) and time.monotonic() < deadline:
        time.sleep(0.005)
    remove(str(folder))


def _clean(home: Path) -> None:
    """Remove what dead processes left in the home of all pools."""
    for folder in home.iterdir():
        pid, _, rest = folder.name.partition("-")
        if pid.isdigit() and not processes.is_running(int(pid), rest.rpartition("-")[0]):
            _sweep(folder)
