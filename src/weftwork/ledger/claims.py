"""Claims: for each calculation a usable record, else the live job of its key, else a new job. The heart of the ledger.

All of a call happens in one transaction, and there is one writer at a time: what is looked up still holds when it is
written. The schema says it once more: an index admits one live job and one answer to a key.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import count
from typing import Any, NamedTuple, TypeVar

from weftwork.core.checksum import Checksum, canonical
from weftwork.core.job import Event, Job, Record, fold, task_name
from weftwork.core.placement import Placement, Resources
from weftwork.ledger import documents, names, slots, views
from weftwork.ledger.database import Row, Transaction, chunks, gather, insert, marks, next_id, values
from weftwork.ledger.owners import Living
from weftwork.ports import Claim, Claimed, Machine

T = TypeVar("T")

_COLUMNS = "id, name, calculation, request, step"
_CELLS = "column1, column2, column3, column4, column5"

_ANY_KEY = Checksum("0" * 64)


class Known(NamedTuple):
    """What the ledger knows of a key: its calculation's row, the record that answers it, its live job."""

    key: str
    calculation: int
    record: int = 0
    body: Any = None
    job: int = 0
    name: str = ""
    owner: int = 0
    epoch: int = 0


def known(tx: Transaction, prefixes: Sequence[int]) -> dict[str, Known]:
    """What is known of the keys that begin so."""
    rows = gather(
        tx,
        "'[\"' || c.key || '\",' || c.id || ',' || coalesce(r.id || ',' || r.body, '0,null') || "
        "coalesce(',' || j.id || ',\"' || j.name || '\",' || j.owner || ',' || j.epoch, '') || ']'",
        "calculation c LEFT JOIN record r ON r.calculation = c.id AND r.rank = 'answer' "
        "LEFT JOIN job j ON j.calculation = c.id AND j.private = 0 AND j.live = 1 WHERE c.prefix = column1",
        [(prefix,) for prefix in prefixes],
    )
    # Other keys with the same beginning come too, and are never asked for.
    return {row[0]: Known(*row) for row in rows}


