"""What nothing at all around the work costs: the floor that budgets speak of. No system of any kind."""

from __future__ import annotations

import hashlib
import os
import sqlite3
import subprocess
import sys

from benchmarks import work
from benchmarks.sides.common import GIB, Clock, Sample, Task, each, latencies, main, of_latencies, whole_processes


def command_alone(task: Task) -> Sample:
    """A bare spawn of the program, its output read."""
    inputs = range(task.count)
    seconds, results = latencies(_printed, inputs)
    return of_latencies(seconds, work.digest(results))


def _printed(number: int) -> str:
    return subprocess.run(["printf", "%s", str(number)], stdout=subprocess.PIPE, check=True, text=True).stdout


def hashing_large(task: Task) -> Sample:
    path = task.shared / "large"
    with Clock() as clock, path.open("rb", buffering=0) as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return Sample(clock.seconds / path.stat().st_size * GIB, digest)


def hashing_small(task: Task) -> Sample:
    """One file after the other, on one core."""
    names = sorted(os.listdir(task.shared / "small"))
    found = []
    with Clock() as clock:
        for name in names:
            with (task.shared / "small" / name).open("rb", buffering=0) as file:
                found.append(hashlib.file_digest(file, "sha256").hexdigest())
    return each(clock, len(names), work.digest(found))


def buffers_store(task: Task) -> Sample:
    """The same bytes under the same names, durable: one SQLite table or one file each (not synced)."""
    data = work.buffers(task.count)
    with Clock() as clock:
        {"sqlite": _in_sqlite, "files": _in_files}[task.variant](task, data)
    return each(clock, task.count, work.digest(hashlib.sha256(item).hexdigest() for item in data))


def _in_sqlite(task: Task, data: list[bytes]) -> None:
    connection = sqlite3.connect(task.folder / "buffers.sqlite")
    connection.execute("PRAGMA journal_mode = wal")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("CREATE TABLE buffer (digest BLOB PRIMARY KEY, data BLOB)")
    for start in range(0, len(data), 1000):
        rows = [(hashlib.sha256(item).digest(), item) for item in data[start : start + 1000]]
        with connection:
            connection.executemany("INSERT OR IGNORE INTO buffer VALUES (?, ?)", rows)
    connection.close()


def _in_files(task: Task, data: list[bytes]) -> None:
    for number in range(256):
        (task.folder / f"{number:02x}").mkdir()
    for item in data:
        name = hashlib.sha256(item).hexdigest()
        (task.folder / name[:2] / name).write_bytes(item)


def cli_version(task: Task) -> Sample:
    """An interpreter that does nothing."""
    return whole_processes([sys.executable, "-c", "pass"], task.count)


PHASES = {
    "command_alone": command_alone,
    "hashing_large": hashing_large,
    "hashing_small": hashing_small,
    "buffers_store": buffers_store,
    "cli_version": cli_version,
}

if __name__ == "__main__":
    main(PHASES)
