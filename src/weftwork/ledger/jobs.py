"""Writing to jobs: events and ends, each fenced by its owner and epoch.

A write that comes from a stale epoch is left out of the answer and changes nothing: its writer was taken for dead,
and another has the job.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from weftwork.core.job import ENDED, Event, Record
from weftwork.errors import Invalid
from weftwork.ledger import documents, names
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
            rows[name, epoch] = [names.row(name), name, epoch, state, text]
        else:
            row[3], row[4] = state or row[3], f"{row[4]},{text}"
    changed = 0
    for chunk in chunks(list(rows.values())):
        text, parameters = values(chunk)
        changed += tx.run(
            "UPDATE job SET state = coalesce(column4, state), events = events || ',' || column5 "
            f"FROM (VALUES {text}) AS v WHERE id = column1 AND name = column2 AND epoch = column3 AND live = 1 AND owner = ?",
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
        "job WHERE id = column1 AND name = column2 AND live = 1 AND owner = ?",
        names.of([name for name, _ in wanted]),
        (owner,),
    )
    return {name for name, epoch in found if (name, epoch) in set(wanted)}


def end(tx: Transaction, owner: int, endings: Sequence[Ending]) -> dict[str, Record | None]:
    """End jobs; the record that now answers each."""
    for ending in endings:
        kind, record = ending.event.kind, ending.record
        if kind not in ENDED:
            raise Invalid(f"the event {kind!r} does not end job {ending.job}: write it with append()")
        if (kind == "succeeded") is (record is None):
            what = "without its record" if record is None else "with a record"
            raise Invalid(f"job {ending.job} ends {kind!r} {what}: a job has a record when it succeeded")
    numbered = names.of([ending.job for ending in endings])
    held = _held(tx, owner, numbered)
    outcome = _Outcome(next_id(tx, "record"))
    for ending, (number, _) in zip(endings, numbered, strict=True):
        job = held.get(number)
        if job is not None and job[1] == ending.epoch and ending.job not in outcome.answers:
            outcome.add(ending, *job)
    outcome.write(tx)
    _let_go(tx, owner, [row[0] for row in outcome.jobs], list(outcome.answers))
    return outcome.answers


def _held(tx: Transaction, owner: int, numbered: Sequence[tuple[int, str]]) -> dict[int, list[Any]]:
    """The live jobs of this owner by number: number, epoch, private, calculation, and what answers the key so far."""
    rows = gather(
        tx,
        "'[' || j.id || ',' || j.epoch || ',' || j.private || ',' || j.calculation || "
        "coalesce(',' || r.id || ',' || r.body, '') || ']'",
        "job j LEFT JOIN record r ON r.calculation = j.calculation AND r.rank = 'answer' "
        "WHERE j.id = column1 AND j.name = column2 AND j.live = 1 AND j.owner = ?",
        numbered,
        (owner,),
    )
    return {row[0]: row for row in rows}


class _Outcome:
    """What one call of ``end`` writes, and what it answers."""

    def __init__(self, number: int) -> None:
        self._number = number
        self.answers: dict[str, Record | None] = {}
        self.jobs: list[Row] = []
        self._records: list[Row] = []
        self._demoted: list[int] = []
        # A private and a shared job of one key may end in one call: what the one answers the other is held against.
        self._fresh: dict[int, tuple[int, Record]] = {}
        # What succeeded together is told by one event: its text is made once.
        self._event: Event | None = None
        self._text = ""

    def add(
        self, ending: Ending, job: int, epoch: int, private: int, calculation: int, answer: int = 0, body: Any = None
    ) -> None:
        record = ending.record
        own = None
        if record is not None:
            first = self._fresh.get(calculation)
            if first is None and answer:
                first = answer, documents.record_of(record.key, body)
            own, record = self._record(record, job, private, calculation, first, ending.lost)
        self.answers[ending.job] = record
        if ending.event is not self._event:
            self._event, self._text = ending.event, documents.event_text(ending.event)
        self.jobs.append((job, ending.event.kind, own, self._text))

    def _record(
        self,
        record: Record,
        job: int,
        private: int,
        calculation: int,
        first: tuple[int, Record] | None,
        lost: bool,
    ) -> tuple[int, Record]:
        """The number of the job's record, and the record that the job is answered with."""
        if not record.reusable or (first is None and private):
            return self._add(job, calculation, "own", record), record
        if first is None:
            number = self._add(job, calculation, "answer", record)
            self._fresh[calculation] = number, record
            return number, record
        if documents.same_outputs(first[1], record):
            return (self._add(job, calculation, "own", record), record) if private else first
        if lost and not private:
            # What it made can be had, the bytes of what stood before cannot.
            self._demoted.append(first[0])
            number = self._add(job, calculation, "answer", record)
            self._fresh[calculation] = number, record
            return number, record
        # A job that asked to run anew gets what it made; all others get what stood before.
        number = self._add(job, calculation, "conflict", record)
        return number, record if private else first[1]

    def _add(self, job: int, calculation: int, rank: str, record: Record) -> int:
        number = self._number
        self._number += 1
        self._records.append((number, calculation, rank, documents.record_text(record), job))
        return number

    def write(self, tx: Transaction) -> None:
        for numbers in chunks(self._demoted):
            tx.run(f"UPDATE record SET rank = 'conflict' WHERE id IN ({marks(len(numbers))})", numbers)
        insert(tx, "record (id, calculation, rank, body, job)", self._records)
        for chunk in chunks(self.jobs):
            text, parameters = values(chunk)
            tx.run(
                "UPDATE job SET live = 0, wanted = 0, state = column2, record = CAST(column3 AS INTEGER), "
                f"events = events || ',' || column4 FROM (VALUES {text}) AS v WHERE id = column1",
                parameters,
            )


def _let_go(tx: Transaction, owner: int, jobs: Sequence[int], holders: Sequence[str]) -> None:
    """Nobody waits for ended jobs, and what they held is free."""
    if tx.one("SELECT 1 FROM waiter LIMIT 1"):
        for chunk in chunks(jobs):
            tx.run(f"DELETE FROM waiter WHERE job IN ({marks(len(chunk))})", chunk)
    if tx.one("SELECT 1 FROM slot WHERE owner = ? LIMIT 1", (owner,)):
        for some in chunks(holders):
            tx.run(f"DELETE FROM slot WHERE holder IN ({marks(len(some))})", some)
