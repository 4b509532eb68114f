"""Reading jobs and records: what people and programs look at. Nothing here writes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from weftwork.core.checksum import Checksum, from_canonical
from weftwork.core.job import ENDED, Event, Job, Record, fold
from weftwork.core.placement import Placement
from weftwork.errors import Invalid, NotFound
from weftwork.ledger import documents
from weftwork.ledger.database import Transaction, chunks, gather, marks
from weftwork.ledger.owners import Living
from weftwork.ports import JobRow

_PREVIOUS = 20
_REQUESTS = 50


def records(tx: Transaction, keys: Sequence[Checksum]) -> dict[Checksum, Record]:
    """The records that answer keys."""
    rows = gather(
        tx,
        "'[\"' || c.key || '\",' || r.body || ']'",
        "FROM calculation c JOIN record r ON r.calculation = c.id AND r.rank = 'answer' WHERE c.prefix IN ({})",
        [documents.prefix(key) for key in keys],
    )
    bodies = dict(rows)
    return {key: documents.record_of(key, bodies[key]) for key in keys if key in bodies}


def record_of(tx: Transaction, name: str) -> Record | None:
    """The record of a job."""
    rows = gather(
        tx,
        "'[\"' || c.key || '\",' || coalesce(r.body, 'null') || ']'",
        "FROM job j JOIN calculation c ON c.id = j.calculation LEFT JOIN record r ON r.id = j.record WHERE j.name IN ({})",
        [name],
    )
    if not rows:
        raise NotFound(f"there is no job {name}")
    key, body = rows[0]
    return None if body is None else documents.record_of(Checksum(key), body)


def calculation(tx: Transaction, key: Checksum) -> bytes | None:
    row = tx.one(
        "SELECT f.document, c.inputs FROM calculation c JOIN frame f ON f.id = c.frame WHERE c.prefix = ? AND c.key = ?",
        (documents.prefix(key), key),
    )
    return None if row is None else documents.calculation_bytes(*row)


def conflicts(tx: Transaction, limit: int) -> list[tuple[Record, Record]]:
    """The record that stands and the one that differs, newest first."""
    rows = tx.all(
        "SELECT c.key, a.body, r.body FROM record r JOIN calculation c ON c.id = r.calculation "
        "JOIN record a ON a.calculation = c.id AND a.rank = 'answer' WHERE r.rank = 'conflict' ORDER BY r.id DESC LIMIT ?",
        (limit,),
    )
    return [tuple(documents.record_of(Checksum(row[0]), documents.parsed(body)) for body in row[1:]) for row in rows]  # type: ignore[misc]


def number_of(tx: Transaction, prefix: str) -> int:
    """The row of the one job whose id begins so."""
    rows = tx.all(
        "SELECT id, name FROM job WHERE name >= ? AND name < ? ORDER BY name LIMIT 6", (prefix, prefix + "\x7f")
    )
    if not rows:
        raise NotFound(f"no job's id begins with {prefix!r}")
    if len(rows) > 1 and rows[0][1] != prefix:
        several = ", ".join(row[1] for row in rows[:5]) + (", …" if len(rows) > 5 else "")
        raise Invalid(f"several jobs' ids begin with {prefix!r}: {several}; give more of it")
    return int(rows[0][0])


def rows_of(tx: Transaction, numbers: Sequence[int], living: Living) -> list[JobRow]:
    """Jobs by their rows, newest first."""
    found: list[Any] = []
    for chunk in chunks(numbers):
        found += tx.all(
            "SELECT j.id, j.name, c.key, q.label, q.run, q.placement, j.step, j.epoch, o.name, j.cancel, j.live, j.wanted, "
            "j.owner, j.events FROM job j JOIN calculation c ON c.id = j.calculation JOIN request q ON q.id = j.request "
            f"LEFT JOIN owner o ON o.id = j.owner WHERE j.id IN ({marks(len(chunk))})",
            chunk,
        )
    waiting: dict[int, int] = {}
    for chunk in chunks([row[0] for row in found if row[10]]):
        for job, owner in tx.all(f"SELECT job, owner FROM waiter WHERE job IN ({marks(len(chunk))})", chunk):
            waiting[job] = waiting.get(job, 0) + living(owner)
    return [_row(row, waiting, living) for row in sorted(found, key=lambda row: -row[0])]


def _row(row: Any, waiting: dict[int, int], living: Living) -> JobRow:
    number, name, key, label, run, placement, step, epoch, owner, cancel, live, wanted, owner_number, events = row
    return JobRow(
        job=fold(Job(name, Checksum(key), label), documents.events_of(events)),
        epoch=epoch,
        owner=owner,
        run=run or None,
        step=step,
        placement=Placement.of(from_canonical(placement.encode())),
        cancel=cancel,
        waiters=waiting.get(number, 0) + bool(live and wanted and living(owner_number)),
    )


def jobs(tx: Transaction, run: str | None, states: Iterable[str], limit: int, living: Living) -> list[JobRow]:
    """Jobs, newest first."""
    where, parameters = ["1 = 1"], []
    if run is not None:
        where.append("request IN (SELECT id FROM request WHERE run = ?)")
        parameters.append(run)
    chosen = sorted(set(states))
    if chosen:
        where.append(f"state IN ({marks(len(chosen))})")
        parameters += chosen
        if not ENDED.intersection(chosen):
            # Few are live among many: an index has them.
            where.append("id IN (SELECT id FROM job WHERE live = 1)")
    sql = f"SELECT id FROM job WHERE {' AND '.join(where)} ORDER BY id DESC LIMIT ?"
    return rows_of(tx, [row[0] for row in tx.all(sql, [*parameters, limit])], living)


def events(tx: Transaction, name: str, after: int) -> list[tuple[int, Event]]:
    row = tx.one("SELECT events FROM job WHERE name = ?", (name,))
    if row is None:
        raise NotFound(f"there is no job {name}")
    return list(enumerate(documents.events_of(row[0]), 1))[after:]


def previous(tx: Transaction, label: str, job: str, run_label: str | None, step: str | None) -> list[str]:
    """Earlier jobs to compare a job with: the same step of earlier runs of that name, then the same module."""
    before = number_of(tx, job)
    found: list[Any] = []
    if run_label is not None and step is not None:
        rows = tx.all(
            "SELECT q.id FROM run r JOIN request q ON q.run = r.name WHERE r.label = ? ORDER BY q.id DESC LIMIT ?",
            (run_label, _REQUESTS),
        )
        found += _of_requests(tx, rows, before, "AND step = ?", (step,))
    rows = tx.all("SELECT id FROM request WHERE label = ? ORDER BY id DESC LIMIT ?", (label, _REQUESTS))
    found += _of_requests(tx, rows, before, "", ())
    return list(dict.fromkeys(row[1] for row in found))[:_PREVIOUS]


def _of_requests(
    tx: Transaction, requests: list[Any], before: int, also: str, parameters: tuple[str, ...]
) -> list[Any]:
    """The newest jobs of some requests. One look-up each: the index then gives the newest of a million at once."""
    found: list[Any] = []
    for (request,) in requests:
        sql = f"SELECT id, name FROM job WHERE request = ? AND id < ? {also} ORDER BY id DESC LIMIT ?"
        found += tx.all(sql, (request, before, *parameters, _PREVIOUS))
    return sorted(found, key=lambda row: -row[0])[:_PREVIOUS]
