"""Claims: for each calculation a usable record, else the live job of its key, else a new job. The heart of the ledger.

All of a call happens in one transaction, and there is one writer at a time: what is looked up still holds when it is
written. The schema says it once more: an index admits one live job and one answer to a key.
"""

from __future__ import annotations

import base64
import os
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from weftwork.core.checksum import Checksum, canonical
from weftwork.core.job import Event, Job, fold
from weftwork.ledger import documents
from weftwork.ledger.database import Transaction, chunks, gather, insert, marks, next_id, values
from weftwork.ledger.owners import Living
from weftwork.ports import Claim, Claimed

JOB_COLUMNS = "job (id, name, calculation, request, step, private, live, wanted, owner, epoch, state, record, events)"


@dataclass(slots=True)
class Known:
    """What the ledger knows of a key: its calculation's row, the record that answers it, its live job."""

    calculation: int
    record: int = 0
    body: Any = None
    job: int = 0
    name: str = ""
    owner: int = 0
    epoch: int = 0


@dataclass(slots=True)
class Batch:
    """Rows to be written for one call of claim."""

    calculations: list[tuple[Any, ...]] = field(default_factory=list)
    jobs: list[tuple[Any, ...]] = field(default_factory=list)
    waiters: set[tuple[int, int]] = field(default_factory=set)
    wanted: set[int] = field(default_factory=set)
    taken: dict[int, int] = field(default_factory=dict)


def known(tx: Transaction, keys: Sequence[Checksum]) -> dict[str, Known]:
    """What is known of keys, those of which nothing is left out."""
    rows = gather(
        tx,
        "'[\"' || c.key || '\",' || c.id || ',' || coalesce(r.id, 0) || ',' || coalesce(r.body, 'null') || ',' || "
        "coalesce(j.id, 0) || ',\"' || coalesce(j.name, '') || '\",' || coalesce(j.owner, 0) || ',' || "
        "coalesce(j.epoch, 0) || ']'",
        "FROM calculation c LEFT JOIN record r ON r.calculation = c.id AND r.rank = 'answer' "
        "LEFT JOIN job j ON j.calculation = c.id AND j.private = 0 AND j.live = 1 WHERE c.prefix IN ({})",
        [documents.prefix(key) for key in keys],
    )
    # Keys that share their first 8 bytes with a wanted one come too, and are never asked for.
    return {row[0]: Known(*row[1:]) for row in rows}


class Claiming:
    """One call of ``claim``."""

    def __init__(self, tx: Transaction, owner: int, owner_name: str, living: Living, shared: Shared) -> None:
        self.tx = tx
        self.owner = owner
        self.owner_name = owner_name
        self.living = living
        self.shared = shared
        self.now = time.time()
        self.batch = Batch()
        self.queued = documents.event_text(Event("queued", self.now))
        cached = documents.event_text(Event("succeeded", self.now, {"cached": True}))
        self.answered = f"{self.queued},{cached}"

    def run(self, claims: Sequence[Claim]) -> list[Claimed]:
        found = known(self.tx, [claim.calculation.key for claim in claims])
        names = new_names(len(claims))
        frames = self.shared.frames(self.tx, claims)
        requests = self.shared.requests(self.tx, claims)
        calculation = next_id(self.tx, "calculation")
        job = next_id(self.tx, "job")
        answers = []
        for claim, name, frame, request in zip(claims, names, frames, requests, strict=True):
            row = found.get(claim.calculation.key)
            if row is None:
                row = found[claim.calculation.key] = Known(calculation)
                inputs = documents.inputs_text(claim.calculation.inputs)
                self.batch.calculations.append(
                    (calculation, documents.prefix(claim.calculation.key), claim.calculation.key, frame, inputs)
                )
                calculation += 1
            before = len(self.batch.jobs)
            answers.append(self._answer(claim, row, job, name, request))
            job += len(self.batch.jobs) - before
        self._write()
        return answers

    def _answer(self, claim: Claim, row: Known, job: int, name: str, request: int) -> Claimed:
        if not claim.placement.cache:
            self.batch.jobs.append(self._new(claim, row, job, name, request, private=job))
            return Claimed("mine", name, 1)
        if row.record:
            at = (job, name, row.calculation, request, claim.step, 0)
            self.batch.jobs.append((*at, 0, 0, self.owner, 0, "succeeded", row.record, self.answered))
            return Claimed("hit", name, record=documents.record_of(claim.calculation.key, row.body))
        if row.job and row.owner != self.owner and not self.living(row.owner):
            row.owner, row.epoch = self.owner, row.epoch + 1
            self.batch.taken[row.job] = row.epoch
            return Claimed("mine", row.name, row.epoch, attempts(self.tx, claim.calculation.key, row.job))
        if row.job:
            if row.owner == self.owner:
                self.batch.wanted.add(row.job)
            else:
                self.batch.waiters.add((row.job, self.owner))
            return Claimed("waiting", row.name, row.epoch)
        row.job, row.name, row.owner, row.epoch = job, name, self.owner, 1
        self.batch.jobs.append(self._new(claim, row, job, name, request, private=0))
        return Claimed("mine", name, 1)

    def _new(self, claim: Claim, row: Known, job: int, name: str, request: int, *, private: int) -> tuple[Any, ...]:
        at = (job, name, row.calculation, request, claim.step, private)
        return (*at, 1, 1, self.owner, 1, "queued", None, self.queued)

    def _write(self) -> None:
        insert(self.tx, "calculation (id, prefix, key, frame, inputs)", self.batch.calculations)
        insert(self.tx, JOB_COLUMNS, self.batch.jobs)
        insert(self.tx, "waiter (job, owner)", sorted(self.batch.waiters), "ON CONFLICT DO NOTHING")
        for chunk in chunks(sorted(self.batch.wanted)):
            self.tx.run(f"UPDATE job SET wanted = 1 WHERE wanted = 0 AND id IN ({marks(len(chunk))})", chunk)
        if self.batch.taken:
            take_over(self.tx, self.owner, self.owner_name, self.batch.taken)
            # Whoever asked for its cancelling spoke to the dead owner; this one has just asked for the result.
            for chunk in chunks(sorted(self.batch.taken)):
                self.tx.run(f"UPDATE job SET cancel = NULL WHERE id IN ({marks(len(chunk))})", chunk)


