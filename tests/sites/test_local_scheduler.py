"""The scheduler of this machine keeps the contract of all schedulers, in both of its lanes."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from site_tasks import folder_error, noting, noting_call, script_task

from weftwork import config
from weftwork.core.placement import Resources
from weftwork.engine.scribe import Scribe
from weftwork.engine.slots import Slots
from weftwork.errors import WeftError
from weftwork.ledger import owners
from weftwork.node.supervised import connect_or_start
from weftwork.ports import Process, Report, Scheduler, Task
from weftwork.sites.schedulers.local import Local
from weftwork.testing.scheduler import Place, SchedulerContract

pytestmark = pytest.mark.slow  # many short ones: together too long for a quick look


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
        scribe = Scribe(self.home.ledger, self.owner.id)
        slots = Slots(scribe, self.owner.host, Resources(cpus=2))
        local = Local(self.home.folder, self.home.store, slots)
        try:
            yield local
        finally:
            await local.close()
            await scribe.close()

    def task(self, lane: str, name: str, note: Path, seconds: float = 0.0, exit_code: int = 0) -> Task:
        if lane == "call":
            return noting_call(self.home, name, note, seconds, exit_code)
        return self.process(name, noting(name, note, seconds, exit_code), Resources())

    def process(self, name: str, script: str, resources: Resources) -> Process:
        return script_task(self.home.folder / "jobs" / name, script, resources)

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

    def test_a_process_that_has_its_slots_asks_for_none_and_frees_them(
        self, place: ThisMachine, tmp_path: Path
    ) -> None:
        ledger, owner = place.home.ledger, place.owner
        everything = [("has-1", Resources(cpus=2))]
        assert ledger.take_slots(owner.id, owner.host, Resources(cpus=2), everything) == {"has-1"}
        ends: list[Report] = []

        async def run() -> None:
            async with place.scheduler() as scheduler:
                task = place.process("has-1", noting("has-1", tmp_path / "note", 0.0, 0), Resources(cpus=2))
                await asyncio.wait_for(scheduler.run([replace(task, held=True)], ends.append), 30)

        asyncio.run(run())
        assert [report.state for report in ends] == ["started", "ended"]
        assert ledger.take_slots(owner.id, owner.host, Resources(cpus=2), [("next", Resources(cpus=2))]) == {"next"}
