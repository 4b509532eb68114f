"""Who owns jobs: this process as an :class:`~weftwork.ports.Owner`, whether another one lives, and their rows.

A process is named by host, boot, process id and the time at which it began, as the operating system says it: a pid
that was given out again, and a machine that was started again, are both seen. On Linux that is ``/proc``, elsewhere
psutil.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

from weftwork.errors import Conflict, NotFound
from weftwork.ledger.database import Database, Transaction, next_id
from weftwork.ports import Owner

PROC = Path("/proc")
"""Where Linux shows its processes; elsewhere there is no such folder, and psutil answers."""

_FIRST_PID_NAMESPACE = "pid:[4026531836]"
_CLOCK_DRIFT = 2.0

Alive = Callable[[Owner], bool | None]


def this() -> Owner:
    """This process, with an id of its own each time."""
    return of_process(os.getpid())


def of_process(pid: int) -> Owner:
    """A process of this host. Raises :class:`~weftwork.errors.NotFound` where there is none of that pid."""
    started = _started(pid)
    if started is None:
        raise NotFound(f"there is no process {pid} on this host")
    return Owner(f"o{os.urandom(8).hex()}", host(), boot(), pid, started)


@lru_cache(maxsize=1)
def host() -> str:
    """This host's name. A container that counts processes by itself is a host of its own: its pids mean nothing outside."""
    name = os.uname().nodename or "localhost"
    try:
        space = os.readlink(PROC / "self/ns/pid")
    except OSError:
        return name
    return name if space == _FIRST_PID_NAMESPACE else f"{name}/{space}"


@lru_cache(maxsize=1)
def boot() -> str:
    """What differs each time that this host is started."""
    try:
        return (PROC / "sys/kernel/random/boot_id").read_text("ascii").strip()
    except OSError:
        import psutil

        # The time of the boot moves with each correction of the clock: whole minutes, compared with one of slack.
        return f"t{round(psutil.boot_time() / 60)}"


def same_boot(one: str, other: str) -> bool:
    if one.startswith("t") and other.startswith("t"):
        return abs(int(one[1:]) - int(other[1:])) <= 1
    return one == other


def alive(owner: Owner) -> bool | None:
    """Whether the owner's process lives; ``None`` for one of another host, which its lease must tell."""
    if owner.host != host():
        return None
    if not same_boot(owner.boot, boot()):
        return False
    started = _started(owner.pid)
    if started is None:
        return _hidden(owner.pid)
    return abs(started - owner.started) <= _slack()


def _hidden(pid: int) -> bool:
    """Whether there is a process of another user that this one may not look at: it has the benefit of the doubt."""
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except OSError:
        pass
    return False


def _slack() -> float:
    # psutil reckons from the clock, which may have been set since; /proc counts from the boot.
    return 0.0 if (PROC / "self/stat").exists() else _CLOCK_DRIFT


def _started(pid: int) -> float | None:
    """When the process began, in the operating system's own reckoning; ``None`` when there is none, or a dead one unburied."""
    try:
        stat = (PROC / f"{pid}/stat").read_bytes()
    except ProcessLookupError:
        return None
    except OSError:
        if (PROC / "self/stat").exists():
            return None
        return _started_elsewhere(pid)
    fields = stat[stat.rindex(b")") + 2 :].split()
    return None if fields[0] in (b"Z", b"X") else int(fields[19]) / os.sysconf("SC_CLK_TCK")


def _started_elsewhere(pid: int) -> float | None:
    import psutil

    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else float(process.create_time())
    except psutil.NoSuchProcess:
        return None


def register(tx: Transaction, database: Database, owner: Owner, lease: float) -> None:
    if database.one_host:
        other = tx.one(
            f"SELECT host FROM owner WHERE host <> ? AND gone = 0 AND expires > {tx.clock} LIMIT 1", (owner.host,)
        )
        if other is not None:
            raise Conflict(
                f"this ledger is on a network file system, where one host at a time may own jobs, and {other[0]} does: "
                "wait until it has ended, or use a home on a local disk"
            )
    tx.run(
        f"INSERT INTO owner (id, name, host, boot, pid, started, expires) VALUES (?, ?, ?, ?, ?, ?, {tx.clock} + ?) "
        "ON CONFLICT (name) DO UPDATE SET expires = excluded.expires, gone = 0",
        (next_id(tx, "owner"), owner.id, owner.host, owner.boot, owner.pid, owner.started, lease),
    )


def renew(tx: Transaction, owner: str, lease: float) -> None:
    number(tx, owner)
    tx.run(f"UPDATE owner SET expires = {tx.clock} + ? WHERE name = ?", (lease, owner))


def release(tx: Transaction, owner: str) -> None:
    row = tx.one("SELECT id FROM owner WHERE name = ?", (owner,))
    if row is None:
        return
    tx.run("UPDATE owner SET gone = 1 WHERE id = ?", row)
    tx.run("DELETE FROM slot WHERE owner = ?", row)
    tx.run("DELETE FROM waiter WHERE owner = ?", row)


def number(tx: Transaction, owner: str) -> int:
    """The row of an owner. Raises :class:`~weftwork.errors.Conflict` for one that is not registered, or was released."""
    row = tx.one("SELECT id, gone FROM owner WHERE name = ?", (owner,))
    if row is None or row[1]:
        what = "is not registered" if row is None else "was released"
        raise Conflict(f"the owner {owner} {what}: register it before it claims or writes")
    return int(row[0])


class Living:
    """Which owners live, asked once each in a transaction."""

    def __init__(self, tx: Transaction, check: Alive) -> None:
        self._tx = tx
        self._check = check
        self._known: dict[int, bool] = {}

    def __call__(self, number: int) -> bool:
        known = self._known.get(number)
        if known is None:
            known = self._known[number] = self._ask(number)
        return known

    def _ask(self, number: int) -> bool:
        row = self._tx.one(
            f"SELECT name, host, boot, pid, started, gone, expires > {self._tx.clock} FROM owner WHERE id = ?",
            (number,),
        )
        if row is None or row[5]:
            return False
        word = self._check(Owner(*row[:5]))
        return bool(row[6]) if word is None else word
