"""Lanes that run a job folder as it is run in earnest, and a look for what may be left of it."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import itertools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from weftwork.node import processes
from weftwork.node.claim import read_claim
from weftwork.node.home import Place
from weftwork.node.job import Job, Limits, Output, write_job
from weftwork.node.outcome import Outcome, read_outcome
from weftwork.node.supervised import Supervised

PATH = "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"
PROGRAM = [sys.executable, "-I", "-m", "weftwork.node"]
NAP = f"4711.{os.getpid()}"
"""How long jobs sleep that are not meant to wake: no other process of the machine sleeps that long."""

_NUMBERS = itertools.count(1)


class Lane:
    """One way to run folders; they lie below ``place``, the home's own unless another is given."""

    def __init__(self, home: Path, runner: Path | None = None) -> None:
        self.place = home
        self.home = runner or home

    def folder(self, *words: str, script: str | None = None, **fields: object) -> str:
        """A folder with a job: the words, or a shell script, where ``NAP`` stands for that time."""
        number = next(_NUMBERS)
        folder = self.place / "jobs" / str(number)
        command = tuple(word.replace("NAP", NAP) for word in (words if script is None else ("sh", "-c", script)))
        fields.setdefault("environment", {"PATH": PATH, "LANG": "C.UTF-8"})
        write_job(str(folder), Job(id=f"attempt-{number}", command=command, **fields))
        return str(folder)

    def start(self, folder: str) -> str | None:
        """Run the folder to its end; its state."""
        raise NotImplementedError

    def run(self, *words: str, **fields: object) -> tuple[Outcome, Path]:
        """Make a folder, run it, and see that nothing is left of it."""
        folder = self.folder(*words, **fields)
        state = self.start(folder)
        outcome = read_outcome(folder)
        assert outcome is not None
        assert outcome.state == state
        assert processes.marked(folder) == set()
        return outcome, Path(folder)


class Resident(Lane):
    """Through the supervisor."""

    def start(self, folder: str) -> str | None:
        async def one() -> str:
            async with Supervised(str(self.home), idle=5) as supervised:
                return await asyncio.wait_for(supervised.run(folder), 60)

        return asyncio.run(one())


class Alone(Lane):
    """By the node program, as on a cluster's node."""

    variables: dict[str, str] = {}  # noqa: RUF012

    def start(self, folder: str) -> str | None:
        done = subprocess.run([*PROGRAM, "run", folder], env={"PATH": PATH, **self.variables}, check=False, timeout=60)
        return {0: "succeeded", 1: "failed"}.get(done.returncode)


class Portable(Alone):
    """By the node program without subreaper, /proc and pidfd: as on macOS."""

    variables = {"WEFT_PORTABLE": "1"}  # noqa: RUF012


def supervisor_pid(home: Path) -> int:
    info = Place.of(str(home)).info()
    assert info is not None
    return int(info["pid"])


def stop_supervisor(home: Path) -> None:
    info = Place.of(str(home)).info()
    if info is not None and processes.is_running(info["pid"], info["started"]):
        os.kill(info["pid"], signal.SIGTERM)
        eventually(lambda: not processes.is_running(info["pid"], info["started"]))


def eventually(holds: Callable[[], bool], seconds: float = 15.0) -> None:
    """Wait until something holds, and fail when it does not within the time."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it did not come to hold in time"
        time.sleep(0.01)


def running(word: str) -> list[int]:
    """The living processes that have this word in their command line."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                words = Path(f"/proc/{name}/cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if os.fsencode(word) in words:
                found.append(int(name))
    return found


def napping() -> list[int]:
    """The living processes of jobs that sleep for ``NAP`` seconds."""
    return running(NAP)


def command_pid(folder: str) -> int:
    """The pid of the command, once it runs."""
    held = read_claim(folder)
    return held.command[0] if held is not None and held.command is not None else 0


@contextlib.contextmanager
def held_back(program: Path) -> Iterator[None]:
    """Nobody can open the program meanwhile: a process that is to become it waits for that, still a copy of its parent."""
    before = signal.signal(signal.SIGIO, signal.SIG_IGN)  # how the kernel asks for the lease back
    descriptor = os.open(program, os.O_RDONLY)
    try:
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        yield
    finally:
        os.close(descriptor)
        signal.signal(signal.SIGIO, before)


def forked_by(folder: str) -> int:
    """The process that the runner of a folder has made and that has not become the command; 0 when there is none."""
    held = read_claim(folder)
    runner = held.runner[0] if held is not None else -1
    return next((pid for pid, it in processes.table().items() if it.parent == runner and it.forked), 0)


def file(name: str, pattern: str | None = None, **fields: object) -> Output:
    return Output(name, pattern or name, **fields)


def limits(**fields: object) -> Limits:
    return Limits(**fields)
