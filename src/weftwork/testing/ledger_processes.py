"""What a :class:`~weftwork.ports.Ledger` must do among many real processes, and when they are killed at any moment."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Protocol

import pytest

from weftwork.ports import Ledger
from weftwork.testing.ledger import GroundTruth

KEYS = 10
PROCESSES = 50
KILLED = 5

_WORK = """
import os, random, sys, time
from weftwork.core.job import Event
from weftwork.ledger import owners
from weftwork.ports import Claimed
from weftwork.testing.ledger_samples import calculation, claims, record, succeeded
log = os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
me = owners.this()
ledger.register(me, 60.0)
numbers = random.sample(range(10), 10)
answers = dict(zip(numbers, ledger.claim(me.id, claims(*numbers))))
while answers:
    for number, answer in list(answers.items()):
        if answer.answer == "mine":
            ledger.append(me.id, [(answer.job, answer.epoch, Event("started", time.time(), {"attempt": 1}))])
            os.write(log, b"began %d %d\\n" % (number, os.getpid()))
            time.sleep(0.05)
            if answer.job in ledger.end(me.id, [succeeded(answer, calculation(number))]):
                os.write(log, b"ended %d %d\\n" % (number, os.getpid()))
            del answers[number]
        elif answer.answer == "hit":
            del answers[number]
    if answers:
        time.sleep(0.02)
        for number, answer in list(answers.items()):
            told = ledger.follow(me.id, [answer.job])[answer.job]
            if isinstance(told, Claimed):
                answers[number] = told
            else:
                assert told.job.state == "succeeded", told
                del answers[number]
ledger.release(me.id)
print("done")
"""

_WRITE = """
import sys, time
from weftwork.core.job import Event
from weftwork.ledger import owners
from weftwork.testing.ledger_samples import calculation, claims, succeeded
me = owners.this()
ledger.register(me, 60.0)
start = int(sys.argv[1])
for first in range(start, start + 1_000_000, 20):
    numbers = range(first, first + 20)
    answers = ledger.claim(me.id, claims(*numbers))
    print("queued", *[answer.job for answer in answers], flush=True)
    ledger.append(me.id, [(answer.job, 1, Event("started", 1.0, {"attempt": 1})) for answer in answers])
    print("started", *[answer.job for answer in answers], flush=True)
    ledger.end(me.id, [succeeded(answer, calculation(number)) for answer, number in zip(answers, numbers)])
    print("succeeded", *[answer.job for answer in answers], flush=True)
"""


def _lines(log: Path) -> list[tuple[str, int, int]]:
    """What the processes wrote: began or ended, which calculation, who."""
    if not log.exists():
        return []
    lines = (line.split() for line in log.read_text().splitlines())
    return [(what, int(number), int(pid)) for what, number, pid in lines]


class Ground(GroundTruth, Protocol):
    """The ground truth of a ledger that lies on a disk."""

    def sound(self) -> bool:
        """Whether the database finds nothing wrong with itself."""
        ...


class ProcessesContract:
    """Subclasses define ``ledger``, ``truth`` and ``opening``: Python text that binds ``ledger`` in another process."""

    @pytest.fixture
    def ledger(self) -> Ledger:
        raise NotImplementedError

    @pytest.fixture
    def truth(self, ledger: Ledger) -> Ground:
        raise NotImplementedError

    @pytest.fixture
    def opening(self) -> str:
        raise NotImplementedError

    def start(self, opening: str, code: str, *arguments: object) -> subprocess.Popen[str]:
        words = [sys.executable, "-c", f"{opening}\n{code}", *map(str, arguments)]
        return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    @pytest.mark.slow
    def test_fifty_processes_do_ten_calculations_once_though_some_are_killed(
        self, opening: str, tmp_path: Path
    ) -> None:
        # None of them is the first: the ledger itself is made by fifty at once.
        log = tmp_path / "log"
        processes = {process.pid: process for process in (self.start(opening, _WORK, log) for _ in range(PROCESSES))}
        killed = [self.kill_one_at_work(log, processes) for _ in range(KILLED)]
        for process in processes.values():
            out, err = process.communicate(timeout=120)
            assert (out, err) == ("done\n", "") or process.pid in killed, err
        began, ended = Counter[int](), Counter[int]()
        for what, number, _ in _lines(log):
            (began if what == "began" else ended)[number] += 1
        assert set(began) == set(range(KEYS))
        assert max(ended.values()) == 1
        assert KEYS < began.total() <= KEYS + KILLED
        self.check_answers(opening)

    def kill_one_at_work(self, log: Path, processes: dict[int, subprocess.Popen[str]]) -> int:
        """Kill a process in the middle of a calculation."""
        until = time.monotonic() + 60
        while time.monotonic() < until:
            last = {pid: what for what, _, pid in _lines(log)}
            for pid, what in last.items():
                if what == "began" and processes[pid].poll() is None:
                    processes[pid].kill()
                    processes[pid].wait()
                    return pid
            time.sleep(0.002)
        return 0

    def check_answers(self, opening: str) -> None:
        """Every key has its answer, asked in a process that has seen nothing of it."""
        code = (
            "from weftwork.testing.ledger_samples import claims; print(len(ledger.records([c.calculation.key for c in "
            f"claims(*range({KEYS}))])), ledger.jobs(states=['queued', 'running']))"
        )
        assert self.start(opening, code).communicate(timeout=60) == (f"{KEYS} []\n", "")

    @pytest.mark.slow
    def test_what_was_told_is_there_after_a_kill_at_any_moment(
        self, ledger: Ledger, truth: Ground, opening: str
    ) -> None:
        chance = random.Random(2)
        for round_ in range(8):
            process = self.start(opening, _WRITE, round_ * 1_000_000)
            assert process.stdout is not None
            told = dict.fromkeys(process.stdout.readline().split()[1:], "queued")
            time.sleep(chance.uniform(0, 0.2))
            process.kill()
            for line in process.communicate()[0].splitlines(keepends=True):
                if line.endswith("\n"):
                    told |= dict.fromkeys(line.split()[1:], line.split()[0])
            assert len(told) >= 20
            order = ["queued", "started", "succeeded"]
            for job, last in told.items():
                assert truth.events(job)[: order.index(last) + 1] == order[: order.index(last) + 1]
                assert ledger.job(job).job.id == job
                assert (ledger.record_of(job) is not None) is (truth.events(job)[-1] == "succeeded")
            assert truth.sound()
