"""The ledger over any database that speaks the common SQL: each method is one transaction around one function.

What the functions do is in the modules beside this one: :mod:`claims`, :mod:`jobs`, :mod:`waits`, :mod:`views`,
:mod:`conflicts`, :mod:`slots`, :mod:`runs`, :mod:`owners`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Self

from weftwork.core.calculation import Calculation
from weftwork.core.checksum import Checksum
from weftwork.core.job import Event, Record
from weftwork.core.placement import Resources
from weftwork.ledger import claims, conflicts, makers, owners, pins, runs, sampling, views, waits
from weftwork.ledger.database import Database
from weftwork.ledger.writing import Writing
from weftwork.ports import (
    Answers,
    Batch,
    Claim,
    Claimed,
    ConflictRow,
    Ending,
    JobRow,
    Owner,
    PinRow,
    RunRow,
    StepRow,
    Wants,
)


class SqlLedger:
    """A :class:`~weftwork.ports.Ledger`. ``alive`` says whether an owner's process lives, ``None`` where it cannot know."""

    def __init__(self, database: Database, alive: owners.Alive = owners.alive) -> None:
        self._database = database
        self._alive = alive
        self._shared = claims.Shared()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._database.close()

    def version(self) -> int:
        return self._database.version()

    # Owners

    def register(self, owner: Owner, lease: float) -> None:
        with self._database.write() as tx:
            owners.register(tx, self._database, owner, lease)

    def renew(self, owner: str, lease: float) -> None:
        with self._database.write() as tx:
            owners.renew(tx, owner, lease)

    def release(self, owner: str) -> None:
        with self._database.write() as tx:
            owners.release(tx, owner)

    # Jobs

    def write(self, owner: str, batch: Batch) -> Answers:
        if not batch:
            return Answers()
        with self._shared.settled(), self._database.write() as tx:
            number = owners.number(tx, owner)
            living = owners.Living(tx, self._alive)
            return Writing(tx, number, owner, living, self._shared).write(batch)

    def claim(self, owner: str, claims: Sequence[Claim]) -> list[Claimed]:
        return self.write(owner, Batch(claims=claims)).good().claims

    def follow(self, owner: str, jobs_: Sequence[str]) -> dict[str, Claimed | JobRow]:
        names = list(dict.fromkeys(jobs_))
        with self._database.read() as tx:
            number = owners.number(tx, owner)
            living = owners.Living(tx, self._alive)
            orphans = waits.orphans(tx, number, names, living)
            answers = waits.follow(tx, names, living)
        if orphans:
            with self._database.write() as tx:
                # Asked again under the lock: another waiter may have been faster.
                answers.update(waits.take_over(tx, number, owner, orphans, owners.Living(tx, self._alive)))
        return answers

    def append(self, owner: str, events: Sequence[tuple[str, int, Event]]) -> set[str]:
        return self.write(owner, Batch(events=events)).good().events

    def end(self, owner: str, endings: Sequence[Ending]) -> dict[str, Record | None]:
        return self.write(owner, Batch(endings=endings)).good().endings

    def withdraw(self, owner: str, jobs_: Sequence[str], cancel: str | None = None) -> set[str]:
        with self._database.write() as tx:
            number = owners.number(tx, owner)
            return waits.withdraw(tx, number, list(dict.fromkeys(jobs_)), owners.Living(tx, self._alive), cancel)

    def request_cancel(self, jobs_: Sequence[str], by: str) -> None:
        with self._database.write() as tx:
            waits.request_cancel(tx, jobs_, by)

    def cancels(self, owner: str) -> dict[str, str]:
        with self._database.read() as tx:
            return waits.cancels(tx, owner)

    def job(self, prefix: str) -> JobRow:
        with self._database.read() as tx:
            return views.rows_of(tx, [views.number_of(tx, prefix)], owners.Living(tx, self._alive))[0]

    def jobs(self, *, run: str | None = None, states: Iterable[str] = (), limit: int = 100) -> list[JobRow]:
        with self._database.read() as tx:
            return views.jobs(tx, run, states, limit, owners.Living(tx, self._alive))

    def events(self, job: str, after: int = 0) -> list[tuple[int, Event]]:
        with self._database.read() as tx:
            return views.events(tx, job, after)

    # Records

    def records(self, keys: Sequence[Checksum]) -> dict[Checksum, Record]:
        # What answers a key stays its answer: no view is needed over several statements.
        with self._database.look() as tx:
            return views.records(tx, keys)

    def record_of(self, job: str) -> Record | None:
        with self._database.read() as tx:
            return views.record_of(tx, job)

    def calculations(self, after: int = 0, limit: int = 1000) -> list[tuple[int, Calculation]]:
        with self._database.read() as tx:
            return pins.calculations(tx, after, limit)

    def history(self, after: int = 0, limit: int = 1000) -> list[tuple[int, str, Record]]:
        with self._database.read() as tx:
            return pins.history(tx, after, limit)

    def pin(self, row: PinRow) -> None:
        with self._database.write() as tx:
            pins.pin(tx, row)

    def unpin(self, target: str) -> bool:
        with self._database.write() as tx:
            return pins.unpin(tx, target)

    def pins(self) -> list[PinRow]:
        with self._database.read() as tx:
            return pins.pins(tx)

    def makers(self, checksums: Sequence[Checksum]) -> dict[Checksum, list[Checksum]]:
        makers.index(self._database)
        with self._database.read() as tx:
            return makers.makers(tx, checksums)

    def calculation(self, key: Checksum) -> bytes | None:
        with self._database.read() as tx:
            return views.calculation(tx, key)

    def declared(self, key: Checksum) -> Checksum | None:
        with self._database.read() as tx:
            return conflicts.declared(tx, key)

    def sampled(
        self,
        count: int,
        seed: int,
        *,
        name: str | None = None,
        run: str | None = None,
        program: Mapping[str, Any] | None = None,
    ) -> tuple[list[str], int]:
        with self._database.read() as tx:
            return sampling.sampled(tx, count, seed, sampling.Population(name, run, program))

    def conflicts(
        self,
        *,
        key: Checksum | None = None,
        name: str | None = None,
        run: str | None = None,
        jobs: Sequence[str] | None = None,
        limit: int = 100,
    ) -> list[ConflictRow]:
        with self._database.read() as tx:
            return conflicts.find(tx, conflicts.Asked(key, name, run, jobs), limit)

    def previous(self, name: str, job: str, run_name: str | None = None, step: str | None = None) -> list[str]:
        with self._database.read() as tx:
            return views.previous(tx, name, job, run_name, step)

    # Slots

    def take_slots(
        self,
        owner: str,
        host: str,
        capacity: Resources,
        wants: Sequence[tuple[str, Resources]],
        running: Callable[[str], bool] = lambda holder: False,
        freed: Sequence[str] = (),
    ) -> set[str]:
        asked = Wants(host, capacity, wants, running)
        return self.write(owner, Batch(freed=freed, slots=asked)).good().slots

    def free_slots(self, owner: str, holders: Sequence[str]) -> None:
        self.write(owner, Batch(freed=holders)).good()

    # Runs

    def start_run(self, owner: str, run: RunRow) -> None:
        with self._database.write() as tx:
            runs.start(tx, owners.number(tx, owner), run)

    def take_run(self, owner: str, run: str) -> RunRow:
        with self._database.write() as tx:
            return runs.take(tx, owners.number(tx, owner), run, owners.Living(tx, self._alive))

    def request_cancel_run(self, run: str, by: str) -> None:
        with self._database.write() as tx:
            runs.request_cancel(tx, run, by)

    def set_steps(self, owner: str, steps: Sequence[StepRow]) -> None:
        self.write(owner, Batch(steps=steps)).good()

    def end_run(self, owner: str, run: str, state: str, outcome: Mapping[str, Any], time: float) -> None:
        with self._database.write() as tx:
            runs.end(tx, owners.number(tx, owner), run, state, outcome, time)

    def run(self, prefix: str) -> RunRow:
        with self._database.read() as tx:
            return runs.find(tx, prefix, owners.Living(tx, self._alive))

    def runs(self, limit: int = 100) -> list[RunRow]:
        with self._database.read() as tx:
            return runs.newest(tx, limit, owners.Living(tx, self._alive))

    def steps(self, run: str, step: str | None = None) -> list[StepRow]:
        with self._database.read() as tx:
            return runs.steps(tx, run, step)

    def choose(self, key: Checksum, choice: Mapping[str, Any]) -> dict[str, Any]:
        with self._database.write() as tx:
            return runs.choose(tx, key, choice)

    def choice(self, key: Checksum) -> dict[str, Any] | None:
        with self._database.read() as tx:
            return runs.chosen(tx, key)
