"""What the pool keeps in mind: calls, the worker that has them, and the lane of workers that can take them."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

from weftwork.core.checksum import canonical
from weftwork.core.module import Function
from weftwork.core.placement import Resources
from weftwork.errors import CalculationFailed, ExitCode, Signalled, WeftError
from weftwork.node.worker import LOST_CHANNEL
from weftwork.ports import Call, Report
from weftwork.sites.schedulers.workers.process import Setup, WorkerProcess

_BATCH_SECONDS: Final = 0.004
_LEAST_SECONDS: Final = 0.001
_LARGEST_BATCH: Final = 256
LONG: Final = 0.02
"""Seconds from which on a call is a long one: none is sent behind it."""
_OVERHEAD: Final = 20e-6
"""Seconds that a call costs beside the function itself."""

Key = tuple[str, bytes, int, int, int | None]


@dataclass(slots=True, eq=False)
class Group:
    """The calls of one ``run``."""

    report: Callable[[Report], None]
    remaining: int
    done: asyncio.Future[None]
    withdrawn: bool = False


@dataclass(slots=True, eq=False)
class Entry:
    """A call on its way. ``verdict`` is why its worker was killed, once it was killed because of this call."""

    call: Call
    group: Group
    lane: Lane
    seat: Seat | None = None
    number: int = 0
    told: bool = False
    done: bool = False
    verdict: WeftError | None = None


@dataclass(slots=True, eq=False)
class Seat:
    """A worker and what it has: ``outstanding`` by number, in order; ``running`` the number of the call that it is in."""

    process: WorkerProcess
    lane: Lane
    outstanding: dict[int, Entry] = field(default_factory=dict)
    loading: int = 0
    numbered: int = 0
    held: bool = False
    holder: str = ""
    acquiring: asyncio.Task[None] | None = None
    running: int = 0
    since: float = 0.0
    idle_since: float = field(default_factory=time.monotonic)
    killed: bool = False
    refusal: WeftError | None = None
    buried: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def load(self) -> int:
        return len(self.outstanding) + self.loading

    @property
    def idle(self) -> bool:
        """Whether nothing is lost when it ends: it has no call, and its lane has none for it."""
        return not self.load and self.acquiring is None and not self.lane.ready

    @property
    def usable(self) -> bool:
        return not (self.process.gone or self.process.retiring or self.killed)

    def open(self, now: float) -> bool:
        """Whether it may be sent calls: it has its slots, and is not in a call that takes long."""
        return self.usable and self.held and not (self.outstanding and self.process.ready and now - self.since > LONG)

    def current(self) -> Entry | None:
        """The call that it is in, as far as can be told from the outside."""
        begun = len(self.outstanding) - self.process.waiting()
        if begun < 1 or not self.process.ready:
            return None
        return next(iter(self.outstanding.values()))

    def reclaim(self, count: int = 8192) -> list[Entry]:
        """Take calls back that it has not begun, in order."""
        taken = (self.outstanding.pop(number, None) for number in self.process.take_back(count))
        return [entry for entry in taken if entry is not None]


class Lane:
    """The calls and workers of one bundle, environment and size."""

    def __init__(self, call: Call) -> None:
        assert isinstance(call.module.program, Function)
        self.program = call.module.program
        self.environment = call.calculation.frame.environment
        self.resources = Resources(cpus=call.resources.cpus, memory=call.resources.memory, gpus=call.resources.gpus)
        self.ready: deque[Entry] = deque()
        self.seats: list[Seat] = []
        self.mean: float | None = None
        self.bundle: bytes | None = None
        self.loading = False
        self.pending = 0
        self.deaths: list[int] = []
        self.starved_since: float | None = None

    @staticmethod
    def key(call: Call) -> Key:
        """What calls of one lane have in common. The bundle by checksum: equal programs may differ in their line numbers."""
        program = call.module.program
        assert isinstance(program, Function)
        environment = canonical(call.calculation.frame.environment)
        return (program.bundle, environment, call.resources.cpus, call.resources.gpus, call.resources.memory)

    def setup(self) -> Setup:
        assert self.bundle is not None
        return Setup(self.bundle, self.program.bundle, self.program.identity, self.environment, self.resources.cpus)

    def batch(self) -> int:
        """How many calls to send at once: some milliseconds' worth, and no more than leaves work for the others."""
        if self.mean is None:
            return 1
        share = len(self.ready) // (2 * max(1, len(self.seats))) + 1
        # To halve what is left again and again would end in batches of one, each of which costs more than its call.
        share = max(share, int(_LEAST_SECONDS / self.mean))
        return max(1, min(int(_BATCH_SECONDS / self.mean), share, _LARGEST_BATCH))

    def took(self, seconds: float, count: int) -> None:
        """Learn how long a call takes: the mean of some that ended, the last ten of all counting most."""
        seconds += _OVERHEAD
        self.mean = seconds if self.mean is None else seconds + 0.9**count * (self.mean - seconds)

    def put_back(self, entries: Iterable[Entry]) -> None:
        """Calls that were sent and not begun are next."""
        for entry in reversed(list(entries)):
            entry.seat = None
            if not entry.done:
                self.ready.appendleft(entry)

    def take(self, count: int) -> list[Entry]:
        """The next calls."""
        taken: list[Entry] = []
        while self.ready and len(taken) < count:
            entry = self.ready.popleft()
            if not entry.done:
                taken.append(entry)
        return taken

    def rebalance(self) -> bool:
        """Give idle workers calls that others have not begun; whether anything was taken back."""
        idle = sum(1 for seat in self.seats if seat.usable and seat.process.ready and not seat.load)
        if not idle or self.ready:
            return False
        now, moved = time.monotonic(), False
        for seat in sorted(self.seats, key=lambda each: -len(each.outstanding)):
            if len(seat.outstanding) < 2 - (not seat.process.ready) or seat.process.gone:
                continue
            worth = len(seat.outstanding) * (self.mean or 1.0) > 0.002 or now - seat.since > _BATCH_SECONDS
            entries = seat.reclaim((seat.process.waiting() + 1) // 2) if worth else []
            self.put_back(entries)
            moved = moved or bool(entries)
            if moved:
                break
        return moved

    def unlock(self, after: float) -> None:
        """Take back what waits behind calls that take long: another worker can be started for it."""
        now = time.monotonic()
        for seat in self.seats:
            if seat.process.ready and len(seat.outstanding) > 1 and now - seat.since > after:
                self.put_back(seat.reclaim())


def death(entry: Entry, process: WorkerProcess, log: bytes) -> CalculationFailed:
    """The error of the call in which a worker ended that nobody had asked to."""
    name = entry.call.module.name
    stderr = log[-4096:].decode("utf-8", "replace")
    code = process.exit_code or 0
    if code < 0:
        perhaps = ", perhaps for want of memory" if code == -9 else ""
        return Signalled(
            f"{name}: the function's process was killed by signal {-code}{perhaps}", signal=-code, stderr=stderr
        )
    if code == LOST_CHANNEL:
        return ExitCode(
            f"{name}: the function closed descriptors that it had not opened", exit_code=code, stderr=stderr
        )
    return ExitCode(f"{name}: the function ended its process with exit code {code}", exit_code=code, stderr=stderr)
