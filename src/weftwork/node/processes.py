"""Facilities of the operating system for watching processes: subreaper, ``/proc``, pidfd.

Each has a fallback for systems that lack it (macOS): ``ps`` instead of ``/proc``, asking again and again instead
of a pidfd, a search by environment instead of a subreaper. ``WEFT_PORTABLE=1`` takes every fallback, for tests.
Owns no policy: which process belongs to which job is the business of :mod:`weftwork.node.sweep`.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from typing import Final, NamedTuple

PORTABLE: Final = os.environ.get("WEFT_PORTABLE") == "1"
HAVE_PROC: Final = not PORTABLE and os.path.exists("/proc/self/stat")
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")
_PR_SET_CHILD_SUBREAPER: Final = 36
_PF_FORKNOEXEC: Final = 0x40  # linux/sched.h


class Process(NamedTuple):
    """A line of the table of processes. ``started`` with ``pid`` names a process for good, across reuse of pids.

    ``forked``: it is still the copy of its parent that a fork made, and has not become a program of its own.
    """

    pid: int
    parent: int
    group: int
    session: int
    zombie: bool
    memory: int
    started: str
    forked: bool = False

    @property
    def age_order(self) -> int:
        """Grows with the time at which processes began; 0 where only the hour on the clock is known."""
        tail = self.started.rpartition("-")[2]
        return int(tail) if HAVE_PROC and tail.isdigit() else 0


def become_subreaper() -> bool:
    """Have orphaned descendants handed to this process, not to init. ``False`` where that cannot be had."""
    if PORTABLE or not sys.platform.startswith("linux"):
        return False
    import ctypes

    try:
        return bool(ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0)
    except (OSError, AttributeError):
        return False


def open_pidfd(pid: int) -> int | None:
    """A descriptor that becomes readable when the process ends, or ``None`` where there are none."""
    if PORTABLE or not hasattr(os, "pidfd_open"):
        return None
    try:
        return os.pidfd_open(pid)
    except OSError:
        return None


def identity(pid: int) -> str | None:
    """When the process began, as text that no later process of the same pid shares. ``None``: no such process."""
    process = look(pid)
    return None if process is None or process.zombie else process.started


def is_running(pid: int, started: str | None) -> bool:
    """Whether the process is the one that began at ``started``, and has not ended."""
    return started is not None and identity(pid) == started


def look(pid: int) -> Process | None:
    """One process, or ``None`` when there is none of that pid."""
    if HAVE_PROC:
        return _from_stat(pid)
    return _from_ps(["-p", str(pid)]).get(pid)


def table(pids: list[int] | None = None) -> dict[int, Process]:
    """All processes, or those of ``pids`` that there are."""
    if not HAVE_PROC:
        everything = _from_ps(["-A"])
        return everything if pids is None else {pid: everything[pid] for pid in pids if pid in everything}
    found = {}
    for pid in all_pids() if pids is None else pids:
        process = _from_stat(pid)
        if process is not None:
            found[pid] = process
    return found


def all_pids() -> list[int]:
    """The pids of all processes."""
    if HAVE_PROC:
        return [int(name) for name in os.listdir("/proc") if name.isdigit()]
    return list(_from_ps(["-A"]))


def pids_since(pid: int, age: float) -> list[int] | None:
    """The pids given out after ``pid``, which is ``age`` seconds old; ``None`` when that cannot be told.

    Pids are given out upwards and start again from the bottom: after half a second, or when the last
    one given out is below, they may have gone round.
    """
    if not HAVE_PROC or age > 0.5:
        return None
    try:
        with open("/proc/loadavg", "rb", buffering=0) as file:
            last = int(file.read(200).split()[-1])
    except (OSError, ValueError, IndexError):
        return None
    return [other for other in all_pids() if other > pid] if last >= pid else None


def is_marked(pid: int, folder: str) -> bool:
    """Whether the environment with which the process began names the job folder: WEFT_JOB, HOME or TMPDIR."""
    if not HAVE_PROC:
        return pid in marked(folder)
    variables = _variables(pid)
    name = os.fsencode(folder)
    # Not PWD or OLDPWD: a person's shell that stands in the folder is not part of the job.
    return any(mark in variables for mark in (b"\0WEFT_JOB=%b\0" % name, b"\0HOME=%b/" % name, b"\0TMPDIR=%b/" % name))


def has_mark(pid: int) -> bool:
    """Whether the process is known to come from a job, of whatever folder."""
    return HAVE_PROC and b"\0WEFT_JOB=" in _variables(pid)


def marked(folder: str) -> set[int]:
    """The processes whose environment names the job folder."""
    if HAVE_PROC:
        return {pid for pid in all_pids() if is_marked(pid, folder)}
    # macOS shows no environment of the programs that came with the system: there the other marks must do.
    wide = ["-E", "-ww"] if sys.platform == "darwin" else ["eww"]
    lines = _ps(["-A", *wide, "-o", "pid=", "-o", "command="]).splitlines()
    mark = f" WEFT_JOB={folder} "
    return {int(line.split(None, 1)[0]) for line in lines if mark in line + " "}


def _variables(pid: int) -> bytes:
    """The environment with which a process began, a NUL before and after each; empty when it cannot be read."""
    try:
        with open(f"/proc/{pid}/environ", "rb", buffering=0) as file:
            return b"\0" + file.readall() + b"\0"
    except OSError:
        return b""


def links(pid: int) -> list[str]:
    """Where the process stands and what its first three descriptors are: the paths, as far as they can be read."""
    found = []
    if HAVE_PROC:
        for name in ("cwd", "fd/0", "fd/1", "fd/2"):
            with contextlib.suppress(OSError):
                found.append(os.readlink(f"/proc/{pid}/{name}"))
    return found


def proportional_memory(pids: list[int]) -> int | None:
    """Bytes that the processes hold, pages that they share counted once. ``None`` where it cannot be told."""
    if not HAVE_PROC:
        return None
    total = 0
    for pid in pids:
        try:
            with open(f"/proc/{pid}/smaps_rollup", "rb", buffering=0) as file:
                for line in file.readall().splitlines():
                    if line.startswith((b"Pss:", b"SwapPss:")):
                        total += int(line.split()[1]) * 1024
        except (OSError, ValueError):
            continue
    return total


def descendants(everything: dict[int, Process], roots: set[int]) -> list[Process]:
    """The processes of the table that come from any of ``roots``, these included."""
    children: dict[int, list[Process]] = {}
    for process in everything.values():
        children.setdefault(process.parent, []).append(process)
    found: dict[int, Process] = {}
    waiting = [everything[pid] for pid in roots if pid in everything]
    while waiting:
        process = waiting.pop()
        if process.pid not in found:
            found[process.pid] = process
            waiting.extend(children.get(process.pid, ()))
    return list(found.values())


def _from_stat(pid: int) -> Process | None:
    try:
        with open(f"/proc/{pid}/stat", "rb", buffering=0) as file:
            line = file.read(2000)
    except OSError:
        return None
    # The second field is the name in parentheses, which may itself hold blanks and parentheses (proc(5)).
    fields = line[line.rfind(b")") + 2 :].split()
    if len(fields) < 22:
        return None
    return Process(
        pid=pid,
        parent=int(fields[1]),
        group=int(fields[2]),
        session=int(fields[3]),
        zombie=fields[0] in (b"Z", b"X"),
        memory=int(fields[21]) * _PAGE,
        started=f"{_boot()}-{int(fields[19])}",
        forked=bool(int(fields[6]) & _PF_FORKNOEXEC),
    )


_BOOT: list[str] = []


def _boot() -> str:
    if not _BOOT:
        try:
            with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
                _BOOT.append(file.read(8))
        except OSError:
            _BOOT.append("boot")
    return _BOOT[0]


def _ps(words: list[str]) -> str:
    done = subprocess.run(["ps", *words], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False)
    return os.fsdecode(done.stdout)


def _from_ps(which: list[str]) -> dict[int, Process]:
    # One -o each: what follows a "=" is a heading up to the end of the word (POSIX).
    columns = [word for name in ("pid", "ppid", "pgid", "sess", "stat", "rss", "lstart") for word in ("-o", f"{name}=")]
    text = _ps([*which, *columns])
    found = {}
    for line in text.splitlines():
        fields = line.split(None, 6)
        with contextlib.suppress(ValueError, IndexError):
            pid, parent, group = (int(word) for word in fields[:3])
            # macOS tells sessions as addresses; groups and descent must do there.
            leader = int(fields[3]) if fields[3].isdigit() else 0
            found[pid] = Process(
                pid, parent, group, leader, fields[4].startswith("Z"), int(fields[5]) * 1024, fields[6].strip()
            )
    return found


class Snapshots:
    """The table of processes, read at most once every ``age`` seconds however many jobs ask."""

    def __init__(self) -> None:
        import threading

        self._lock = threading.Lock()
        self._taken = float("-inf")
        self._table: dict[int, Process] = {}

    def latest(self, age: float) -> dict[int, Process]:
        with self._lock:
            if time.monotonic() - self._taken > age:
                self._table = table()
                self._taken = time.monotonic()
            return self._table
