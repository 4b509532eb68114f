"""What every :class:`~weftwork.ports.Scheduler` must do. A backend subclasses :class:`SchedulerContract` in its own tests.

The ground truth is what the tasks themselves leave behind: each writes lines to a file of its own, which no scheduler
knows, and the test looks at these and at the processes of the place.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from weftwork.core.placement import Resources
from weftwork.errors import ExitCode, MemoryLimit, Signalled, TimeLimit, WeftError
from weftwork.ports import Process, Report, Scheduler, Task

ENDS = frozenset({"ended", "lost", "unavailable", "evicted"})


class Place:
    """A place to compute, as its tests make it. The subclass of the contract gives one."""

    lanes: tuple[str, ...] = ("process",)
    """The kinds of task that the scheduler takes."""

    slowness: float = 1.0
    """How much longer than on this machine a task takes to begin and to be told of."""

    def scheduler(self) -> contextlib.AbstractAsyncContextManager[Scheduler]:
        """A scheduler of the place, as a process that has just started would have it."""
        raise NotImplementedError

    def task(self, lane: str, name: str, note: Path, seconds: float = 0.0, exit_code: int = 0) -> Task:
        """A task that adds the line ``begin NAME`` to ``note``, sleeps, adds ``end NAME``, and ends with the exit code."""
        raise NotImplementedError

    def process(self, name: str, script: str, resources: Resources) -> Process:
        """A task of the command lane: a script of ``sh`` under limits. Its path is as awkward as a path may be."""
        raise NotImplementedError

    def error(self, task: Task, report: Report) -> WeftError | None:
        """What a task that was reported as ended has failed with, by its report and what it left behind."""
        raise NotImplementedError

    def processes(self, names: Sequence[str]) -> set[str]:
        """Those of the tasks of which a process is alive at the place, seen without the scheduler."""
        raise NotImplementedError

    def cpus(self) -> int:
        """How many one-CPU tasks the place runs at once."""
        raise NotImplementedError


class Heard:
    """The reports that a scheduler pushed, by task."""

    def __init__(self) -> None:
        self.states: dict[str, list[str]] = collections.defaultdict(list)
        self.last: dict[str, Report] = {}

    def __call__(self, report: Report) -> None:
        self.states[report.task].append(report.state)
        self.last[report.task] = report

    def right(self, names: Sequence[str]) -> None:
        """Each task: ``started`` at most once, then exactly one end."""
        for name in names:
            states = self.states[name]
            assert states.count("started") <= 1, (name, states)
            assert sum(state in ENDS for state in states) == 1, (name, states)
            assert states[-1] in ENDS, (name, states)


class SchedulerContract:
    """The tests. ``place`` is a fixture of the subclass."""

    @pytest.fixture
    def note(self, tmp_path: Path) -> Path:
        return tmp_path / "note"

    @pytest.fixture(params=["process", "call"])
    def lane(self, request: pytest.FixtureRequest, place: Place) -> str:
        _needs(place, request.param)
        return str(request.param)

    def test_a_task_is_reported_once_and_has_run(self, place: Place, lane: str, note: Path) -> None:
        heard = _run(place, [place.task(lane, "only-1", note)])
        heard.right(["only-1"])
        assert heard.last["only-1"].state == "ended"
        assert _lines(note) == ["begin only-1", "end only-1"]

    def test_a_failing_task_has_ended_and_has_failed(self, place: Place, lane: str, note: Path) -> None:
        task = place.task(lane, "bad-1", note, exit_code=3)
        heard = _run(place, [task])
        heard.right(["bad-1"])
        assert heard.last["bad-1"].state == "ended"
        assert place.error(task, heard.last["bad-1"]) is not None

    @pytest.mark.parametrize(
        ("script", "kind", "details"),
        [
            ("exit 3", ExitCode, {"exit_code": 3}),
            ("kill -SEGV $$", Signalled, {"signal": 11}),
            ("kill -KILL $$", Signalled, {"signal": 9}),
        ],
    )
    def test_an_exit_code_and_a_signal_are_told(
        self, place: Place, script: str, kind: type[WeftError], details: dict[str, int]
    ) -> None:
        error = _failure(place, script, Resources())
        assert type(error) is kind
        assert details.items() <= error.details.items()

    def test_both_streams_may_be_flooded_at_once(self, place: Place) -> None:
        _needs(place, "process")
        task = place.process("flood-1", "head -c 5000000 /dev/zero >&2 & head -c 5000000 /dev/zero; wait", Resources())
        heard = _run(place, [task])
        assert heard.last["flood-1"].state == "ended"
        assert place.error(task, heard.last["flood-1"]) is None
        assert [(task.folder / stream).stat().st_size for stream in ("stdout", "stderr")] == [5_000_000, 5_000_000]

    def test_a_time_limit_is_told_as_such_and_leaves_no_process(self, place: Place) -> None:
        error = _failure(place, "sleep 60 & sleep 60", Resources(time=0.5))
        assert type(error) is TimeLimit
        assert _gone(place, ["fails-1"])

    def test_a_memory_limit_is_told_as_such(self, place: Place) -> None:
        greedy = "exec python3 -c 'held = bytes([1]) * 300_000_000; import time; time.sleep(30)'"
        assert type(_failure(place, greedy, Resources(memory=60_000_000))) is MemoryLimit

    @pytest.mark.timeout(600)  # each may be a process that a batch system starts, on a machine of two CPUs
    def test_two_hundred_tasks_at_once_each_run_once(self, place: Place, lane: str, note: Path) -> None:
        names = [f"many-{number}" for number in range(200)]
        heard = _run(place, [place.task(lane, name, note) for name in names])
        heard.right(names)
        assert {report.state for report in heard.last.values()} == {"ended"}
        counted = collections.Counter(_lines(note))
        assert counted == collections.Counter(
            [*(f"begin {name}" for name in names), *(f"end {name}" for name in names)]
        )

    def test_never_more_at_once_than_there_is_room(self, place: Place, lane: str, note: Path) -> None:
        names = [f"room-{number}" for number in range(3 * place.cpus())]
        heard = _run(place, [place.task(lane, name, note, seconds=0.1) for name in names])
        heard.right(names)
        at_once = most = 0
        for line in _lines(note):
            at_once += 1 if line.startswith("begin") else -1
            most = max(most, at_once)
        assert 1 <= most <= place.cpus()

    def test_cancelling_ends_the_task_and_leaves_no_process(self, place: Place, lane: str, note: Path) -> None:
        async def story(scheduler: Scheduler, heard: Heard) -> None:
            running = asyncio.ensure_future(scheduler.run([place.task(lane, "long-1", note, seconds=60)], heard))
            await _until(lambda: _lines(note) == ["begin long-1"])
            await scheduler.cancel(["long-1"])
            await asyncio.wait_for(running, 20)

        heard = _tell(place, story)
        heard.right(["long-1"])
        assert _gone(place, ["long-1"])
        assert _lines(note) == ["begin long-1"]

    def test_cancelling_what_waits_means_that_it_never_runs(self, place: Place, lane: str, note: Path) -> None:
        first = [f"first-{number}" for number in range(place.cpus())]

        async def story(scheduler: Scheduler, heard: Heard) -> None:
            tasks = [place.task(lane, name, note, seconds=place.slowness) for name in first]
            running = asyncio.ensure_future(scheduler.run(tasks, heard))
            await _until(lambda: sum(line.startswith("begin") for line in _lines(note)) == len(first))
            waiting = asyncio.ensure_future(scheduler.run([place.task(lane, "waits-1", note)], heard))
            await asyncio.sleep(0.1)
            await scheduler.cancel(["waits-1"])
            await asyncio.wait_for(asyncio.gather(running, waiting), 30)

        heard = _tell(place, story)
        heard.right([*first, "waits-1"])
        assert "begin waits-1" not in _lines(note)

    def test_a_cancelled_run_leaves_no_process(self, place: Place, lane: str, note: Path) -> None:
        async def story(scheduler: Scheduler, heard: Heard) -> None:
            running = asyncio.ensure_future(scheduler.run([place.task(lane, "scope-1", note, seconds=60)], heard))
            await _until(lambda: _lines(note) == ["begin scope-1"])
            running.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait_for(running, 20)

        _tell(place, story)
        assert _gone(place, ["scope-1"])

    def test_a_process_task_outlives_its_scheduler_and_is_joined(self, place: Place, note: Path) -> None:
        _needs(place, "process")
        task = place.task("process", "joined-1", note, seconds=1.5)
        first, second = Heard(), Heard()

        async def begin() -> None:
            # A killed process says nothing: its coroutine is just no longer there.
            manager = place.scheduler()
            scheduler = await manager.__aenter__()
            running = asyncio.ensure_future(scheduler.run([task], first))
            _abandoned.extend((loop, manager, running))
            await _until(lambda: _lines(note) == ["begin joined-1"])

        loop = asyncio.new_event_loop()
        loop.run_until_complete(begin())

        async def go_on(scheduler: Scheduler, heard: Heard) -> None:
            assert await scheduler.find(["joined-1", "never-1"]) == {"joined-1"}
            await asyncio.wait_for(scheduler.run([task], heard), 30)

        second = _tell(place, go_on)
        second.right(["joined-1"])
        assert second.last["joined-1"].state == "ended"
        assert _lines(note) == ["begin joined-1", "end joined-1"]


def _needs(place: Place, lane: str) -> None:
    if lane not in place.lanes:
        pytest.skip(f"this scheduler takes no task of the kind {lane}")


def _failure(place: Place, script: str, resources: Resources) -> WeftError:
    """What a script under limits fails with."""
    _needs(place, "process")
    task = place.process("fails-1", script, resources)
    heard = _run(place, [task])
    heard.right(["fails-1"])
    assert heard.last["fails-1"].state == "ended", heard.last
    error = place.error(task, heard.last["fails-1"])
    assert error is not None
    return error


_abandoned: list[Any] = []
"""What a dead process would no longer have: kept, so that no collector of garbage cleans up in its place."""


def _run(place: Place, tasks: Sequence[Task]) -> Heard:
    async def story(scheduler: Scheduler, heard: Heard) -> None:
        await asyncio.wait_for(scheduler.run(tasks, heard), 60 * (1 + place.slowness))

    return _tell(place, story)


def _tell(place: Place, story: Callable[[Scheduler, Heard], Awaitable[None]]) -> Heard:
    heard = Heard()

    async def whole() -> None:
        async with place.scheduler() as scheduler:
            await story(scheduler, heard)

    asyncio.run(whole())
    return heard


def _lines(note: Path) -> list[str]:
    return note.read_text().splitlines() if note.exists() else []


async def _until(holds: Callable[[], bool], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it did not come about"
        await asyncio.sleep(0.01)


def _gone(place: Place, names: Sequence[str], seconds: float = 10.0) -> bool:
    deadline = time.monotonic() + seconds
    while place.processes(names) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not place.processes(names)
