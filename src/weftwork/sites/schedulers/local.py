"""This machine: calls go to warm workers, commands to the resident supervisor; both hold the machine's slots."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from weftwork.core.placement import Resources
from weftwork.errors import Lost, NotFound, Refused, Unavailable
from weftwork.node import claim
from weftwork.node.outcome import read_outcome
from weftwork.node.supervised import Supervised
from weftwork.ports import Call, Machine, Process, Report, Scheduler, Store, Task
from weftwork.sites.adapters import Making, without_options

if TYPE_CHECKING:
    from weftwork.formats.adapters import Adapter
    from weftwork.sites.schedulers.workers import Workers


class Slots(Protocol):
    """The machine's CPUs, memory and GPUs, shared with other processes."""

    machine: Machine
    capacity: Resources

    def acquire(self, holder: str, resources: Resources) -> Awaitable[None]: ...

    def release(self, holder: str) -> None: ...

    def close(self) -> Awaitable[None]: ...


@dataclass(slots=True, eq=False)
class _Attempt:
    """A command on its way. ``queued``: it waits for its slots; ``stopped`` and ``left``: why its task was cancelled."""

    task: asyncio.Task[None] | None = None
    queued: bool = False
    stopped: bool = False
    left: bool = False


class Local:
    """The scheduler of this machine. See :class:`weftwork.ports.Scheduler` for what it guarantees."""

    takes = frozenset({"call", "process"})
    lasting = False

    def __init__(self, home: Path, store: Store, slots: Slots) -> None:
        self._jobs = home / "jobs"
        self._slots = slots
        self.machine = slots.machine
        self._supervised = Supervised(str(home))
        self._home = home
        self._store = store
        self._workers: Workers | None = None
        self._running: dict[str, _Attempt] = {}

    def capacity(self) -> Resources:
        return self._slots.capacity

    async def run(self, tasks: Sequence[Task], report: Callable[[Report], None]) -> None:
        calls = [task for task in tasks if isinstance(task, Call)]
        processes = [task for task in tasks if isinstance(task, Process)]
        async with asyncio.TaskGroup() as group:
            if calls:
                group.create_task(self._staff().run(calls, report))
            for process in processes:
                # Known from here on: who cancels it may come before its task has begun.
                attempt = self._running[process.name] = _Attempt()
                group.create_task(self._run(process, attempt, report))

    def _staff(self) -> Workers:
        if self._workers is None:
            # Imported here: a process that only runs commands has no need of the whole function lane.
            from weftwork.sites.schedulers.workers import Workers

            self._workers = Workers(self._home / "workers", self._store, self._slots)
        return self._workers

    async def _run(self, process: Process, attempt: _Attempt, report: Callable[[Report], None]) -> None:
        """One job folder, from waiting for its slots to its end."""
        attempt.task = asyncio.current_task()
        try:
            if attempt.stopped or attempt.left:
                raise asyncio.CancelledError
            if not process.held:
                attempt.queued = True
                await self._slots.acquire(process.name, process.resources)
                attempt.queued = False
            await self._supervised.run(str(process.folder), lambda _: report(_started(process)))
        except Lost as error:
            report(Report(process.name, "lost", detail=str(error)))
        except (Unavailable, Refused, NotFound) as error:
            report(Report(process.name, "unavailable", detail=str(error)))
        except asyncio.CancelledError:
            if attempt.stopped:
                report(Report(process.name, "lost", detail="it was cancelled before it began"))
            elif not attempt.left:
                await self._supervised.cancel(str(process.folder), "its engine")
                raise
        else:
            report(Report(process.name, "ended"))
        finally:
            del self._running[process.name]
            self._slots.release(process.name)

    async def find(self, names: Sequence[str]) -> set[str]:
        """Those whose folder is being worked on, or has its outcome."""
        return await asyncio.to_thread(self._find, names)

    def _find(self, names: Sequence[str]) -> set[str]:
        folders = {name: str(self._jobs / name) for name in names}
        return {name for name, folder in folders.items() if read_outcome(folder) is not None or claim.is_alive(folder)}

    async def cancel(self, names: Sequence[str]) -> None:
        """End the tasks: calls with their worker, commands by SIGTERM and, after their grace, SIGKILL."""
        if self._workers is not None:
            await self._workers.cancel(names)
        for name in names:
            folder = self._jobs / name
            attempt = self._running.get(name)
            if attempt is not None and (attempt.queued or attempt.task is None):
                attempt.stopped = True
                if attempt.task is not None:
                    attempt.task.cancel()
            elif attempt is not None or folder.exists():
                await self._supervised.cancel(str(folder), "user")

    async def leave(self, names: Sequence[str]) -> None:
        """Commands go on under the supervisor. Calls need this process: they end with its workers."""
        for name in names:
            attempt = self._running.get(name)
            if attempt is not None:
                attempt.left = True
                if attempt.task is not None:
                    attempt.task.cancel()

    async def close(self) -> None:
        if self._workers is not None:
            await self._workers.close()
        await self._supervised.close()
        await self._slots.close()


def _started(process: Process) -> Report:
    return Report(process.name, "started", detail=str(process.folder))


def adapter() -> Adapter:
    return without_options("scheduler", "local", "This machine.")


def make(making: Making) -> Scheduler:
    return making.here
