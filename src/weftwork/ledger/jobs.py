"""Writing to jobs: events and ends, each fenced by its owner and epoch.

A write that comes from a stale epoch is left out of the answer and changes nothing: its writer was taken for dead,
and another has the job.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from weftwork.core.checksum import Checksum
from weftwork.core.job import ENDED, Event, Record
from weftwork.errors import Invalid
from weftwork.ledger import documents
from weftwork.ledger.database import Transaction, chunks, gather, insert, marks, next_id, values
from weftwork.ports import Ending

_STATES = {"queued": "queued", "started": "running", "retried": "queued", "taken over": "queued"}


def append(tx: Transaction, owner: int, events: Sequence[tuple[str, int, Event]]) -> set[str]:
    """Add events to live jobs; the jobs whose epoch holds."""
    texts: dict[tuple[str, int], str] = {}
    states: dict[tuple[str, int], str | None] = {}
    for name, epoch, event in events:
        if event.kind in ENDED:
            raise Invalid(f"the event {event.kind!r} ends job {name}: write it with end(), together with its record")
        at = (name, epoch)
        texts[at] = texts.get(at, "") + "," + documents.event_text(event)
        states[at] = _STATES.get(event.kind) or states.get(at)
    rows = gather(
        tx,
        "'[\"' || name || '\",' || epoch || ',' || id || ']'",
        "FROM job WHERE name IN ({}) AND live = 1 AND owner = ?",
        list({name for name, _ in texts}),
        (owner,),
    )
    holding = [(job, states[name, epoch], texts[name, epoch]) for name, epoch, job in rows if (name, epoch) in texts]
    for chunk in chunks(holding):
        text, parameters = values(chunk)
        tx.run(
            "UPDATE job SET state = coalesce(column2, state), events = events || column3 "
            f"FROM (VALUES {text}) AS v WHERE id = column1",
            parameters,
        )
    return {name for name, epoch, _ in rows if (name, epoch) in texts}


@dataclass(slots=True)
class _Held:
    """A live job of this owner, with what answers its key so far."""

    id: int
    epoch: int
    private: int
    calculation: int
    key: str
    answer: int
    body: Any


def end(tx: Transaction, owner: int, endings: Sequence[Ending]) -> dict[str, Record | None]:
    """End jobs; the record that now answers each."""
    for ending in endings:
        if ending.event.kind not in ENDED:
            raise Invalid(f"the event {ending.event.kind!r} does not end job {ending.job}: write it with append()")
        if (ending.event.kind == "succeeded") != (ending.record is not None):
            raise Invalid(
                f"job {ending.job} ends {ending.event.kind} with record {ending.record!r}: a job that succeeded has one, no other"
            )
    rows = gather(
        tx,
        "'[\"' || j.name || '\",' || j.id || ',' || j.epoch || ',' || j.private || ',' || c.id || ',\"' || c.key || "
        "'\",' || coalesce(r.id, 0) || ',' || coalesce(r.body, 'null') || ']'",
        "FROM job j JOIN calculation c ON c.id = j.calculation "
        "LEFT JOIN record r ON r.calculation = c.id AND r.rank = 'answer' "
        "WHERE j.name IN ({}) AND j.live = 1 AND j.owner = ?",
        [ending.job for ending in endings],
        (owner,),
    )
    held = {row[0]: _Held(*row[1:]) for row in rows}
    answers, ended = _records(tx, held, endings)
    for chunk in chunks(ended):
        text, parameters = values(chunk)
        tx.run(
            "UPDATE job SET live = 0, wanted = 0, state = column2, record = column3, events = events || column4 "
            f"FROM (VALUES {text}) AS v WHERE id = column1",
            parameters,
        )
    _let_go(tx, owner, [row[0] for row in ended], list(answers))
    return answers


def _records(
    tx: Transaction, held: dict[str, _Held], endings: Sequence[Ending]
) -> tuple[dict[str, Record | None], list[tuple[Any, ...]]]:
    """Write the records; what answers each job now, and what its row is to be."""
    answers: dict[str, Record | None] = {}
    ended: list[tuple[Any, ...]] = []
    written: list[tuple[Any, ...]] = []
    # A private and a shared job of one key may end in one call: what the first wrote answers the second.
    fresh: dict[int, tuple[int, Record]] = {}
    number = next_id(tx, "record")
    for ending in endings:
        job = held.get(ending.job)
        if job is None or job.epoch != ending.epoch or ending.job in answers:
            continue
        record, own = ending.record, None
        if record is not None:
            first = _first(job, fresh)
            rank = "own" if job.private or not record.reusable else "answer" if first is None else "conflict"
            if rank == "conflict" and first is not None and documents.same_outputs(first[1], record):
                own, record = first
            else:
                own = number
                number += 1
                written.append((own, job.calculation, rank, documents.record_text(record)))
                if rank == "answer":
                    fresh[job.calculation] = (own, record)
                if rank == "conflict" and first is not None:
                    record = first[1]
        answers[ending.job] = record
        ended.append((job.id, ending.event.kind, own, "," + documents.event_text(ending.event)))
    insert(tx, "record (id, calculation, rank, body)", written)
    return answers, ended


def _first(job: _Held, fresh: dict[int, tuple[int, Record]]) -> tuple[int, Record] | None:
    """The record that stands for the job's key, if there is one."""
    if job.answer:
        return job.answer, documents.record_of(Checksum(job.key), job.body)
    return fresh.get(job.calculation)


def _let_go(tx: Transaction, owner: int, jobs: Sequence[int], names: Sequence[str]) -> None:
    """Nobody waits for ended jobs, and what they held is free."""
    if tx.one("SELECT 1 FROM waiter LIMIT 1"):
        for chunk in chunks(jobs):
            tx.run(f"DELETE FROM waiter WHERE job IN ({marks(len(chunk))})", chunk)
    if tx.one("SELECT 1 FROM slot WHERE owner = ? LIMIT 1", (owner,)):
        for names_chunk in chunks(names):
            tx.run(f"DELETE FROM slot WHERE holder IN ({marks(len(names_chunk))})", names_chunk)
