"""Owns ``started.jsonl``: who claimed a job folder and which process runs for it; what is alive of it, and its cleaning.

The file is made with ``O_EXCL``: who makes it has the folder, once and for ever, so one attempt never runs twice. Its
first line, who claimed, is written *before* the program starts; the second, the program's process, right after.
A program that starts between the two is still found: its environment names the folder (``WEFT_JOB``).
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import time
from dataclasses import dataclass
from typing import Any, Final

from weftwork.errors import Conflict, NotFound
from weftwork.node import processes
from weftwork.node.job import STREAMS
from weftwork.node.outcome import read_outcome

STARTED: Final = "started.jsonl"


@dataclass(frozen=True, slots=True)
class Claim:
    """Who runs a folder: the runner (a supervisor, or a node program of its own) and, once started, the command."""

    host: str
    runner: tuple[int, str | None]
    command: tuple[int, str | None] | None
    lost: bool = False


def claim(folder: str) -> int:
    """Take the folder for this process, for good; the descriptor is for :func:`note_started`.

    Raises :class:`~weftwork.errors.Conflict` when it was taken, :class:`~weftwork.errors.NotFound` when it is not there.
    """
    path = os.path.join(folder, STARTED)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o644)
    except FileExistsError:
        raise Conflict(f"{folder} was started before: an attempt runs once; submit a new one", folder=folder) from None
    except (FileNotFoundError, NotADirectoryError):
        raise NotFound(f"there is no job folder {folder}", folder=folder) from None
    _line(descriptor, {"host": socket.gethostname(), "runner": [os.getpid(), _own_identity()], "at": time.time()})
    return descriptor


def note_started(descriptor: int, pid: int, started: str | None) -> None:
    """Write down the process of the command, and close the claim."""
    _line(descriptor, {"command": [pid, started]})


def note_lost(descriptor: int) -> None:
    """Write down that the runner is through and leaves no outcome."""
    with contextlib.suppress(OSError):
        _line(descriptor, {"lost": True})


def read_claim(folder: str) -> Claim | None:
    """The claim of a folder, or ``None`` when nobody has it."""
    try:
        with open(os.path.join(folder, STARTED), "rb") as file:
            lines = file.read().splitlines()
    except OSError:
        return None
    document: dict[str, Any] = {"host": socket.gethostname(), "runner": [0, None]}
    for line in lines:
        with contextlib.suppress(ValueError):
            document.update(json.loads(line))
    command = document.get("command")
    program = None if command is None else tuple(command)
    return Claim(document["host"], tuple(document["runner"]), program, document.get("lost", False))


def is_alive(folder: str) -> bool:
    """Whether a runner on this host is at work on the folder: it was claimed, has no outcome, and its runner lives."""
    held = read_claim(folder)
    if held is None or held.lost or held.host != socket.gethostname() or read_outcome(folder) is not None:
        return False
    return processes.is_running(*held.runner)


def cleanup(folder: str, patience: float = 10.0) -> bool:
    """Kill what a dead runner left running for the folder. ``True`` when nothing of it is left.

    A container of its job is removed too. Found are: the recorded command with its session and group, all processes whose environment names the folder, what was
    about to become the command in it, and the descendants of these. Raises :class:`~weftwork.errors.Conflict` while its runner lives: cancel it instead.
    """
    folder = os.path.realpath(folder)
    held = read_claim(folder)
    if held is None or held.host != socket.gethostname():
        return held is None
    if not held.lost and held.runner[0] != os.getpid() and processes.is_running(*held.runner):
        raise Conflict(f"{folder} is being run by process {held.runner[0]}: cancel it there", folder=folder)
    _remove_container(folder)
    deadline = time.monotonic() + patience
    clean = 0
    # Twice: the table is not read in one instant, and a program that is just being loaded shows no environment.
    while clean < 2:
        rest = _remains(folder, held)
        clean = 0 if rest else clean + 1
        # Stopped before any is killed: a shell whose command is killed first would go on with its next line.
        for number in (signal.SIGSTOP, signal.SIGKILL):
            for pid in rest:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, number)
        if time.monotonic() > deadline:
            return False
        time.sleep(0.005)
    return True


def _remove_container(folder: str) -> None:
    """A container outlives whoever started it: its engine holds it. What the folder's job would have removed is removed."""
    try:
        with open(os.path.join(folder, "job.json"), "rb") as file:
            document = json.load(file)
    except (OSError, ValueError):
        return
    if isinstance(document, dict) and document.get("container") is not None:
        # Imported here: most jobs have none.
        from weftwork.node.container import remove_left

        remove_left(folder, document)


def _remains(folder: str, held: Claim) -> list[int]:
    everything = processes.table()
    roots = processes.marked(folder)
    # A runner that died just after a fork left a copy of itself, which shows the runner's marks until it is the command.
    roots |= {process.pid for process in everything.values() if process.forked and _writes_to(process.pid, folder)}
    if held.command is not None:
        pid, started = held.command
        leader = everything.get(pid)
        certain = leader is not None and leader.started == started
        for other in everything.values():
            # Once the leader is gone, its number may have become that of a stranger's session.
            if pid in (other.session, other.group) and (certain or _stands_in(other.pid, folder)):
                roots.add(other.pid)
    found = processes.descendants(everything, roots)
    return [process.pid for process in found if not process.zombie and process.pid != os.getpid()]


def _writes_to(pid: int, folder: str) -> bool:
    streams = [os.path.join(folder, name) for name in STREAMS]
    return any(path in streams for path in processes.links(pid))


def _stands_in(pid: int, folder: str) -> bool:
    return any(path.startswith(folder + "/") for path in processes.links(pid))


_IDENTITY: dict[int, str | None] = {}


def _own_identity() -> str | None:
    pid = os.getpid()
    if pid not in _IDENTITY:
        _IDENTITY[pid] = processes.identity(pid)
    return _IDENTITY[pid]


def _line(descriptor: int, document: dict[str, Any]) -> None:
    os.write(descriptor, json.dumps(document).encode("ascii") + b"\n")
