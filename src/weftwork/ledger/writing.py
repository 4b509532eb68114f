"""Writing a batch: its parts one after the other in one transaction, each as if it stood alone.

What is wrong with one part is told as its answer, and undone by itself. What the database cannot do is an error of
the whole batch.
"""

from __future__ import annotations

from collections.abc import Callable

from weftwork.errors import WeftError
from weftwork.ledger import claims, jobs, runs, slots
from weftwork.ledger.database import Transaction
from weftwork.ledger.owners import Living
from weftwork.ports import Answers, Batch, Claim, Claimed, StepRow


class Writing:
    """One batch of an owner, which is the row ``number``."""

    def __init__(self, tx: Transaction, number: int, owner: str, living: Living, shared: claims.Shared) -> None:
        self._tx = tx
        self._number = number
        self._owner = owner
        self._living = living
        self._shared = shared
        self._answers = Answers()

    def write(self, batch: Batch) -> Answers:
        answers, tx, number = self._answers, self._tx, self._number
        if batch.events:
            self._part("events", lambda: answers.events.update(jobs.append(tx, number, batch.events)))
        if batch.endings:
            self._part("endings", lambda: answers.endings.update(jobs.end(tx, number, batch.endings)))
        if batch.freed or batch.slots:
            self._part("slots", lambda: answers.slots.update(self._slots(batch)))
        if batch.claims:
            self._part("claims", lambda: answers.claims.extend(self._claim(list(batch.claims))))
        by_run: dict[str, list[StepRow]] = {}
        for step in batch.steps:
            by_run.setdefault(step.run, []).append(step)
        for steps in by_run.values():
            self._part("steps", lambda steps=steps: runs.set_steps(tx, number, steps))  # type: ignore[misc]
        if batch.answered:
            self._part("answered", lambda: answers.answered.extend(self._claim(list(batch.answered))))
        return answers

    def _part(self, name: str, work: Callable[[], object]) -> None:
        try:
            with self._tx.part():
                work()
        except WeftError as error:
            # What it looked up may have been written by itself, and is undone.
            self._shared.forget()
            self._answers.errors.setdefault(name, error)

    def _slots(self, batch: Batch) -> set[str]:
        asked = batch.slots
        if asked is not None:
            slots.refuse_too_large(asked.capacity, asked.wants)
        slots.free(self._tx, self._number, batch.freed)
        if asked is None:
            return set()
        return slots.take(self._tx, self._number, asked.host, asked.capacity, asked.wants, self._living, asked.running)

    def _claim(self, asked: list[Claim]) -> list[Claimed]:
        return claims.Claiming(self._tx, self._number, self._owner, self._living, self._shared).run(asked)
