"""What time brings: limits of running calls, live logs, idle workers, lanes that wait for room.

One look for all workers, every 10 ms while calls run and rarer while nothing changes; none while there is no worker.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from typing import TYPE_CHECKING, Final

from weftwork.errors import MemoryLimit, TimeLimit
from weftwork.node import processes
from weftwork.node.surroundings import LOG_LIMIT
from weftwork.sites.schedulers.workers.lane import Entry, Lane, Seat

if TYPE_CHECKING:
    from weftwork.sites.schedulers.workers.pool import Workers

_SHORTEST: Final = 0.01
_LONGEST: Final = 0.1
_LINGER: Final = 0.1
"""Seconds for which an idle worker keeps its slots."""
_STARVED: Final = 0.25
"""Seconds after which a lane without a worker gets the place of another lane's busy one."""
_MEMORY_EVERY: Final = 0.1


class Limits:
    """Looks at the workers of a pool now and then."""

    def __init__(self, pool: Workers, idle: float) -> None:
        self._pool = pool
        self._idle = idle
        self._timer: asyncio.TimerHandle | None = None
        self._interval = _SHORTEST
        self._measured = 0.0
        self._measuring = False
        self._seen: tuple[int, ...] = ()

    def start(self) -> None:
        """Look soon, if there is anything to look at."""
        seats = self._pool.staff.seats
        if not seats or (self._timer is not None and self._interval == _SHORTEST):
            return
        if any(seat.load for seat in seats):
            self._interval = _SHORTEST
        elif self._timer is not None:
            return
        self.stop()
        self._timer = asyncio.get_running_loop().call_later(self._interval, self._look)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        self._timer = None
        now = time.monotonic()
        pool = self._pool
        soonest = _LONGEST
        for seat in pool.staff.seats:
            seat.process.look()
            if seat.process.gone or seat.killed:
                continue
            entry = seat.current()
            if entry is not None:
                soonest = min(soonest, self._running(seat, entry, now))
            elif not seat.load:
                self._idling(seat, now)
        self._check_memory(now)
        for lane in pool.lanes():
            if lane.starved_since is not None and now - lane.starved_since > _STARVED:
                self._make_room(lane)
        pool.wake()
        self._again(soonest)

    def _again(self, soonest: float) -> None:
        seats = self._pool.staff.seats
        if not seats:
            return
        seen = tuple(seat.numbered - len(seat.outstanding) for seat in seats)
        self._interval = _SHORTEST if seen != self._seen else min(_LONGEST, self._interval * 1.3)
        self._seen = seen
        if not any(seat.load for seat in seats):
            self._interval = max(_SHORTEST, min(_LINGER if any(seat.held for seat in seats) else 1.0, self._idle))
        if self._timer is None:
            delay = max(0.001, min(self._interval, soonest) if soonest < _LONGEST else self._interval)
            self._timer = asyncio.get_running_loop().call_later(delay, self._look)

    def _running(self, seat: Seat, entry: Entry, now: float) -> float:
        """Look at a running call; in how many seconds its time is up."""
        if not entry.told:
            self._pool.started(entry, seat)
        with contextlib.suppress(OSError):
            kept = seat.process.log_end + LOG_LIMIT
            if os.stat(seat.process.log).st_size > kept:
                # What is beyond is not kept: a flood must not fill the disk.
                os.truncate(seat.process.log, kept)
        limit = entry.call.resources.time
        if limit is None:
            return _LONGEST
        left = seat.since + limit - now
        if left <= 0:
            name = entry.call.module.name
            entry.verdict = TimeLimit(f"{name}: ran longer than its time limit of {limit:g} s", limit=limit)
            self._pool.staff.kill(seat)
        return max(left, 0.001)

    def _idling(self, seat: Seat, now: float) -> None:
        if now - seat.idle_since > self._idle and seat.process.ready:
            self._pool.staff.kill(seat)
        elif seat.held and now - seat.idle_since > _LINGER:
            self._pool.release(seat)

    def _check_memory(self, now: float) -> None:
        """Have the memory of limited calls measured, off the loop: it takes a look at every process."""
        limited = any(seat.load and seat.lane.resources.memory is not None for seat in self._pool.staff.seats)
        if limited and not self._measuring and now - self._measured > _MEMORY_EVERY:
            self._measuring = True
            self._pool.spawn(self._measure())

    async def _measure(self) -> None:
        try:
            loop = asyncio.get_running_loop()
            everything = await loop.run_in_executor(self._pool.executor, processes.table)
        finally:
            self._measuring = False
            self._measured = time.monotonic()
        for seat in self._pool.staff.seats:
            limit = seat.lane.resources.memory
            if limit is None or not seat.usable:
                continue
            used = sum(each.memory for each in processes.descendants(everything, {seat.process.pid}))
            seat.process.drain()
            entry = seat.current()
            if used > limit and entry is not None:
                name, told = (
                    entry.call.module.name,
                    f"{used / 1e6:.0f} MB, and its memory limit is {limit / 1e6:.0f} MB",
                )
                entry.verdict = MemoryLimit(f"{name}: used {told}", limit=limit, used=used)
                self._pool.staff.kill(seat)

    def _make_room(self, lane: Lane) -> None:
        """End a worker of the lane that has most, after the call that it is in."""
        others = [other for other in self._pool.lanes() if other is not lane and other.seats]
        if any(not seat.usable for other in others for seat in other.seats):
            return
        crowded = max(others, key=lambda other: len(other.seats), default=None)
        if crowded is not None:
            usable = [seat for seat in crowded.seats if seat.usable]
            if usable:
                self._pool.staff.retire(usable[-1])
