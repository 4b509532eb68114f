"""A batch system as a place for the contract of schedulers: job folders below a home whose path is as awkward as may be."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

from site_tasks import alive, folder_error, noting, noting_call, script_task

from weftwork import config
from weftwork.core.placement import Resources
from weftwork.errors import WeftError
from weftwork.ports import Process, Report, Scheduler, Shell, Task
from weftwork.sites.schedulers.polled.dialect import Dialect
from weftwork.sites.schedulers.polled.pace import Pace, Settings
from weftwork.sites.schedulers.polled.scheduler import Polled
from weftwork.testing.scheduler import Place

QUICK = Pace(gather=0.1, poll=0.3, slowest=1.0, outcomes=0.2, patience=4.0, outage=30.0, grace=6.0, burst=10, every=0.1)
"""A pace for tests: the real one is kind to controllers."""


class Batch(Place):
    """A dialect over a shell; ``wide`` are the options that make a task as wide as ``cpus()`` says."""

    slowness = 5.0

    def __init__(
        self,
        dialect: Dialect,
        shell: Callable[[], Shell],
        folder: Path,
        at_once: int,
        settings: Settings,
        pace: Pace = QUICK,
    ) -> None:
        self.opened = config.open_home(folder / "a home; with $HOME, 'quotes' & \"more\" \\ é")
        self.home = self.opened.folder
        self.jobs = self.home / "jobs"
        self._dialect = dialect
        self._shell = shell
        self._at_once = at_once
        self._settings = settings
        self._pace = pace

    def cpus(self) -> int:
        return self._at_once

    @contextlib.asynccontextmanager
    async def scheduler(self) -> AsyncIterator[Scheduler]:
        shell = self._shell()
        polled = Polled(self._dialect, shell, self.home, self._settings, self._pace, self.opened.store)
        try:
            yield polled
        finally:
            await polled.close()
            await shell.close()

    def task(self, lane: str, name: str, note: Path, seconds: float = 0.0, exit_code: int = 0) -> Task:
        if lane == "call":
            return noting_call(self.opened, name, note, seconds, exit_code)
        return self.process(name, noting(name, note, seconds, exit_code), Resources())

    def process(self, name: str, script: str, resources: Resources) -> Process:
        return script_task(self.jobs / name, script, resources)

    def error(self, task: Task, report: Report) -> WeftError | None:
        return folder_error(task, report)

    def processes(self, names: Sequence[str]) -> set[str]:
        return alive(self.jobs, names)
