"""Reading jobs and records: what people and programs look at. Nothing here writes."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from typing import Any

from weftwork.core.checksum import Checksum, from_canonical
from weftwork.core.job import Event, Job, Record, fold
from weftwork.core.placement import Placement
from weftwork.errors import Invalid, NotFound
from weftwork.ledger import documents, names
from weftwork.ledger.database import CHUNK, Transaction, chunks, gather, marks, next_id
from weftwork.ledger.owners import Living
from weftwork.ports import JobRow

_PREVIOUS = 20
_NAMED = 6
_REQUESTS = 50


def records(tx: Transaction, keys: Sequence[Checksum]) -> dict[Checksum, Record]:
    """The records that answer keys."""
    rows = gather(
        tx,
        "'[\"' || c.key || '\",' || r.body || ']'",
        "calculation c JOIN record r ON r.calculation = c.id AND r.rank = 'answer' WHERE c.prefix = column1",
        list(zip(documents.prefixes(keys))),
    )
    bodies = dict(rows)
    return {key: documents.record_of(key, bodies[key]) for key in keys if key in bodies}


def record_of(tx: Transaction, name: str) -> Record | None:
    """The record of a job."""
    rows = gather(
        tx,
        "'[\"' || c.key || '\",' || coalesce(r.body, 'null') || ']'",
        "job j JOIN calculation c ON c.id = j.calculation LEFT JOIN record r ON r.id = j.record "
        "WHERE j.id = column1 AND j.name = column2",
        names.of([name]),
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


def number_of(tx: Transaction, prefix: str) -> int:
    """The row of the one job whose id begins so."""
    found: list[Any] = []
    candidates = names.rows(prefix, next_id(tx, "job") - 1)
    while len(found) < _NAMED and (some := list(itertools.islice(candidates, CHUNK))):
        sql = f"SELECT id, name FROM job WHERE id IN ({marks(len(some))}) ORDER BY id DESC"
        found += [row for row in tx.all(sql, some) if row[1].startswith(prefix)]
    if not found:
        raise NotFound(f"no job's id begins with {prefix!r}")
    if len(found) > 1:
        several = ", ".join(row[1] for row in found[: _NAMED - 1]) + (", …" if len(found) >= _NAMED else "")
        raise Invalid(f"several jobs' ids begin with {prefix!r}: {several}; give more of it")
    return int(found[0][0])


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
    """Jobs, newest first: the newest of each state and request, as the indexes have them, then the newest of all."""
    chosen = set(states)
    conditions = [_WITH_STATE[state] for state in sorted(chosen & _WITH_STATE.keys())] if chosen else ["1 = 1"]
    found: list[int] = []
    for condition in conditions:
        if run is None:
            found += _newest(tx, condition, (), limit)
        elif condition in _FEW.values():
            found += _newest(tx, f"{condition} AND request IN (SELECT id FROM request WHERE run = ?)", (run,), limit)
        else:
            for (request,) in tx.all("SELECT id FROM request WHERE run = ?", (run,)):
                found += _newest(tx, f"{condition} AND request = ?", (request,), limit)
    return rows_of(tx, sorted(found, reverse=True)[:limit], living)


# Written out, since an index on some of the rows is used where a statement says in its words that it asks for those.
_FEW = {
    **{state: f"id IN (SELECT id FROM job WHERE live = 1) AND state = '{state}'" for state in ("queued", "running")},
    **{state: f"state IN ('failed', 'cancelled') AND state = '{state}'" for state in ("failed", "cancelled")},
}
_WITH_STATE = {**_FEW, "succeeded": "state = 'succeeded'"}


def _newest(tx: Transaction, condition: str, parameters: Sequence[Any], limit: int) -> list[int]:
    rows = tx.all(f"SELECT id FROM job WHERE {condition} ORDER BY id DESC LIMIT ?", [*parameters, limit])
    return [row[0] for row in rows]


def events(tx: Transaction, name: str, after: int) -> list[tuple[int, Event]]:
    row = tx.one("SELECT events FROM job WHERE id = ? AND name = ?", (names.row(name), name))
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
