"""Waiting for jobs that others own, withdrawing from them, and asking for their end."""

from __future__ import annotations

from collections.abc import Sequence

from weftwork.errors import NotFound
from weftwork.ledger import claims, views
from weftwork.ledger.database import Transaction, chunks, gather, marks
from weftwork.ledger.owners import Living
from weftwork.ports import Claimed, JobRow


def standing(tx: Transaction, names: Sequence[str]) -> dict[str, tuple[int, int, int, int, str]]:
    """Of each job: its number, whether it is live, its owner, its epoch, its key. Raises NotFound for an unknown one."""
    rows = gather(
        tx,
        "'[\"' || j.name || '\",' || j.id || ',' || j.live || ',' || j.owner || ',' || j.epoch || ',\"' || c.key || '\"]'",
        "FROM job j JOIN calculation c ON c.id = j.calculation WHERE j.name IN ({})",
        names,
    )
    found = {row[0]: (row[1], row[2], row[3], row[4], row[5]) for row in rows}
    for name in names:
        if name not in found:
            raise NotFound(f"there is no job {name}")
    return found


def orphans(tx: Transaction, owner: int, names: Sequence[str], living: Living) -> list[str]:
    """Those of the jobs that are live while their owner is not."""
    return [name for name, row in standing(tx, names).items() if row[1] and row[2] != owner and not living(row[2])]


def take_over(tx: Transaction, owner: int, owner_name: str, names: Sequence[str], living: Living) -> dict[str, Claimed]:
    """Take the jobs whose owner is dead still."""
    rows = standing(tx, names)
    taken = {}
    epochs = {}
    for name in orphans(tx, owner, names, living):
        job, _, _, epoch, _ = rows[name]
        taken[name] = Claimed("mine", name, epoch + 1, claims.attempts(tx, job))
        epochs[job] = epoch + 1
    claims.take_over(tx, owner, owner_name, epochs)
    return taken


def follow(tx: Transaction, names: Sequence[str], living: Living) -> dict[str, Claimed | JobRow]:
    """How jobs stand: waiting or ended."""
    rows = standing(tx, names)
    ended = views.rows_of(tx, [row[0] for row in rows.values() if not row[1]], living)
    answers: dict[str, Claimed | JobRow] = {row.job.id: row for row in ended}
    for name, row in rows.items():
        if row[1]:
            answers[name] = Claimed("waiting", name, row[3])
    return answers


def withdraw(tx: Transaction, owner: int, names: Sequence[str], living: Living, cancel: str | None) -> set[str]:
    """The owner no longer waits; the live jobs for which nobody does any more, asked to end if ``cancel`` says by whom."""
    for chunk in chunks(names):
        tx.run(
            f"UPDATE job SET wanted = 0 WHERE name IN ({marks(len(chunk))}) AND live = 1 AND owner = ?", [*chunk, owner]
        )
        tx.run(
            f"DELETE FROM waiter WHERE job IN (SELECT id FROM job WHERE name IN ({marks(len(chunk))})) AND owner = ?",
            [*chunk, owner],
        )
    left = set()
    for chunk in chunks(names):
        rows = tx.all(
            "SELECT j.name, j.owner, j.wanted, w.owner FROM job j LEFT JOIN waiter w ON w.job = j.id "
            f"WHERE j.name IN ({marks(len(chunk))}) AND j.live = 1",
            chunk,
        )
        waited = {row[0] for row in rows if (row[2] and living(row[1])) or (row[3] is not None and living(row[3]))}
        left |= {row[0] for row in rows} - waited
    if cancel is not None:
        request_cancel(tx, sorted(left), cancel)
    return left


def request_cancel(tx: Transaction, names: Sequence[str], by: str) -> None:
    """The first who asks is the one who is named."""
    for chunk in chunks(names):
        tx.run(
            f"UPDATE job SET cancel = coalesce(cancel, ?) WHERE live = 1 AND name IN ({marks(len(chunk))})",
            [by, *chunk],
        )


def cancels(tx: Transaction, owner: str) -> dict[str, str]:
    rows = tx.all(
        "SELECT name, cancel FROM job WHERE live = 1 AND cancel IS NOT NULL "
        "AND owner = (SELECT id FROM owner WHERE name = ?)",
        (owner,),
    )
    return dict(rows)
