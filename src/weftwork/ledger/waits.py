"""Waiting for jobs that others own, withdrawing from them, and asking for their end."""

from __future__ import annotations

from collections.abc import Sequence

from weftwork.errors import NotFound
from weftwork.ledger import claims, names, views
from weftwork.ledger.database import Transaction, chunks, gather
from weftwork.ledger.owners import Living
from weftwork.ports import Claimed, JobRow


def standing(tx: Transaction, jobs: Sequence[str]) -> dict[str, tuple[int, int, int, int, str]]:
    """Of each job: its number, whether it is live, its owner, its epoch, its key. Raises NotFound for an unknown one."""
    rows = gather(
        tx,
        "'[\"' || j.name || '\",' || j.id || ',' || j.live || ',' || j.owner || ',' || j.epoch || ',\"' || c.key || '\"]'",
        "job j JOIN calculation c ON c.id = j.calculation WHERE j.id = column1 AND j.name = column2",
        names.of(jobs),
    )
    found = {row[0]: (row[1], row[2], row[3], row[4], row[5]) for row in rows}
    for job in jobs:
        if job not in found:
            raise NotFound(f"there is no job {job}")
    return found


def orphans(tx: Transaction, owner: int, jobs: Sequence[str], living: Living) -> list[str]:
    """Those of the jobs that are live while their owner is not."""
    return [name for name, row in standing(tx, jobs).items() if row[1] and row[2] != owner and not living(row[2])]


def take_over(tx: Transaction, owner: int, owner_name: str, jobs: Sequence[str], living: Living) -> dict[str, Claimed]:
    """Take the jobs whose owner is dead still."""
    rows = standing(tx, jobs)
    taken = {}
    epochs = {}
    for name in orphans(tx, owner, jobs, living):
        job, _, _, epoch, _ = rows[name]
        taken[name] = Claimed("mine", name, epoch + 1, claims.attempts(tx, job))
        epochs[job] = epoch + 1
    claims.take_over(tx, owner, owner_name, epochs)
    return taken


def follow(tx: Transaction, jobs: Sequence[str], living: Living) -> dict[str, Claimed | JobRow]:
    """How jobs stand: waiting or ended."""
    rows = standing(tx, jobs)
    ended = views.rows_of(tx, [row[0] for row in rows.values() if not row[1]], living)
    answers: dict[str, Claimed | JobRow] = {row.job.id: row for row in ended}
    for name, row in rows.items():
        if row[1]:
            answers[name] = Claimed("waiting", name, row[3])
    return answers


def withdraw(tx: Transaction, owner: int, jobs: Sequence[str], living: Living, cancel: str | None) -> set[str]:
    """The owner no longer waits; the live jobs for which nobody does any more, asked to end if ``cancel`` says by whom."""
    left = set()
    for chunk in chunks(jobs):
        those, parameters = names.among(chunk)
        tx.run(f"UPDATE job SET wanted = 0 WHERE {those} AND live = 1 AND owner = ?", [*parameters, owner])
        tx.run(
            f"DELETE FROM waiter WHERE job IN (SELECT id FROM job WHERE {those}) AND owner = ?", [*parameters, owner]
        )
        rows = tx.all(
            "SELECT job.name, job.owner, job.wanted, w.owner FROM job LEFT JOIN waiter w ON w.job = job.id "
            f"WHERE {those} AND job.live = 1",
            parameters,
        )
        waited = {row[0] for row in rows if (row[2] and living(row[1])) or (row[3] is not None and living(row[3]))}
        left |= {row[0] for row in rows} - waited
    if cancel is not None:
        request_cancel(tx, sorted(left), cancel)
    return left


def request_cancel(tx: Transaction, jobs: Sequence[str], by: str) -> None:
    """The first who asks is the one who is named."""
    for chunk in chunks(jobs):
        those, parameters = names.among(chunk)
        tx.run(f"UPDATE job SET cancel = coalesce(cancel, ?) WHERE live = 1 AND {those}", [by, *parameters])


def cancels(tx: Transaction, owner: str) -> dict[str, str]:
    rows = tx.all(
        "SELECT name, cancel FROM job WHERE live = 1 AND cancel IS NOT NULL "
        "AND owner = (SELECT id FROM owner WHERE name = ?)",
        (owner,),
    )
    return dict(rows)
