"""Watches a running command until its main process has ended, and holds it to its limits.

The end is told by a pidfd at once (without one, by asking ever more slowly, every 50 ms at most). Time is a deadline;
memory, disk, streams and the number of processes are measured a few times a second while they are limited,
and about once a second otherwise, so that a short job pays for none of it. Whatever is exceeded first is the verdict:
at the time limit SIGTERM to the process group, the grace, SIGKILL; at the others SIGKILL at once, because what a job does
with its grace there is to take more.
"""

from __future__ import annotations

import select
import signal
import time
from collections.abc import Callable
from typing import Final

from weftwork.core.placement import size_text
from weftwork.errors import CalculationFailed, Cancelled, DiskLimit, MemoryLimit, TimeLimit, WeftError
from weftwork.node import disk, processes
from weftwork.node.job import Limits
from weftwork.node.request import Request
from weftwork.node.sweep import Children, Command

STREAM_CAP: Final = 1 << 30  # bytes of stdout and stderr together, when there is no disk limit
_OFTEN: Final = 0.15
_SELDOM: Final = 1.0
_SNAPSHOTS: Final = processes.Snapshots()


class Watch:
    """One command under its limits. After :meth:`until_end`: ``verdict`` why it was stopped, if it was; peaks seen.

    ``base`` are the bytes that lay in the folder before the command started; ``ask`` asks the program to end.
    """

    def __init__(
        self,
        children: Children,
        command: Command,
        limits: Limits,
        request: Request,
        base: int,
        ask: Callable[[Command], None] = Command.ask,
    ) -> None:
        self.verdict: WeftError | None = None
        self.memory = 0
        self.disk = 0
        self.disk_was_full = False
        self._children = children
        self._command = command
        self._ask = ask
        self._limits = limits
        self._request = request
        self._kill_at: float | None = None
        self._stopped_at = 0.0
        self._killed = False
        limited = any(limit is not None for limit in (limits.memory, limits.disk, limits.processes))
        self._interval = _OFTEN if limited else _SELDOM
        self._sample_at = command.began + _OFTEN
        self._base = base
        self._poller = select.poll()
        self._poller.register(request.descriptor, select.POLLIN)
        if command.pidfd is not None:
            self._poller.register(command.pidfd, select.POLLIN)

    def until_end(self) -> None:
        """Return when the main process has ended. It is not reaped where a pidfd told of its end."""
        pause = 0.001
        while True:
            timeout = max(0.0, self._next() - time.monotonic())
            if self._command.pidfd is None:
                timeout = min(timeout, pause)
                pause = min(pause * 1.5, 0.05)
            for descriptor, _ in self._poller.poll(int(timeout * 1000) + 1 if timeout else 0):
                if descriptor == self._command.pidfd:
                    return
                self._request.rest()
                self._heed()
            if self._command.pidfd is None and self._children.poll(self._command):
                return
            self._act(time.monotonic())

    def _next(self) -> float:
        at = self._sample_at
        if self._kill_at is not None and not self._killed:
            at = min(at, self._kill_at)
        if self._limits.seconds is not None and self.verdict is None:
            at = min(at, self._command.began + self._limits.seconds)
        return at

    def _act(self, now: float) -> None:
        if self._kill_at is not None and now >= self._kill_at and not self._killed:
            self._killed = True
            self._command.signal(signal.SIGKILL)
        limit = self._limits.seconds
        ran = now - self._command.began
        if limit is not None and ran >= limit:
            self._stop(
                TimeLimit(f"the job ran {ran:.1f} s; its time limit is {limit:g} s", limit=limit, seconds=round(ran, 3))
            )
        if now >= self._sample_at:
            self._sample()
            # A folder of many files, or a machine of many processes, must not make measuring the main work.
            done = time.monotonic()
            self._sample_at = done + max(self._interval, 10 * (done - now))

    def _heed(self) -> None:
        request = self._request
        if request.abandoned:
            self._killed = True
            self._command.signal(signal.SIGKILL)
        elif request.by is not None:
            self._stop(Cancelled(f"cancelled by {request.by}", by=request.by))
            if request.grace is not None and self._kill_at is not None:
                self._kill_at = min(self._kill_at, self._stopped_at + request.grace)

    def _end(self, verdict: WeftError) -> None:
        self.verdict = self.verdict or verdict
        self._killed = True
        self._command.signal(signal.SIGKILL)

    def _stop(self, verdict: WeftError) -> None:
        if self.verdict is not None:
            return
        self.verdict = verdict
        self._stopped_at = time.monotonic()
        self._kill_at = self._stopped_at + self._limits.grace
        self._ask(self._command)

    def _sample(self) -> None:
        self._request.look(self._command.folder)
        self._heed()
        everything = _SNAPSHOTS.latest(self._interval / 2)
        family = self._children.note(self._command, everything)
        self._memory(family)
        self._disk()
        most = self._limits.processes
        if most is not None and len(family) > most:
            self._end(
                CalculationFailed(
                    f"the job had {len(family)} processes; its limit is {most}", limit=most, processes=len(family)
                )
            )

    def measure_disk(self) -> int:
        """The most bytes that the job was seen to take below its folder, beside its inputs; measured now as well."""
        self.disk = max(self.disk, disk.used(self._command.folder) - self._base)
        return self.disk

    def _memory(self, family: list[processes.Process]) -> None:
        used = sum(process.memory for process in family)
        limit = self._limits.memory
        if limit is not None and used > limit:
            # Processes that were forked share pages: before a verdict each page is counted once.
            exact = processes.proportional_memory([process.pid for process in family])
            used = used if exact is None else exact
            if used > limit:
                self._end(
                    MemoryLimit(
                        f"the job used {size_text(used)} of memory; its limit is {size_text(limit)}",
                        limit=limit,
                        memory=used,
                    )
                )
        self.memory = max(self.memory, used)

    def _disk(self) -> None:
        folder, limit = self._command.folder, self._limits.disk
        self.disk_was_full = self.disk_was_full or disk.is_full(folder)
        if limit is not None:
            if self.measure_disk() > limit:
                self._end(disk_limit(self.disk, limit))
        elif disk.streams(folder) > STREAM_CAP:
            self._end(
                DiskLimit(f"the job wrote more than {size_text(STREAM_CAP)} to stdout and stderr", limit=STREAM_CAP)
            )


def disk_limit(used: int, limit: int) -> DiskLimit:
    return DiskLimit(f"the job wrote {size_text(used)}; its disk limit is {size_text(limit)}", limit=limit, disk=used)
