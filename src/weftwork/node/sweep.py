"""Starts commands, and leaves nothing of them behind.

:class:`Children` knows the main process of each command that this process started. When one has ended,
:meth:`Children.end` kills its process group and then whatever else came from it: also what left the group,
started a session of its own, forked twice, or closed its streams. Guarantee on return: no process of the command is
left, so what lies in its folder does not change any more.

How a straggler is known: this process is a *subreaper*, so each orphan of a command becomes its child. An orphan
belongs to the command whose session, group, job folder (in its environment, its working directory, its
streams) or earlier descendants it shares. One that hid all of these goes with the last command that could have
been its parent. Without a subreaper (macOS) orphans are searched among all processes by the same marks.
"""

from __future__ import annotations

import contextlib
import os
import resource
import select
import signal
import subprocess
import threading
import time
from dataclasses import dataclass, field
from typing import Final

from weftwork.node import processes
from weftwork.node.processes import Process

_PATIENCE: Final = 20.0  # seconds in which a killed process must be gone; it is in the kernel's hands
_DOUBTS: Final = 6  # passes for an orphan without marks: a program that is just being loaded shows none for a moment


@dataclass(frozen=True, slots=True)
class Ended:
    """How a main process ended: exactly one of ``exit_code`` and ``signal``; its CPU seconds and peak bytes.

    ``began``: it had become the program by then, as far as the system tells.
    """

    exit_code: int | None
    signal: int | None
    cpu: float
    memory: int
    began: bool = True


