"""What goes wrong around a real Slurm: its commands fail, an answer is lost, nodes go, jobs vanish. Nothing runs twice for
it, nothing that finished is lost, and nobody waits for ever.

What the real thing cannot be made to do, a command in front of the real one does: it notes each call, and obeys a file.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from batch_place import QUICK, Batch

from services import Service, running
from weftwork.core.placement import Resources
from weftwork.errors import Cancelled, MemoryLimit, TimeLimit
from weftwork.ports import Process, Scheduler
from weftwork.sites.schedulers.polled.pace import Pace, Settings
from weftwork.sites.schedulers.polled.slurm import SLURM
from weftwork.sites.shells.here import Here
from weftwork.sites.shells.ssh import Ssh
from weftwork.testing.scheduler import Heard

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("slurm")]

COMMANDS = ("sbatch", "squeue", "sacct", "scancel")


@pytest.fixture(scope="module")
def slurm() -> Iterator[Service]:
    with running("slurm", "accounting") as service:
        yield service


class Cluster:
    """A Slurm behind commands that can be told to misbehave."""

    def __init__(self, slurm: Service, folder: Path) -> None:
        self.folder = folder / "commands"
        self.folder.mkdir()
        self.top = folder
        for name in COMMANDS:
            real = shutil.which(name)
            self._write(
                name,
                f'echo "{name} $*" >> {self.folder}/calls; [ -e {self.folder}/{name}.before ] && . {self.folder}/{name}.before\n'
                f'if [ -e {self.folder}/{name}.after ]; then {real} "$@" >/dev/null; . {self.folder}/{name}.after; fi; exec {real} "$@"',
            )
        self.environment = {**slurm.environment, "PATH": f"{self.folder}:{os.environ['PATH']}"}

    def _write(self, name: str, text: str) -> None:
        path = self.folder / name
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)

    def say(self, command: str, when: str, script: str | None) -> None:
        """What a command does ``before`` the real one runs, or ``after`` it ran with its answer lost; ``None``: nothing."""
        path = self.folder / f"{command}.{when}"
        if script is None:
            path.unlink()
        else:
            path.write_text(script + "\n")

    def calls(self, command: str) -> list[str]:
        log = self.folder / "calls"
        lines = log.read_text().splitlines() if log.exists() else []
        return [line for line in lines if line.split()[0] == command]

    def place(self, settings: Settings | None = None, pace: Pace = QUICK) -> Batch:
        return Batch(SLURM, lambda: Here(self.environment), self.top, 32, settings or Settings(), pace)

    def control(self, *words: str) -> str:
        return subprocess.run(
            words, env={**os.environ, **self.environment}, capture_output=True, text=True, check=True
        ).stdout


@pytest.fixture
def cluster(slurm: Service, tmp_path: Path) -> Cluster:
    return Cluster(slurm, tmp_path)


def told(
    place: Batch, tasks: Sequence[Process], meanwhile: Callable[[Scheduler, Heard], Awaitable[None]] | None = None
) -> Heard:
    """What is reported of tasks that are handed over one by one, as an engine does."""
    heard = Heard()

    async def whole() -> None:
        async with place.scheduler() as scheduler:
            runs = [asyncio.ensure_future(scheduler.run([task], heard)) for task in tasks]
            if meanwhile is not None:
                await meanwhile(scheduler, heard)
            await asyncio.wait_for(asyncio.gather(*runs), 150)

    asyncio.run(whole())
    heard.right([task.name for task in tasks])
    return heard


async def until(holds: Callable[[], object], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it did not come about"
        await asyncio.sleep(0.05)


def noted(place: Batch, name: str, note: Path, seconds: float = 0.0) -> Process:
    task = place.task("process", name, note, seconds)
    assert isinstance(task, Process)
    return task


def test_a_thousand_tasks_are_at_most_three_submissions_one_question_a_poll_and_one_cancellation(
    cluster: Cluster,
) -> None:
    place = cluster.place(Settings(options=("--hold",)), replace(QUICK, gather=0.3, poll=1.0, slowest=1.0))
    tasks = [place.process(f"held-{number}", "true", Resources()) for number in range(1000)]

    async def story(scheduler: Scheduler, _: Heard) -> None:
        await until(lambda: cluster.calls("squeue"))
        await asyncio.sleep(4)
        polls = len(cluster.calls("squeue"))
        assert 2 <= polls <= 9
        await scheduler.cancel([task.name for task in tasks])

    heard = told(place, tasks, story)
    assert {report.state for report in heard.last.values()} == {"lost"}
    assert len(cluster.calls("sbatch")) <= 3
    assert len(cluster.calls("scancel")) == 1
    assert cluster.control("squeue", "-h", "-t", "pending,running") == ""


def test_an_array_that_is_larger_than_slurm_takes_is_cut(cluster: Cluster) -> None:
    """Its MaxArraySize is 1001 here: numbers up to 1000."""
    place = cluster.place(Settings(options=("--hold",), array=4000))
    tasks = [place.process(f"cut-{number}", "true", Resources()) for number in range(1200)]

    async def story(scheduler: Scheduler, _: Heard) -> None:
        await until(lambda: cluster.control("squeue", "-h", "-r", "-t", "pending").count("\n") == 1200)
        await scheduler.cancel([task.name for task in tasks])

    told(place, tasks, story)
    assert [line.split("--array=")[1].split()[0] for line in cluster.calls("sbatch")] == ["1-1200", "1-600", "1-600"]


def test_commands_that_fail_for_a_while_cost_nothing(cluster: Cluster, tmp_path: Path) -> None:
    note = tmp_path / "note"
    place = cluster.place()
    down = 'echo "slurm_load_jobs error: Unable to contact slurm controller (connect failure)" >&2; exit 1'
    first = [noted(place, f"before-{number}", note, 3.0) for number in range(3)]
    second = [noted(place, f"during-{number}", note) for number in range(3)]

    async def story(scheduler: Scheduler, heard: Heard) -> None:
        await until(lambda: note.exists() and note.read_text().count("begin") == 3)
        for command in COMMANDS:
            cluster.say(command, "before", down)
        running = asyncio.ensure_future(scheduler.run(second, heard))
        # What finishes meanwhile is collected meanwhile: its outcome is enough.
        await until(lambda: len(heard.last) >= 3 and all(heard.last[task.name].state == "ended" for task in first))
        asked = len(cluster.calls("squeue"))
        await until(lambda: len(cluster.calls("sbatch")) >= 2 and len(cluster.calls("squeue")) >= asked + 2)
        for command in COMMANDS:
            cluster.say(command, "before", None)
        await running

    heard = told(place, first, story)
    heard.right([task.name for task in second])
    assert {report.state for report in heard.last.values()} == {"ended"}
    assert sorted(note.read_text().splitlines()) == sorted(
        f"{what} {task.name}" for what in ("begin", "end") for task in first + second
    )


def test_a_submission_whose_answer_was_lost_is_found_and_not_made_again(cluster: Cluster, tmp_path: Path) -> None:
    note = tmp_path / "note"
    place = cluster.place()
    cluster.say("sbatch", "after", 'echo "sbatch: error: Socket timed out on send/recv operation" >&2; exit 1')
    heard = told(place, [noted(place, "once", note)])
    assert heard.last["once"].state == "ended"
    assert note.read_text() == "begin once\nend once\n"
    assert len(cluster.calls("sbatch")) == 1


def test_lines_of_the_site_before_every_answer_are_tolerated(cluster: Cluster, tmp_path: Path) -> None:
    note = tmp_path / "note"
    place = cluster.place()
    for command in COMMANDS:
        cluster.say(command, "before", 'echo "*** Maintenance | on 24 December | read /etc/motd ***"; echo quota: 12')
    assert told(place, [noted(place, "greeted", note)]).last["greeted"].state == "ended"


def test_what_slurm_refuses_is_told_in_its_words_and_at_once(cluster: Cluster) -> None:
    place = cluster.place(Settings(options=("--partition=nope",)))
    tasks = [place.process(f"refused-{number}", "true", Resources()) for number in range(5)]
    heard = told(place, tasks)
    assert {report.state for report in heard.last.values()} == {"unavailable"}
    assert "Invalid partition name" in heard.last["refused-0"].detail
    assert len(cluster.calls("sbatch")) <= 4


def test_a_job_that_is_not_visible_yet_is_waited_for(cluster: Cluster, tmp_path: Path) -> None:
    note = tmp_path / "note"
    place = cluster.place(Settings(options=("--hold",)))
    for command in ("squeue", "sacct"):
        cluster.say(command, "before", "exit 0")

    async def story(_: Scheduler, heard: Heard) -> None:
        await until(lambda: len(cluster.calls("squeue")) >= 3)
        assert heard.last == {}
        for command in ("squeue", "sacct"):
            cluster.say(command, "before", None)
        job = cluster.control("squeue", "-h", "-o", "%A", "-t", "pending").split()[0]
        cluster.control("scontrol", "release", job)

    assert told(place, [noted(place, "late", note)], story).last["late"].state == "ended"


def test_a_job_that_vanished_before_it_began_is_evicted_and_never_will_begin(cluster: Cluster, tmp_path: Path) -> None:
    note = tmp_path / "note"
    place = cluster.place(Settings(options=("--hold",)))
    for command in ("squeue", "sacct"):
        cluster.say(command, "before", "exit 0")
    heard = told(place, [noted(place, "gone", note)])
    assert heard.last["gone"].state == "evicted"
    # It was only hidden: when it begins after all, its folder is taken.
    (program,) = (place.home / "node").iterdir()
    words = ["python3", "-I", str(program), "run", str(place.jobs / "gone")]
    assert subprocess.run(words, capture_output=True, timeout=30).returncode == 75
    assert not note.exists()


def test_outputs_that_are_not_visible_yet_are_waited_for(cluster: Cluster, tmp_path: Path) -> None:
    note = tmp_path / "note"
    slow = tmp_path / "slow"
    # In place of Python: the node program runs elsewhere, and what it wrote comes into sight later.
    far = 'cp -a "$4" "$4.far"; python3 "$1" "$2" "$3" "$4.far"; cp "$4.far/started.jsonl" "$4"'
    slow.write_text(f'#!/bin/sh\n{far}; cp "$4.far/outcome.json" "$4/hidden"\n')
    slow.chmod(0o755)
    place = cluster.place(Settings(python=str(slow)))
    task = noted(place, "slow", note)

    async def story(_: Scheduler, heard: Heard) -> None:
        await until((task.folder / "hidden").exists)
        await asyncio.sleep(2.0)
        assert "ended" not in heard.states["slow"]
        (task.folder / "hidden").rename(task.folder / "outcome.json")

    heard = told(place, [task], story)
    assert heard.last["slow"].state == "ended"
    assert place.error(task, heard.last["slow"]) is None


def test_a_job_that_left_no_outcome_is_lost_and_the_words_of_the_node_are_told(cluster: Cluster) -> None:
    place = cluster.place()
    task = place.process("killed", "kill -KILL $PPID; sleep 60", Resources())
    heard = told(place, [task])
    assert heard.last["killed"].state == "lost"
    assert "slurm says FAILED" in heard.last["killed"].detail
    assert place.processes(["killed"]) == set()


def test_a_prologue_that_fails_is_the_sites_and_says_so(cluster: Cluster) -> None:
    place = cluster.place(Settings(prologue="echo no such module: python/4 >&2\nfalse\necho never"))
    task = place.process("unprepared", "true", Resources())
    report = told(place, [task]).last["unprepared"]
    assert report.state == "unavailable"
    assert "no such module: python/4\nthe prologue of this site failed with exit code 1" in report.detail


def test_the_memory_limit_of_slurm_is_told_as_such(cluster: Cluster) -> None:
    place = cluster.place(Settings(options=("--mem=80M",)))
    greedy = "python3 -c 'held = bytes([1]) * 200_000_000; import time; time.sleep(5)'"
    task = place.process("greedy", greedy, Resources())
    error = place.error(task, told(place, [task]).last["greedy"])
    assert isinstance(error, MemoryLimit)
    assert "OUT_OF_MEMORY" in error.message


def test_a_node_that_fails_evicts(cluster: Cluster, tmp_path: Path) -> None:
    place = cluster.place(Settings(options=("--nodelist=n2",)))
    task = noted(place, "moved", tmp_path / "note", 60.0)

    async def story(_: Scheduler, heard: Heard) -> None:
        await until(lambda: heard.states["moved"])
        cluster.control("scontrol", "update", "nodename=n2", "state=down", "reason=test")

    try:
        report = told(place, [task], story).last["moved"]
    finally:
        cluster.control("sh", "-c", "scontrol update nodename=n2 state=resume || true")
    assert (report.state, report.detail) == ("evicted", "slurm says NODE_FAIL NodeDown")


def test_who_cancels_at_slurm_is_heard(cluster: Cluster, tmp_path: Path) -> None:
    place = cluster.place()
    task = noted(place, "withdrawn", tmp_path / "note", 60.0)

    async def story(_: Scheduler, heard: Heard) -> None:
        await until(lambda: heard.states["withdrawn"])
        cluster.control("scancel", "--name", cluster.control("squeue", "-h", "-o", "%j", "-t", "running").split()[0])

    report = told(place, [task], story).last["withdrawn"]
    assert isinstance(report.error, Cancelled)
    assert place.processes(["withdrawn"]) == set()


def test_a_walltime_that_ends_is_told_as_a_time_limit(cluster: Cluster, tmp_path: Path) -> None:
    """Slurm's clock counts minutes: the states that it would show after one are put before the real command's."""
    place = cluster.place()
    task = noted(place, "long", tmp_path / "note", 60.0)

    async def story(_: Scheduler, heard: Heard) -> None:
        await until(lambda: heard.states["long"])
        real = shutil.which("squeue")
        cluster.say("squeue", "before", f'{real} "$@" | sed "s/CANCELLED/TIMEOUT/"; exit 0')
        cluster.control("scancel", "--name", cluster.control(str(real), "-h", "-o", "%j", "-t", "running").split()[0])

    error = place.error(task, told(place, [task], story).last["long"])
    assert isinstance(error, TimeLimit)
    assert "it names no time" in error.message


def test_a_laptop_runs_on_a_cluster_that_it_can_log_in_to(slurm: Service, tmp_path: Path) -> None:
    variables = [f"{name}={value}" for name, value in slurm.environment.items()]
    with running("sshd", *variables) as sshd:
        place = Batch(SLURM, lambda: Ssh("there", program=str(sshd.folder / "ssh")), tmp_path, 32, Settings())
        tasks = [noted(place, f"far-{number}", tmp_path / "note") for number in range(5)]
        heard = told(place, tasks)
        assert {report.state for report in heard.last.values()} == {"ended"}
        assert (sshd.folder / "log").read_text().count("Accepted publickey") == 1
