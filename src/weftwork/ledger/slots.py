"""Local CPUs, memory and GPUs, shared by all processes of a host: first come, first served.

Wants queue in the order in which they came, and nothing overtakes the first that does not fit: a large one is never
starved by small ones. What is granted to another process's want is its own from then on; it learns of it when it asks
again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from weftwork.core.placement import Resources
from weftwork.errors import Refused
from weftwork.ledger.database import Transaction, chunks, insert, marks, next_id

Needs = tuple[int, int, int]


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
    _inherit(tx, owner, [holder for holder, _ in wants])
    _queue(tx, owner, host, wants)
    _grant(tx, host, capacity)
    names = [holder for holder, _ in wants]
    held = _held(tx, owner, names)
    # Whether others live is asked only when something is short: it costs a look at each.
    if len(held) < len(set(names)) and _bury(tx, owner, host, living, running):
        _grant(tx, host, capacity)
        held = _held(tx, owner, names)
    return held


def _inherit(tx: Transaction, owner: int, holders: Sequence[str]) -> None:
    """What goes on under its name after its owner's death keeps its slots, whoever asks for them in that name."""
    for chunk in chunks(holders):
        sql = f"UPDATE slot SET owner = ? WHERE held = 1 AND owner <> ? AND holder IN ({marks(len(chunk))})"
        tx.run(sql, [owner, owner, *chunk])


def _queue(tx: Transaction, owner: int, host: str, wants: Sequence[tuple[str, Resources]]) -> None:
    first = next_id(tx, "slot")
    rows = [(first + at, host, owner, holder, 0, *_needs(wanted)) for at, (holder, wanted) in enumerate(wants)]
    columns = "slot (id, host, owner, holder, held, cpus, memory, gpus)"
    insert(tx, columns, rows, "ON CONFLICT (holder, owner) DO NOTHING")


def _grant(tx: Transaction, host: str, capacity: Resources) -> None:
    used = tx.one(
        "SELECT coalesce(sum(cpus), 0), coalesce(sum(memory), 0), coalesce(sum(gpus), 0) FROM slot "
        "WHERE host = ? AND held = 1",
        (host,),
    )
    limits = (capacity.cpus, capacity.memory, capacity.gpus)
    free = [None if limit is None else limit - taken for limit, taken in zip(limits, used, strict=True)]
    granted = []
    for row in tx.all("SELECT id, cpus, memory, gpus FROM slot WHERE host = ? AND held = 0 ORDER BY id", (host,)):
        left = [None if there is None else there - needed for there, needed in zip(free, row[1:], strict=True)]
        if any(there is not None and there < 0 for there in left):
            break
        free = left
        granted.append(row[0])
    for chunk in chunks(granted):
        tx.run(f"UPDATE slot SET held = 1 WHERE id IN ({marks(len(chunk))})", chunk)


def _held(tx: Transaction, owner: int, holders: Sequence[str]) -> set[str]:
    found: set[str] = set()
    for chunk in chunks(holders):
        sql = f"SELECT holder FROM slot WHERE owner = ? AND held = 1 AND holder IN ({marks(len(chunk))})"
        found |= {row[0] for row in tx.all(sql, [owner, *chunk])}
    return found


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
