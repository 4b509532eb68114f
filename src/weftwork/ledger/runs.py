"""Runs, their steps, and the choices of races."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from weftwork.core.checksum import Checksum
from weftwork.core.job import Job, fold
from weftwork.errors import Conflict, Invalid, NotFound
from weftwork.ledger import documents
from weftwork.ledger.database import Transaction, insert, next_id
from weftwork.ledger.owners import Living
from weftwork.ports import RunRow, StepRow

_COLUMNS = "r.name, r.label, r.state, r.created, r.document, r.ended, r.outcome, o.name, r.id, r.owner, r.cancel"
_FROM = "FROM run r LEFT JOIN owner o ON o.id = r.owner"

_ANY_KEY = Checksum("0" * 64)


def _run(row: Any) -> RunRow:
    ended = None if row[5] is None else float(row[5])
    outcome = None if row[6] is None else json.loads(row[6])
    return RunRow(row[0], row[1], row[2], float(row[3]), json.loads(row[4]), ended, outcome, row[7], row[10])


def start(tx: Transaction, owner: int, run: RunRow) -> None:
    if tx.one("SELECT 1 FROM run WHERE name = ?", (run.id,)):
        raise Conflict(f"there is a run {run.id} already: give the new one another id")
    # Times are texts: a float comes back as it was from both databases.
    tx.run(
        "INSERT INTO run (id, name, label, state, created, document, owner) VALUES (?, ?, ?, ?, ?, ?, ?)",
        (
            next_id(tx, "run"),
            run.id,
            run.name,
            run.state,
            repr(float(run.created)),
            documents.document_text(run.document),
            owner,
        ),
    )


def _row(tx: Transaction, run: str) -> Any:
    row = tx.one(f"SELECT {_COLUMNS} {_FROM} WHERE r.name = ?", (run,))
    if row is None:
        raise NotFound(f"there is no run {run}")
    return row


def take(tx: Transaction, owner: int, run: str, living: Living) -> RunRow:
    """Make the run this owner's."""
    row = _row(tx, run)
    if row[5] is not None:
        raise Conflict(f"run {run} has ended ({row[2]}): there is nothing to go on with; start it anew")
    if row[9] != owner and living(row[9]):
        raise Conflict(f"run {run} goes on in another process ({row[7]}): wait for it, or end that process first")
    tx.run("UPDATE run SET owner = ?, cancel = NULL WHERE id = ?", (owner, row[8]))
    return _run(_row(tx, run))


def request_cancel(tx: Transaction, run: str, by: str) -> None:
    """The first who asks is the one who is named."""
    tx.run("UPDATE run SET cancel = coalesce(cancel, ?) WHERE name = ? AND ended IS NULL", (by, run))


def _own(tx: Transaction, owner: int, run: str) -> int:
    """The row of a run that this owner has."""
    row = _row(tx, run)
    if row[9] != owner:
        raise Conflict(f"run {run} was taken over by another process ({row[7]}): this one must leave it")
    return int(row[8])


def set_steps(tx: Transaction, owner: int, steps: Sequence[StepRow]) -> None:
    runs: dict[str, int] = {}
    latest: dict[tuple[str, str], StepRow] = {(step.run, step.step): step for step in steps}
    rows: list[tuple[Any, ...]] = []
    number = next_id(tx, "step")
    for step in latest.values():
        if step.run not in runs:
            runs[step.run] = _own(tx, owner, step.run)
        detail = documents.document_text(step.detail) if step.detail else "{}"
        rows.append((number + len(rows), runs[step.run], step.step, step.state, step.job, detail))
    insert(
        tx,
        "step (id, run, name, state, job, detail)",
        rows,
        "ON CONFLICT (run, name) DO UPDATE SET state = excluded.state, job = excluded.job, detail = excluded.detail",
    )


def end(tx: Transaction, owner: int, run: str, state: str, outcome: Mapping[str, Any], time: float) -> None:
    tx.run(
        "UPDATE run SET state = ?, outcome = ?, ended = ? WHERE id = ?",
        (state, documents.document_text(outcome), repr(float(time)), _own(tx, owner, run)),
    )


