"""The scheduler of this machine keeps the contract of all schedulers, in both of its lanes."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path

import psutil
import pytest
from site_tasks import folder_error, noting, script_task

from weftwork import config
from weftwork.core.calculation import Calculation
from weftwork.core.checksum import canonical
from weftwork.core.placement import Resources
from weftwork.engine.frames import frame_of
from weftwork.engine.slots import Slots
from weftwork.errors import WeftError
from weftwork.ledger import owners
from weftwork.node.supervised import connect_or_start
from weftwork.ports import Call, Process, Report, Scheduler, Task
from weftwork.python.decorators import module
from weftwork.sites.machine import Machine
from weftwork.sites.schedulers.local import Local
from weftwork.testing.scheduler import Place, SchedulerContract

pytestmark = pytest.mark.slow  # many short ones: together too long for a quick look


@module
def noted(note: str, name: str, seconds: float, exit_code: int) -> None:
    import os
    import time

    with open(note, "a") as file:
        file.write(f"begin {name}\n")
    time.sleep(seconds)
    if exit_code:
        os._exit(exit_code)
    with open(note, "a") as file:
        file.write(f"end {name}\n")


class ThisMachine(Place):
    lanes = ("process", "call")

    def __init__(self, folder: Path) -> None:
        self.home = config.open_home(folder / "home")
        self.owner = owners.this()
        self.home.ledger.register(self.owner, 60)

    def cpus(self) -> int:
        return 2

    @contextlib.asynccontextmanager
    async def scheduler(self) -> AsyncIterator[Scheduler]:
        slots = Slots(self.home.ledger, self.owner.id, self.owner.host, Resources(cpus=2))
        local = Local(self.home.folder, self.home.store, slots)
        try:
            yield local
        finally:
            await local.close()

    def task(self, lane: str, name: str, note: Path, seconds: float = 0.0, exit_code: int = 0) -> Task:
        if lane == "call":
            return self._call(name, note, seconds, exit_code)
        return self.process(name, noting(name, note, seconds, exit_code), Resources())

    def process(self, name: str, script: str, resources: Resources) -> Process:
        return script_task(self.home.folder / "jobs" / name, script, resources)

    def _call(self, name: str, note: Path, seconds: float, exit_code: int) -> Task:
        found, carried = noted.resolve()
        self.home.store.put_many([*carried.buffers, canonical(found.document())])
        frame = frame_of(found, Machine(self.home.sources.checksum).resolve(found))
        values = {"note": str(note), "name": name, "seconds": seconds, "exit_code": exit_code}
        calculation = Calculation.of(frame, self.home.binder.bind(found, values))
        return Call(name, name, calculation, found, Resources())

    def error(self, task: Task, report: Report) -> WeftError | None:
        return report.outcome.error if report.outcome is not None else folder_error(task, report)

    def processes(self, names: Sequence[str]) -> set[str]:
        alive = set()
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error, OSError):
                home = process.environ().get("HOME", "")
                for name in names:
                    if f"/jobs/{name}/" in home + "/" or (str(self.home.folder / "workers") in home):
                        alive.add(name)
        return alive


class TestLocalScheduler(SchedulerContract):
    @pytest.fixture
    def place(self, tmp_path: Path) -> Iterator[ThisMachine]:
        place = ThisMachine(tmp_path)
        yield place
        connection = connect_or_start(str(place.home.folder))
        connection.close()
        place.home.close()