class Claiming:
    """One call of ``claim``: what is to be written gathers while each claim is answered, and is written at the end."""

    def __init__(self, tx: Transaction, owner: int, owner_name: str, living: Living, shared: Shared) -> None:
        self._tx = tx
        self._owner = owner
        self._owner_name = owner_name
        self._living = living
        self._shared = shared
        self._now = time.time()
        self._calculations: list[Row] = []
        self._queued: list[Row] = []
        self._answered: list[Row] = []
        self._waiters: set[tuple[int, int]] = set()
        self._wanted: set[int] = set()
        self._taken: dict[int, int] = {}
        self._next = 0
        self._first: dict[str, list[int]] = {}
        self._names: list[str] = []
        self._vanished: set[str] = set()

    def run(self, claims: Sequence[Claim]) -> list[Claimed]:
        self._next = next_id(self._tx, "job")
        self._names = names.new(self._next, len(claims))[::-1]
        told = iter(self._told([claim for claim in claims if claim.answered]))
        asked = iter(self._asked([claim for claim in claims if not claim.answered]))
        self._write()
        if self._vanished:
            told = iter([Claimed("gone", "") if each.job in self._vanished else each for each in told])
        answers = [next(told if claim.answered else asked) for claim in claims]
        return first_attempts(self._tx, self._owner, claims, answers) if self._first else answers

    def _told(self, claims: Sequence[Claim]) -> list[Claimed]:
        """Ended jobs for what records have answered: where these are is looked up by the statement that writes the jobs."""
        requests = self._shared.requests(self._tx, claims)
        keys = [claim.calculation.key for claim in claims]
        first, self._next = self._next, self._next + len(claims)
        fresh = [self._names.pop() for _ in claims]
        # Keys as plain texts: the driver takes a detour for what is not quite a str.
        plain = [key[:] for key in keys]
        steps = [claim.step for claim in claims]
        self._answered += zip(count(first), fresh, documents.prefixes(keys), plain, requests, steps, strict=False)
        return [Claimed("hit", name) for name in fresh]

    def _asked(self, claims: Sequence[Claim]) -> list[Claimed]:
        if not claims:
            return []
        prefixes = documents.prefixes([claim.calculation.key for claim in claims])
        found = known(self._tx, prefixes)
        calculation = next_id(self._tx, "calculation")
        answers = []
        for claim, prefix, (frame, request) in zip(claims, prefixes, self._shared.of(self._tx, claims), strict=True):
            key = claim.calculation.key
            row = found.get(key)
            if row is None:
                inputs = documents.inputs_text(claim.calculation.inputs)
                # As a plain text: the driver takes a detour for what is not quite a str.
                self._calculations.append((calculation, prefix, key[:], frame, inputs))
                row = Known(key, calculation)
                calculation += 1
            answers.append(self._answer(claim, row, request, found))
        return answers

    def _hit(self, claim: Claim, request: int, record: Record | None = None) -> Claimed:
        key, job, name = claim.calculation.key, self._next, self._names.pop()
        self._next += 1
        self._answered.append((job, name, documents.prefix(key), key[:], request, claim.step))
        return Claimed("hit", name, 0, 0, record)

    def _answer(self, claim: Claim, row: Known, request: int, found: dict[str, Known]) -> Claimed:
        """The answer to a claim. What a later claim of its key is to find goes to ``found``."""
        cache = claim.placement.cache
        if row.record and cache and not claim.lost:
            return self._hit(claim, request, documents.record_of(claim.calculation.key, row.body))
        if row.job and cache:
            answer, found[row.key] = self._share(row)
            return answer
        job, name = self._next, self._names.pop()
        self._next += 1
        self._queued.append((job, name, row.calculation, request, claim.step, 0 if cache else job))
        found[row.key] = row._replace(job=job, name=name, owner=self._owner, epoch=1) if cache else row
        if claim.first is not None:
            self._first.setdefault(claim.first.site, []).append(job)
        return Claimed("mine", name, 1, submitted=claim.first is not None)

    def _share(self, row: Known) -> tuple[Claimed, Known]:
        """The live job of the key: waited for, or taken from an owner who is dead."""
        if row.owner == self._owner:
            self._wanted.add(row.job)
        elif self._living(row.owner):
            self._waiters.add((row.job, self._owner))
        else:
            row = row._replace(owner=self._owner, epoch=row.epoch + 1)
            self._taken[row.job] = row.epoch
            return Claimed("mine", row.name, row.epoch, attempts(self._tx, row.job)), row
        return Claimed("waiting", row.name, row.epoch), row

    def _write(self) -> None:
        tx = self._tx
        queued = documents.event_text(Event("queued", self._now))
        insert(tx, "calculation (id, prefix, key, frame, inputs)", self._calculations)
        for chunk in chunks(self._queued):
            text, parameters = values(chunk)
            tx.run(
                f"INSERT INTO job ({_COLUMNS}, private, live, wanted, owner, epoch, state, events) "
                f"SELECT {_CELLS}, column6, 1, 1, ?, 1, 'queued', ? FROM (VALUES {text}) AS v",
                [self._owner, queued, *parameters],
            )
        for site, jobs in self._first.items():
            submitted = documents.event_text(Event("submitted", self._now, {"attempt": 1, "site": site}))
            for chunk in chunks(jobs):
                sql = f"UPDATE job SET events = events || ',' || ? WHERE id IN ({marks(len(chunk))})"
                tx.run(sql, [submitted, *chunk])
        self._write_answered(queued)
        insert(tx, "waiter (job, owner)", sorted(self._waiters), "ON CONFLICT DO NOTHING")
        for numbers in chunks(sorted(self._wanted)):
            tx.run(f"UPDATE job SET wanted = 1 WHERE wanted = 0 AND id IN ({marks(len(numbers))})", numbers)
        if self._taken:
            take_over(tx, self._owner, self._owner_name, self._taken)
            # Whoever asked for its cancelling spoke to the dead owner; this one has just asked for the result.
            for numbers in chunks(sorted(self._taken)):
                tx.run(f"UPDATE job SET cancel = NULL WHERE id IN ({marks(len(numbers))})", numbers)

    def _write_answered(self, queued: str) -> None:
        """The jobs that records answer. They find these by the key, for not all of them were looked up here."""
        cached = documents.event_text(Event("succeeded", self._now, {"cached": True}))
        written = 0
        for chunk in chunks(self._answered):
            text, parameters = values(chunk)
            written += self._tx.run(
                f"INSERT INTO job ({_COLUMNS}, record, private, live, wanted, owner, epoch, state, events) SELECT column1, "
                "column2, c.id, column5, column6, r.id, 0, 0, 0, ?, 0, 'succeeded', ? "
                f"FROM (VALUES {text}) AS v CROSS JOIN calculation c JOIN record r ON r.calculation = c.id "
                "WHERE c.prefix = column3 AND c.key = column4 AND r.rank = 'answer'",
                [self._owner, f"{queued},{cached}", *parameters],
            )
        if written != len(self._answered):
            there = views.records(self._tx, [Checksum(row[3]) for row in self._answered])
            self._vanished = {row[1] for row in self._answered if row[3] not in there}


