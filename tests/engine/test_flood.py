"""kill -9 while thousands of calls are in flight, then another process goes on: nothing is lost, made up or done again.

The truth is outside: each call adds a line to a file, the process a line to another for each result that it was told, and the
ledger is read behind the engine's back.
"""

from __future__ import annotations

import collections
import contextlib
import hashlib
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
from engine_place import PROJECT, Place
from flood import EACH

VALUES = range(2 * EACH)
KILLS = 16


class Flood:
    """One home, in which the maps are begun again and again until they come through."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.files = [place.folder / "log", place.folder / "told"]
        for path in self.files:
            path.touch()
        self.names = {hashlib.sha256(b"%d" % value).hexdigest(): value for value in VALUES}
        self.allowed: collections.Counter[int] = collections.Counter()
        self.before: collections.Counter[int] = collections.Counter()
        self.most = 0

    def start(self) -> subprocess.Popen[str]:
        words = [sys.executable, str(PROJECT / "flood.py"), *map(str, self.files)]
        environment = {**os.environ, "WEFT_HOME": str(self.place.home), "WEFT_CPUS": "2"}
        process = subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.place.started.append(process)
        return process

    def ran(self) -> collections.Counter[int]:
        return collections.Counter(map(int, self.files[0].read_text().split()))

    def told(self) -> dict[int, int]:
        lines = [line.split() for line in self.files[1].read_text().splitlines()]
        return {int(value): int(result) for value, result in lines}

    def finished(self) -> set[int]:
        """The calls that ended well, by the ledger; how many were live is noted."""
        path = self.place.home / "ledger.sqlite"
        if not path.exists():
            return set()
        with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=30)) as database:
            try:
                rows = database.execute(
                    "SELECT inputs FROM calculation JOIN record ON record.calculation = calculation.id"
                ).fetchall()
                self.most = max(self.most, *database.execute("SELECT count(*) FROM job WHERE live = 1").fetchone())
            except sqlite3.OperationalError:
                return set()
        values = [self.names[json.loads(inputs)["value"]["checksum"]] for (inputs,) in rows]
        assert len(set(values)) == len(values), "a calculation ended well twice"
        return set(values)

    def look(self) -> None:
        """After the end of a process and of all that worked for it."""
        self.place.nothing_left(20)
        ran, finished, told = self.ran(), self.finished(), self.told()
        assert finished <= set(ran), "what the ledger says to have ended well has run"
        assert set(told) <= finished, "what was told is durable"
        assert all(result == 3 * value + 1 for value, result in told.items())
        now = ran - self.before
        assert max(now.values(), default=1) == 1, "nothing runs twice while its engine lives"
        # Only these were in flight, had run, and may, indeed must, run again.
        self.allowed.update(value for value in now if value not in finished)
        self.before = ran


def _workers(place: Place) -> list[psutil.Process]:
    found = []
    for process in place.processes():
        with contextlib.suppress(psutil.Error):
            if "node.worker" in " ".join(process.cmdline()):
                found.append(process)
    return found


def _kill(flood: Flood, process: subprocess.Popen[str], chance: random.Random) -> bool:
    """Kill the engine at a random moment, or before it one of its workers; whether anything was killed."""
    until = time.monotonic() + chance.uniform(0.3, 3.0)
    while time.monotonic() < until:
        if process.poll() is not None:
            return False
        time.sleep(0.005)
    if chance.random() < 0.3:
        victims = _workers(flood.place)
        if victims:
            with contextlib.suppress(psutil.Error):
                chance.choice(victims).kill()
            time.sleep(chance.uniform(0.0, 0.2))
    if process.poll() is None:
        process.send_signal(signal.SIGKILL)
    process.communicate(timeout=30)
    return True


@pytest.mark.slow
def test_a_flood_of_calls_killed_at_random_moments_goes_on_and_repeats_only_what_was_in_flight(tmp_path: Path) -> None:
    chance = random.Random(5000)
    kills = most = round_ = 0
    while kills < KILLS:
        round_ += 1
        folder = tmp_path / str(round_)
        folder.mkdir()
        flood = Flood(Place(folder))
        try:
            while _kill(flood, process := flood.start(), chance):
                kills += 1
                flood.look()
            _, err = process.communicate(timeout=60)
            assert process.returncode == 0, err
            flood.look()
        finally:
            for left in flood.place.processes(supervisor=True):
                with contextlib.suppress(psutil.Error):
                    left.kill()
        assert flood.finished() == set(flood.told()) == set(VALUES)
        assert flood.ran() == collections.Counter(VALUES) + flood.allowed
        most = max(most, flood.most)
    assert most >= 5000, f"at most {most} calls were in flight"