def find(tx: Transaction, prefix: str, living: Living) -> RunRow:
    rows = tx.all(
        f"SELECT {_COLUMNS} {_FROM} WHERE r.name >= ? AND r.name < ? ORDER BY r.name LIMIT 6", (prefix, prefix + "\x7f")
    )
    if not rows:
        raise NotFound(f"no run's id begins with {prefix!r}")
    if len(rows) > 1 and rows[0][0] != prefix:
        several = ", ".join(row[0] for row in rows[:5]) + (", …" if len(rows) > 5 else "")
        raise Invalid(f"several runs' ids begin with {prefix!r}: {several}; give more of it")
    return _shown(rows[0], living)


def newest(tx: Transaction, limit: int, living: Living) -> list[RunRow]:
    return [_shown(row, living) for row in tx.all(f"SELECT {_COLUMNS} {_FROM} ORDER BY r.id DESC LIMIT ?", (limit,))]


def _shown(row: Any, living: Living) -> RunRow:
    """A run for those who look: one that has not ended, and that nobody drives any more, is ``interrupted``."""
    run = _run(row)
    return replace(run, state="interrupted") if run.ended is None and not living(row[9]) else run


def steps(tx: Transaction, run: str, step: str | None = None) -> list[StepRow]:
    """The steps of a run, in the order in which they began; or one, with its items and candidates.

    What a step's own job says is not written a second time; what was written of a step goes before its jobs.
    """
    found = {row.step: (since, row) for since, row in _of_jobs(tx, run, step)}
    named, names = _named("name", step)
    sql = f"SELECT name, state, job, detail FROM step WHERE run = ? AND {named} ORDER BY id"
    for name, state, job, text in tx.all(sql, (_row(tx, run)[8], *names)):
        detail = json.loads(text)
        found[name] = detail.get("time", 0.0), StepRow(run, name, state, job, detail)
    return [row for _, row in sorted(found.values(), key=lambda each: each[0])]


def _named(column: str, step: str | None) -> tuple[str, list[str]]:
    """A condition: that a name is a step's, an item's or a candidate's of it. Ranges, which an index answers."""
    if step is None:
        return f"{column} IS NOT NULL", []
    ranges = f"{column} IS NOT NULL AND ({column} = ? OR ({column} >= ? AND {column} < ?) OR ({column} >= ? AND {column} < ?))"
    return ranges, [step, f"{step}[", f"{step}\\", f"{step}{{", f"{step}|"]


def _of_jobs(tx: Transaction, run: str, step: str | None) -> Iterator[tuple[float, StepRow]]:
    """When each step that has jobs of its own began, and how its newest job stands."""
    named, names = _named("j.step", step)
    rows = tx.all(
        "SELECT j.step, j.name, j.events, r.body FROM request q JOIN job j ON j.request = q.id "
        f"LEFT JOIN record r ON r.id = j.record WHERE q.run = ? AND {named} ORDER BY j.id",
        (run, *names),
    )
    for name, job_name, events, body in rows:
        told = documents.events_of(events)
        job = fold(Job(job_name, _ANY_KEY, ""), told)
        detail: dict[str, Any] = {"time": told[-1].time, "cached": job.cached, "why": str(job.failure() or "")}
        seconds = None if body is None else documents.parsed(body)[3].get("seconds")
        if seconds is not None:
            detail["seconds"] = seconds
        state = "running" if job.live else job.state
        yield told[0].time, StepRow(run, name, state, job_name, detail)


def choose(tx: Transaction, key: Checksum, choice: Mapping[str, Any]) -> dict[str, Any]:
    """Write a choice unless there is one; the one that stands."""
    text = documents.document_text(choice)
    tx.run("INSERT INTO choice (key, body) VALUES (?, ?) ON CONFLICT (key) DO NOTHING", (key, text))
    return chosen(tx, key) or {}


def chosen(tx: Transaction, key: Checksum) -> dict[str, Any] | None:
    row = tx.one("SELECT body FROM choice WHERE key = ?", (key,))
    return None if row is None else dict(json.loads(row[0]))