@dataclass(slots=True, eq=False)
class Command:
    """A command that runs. ``known`` are descendants seen while it ran, by pid and beginning."""

    folder: str
    popen: subprocess.Popen[bytes]
    pidfd: int | None
    began: float
    started: str | None = None
    forked: bool = False
    known: set[tuple[int, str]] = field(default_factory=set)
    ended: Ended | None = None
    doubts: int = 0

    @property
    def pid(self) -> int:
        return self.popen.pid

    def signal(self, number: int) -> None:
        """Send a signal to its process group: before :meth:`Children.end`, while the pid is certainly its own."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)

    def ask(self) -> None:
        """Ask its process group to end."""
        self.signal(signal.SIGTERM)
        self.signal(signal.SIGCONT)  # a stopped process sees SIGTERM only when it goes on


class Children:
    """The commands of this process. One for each process: it reaps every child that it does not know."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._commands: dict[int, Command] = {}
        self._reaped = 0
        self._adopts = processes.become_subreaper()

    def spawn(
        self, folder: str, words: tuple[str, ...], cwd: str, environment: dict[str, str], streams: tuple[int, int, int]
    ) -> Command:
        """Start the words in a session of their own. Raises ``OSError`` when the program cannot be started."""
        # Under the lock, so that nobody takes the new child for an orphan before it is known.
        with self._lock:
            popen = subprocess.Popen(
                words,
                cwd=cwd,
                env=environment,
                stdin=streams[0],
                stdout=streams[1],
                stderr=streams[2],
                start_new_session=True,
            )
            command = Command(folder, popen, processes.open_pidfd(popen.pid), time.monotonic())
            self._commands[popen.pid] = command
        # It has become its program by now, or was killed before: then there is nothing more to it than this look finds.
        process = processes.look(popen.pid)
        if process is not None:
            command.started = None if process.zombie else process.started
            command.forked = process.forked
        return command

    def poll(self, command: Command) -> bool:
        """Whether the main process has ended; for where there is no pidfd."""
        with self._lock:
            return self._reap(command) is not None

    def wait(self, command: Command, seconds: float) -> bool:
        """Whether the main process has ended, waiting for it at most so long. It is not reaped where a pidfd told of it."""
        if command.pidfd is not None:
            poller = select.poll()
            poller.register(command.pidfd, select.POLLIN)
            return bool(poller.poll(int(seconds * 1000)))
        deadline = time.monotonic() + seconds
        while not (ended := self.poll(command)) and time.monotonic() < deadline:
            time.sleep(0.01)
        return ended

    def end(self, command: Command) -> Ended:
        """Kill and reap all that is left of a command whose main process has ended, or was killed."""
        command.signal(signal.SIGKILL)
        deadline = time.monotonic() + _PATIENCE
        ended = self._wait(command, deadline)
        pause = 0.0005
        while self._stragglers(command) and time.monotonic() < deadline:
            time.sleep(pause)
            pause = min(pause * 2, 0.02)
        return ended

    def note(self, command: Command, everything: dict[int, Process]) -> list[Process]:
        """The living processes of a command, out of a table; they are remembered as its own."""
        sessions = {process.pid for process in everything.values() if process.session == command.pid}
        roots = {command.pid} | sessions | {pid for pid, started in command.known if _same(everything, pid, started)}
        found = [process for process in processes.descendants(everything, roots) if not process.zombie]
        command.known.update((process.pid, process.started) for process in found)
        return found

    def _wait(self, command: Command, deadline: float) -> Ended:
        while True:
            with self._lock:
                ended = self._reap(command)
                if ended is not None or time.monotonic() > deadline:
                    self._commands.pop(command.pid, None)
                    break
            time.sleep(0.001)
        if command.pidfd is not None:
            os.close(command.pidfd)
            command.pidfd = None
        return ended or Ended(None, signal.SIGKILL, 0.0, 0)

    def _reap(self, command: Command) -> Ended | None:
        if command.ended is not None:
            return command.ended
        pid, status, usage = os.wait4(command.pid, os.WNOHANG)
        if pid == 0:
            return None
        code = os.waitstatus_to_exitcode(status)
        command.popen.returncode = code
        cpu = usage.ru_utime + usage.ru_stime
        exit_code, number = (code, None) if code >= 0 else (None, -code)
        command.ended = Ended(exit_code, number, cpu, _peak(usage), began=not command.forked)
        return command.ended

    def _stragglers(self, command: Command) -> bool:
        """Kill what is left of a command whose main process was reaped; whether there was anything."""
        if not _group_is_empty(command.pid):
            command.signal(signal.SIGKILL)
            self._kill_orphans(command)
            return True
        return self._kill_orphans(command)

    def _kill_orphans(self, command: Command) -> bool:
        """One pass over the orphans; ``True`` when there were any, or when another pass is needed to be certain.

        The table is not read in one instant: a child may be seen below a parent that is reaped before its own turn
        comes. So a pass in which any orphan was reaped, by whatever thread, is no proof.
        """
        if self._adopts and _childless():
            return False
        reaped = self._reaped
        since = processes.pids_since(command.pid, time.monotonic() - command.began)
        everything = processes.table(since)
        marked = set() if self._adopts else processes.marked(command.folder)
        belongs = {process: self._is_orphan_of(command, process, marked) for process in everything.values()}
        found = [process for process, its in belongs.items() if its]
        for process in processes.descendants(everything, {process.pid for process in found}):
            if not process.zombie:
                command.known.add((process.pid, process.started))
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(process.pid, signal.SIGKILL)
        if None in belongs.values():
            command.doubts += 1
        return bool(found) or self._reaped != reaped or (None in belongs.values() and command.doubts < _DOUBTS)

    def _is_orphan_of(self, command: Command, process: Process, marked: set[int]) -> bool | None:
        """Whether the process is an orphan of this command; ``None`` when that cannot be told."""
        if not self._adopts:
            return (
                not process.zombie and process.pid != os.getpid() and (process.pid in marked or _akin(command, process))
            )
        if process.parent != os.getpid():
            return False
        with self._lock:
            if process.pid in self._commands or self._was_reaped(process.pid):
                return False
            others = [other for other in self._commands.values() if other is not command]
        if _akin(command, process) or _is_of_folder(process.pid, command.folder):
            return True
        # What hid every mark goes with the last command that was there when it began.
        if not any(_could_be_parent(other, process) for other in others):
            return True
        known = processes.has_mark(process.pid) or any(_akin(other, process) for other in others)
        return False if known else None

    def _was_reaped(self, pid: int) -> bool:
        try:
            gone = os.waitpid(pid, os.WNOHANG)[0] != 0
        except ChildProcessError:
            return True
        self._reaped += gone
        return gone


def _akin(command: Command, process: Process) -> bool:
    return command.pid in (process.session, process.group) or (process.pid, process.started) in command.known


def _is_of_folder(pid: int, folder: str) -> bool:
    inside = folder + "/"
    return processes.is_marked(pid, folder) or any(path.startswith(inside) for path in processes.links(pid))


def _could_be_parent(other: Command, process: Process) -> bool:
    if other.started is None:
        return True
    tail = other.started.rpartition("-")[2]
    return not tail.isdigit() or int(tail) <= process.age_order


def _same(everything: dict[int, Process], pid: int, started: str) -> bool:
    return pid in everything and everything[pid].started == started


def _group_is_empty(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except (ProcessLookupError, PermissionError):  # macOS denies it for a group of zombies alone
        return True
    return False


def _childless() -> bool:
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return True
    return False


def _peak(usage: resource.struct_rusage) -> int:
    return usage.ru_maxrss * (1 if os.uname().sysname == "Darwin" else 1024)
