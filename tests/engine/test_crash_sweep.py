"""kill -9 from outside at random moments of a run, then the same command again: right, and nothing finished runs twice."""

from __future__ import annotations

import collections
import contextlib
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

PROJECT = Path(__file__).parent / "project"
EXPECTED = "10785 1000 2000"


class Sweep:
    """One home, and the workflow that is run in it again and again."""

    def __init__(self, folder: Path) -> None:
        self.home = folder / "home"
        self.log = folder / "executions"
        self.environment = {**os.environ, "WEFT_HOME": str(self.home), "WEFT_CPUS": "2"}

    def start(self) -> subprocess.Popen[bytes]:
        words = [sys.executable, str(PROJECT / "sweep.py"), str(self.log)]
        return subprocess.Popen(words, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def executions(self) -> collections.Counter[str]:
        text = self.log.read_text() if self.log.exists() else ""
        return collections.Counter(text.splitlines())

    def called(self) -> int:
        """How many different calls of functions have run."""
        return sum(not line.startswith("triple") for line in self.executions())

    def told_finished(self) -> collections.Counter[str]:
        """What the ledger, read behind the engine's back, says has ended well: each as its line of the log."""
        path = self.home / "ledger.sqlite"
        if not path.exists():
            return collections.Counter()
        with sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=30) as database:
            try:
                steps = database.execute(
                    "SELECT step FROM job WHERE state = 'succeeded' AND events NOT LIKE '%\"cached\": true%'"
                ).fetchall()
            except sqlite3.OperationalError:
                return collections.Counter()
        return collections.Counter(step for (step,) in steps)

    def outcomes(self) -> int:
        """Commands that have left an outcome and are not yet in the ledger."""
        return len(list((self.home / "jobs").glob("*/outcome.json")))

    def processes(self) -> list[psutil.Process]:
        """Everything that works for this home: engine, supervisor, workers, commands."""
        found = []
        for process in psutil.process_iter():
            try:
                words = " ".join(process.cmdline())
                if (
                    str(self.home) in words
                    or process.environ().get("WEFT_HOME") == str(self.home)
                    or str(self.home) in process.environ().get("HOME", "")
                ):
                    found.append(process)
            except (psutil.Error, OSError):
                continue
        return found

    def end(self) -> None:
        for process in self.processes():
            with contextlib.suppress(psutil.Error):
                process.kill()


def _kinds(processes: list[psutil.Process]) -> dict[str, list[psutil.Process]]:
    kinds: dict[str, list[psutil.Process]] = collections.defaultdict(list)
    for process in processes:
        try:
            words = " ".join(process.cmdline())
        except psutil.Error:
            continue
        if "sweep.py" in words:
            kinds["engine"].append(process)
        elif "supervise" in words:
            kinds["supervisor"].append(process)
        elif "worker" in words:
            kinds["worker"].append(process)
    return kinds


def _kill_at_random(sweep: Sweep, run: subprocess.Popen[bytes], chance: random.Random, kind: str) -> bool:
    """Wait a random while and kill one process of a kind, or the engine; whether the run was still going."""
    deadline = time.monotonic() + chance.uniform(0.0, 1.4)
    while time.monotonic() < deadline:
        if run.poll() is not None:
            return False
        time.sleep(0.005)
    if run.poll() is not None:
        return False
    if kind == "engine":
        run.kill()
        return True
    found = _kinds(sweep.processes())[kind]
    # A child that has not yet become its command shows its parent's words: it is the command's process, not a victim.
    pids = {process.pid for process in found}
    victims = []
    for process in found:
        with contextlib.suppress(psutil.Error):
            if process.ppid() not in pids:
                victims.append(process)
    if not victims:
        return False
    with contextlib.suppress(psutil.Error):
        chance.choice(victims).send_signal(signal.SIGKILL)
    return True


def _finish(sweep: Sweep, run: subprocess.Popen[bytes]) -> str:
    out, err = run.communicate(timeout=120)
    assert run.returncode == 0, err.decode()
    return out.decode().strip()


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_a_run_killed_at_random_moments_goes_on_and_repeats_nothing_that_finished(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    kills = 0
    round_ = 0
    while kills < 50:
        round_ += 1
        folder = tmp_path / str(round_)
        folder.mkdir()
        sweep = Sweep(folder)
        try:
            kills += _one_home(sweep, chance)
        finally:
            sweep.end()


def _one_home(sweep: Sweep, chance: random.Random) -> int:
    """Kill the engine until a run comes through; how often that was."""
    kills = in_flight = 0
    while True:
        run = sweep.start()
        if _kill_at_random(sweep, run, chance, "engine"):
            run.wait()
            run.stdout.close()
            run.stderr.close()
            kills += 1
            finished = sweep.told_finished()
            assert all(count == 1 for count in finished.values()), finished.most_common(3)
            in_flight += sweep.called() - sum(not step.startswith("triple") for step in finished)
            continue
        assert _finish(sweep, run) == EXPECTED
        break
    _nothing_twice(sweep, in_flight)
    return kills


def _nothing_twice(sweep: Sweep, in_flight: int) -> None:
    """No calculation ended well twice; a line is there again only for calls that a kill found run and not yet recorded."""
    with sqlite3.connect(sweep.home / "ledger.sqlite") as database:
        rows = database.execute(
            "SELECT calculation, count(*) FROM job WHERE state = 'succeeded' "
            "AND events NOT LIKE '%\"cached\": true%' GROUP BY calculation HAVING count(*) > 1"
        ).fetchall()
    assert rows == []
    executions = sweep.executions()
    commands = {line: count for line, count in executions.items() if line.startswith("triple")}
    again = sum(count - 1 for line, count in executions.items() if line not in commands)
    # A command outlives its engine, and the next one finds it: it never runs twice.
    assert max(commands.values()) == 1, commands
    assert again <= in_flight, (again, in_flight)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["supervisor", "worker"])
def test_a_run_survives_the_death_of_what_works_for_it(tmp_path: Path, kind: str) -> None:
    chance = random.Random(kind)
    hits = round_ = 0
    # How often a moment finds somebody to kill depends on how busy the machine is.
    while hits < 12:
        round_ += 1
        assert round_ < 60, f"only {hits} kills in {round_} runs"
        folder = tmp_path / str(round_)
        folder.mkdir()
        sweep = Sweep(folder)
        try:
            run = sweep.start()
            for _ in range(3):
                hits += _kill_at_random(sweep, run, chance, kind)
            out, err = run.communicate(timeout=120)
            if run.returncode != 0:
                # The call in which a worker was killed fails, and it alone; the run says so, and running again heals it.
                assert kind == "worker", err.decode()
                assert b"signal 9" in err, err.decode()
                out = _finish(sweep, sweep.start()).encode()
            assert out.decode().strip() == EXPECTED
        finally:
            sweep.end()


def test_the_events_of_a_run_tell_every_step_once(tmp_path: Path) -> None:
    sweep = Sweep(tmp_path)
    try:
        assert _finish(sweep, sweep.start()) == EXPECTED
        executions = sweep.executions()
        assert set(executions.values()) == {1}
        assert len(executions) >= 194
        assert _finish(sweep, sweep.start()) == EXPECTED
        assert sweep.executions() == executions
        with sqlite3.connect(sweep.home / "ledger.sqlite") as database:
            for (events,) in database.execute("SELECT events FROM job"):
                kinds = [kind for kind, *_ in json.loads(f"[{events.strip(',')}]")]
                assert kinds[0] == "queued"
                assert kinds[-1] in ("succeeded", "cancelled"), kinds
    finally:
        sweep.end()