def attempts(tx: Transaction, key: Checksum, job: int) -> int:
    """How many attempts at a job there have been."""
    events = tx.one("SELECT events FROM job WHERE id = ?", (job,))[0]
    return fold(Job("", key, ""), documents.events_of(events)).attempt


def take_over(tx: Transaction, owner: int, owner_name: str, epochs: Mapping[int, int]) -> None:
    """Give live jobs of dead owners to another, in a new epoch: what the old one still writes is refused."""
    now = time.time()
    for chunk in chunks(sorted(epochs.items())):
        rows = [
            (job, epoch, documents.event_text(Event("taken over", now, {"owner": owner_name, "epoch": epoch})))
            for job, epoch in chunk
        ]
        text, parameters = values(rows)
        tx.run(
            "UPDATE job SET owner = ?, epoch = column2, wanted = 1, state = 'queued', events = events || ',' || column3 "
            f"FROM (VALUES {text}) AS v WHERE id = column1",
            [owner, *parameters],
        )
        tx.run(
            f"DELETE FROM waiter WHERE owner = ? AND job IN ({marks(len(rows))})",
            [owner, *[row[0] for row in rows]],
        )


def new_names(count: int) -> list[str]:
    """Ids of jobs: ``j`` and 60 random bits in base 32, unique in the world."""
    text = base64.b32encode(os.urandom((count + 1) // 2 * 15)).decode("ascii").lower()
    return [f"j{text[at : at + 12]}" for at in range(0, count * 12, 12)]


class Shared:
    """Numbers of what many claims share: frames and requests. Their rows never change, so that they may be kept here."""

    LIMIT = 10_000

    def __init__(self) -> None:
        self._frames: dict[int, tuple[object, int]] = {}
        self._requests: dict[tuple[str, str, str], int] = {}
        self._fresh: list[Any] = []
        self._using = threading.Lock()

    def frames(self, tx: Transaction, claims: Sequence[Claim]) -> list[int]:
        if len(self._frames) > self.LIMIT:
            self._frames.clear()
        numbers = []
        for claim in claims:
            frame = claim.calculation.frame
            known = self._frames.get(id(frame))
            if known is None:
                # The frame is kept beside its number, so that its identity is not given to another.
                known = self._frames[id(frame)] = (frame, _frame(tx, documents.frame_text(frame)))
                self._fresh.append(id(frame))
            numbers.append(known[1])
        return numbers

    def requests(self, tx: Transaction, claims: Sequence[Claim]) -> list[int]:
        if len(self._requests) > self.LIMIT:
            self._requests.clear()
        placements: dict[int, str] = {}
        numbers = []
        for claim in claims:
            placement = placements.get(id(claim.placement))
            if placement is None:
                text = canonical(claim.placement.document()).decode("utf-8")
                placement = placements[id(claim.placement)] = text
            asked = (claim.calculation.frame.name, claim.run or "", placement)
            number = self._requests.get(asked)
            if number is None:
                number = self._requests[asked] = _request(tx, asked)
                self._fresh.append(asked)
            numbers.append(number)
        return numbers

    @contextmanager
    def settled(self) -> Iterator[None]:
        """Around a transaction: what it did not commit is forgotten."""
        with self._using:
            self._fresh.clear()
            try:
                yield
            except BaseException:
                for each in self._fresh:
                    (self._frames if isinstance(each, int) else self._requests).pop(each, None)
                raise


def _frame(tx: Transaction, text: str) -> int:
    checksum = Checksum.of(text.encode("utf-8"))
    row = tx.one("SELECT id FROM frame WHERE checksum = ?", (checksum,))
    if row is None:
        row = (next_id(tx, "frame"),)
        tx.run("INSERT INTO frame (id, checksum, document) VALUES (?, ?, ?)", (*row, checksum, text))
    return int(row[0])


def _request(tx: Transaction, asked: tuple[str, str, str]) -> int:
    row = tx.one("SELECT id FROM request WHERE label = ? AND run = ? AND placement = ?", asked)
    if row is None:
        row = (next_id(tx, "request"),)
        tx.run("INSERT INTO request (id, label, run, placement) VALUES (?, ?, ?, ?)", (*row, *asked))
    return int(row[0])