def first_attempts(tx: Transaction, owner: int, claims: Sequence[Claim], answers: Sequence[Claimed]) -> list[Claimed]:
    """The answers, and for new jobs the slots of their first attempts where these are free."""
    wants: dict[Machine, list[tuple[str, Resources]]] = {}
    for claim, answer in zip(claims, answers, strict=True):
        if answer.submitted and claim.first is not None and claim.first.machine is not None:
            wanted = task_name(answer.job, 1), claim.placement.resources
            wants.setdefault(claim.first.machine, []).append(wanted)
    held = {holder for machine, some in wants.items() for holder in slots.take_free(tx, owner, machine, some)}
    return [replace(each, held=True) if each.submitted and task_name(each.job, 1) in held else each for each in answers]


def attempts(tx: Transaction, job: int) -> int:
    """How many attempts at a job there have been."""
    events = tx.one("SELECT events FROM job WHERE id = ?", (job,))[0]
    return fold(Job("", _ANY_KEY, ""), documents.events_of(events)).attempt


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


class Shared:
    """Numbers of what many claims share: frames and requests. Their rows never change, so that they may be kept here."""

    LIMIT = 10_000

    def __init__(self) -> None:
        self._frames: dict[int, tuple[object, int]] = {}
        self._requests: dict[tuple[str, str, Placement], int] = {}
        self._fresh: list[Any] = []
        self._using = threading.Lock()

    def of(self, tx: Transaction, claims: Sequence[Claim]) -> list[tuple[int, int]]:
        """The frame and request of each claim."""
        return self._each(tx, claims, lambda claim: (self._frame(tx, claim), self._request(tx, claim)))

    def requests(self, tx: Transaction, claims: Sequence[Claim]) -> list[int]:
        """The request of each claim, where what is calculated is known already."""
        return self._each(tx, claims, lambda claim: self._request(tx, claim))

    def _each(self, tx: Transaction, claims: Sequence[Claim], number: Callable[[Claim], T]) -> list[T]:
        if len(self._frames) + len(self._requests) > self.LIMIT:
            self._frames.clear()
            self._requests.clear()
        # By identity: claims of one call mostly share these objects, and hashing them would cost more than the row.
        here: dict[tuple[int, int, str | None], T] = {}
        numbers: list[T] = []
        frame = placement = run = None
        for claim in claims:
            if (
                not numbers
                or claim.calculation.frame is not frame
                or claim.placement is not placement
                or claim.run != run
            ):
                frame, placement, run = claim.calculation.frame, claim.placement, claim.run
                at = (id(frame), id(placement), run)
                if at not in here:
                    here[at] = number(claim)
                found = here[at]
            numbers.append(found)
        return numbers

    def _frame(self, tx: Transaction, claim: Claim) -> int:
        frame = claim.calculation.frame
        known = self._frames.get(id(frame))
        if known is None:
            # The frame is kept beside its number, so that its identity is not given to another.
            known = self._frames[id(frame)] = (frame, _frame(tx, documents.frame_text(frame)))
            self._fresh.append(id(frame))
        return known[1]

    def _request(self, tx: Transaction, claim: Claim) -> int:
        asked = (claim.calculation.frame.name, claim.run or "", claim.placement)
        number = self._requests.get(asked)
        if number is None:
            number = self._requests[asked] = _request(tx, *asked)
            self._fresh.append(asked)
        return number

    @contextmanager
    def settled(self) -> Iterator[None]:
        """Around a transaction: what it did not commit is forgotten."""
        with self._using:
            self._fresh.clear()
            try:
                yield
            except BaseException:
                self.forget()
                raise

    def forget(self) -> None:
        """Look up again what was found or written since the transaction began."""
        for each in self._fresh:
            (self._frames if isinstance(each, int) else self._requests).pop(each, None)
        self._fresh.clear()


def _frame(tx: Transaction, text: str) -> int:
    checksum = Checksum.of(text.encode("utf-8"))
    row = tx.one("SELECT id FROM frame WHERE checksum = ?", (checksum,))
    if row is None:
        row = (next_id(tx, "frame"),)
        tx.run("INSERT INTO frame (id, checksum, document) VALUES (?, ?, ?)", (*row, checksum, text))
    return int(row[0])


def _request(tx: Transaction, label: str, run: str, placement: Placement) -> int:
    asked = (label, run, canonical(placement.document()).decode("utf-8"))
    row = tx.one("SELECT id FROM request WHERE label = ? AND run = ? AND placement = ?", asked)
    if row is None:
        row = (next_id(tx, "request"),)
        tx.run("INSERT INTO request (id, label, run, placement) VALUES (?, ?, ?, ?)", (*row, *asked))
    return int(row[0])
