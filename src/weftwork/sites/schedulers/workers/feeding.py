"""Hands calls to workers: which one gets which, with what bytes, and when another worker is worth its start."""

from __future__ import annotations

import asyncio
import itertools
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from weftwork.core.checksum import Checksum
from weftwork.errors import Unavailable, WeftError
from weftwork.ports import CallOutcome
from weftwork.sites.schedulers.workers.lane import LONG, Entry, Lane, Seat

if TYPE_CHECKING:
    from weftwork.sites.schedulers.workers.pool import Workers

_WORTH_A_WORKER: Final = LONG
"""Seconds of work that must wait before another worker is started for it."""


class Feeder:
    """Keeps the workers of each lane in work: one batch in hand, one on the way."""

    def __init__(self, pool: Workers) -> None:
        self._pool = pool
        self._buffers = pool.buffers
        self._slots = pool.slots
        self._holds = itertools.count(1)

    def feed(self, lane: Lane) -> None:
        """Give the lane's calls to its workers, and start others while they are worth it."""
        if not lane.rebalance() and self._pool.staff.could_grow(lane):
            lane.unlock(_WORTH_A_WORKER)
        if not lane.ready:
            lane.starved_since = None
            return
        if lane.bundle is None:
            if not lane.loading:
                lane.loading = True
                self._pool.spawn(self._load(lane), lane)
            return
        self._acquire(lane)
        now = time.monotonic()
        while lane.ready:
            size = lane.batch()
            seats = [seat for seat in lane.seats if seat.open(now) and seat.load <= size]
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
                seat.held = self._pool.unshared
                if not self._pool.unshared:
                    seat.acquiring = self._pool.spawn(self._hold(seat), lane)

    async def _hold(self, seat: Seat) -> None:
        try:
            # A name for each time: what was freed a moment ago may not have been taken note of.
            seat.holder = f"{seat.process.name}.{next(self._holds)}"
            await self._slots.acquire(seat.holder, seat.lane.resources)
            seat.held = True
            seat.idle_since = time.monotonic()
            if seat.process.gone:
                self._pool.release(seat)
        except WeftError as error:
            self._pool.fail(seat.lane, error)
        finally:
            seat.acquiring = None
            self._pool.wake()

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
        seat.lane.pending += len(entries)
        self._pool.spawn(self._load_and_send(seat, entries), seat.lane)

    async def _load_and_send(self, seat: Seat, entries: list[Entry]) -> None:
        try:
            found = await self._buffers.load([entry.call for entry in entries])
        finally:
            seat.loading -= len(entries)
            seat.lane.pending -= len(entries)
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
                self._pool.finish(entry, CallOutcome(error=errors[bad[0]]))
        entries = [entry for entry in entries if not entry.done]
        if seat.usable:
            self._send(seat, entries, sources)
        else:
            seat.lane.put_back(entries)
        self._pool.wake()

    def _send(self, seat: Seat, entries: list[Entry], sources: dict[Checksum, bytes | str]) -> None:
        if not entries:
            return
        first = seat.numbered + 1
        seat.numbered += len(entries)
        numbers = range(first, seat.numbered + 1)
        for number, entry in zip(numbers, entries, strict=True):
            entry.seat, entry.number = seat, number
            seat.outstanding[number] = entry
        try:
            frame = seat.process.batches.pack(((entry.number, entry.call) for entry in entries), sources)
        except Exception:
            for number in numbers:
                del seat.outstanding[number]
            # It may have noted as sent what was not.
            self._pool.staff.kill(seat)
            raise
        seat.process.send(frame, numbers)

    async def _load(self, lane: Lane) -> None:
        try:
            source = await self._buffers.one(lane.program.bundle)
            if isinstance(source, str):
                source = await asyncio.get_running_loop().run_in_executor(self._pool.executor, Path(source).read_bytes)
            if isinstance(source, WeftError):
                self._pool.fail(lane, source)
            else:
                lane.bundle = source
        except OSError as error:
            self._pool.fail(lane, Unavailable(f"the program's bundle cannot be read: {error}"))
        finally:
            lane.loading = False
            self._pool.wake()

    def _grow(self, lane: Lane) -> None:
        """Start workers for calls that wait, while there is room and they are worth it."""
        while True:
            starting = sum(1 for seat in lane.seats if not seat.process.ready or not seat.load)
            slow = lane.mean is None or any(time.monotonic() - seat.since > _WORTH_A_WORKER for seat in lane.seats)
            worth = slow or len(lane.ready) * (lane.mean or 0.0) > _WORTH_A_WORKER
            if lane.seats and (not worth or starting >= len(lane.ready)):
                return
            if not self._pool.staff.make_room(lane):
                if not lane.seats and lane.starved_since is None:
                    lane.starved_since = time.monotonic()
                return
            lane.starved_since = None
            try:
                self._pool.staff.start(lane)
            except OSError as error:
                self._pool.fail(lane, Unavailable(f"a worker cannot be started: {error}"))
                return
            self._acquire(lane)
            if not self._pool.unshared:
                continue
            for seat in lane.seats[-1:]:
                self._assign(seat, lane.take(1))
            if not lane.ready:
                return
