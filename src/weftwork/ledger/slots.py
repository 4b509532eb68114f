"""Local CPUs, memory and GPUs, shared by all processes of a host: first come, first served.

Wants queue in the order in which they came, and nothing overtakes the first that does not fit: a large one is never
starved by small ones. What is granted to another process's want is its own from then on; it learns of it when it asks
again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from weftwork.core.placement import Resources
from weftwork.errors import Refused
from weftwork.ledger.database import Row, Transaction, chunks, insert, marks, next_id
from weftwork.ports import Machine

Needs = tuple[int, int, int]

_COLUMNS = "id, host, owner, holder, held, cpus, memory, gpus"


def _needs(wanted: Resources) -> Needs:
    return wanted.cpus, wanted.memory or 0, wanted.gpus


def refuse_too_large(capacity: Resources, wants: Sequence[tuple[str, Resources]]) -> None:
    """Raises :class:`~weftwork.errors.Refused` for what could never be had."""
    for holder, wanted in wants:
        for name, unit in (("cpus", "CPUs"), ("memory", "bytes of memory"), ("gpus", "GPUs")):
            needed, there = getattr(wanted, name) or 0, getattr(capacity, name)
            if there is not None and needed > there:
                raise Refused(
                    f"{holder} wants {needed} {unit} and this host has {there} to give: lower its resources, raise the "
                    "limit, or choose another site",
                    wanted=needed,
                    capacity=there,
                )


def take(
    tx: Transaction,
    owner: int,
    host: str,
    capacity: Resources,
    wants: Sequence[tuple[str, Resources]],
    living: Callable[[int], bool],
    running: Callable[[str], bool],
) -> set[str]:
    """Queue the wants and grant what can be; those of ``wants`` that are held now."""
    names = {holder for holder, _ in wants}
    held = _queue(tx, owner, host, wants)
    held |= _grant(tx, owner, host, capacity)
    # Whether others live is asked only when something is short: it costs a look at each.
    if not names <= held and _bury(tx, owner, host, living, running):
        held |= _grant(tx, owner, host, capacity)
    return held & names


def _queue(tx: Transaction, owner: int, host: str, wants: Sequence[tuple[str, Resources]]) -> set[str]:
    """Queue those that are not known; those that are held already.

    What goes on under its name after its owner's death keeps its slots, whoever asks for them in that name.
    """
    held: set[str] = set()
    queued: set[str] = set()
    inherited: list[tuple[int, str]] = []
    for chunk in chunks([holder for holder, _ in wants]):
        sql = f"SELECT id, holder, owner, held FROM slot WHERE holder IN ({marks(len(chunk))})"
        for identity, holder, other, has in tx.all(sql, chunk):
            if other == owner:
                (held if has else queued).add(holder)
            elif has:
                inherited.append((identity, holder))
    for identity, holder in inherited:
        if holder not in held | queued:
            tx.run("UPDATE slot SET owner = ? WHERE id = ?", (owner, identity))
            held.add(holder)
    new = {holder: wanted for holder, wanted in wants if holder not in held | queued}
    if new:
        first = next_id(tx, "slot")
        rows = [
            (first + at, host, owner, holder, 0, *_needs(wanted)) for at, (holder, wanted) in enumerate(new.items())
        ]
        insert(tx, f"slot ({_COLUMNS})", rows)
    return held


class _Free:
    """What of a host is free."""

    def __init__(self, tx: Transaction, host: str, capacity: Resources) -> None:
        used = tx.one(
            "SELECT coalesce(sum(cpus), 0), coalesce(sum(memory), 0), coalesce(sum(gpus), 0) FROM slot "
            "WHERE host = ? AND held = 1",
            (host,),
        )
        limits = (capacity.cpus, capacity.memory, capacity.gpus)
        self._left = [None if limit is None else limit - taken for limit, taken in zip(limits, used, strict=True)]

    def give(self, needs: Sequence[int]) -> bool:
        """Take what is needed, where all of it is there."""
        left = [None if there is None else there - needed for there, needed in zip(self._left, needs, strict=True)]
        if any(there is not None and there < 0 for there in left):
            return False
        self._left = left
        return True


def take_free(tx: Transaction, owner: int, machine: Machine, wants: Sequence[tuple[str, Resources]]) -> set[str]:
    """Slots for new holders, in their order, as long as they are free and nobody waits; those that got some."""
    if tx.one("SELECT 1 FROM slot WHERE host = ? AND held = 0 LIMIT 1", (machine.host,)):
        return set()
    free = _Free(tx, machine.host, machine.capacity)
    first = next_id(tx, "slot")
    rows: list[Row] = []
    for holder, wanted in wants:
        if not free.give(_needs(wanted)):
            break
        rows.append((first + len(rows), machine.host, owner, holder, 1, *_needs(wanted)))
    if rows:
        insert(tx, f"slot ({_COLUMNS})", rows)
    return {row[3] for row in rows}


def _grant(tx: Transaction, owner: int, host: str, capacity: Resources) -> set[str]:
    """Give what is free to those who wait, in their order; those of this owner that got theirs."""
    free = _Free(tx, host, capacity)
    granted, own = [], set()
    sql = "SELECT id, owner, holder, cpus, memory, gpus FROM slot WHERE host = ? AND held = 0 ORDER BY id"
    for identity, of, holder, *needs in tx.all(sql, (host,)):
        if not free.give(needs):
            break
        granted.append(identity)
        if of == owner:
            own.add(holder)
    for chunk in chunks(granted):
        tx.run(f"UPDATE slot SET held = 1 WHERE id IN ({marks(len(chunk))})", chunk)
    return own


def _bury(
    tx: Transaction, owner: int, host: str, living: Callable[[int], bool], running: Callable[[str], bool]
) -> bool:
    """Remove what dead owners wait for, and what they hold for nothing that still runs; whether there was any."""
    rows = tx.all("SELECT DISTINCT owner FROM slot WHERE host = ? AND owner <> ?", (host, owner))
    dead = [number for (number,) in rows if not living(number)]
    gone = []
    for number in dead:
        for identity, holder, held in tx.all("SELECT id, holder, held FROM slot WHERE owner = ?", (number,)):
            if not (held and running(holder)):
                gone.append(identity)
    for chunk in chunks(gone):
        tx.run(f"DELETE FROM slot WHERE id IN ({marks(len(chunk))})", chunk)
    return bool(gone)


def free(tx: Transaction, owner: int, holders: Sequence[str]) -> None:
    """Give back, or stop waiting."""
    for chunk in chunks(holders):
        tx.run(f"DELETE FROM slot WHERE owner = ? AND holder IN ({marks(len(chunk))})", [owner, *chunk])
