"""Writing to jobs: events and ends, each fenced by its owner and epoch.

A write that comes from a stale epoch is left out of the answer and changes nothing: its writer was taken for dead,
and another has the job.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from weftwork.core.job import ENDED, Event, Record
from weftwork.errors import Invalid
from weftwork.ledger import documents
from weftwork.ledger.database import Row, Transaction, chunks, gather, insert, marks, next_id, values
from weftwork.ports import Ending

_STATES = {"queued": "queued", "started": "running", "retried": "queued", "taken over": "queued"}


def append(tx: Transaction, owner: int, events: Sequence[tuple[str, int, Event]]) -> set[str]:
    """Add events to live jobs; the jobs whose epoch holds."""
    rows: dict[tuple[str, int], list[Any]] = {}
    for name, epoch, event in events:
        if event.kind in ENDED:
            raise Invalid(f"the event {event.kind!r} ends job {name}: write it with end(), together with its record")
        text, state = documents.event_text(event), _STATES.get(event.kind)
        row = rows.get((name, epoch))
        if row is None:
            rows[name, epoch] = [name, epoch, state, text]
        else:
            row[2], row[3] = state or row[2], f"{row[3]},{text}"
    changed = 0
    for chunk in chunks(list(rows.values())):
        text, parameters = values(chunk)
        changed += tx.run(
            "UPDATE job SET state = coalesce(column3, state), events = events || ',' || column4 "
            f"FROM (VALUES {text}) AS v WHERE name = column1 AND epoch = column2 AND live = 1 AND owner = ?",
            [*parameters, owner],
        )
    if changed == len(rows):
        return {name for name, _ in rows}
    return _holding(tx, owner, list(rows))


def _holding(tx: Transaction, owner: int, wanted: Sequence[tuple[str, int]]) -> set[str]:
    """Those of the jobs that the owner has in just that epoch."""
    found = gather(
        tx,
        "'[\"' || name || '\",' || epoch || ']'",
        "FROM job WHERE name IN ({}) AND live = 1 AND owner = ?",
        list({name for name, _ in wanted}),
        (owner,),
    )
    return {name for name, epoch in found if (name, epoch) in set(wanted)}


class _Held(NamedTuple):
    """A live job of this owner, with what answers its key so far."""

    name: str
    id: int
    epoch: int
    private: int
    calculation: int
    answer: int
    body: Any


def end(tx: Transaction, owner: int, endings: Sequence[Ending]) -> dict[str, Record | None]:
    """End jobs; the record that now answers each."""
    for ending in endings:
        if ending.event.kind not in ENDED:
            raise Invalid(f"the event {ending.event.kind!r} does not end job {ending.job}: write it with append()")
        if (ending.event.kind == "succeeded") is (ending.record is None):
            what = "without its record" if ending.record is None else "with a record"
            raise Invalid(f"job {ending.job} ends {ending.event.kind!r} {what}: a job has a record when it succeeded")
    rows = gather(
        tx,
        "'[\"' || j.name || '\",' || j.id || ',' || j.epoch || ',' || j.private || ',' || j.calculation || ',' || "
        "coalesce(r.id, 0) || ',' || coalesce(r.body, 'null') || ']'",
        "FROM job j LEFT JOIN record r ON r.calculation = j.calculation AND r.rank = 'answer' "
        "WHERE j.name IN ({}) AND j.live = 1 AND j.owner = ?",
        [ending.job for ending in endings],
        (owner,),
    )
    outcome = _Outcome(next_id(tx, "record"))
    held = {row[0]: _Held._make(row) for row in rows}
    for ending in endings:
        job = held.get(ending.job)
        if job is not None and job.epoch == ending.epoch and ending.job not in outcome.answers:
            outcome.add(job, ending)
    insert(tx, "record (id, calculation, rank, body)", outcome.records)
    for chunk in chunks(outcome.jobs):
        text, parameters = values(chunk)
        tx.run(
            "UPDATE job SET live = 0, wanted = 0, state = column2, record = CAST(column3 AS INTEGER), events = events || ',' || column4 "
            f"FROM (VALUES {text}) AS v WHERE id = column1",
            parameters,
        )
    _let_go(tx, owner, [row[0] for row in outcome.jobs], list(outcome.answers))
    return outcome.answers


class _Outcome:
    """What one call of ``end`` writes, and what it answers."""

    def __init__(self, number: int) -> None:
        self._number = number
        self.answers: dict[str, Record | None] = {}
        self.jobs: list[Row] = []
        self.records: list[Row] = []
        # A private and a shared job of one key may end in one call: what the one answers the other is held against.
        self._fresh: dict[int, tuple[int, Record]] = {}

    def add(self, job: _Held, ending: Ending) -> None:
        own = None
        if ending.record is None:
            self.answers[ending.job] = None
        else:
            own, self.answers[ending.job] = self._record(job, ending.record)
        self.jobs.append((job.id, ending.event.kind, own, documents.event_text(ending.event)))

    def _record(self, job: _Held, record: Record) -> tuple[int, Record]:
        """The number of the job's record, and the record that the job is answered with."""
        first = self._fresh.get(job.calculation)
        if job.answer:
            first = job.answer, documents.record_of(record.key, job.body)
        if not record.reusable or (first is None and job.private):
            return self._write(job, "own", record), record
        if first is None:
            number = self._write(job, "answer", record)
            self._fresh[job.calculation] = number, record
            return number, record
        if documents.same_outputs(first[1], record):
            return first if not job.private else (self._write(job, "own", record), record)
        # A job that asked to run anew gets what it made; all others get what stood before.
        number = self._write(job, "conflict", record)
        return number, record if job.private else first[1]

    def _write(self, job: _Held, rank: str, record: Record) -> int:
        self.records.append((self._number, job.calculation, rank, documents.record_text(record)))
        self._number += 1
        return self._number - 1


def _let_go(tx: Transaction, owner: int, jobs: Sequence[int], names: Sequence[str]) -> None:
    """Nobody waits for ended jobs, and what they held is free."""
    if tx.one("SELECT 1 FROM waiter LIMIT 1"):
        for chunk in chunks(jobs):
            tx.run(f"DELETE FROM waiter WHERE job IN ({marks(len(chunk))})", chunk)
    if tx.one("SELECT 1 FROM slot WHERE owner = ? LIMIT 1", (owner,)):
        for names_chunk in chunks(names):
            tx.run(f"DELETE FROM slot WHERE holder IN ({marks(len(names_chunk))})", names_chunk)
