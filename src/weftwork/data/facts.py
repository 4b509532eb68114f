"""All that a ledger says of stored values: who gave them, who takes them, and which of them could be made again.

A snapshot for those that look at a whole home (garbage collection, verification). Bytes are read only of values that
hold others, such as directories.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from weftwork.core import codecs
from weftwork.core.calculation import Calculation
from weftwork.core.checksum import Checksum
from weftwork.core.job import Record
from weftwork.core.values import Ref
from weftwork.engine.again import FrameOf, Ready, recorded
from weftwork.errors import Corrupt, NotFound, WeftError
from weftwork.ports import Ledger, Store

_PAGE = 2000
"""Rows of the ledger read at a time: nothing is held between two pages."""


@dataclass(slots=True, eq=False)
class Given:
    """A result that could be made again: the calculation that gives it, with the values that this takes."""

    key: Checksum
    name: str
    outputs: tuple[tuple[str, Ref], ...]
    inputs: tuple[tuple[str, Ref], ...]
    seconds: float
    created: float
    scratch: frozenset[str] = frozenset()


@dataclass(slots=True)
class Facts:
    """Values by checksum. ``made``: those that can be made again, each with what makes it, the makers of its inputs before
    it. ``fixed``: all other values that any fact names, with the reason why they cannot be. ``modules`` are the documents of
    all that was ever asked for."""

    sizes: dict[Checksum, int]
    made: dict[Checksum, Given] = field(default_factory=dict)
    fixed: dict[Checksum, tuple[Ref, str]] = field(default_factory=dict)
    refs: dict[Checksum, Ref] = field(default_factory=dict)
    modules: set[Checksum] = field(default_factory=set)
    _held: dict[Checksum, tuple[Checksum, ...]] = field(default_factory=dict)

    @property
    def total(self) -> int:
        return sum(self.sizes.values())

    def holding(self, store: Store, ref: Ref) -> tuple[Checksum, ...]:
        """A value with all that it holds, as far as that can be read."""
        if not codecs.has_links(ref.type):
            return (ref.checksum,)
        known = self._held.get(ref.checksum)
        if known is None:
            found = [ref.checksum]
            try:
                items = codecs.items(ref.type, store.get(ref.checksum)) if ref.checksum in self.sizes else []
            except (NotFound, Corrupt):
                items = []
            for _, item in items:
                found.extend(self.holding(store, item))
            known = self._held[ref.checksum] = tuple(dict.fromkeys(found))
        return known


def gather(ledger: Ledger, store: Store, frame: FrameOf) -> Facts:
    """The facts of a home as they stand. ``frame`` resolves the environment that a module would find now."""
    facts = Facts(dict(store.checksums()))
    return _Gathering(ledger, store, Ready(store, frame), facts).run()


class _Gathering:
    def __init__(self, ledger: Ledger, store: Store, ready: Ready, facts: Facts) -> None:
        self._ledger = ledger
        self._store = store
        self._ready = ready
        self._facts = facts
        self._unable: dict[int, str | None] = {}
        self._scratch: dict[int, frozenset[str]] = {}
        self._inputs: dict[Checksum, Calculation] = {}
        self._candidates: dict[Checksum, Given] = {}
        self._stay: list[tuple[Ref, str]] = []

    def run(self) -> Facts:
        for calculation in self._calculations():
            self._inputs[calculation.key] = calculation
            self._facts.modules.add(calculation.frame.module)
        self._records()
        self._settle()
        for ref, why in self._stay:
            self._fix(ref, why)
        for calculation in self._inputs.values():
            for _, ref in calculation.inputs:
                self._fix(ref, "an input that was given: nothing in this home makes it")
        return self._facts

    def _calculations(self) -> Iterator[Calculation]:
        after = 0
        while page := self._ledger.calculations(after, _PAGE):
            after = page[-1][0]
            yield from (calculation for _, calculation in page)

    def _records(self) -> None:
        after, conflicting, answers = 0, set[Checksum](), list[Record]()
        while page := self._ledger.history(after, _PAGE):
            after = page[-1][0]
            for _, rank, record in page:
                for _, ref in record.outputs:
                    self._facts.refs.setdefault(ref.checksum, ref)
                if rank == "answer" and record.reusable:
                    answers.append(record)
                else:
                    conflicting |= {record.key} if rank == "conflict" else set()
                    why = {"own": "a result that belongs to its job alone"}.get(rank, "one of two results that differ")
                    self._stay += [(ref, why) for _, ref in record.outputs]
        for record in answers:
            self._candidate(record, conflict=record.key in conflicting)

    def _candidate(self, record: Record, *, conflict: bool) -> None:
        calculation = self._inputs[record.key]
        why = "one of two results that differ" if conflict else self._why_not(calculation)
        if why is not None:
            self._stay += [(ref, why) for _, ref in record.outputs]
            return
        seconds = record.observed.get("seconds")
        self._candidates[record.key] = Given(
            record.key,
            calculation.frame.name,
            record.outputs,
            calculation.inputs,
            float(seconds) if isinstance(seconds, (int, float)) else 1.0,
            record.created,
            self._scratch[id(calculation.frame)],
        )

    def _why_not(self, calculation: Calculation) -> str | None:
        """Why a calculation cannot be run again now; asked once for all of its frame."""
        number = id(calculation.frame)
        if number not in self._unable:
            try:
                found = recorded(self._ledger, self._store, calculation.key)
                self._ready.placement(found)
                self._unable[number] = None
                self._scratch[number] = frozenset(found.module.scratch)
            except WeftError as error:
                self._unable[number] = f"its calculation cannot be run as it was: {error}"
        return self._unable[number]

    def _settle(self) -> None:
        """Which values can be made again: from calculations whose inputs stay, upwards. What goes round in a circle stays."""
        facts, candidates = self._facts, self._candidates
        makers: dict[Checksum, list[Given]] = {}
        for given in candidates.values():
            for _, ref in given.outputs:
                makers.setdefault(ref.checksum, []).append(given)
        waits: dict[Checksum, set[Checksum]] = {}
        users: dict[Checksum, list[Given]] = {}
        ready: deque[Given] = deque()
        lost: set[Checksum] = set()
        for given in candidates.values():
            needs = set()
            for _, ref in given.inputs:
                if ref.checksum in makers:
                    needs.add(ref.checksum)
                elif not all(each in facts.sizes for each in facts.holding(self._store, ref)):
                    lost.add(given.key)
            waits[given.key] = needs
            for checksum in needs:
                users.setdefault(checksum, []).append(given)
            if not needs and given.key not in lost:
                ready.append(given)
        self._rise(ready, waits, users, lost)
        # What is left goes round in a circle, or needs what is lost: what is there of it stays, and others may build on it.
        stays = [each for each in makers if each not in facts.made and self._there(facts.refs[each])]
        for checksum in stays:
            facts.fixed.setdefault(checksum, (facts.refs[checksum], "what it would take to make it again is lost"))
            self._known(checksum, ready, waits, users, lost)
        self._rise(ready, waits, users, lost)

    def _there(self, ref: Ref) -> bool:
        return all(each in self._facts.sizes for each in self._facts.holding(self._store, ref))

    def _rise(
        self,
        ready: deque[Given],
        waits: dict[Checksum, set[Checksum]],
        users: dict[Checksum, list[Given]],
        lost: set[Checksum],
    ) -> None:
        facts = self._facts
        while ready:
            given = ready.popleft()
            for _, ref in given.outputs:
                if ref.checksum not in facts.made and ref.checksum not in facts.fixed:
                    facts.made[ref.checksum] = given
                self._known(ref.checksum, ready, waits, users, lost)

    def _known(
        self,
        checksum: Checksum,
        ready: deque[Given],
        waits: dict[Checksum, set[Checksum]],
        users: dict[Checksum, list[Given]],
        lost: set[Checksum],
    ) -> None:
        """A value is there to stay, or can be made: calculations that waited for nothing else can be run."""
        for user in users.pop(checksum, ()):
            waits[user.key].discard(checksum)
            if not waits[user.key] and user.key not in lost:
                ready.append(user)

    def _fix(self, ref: Ref, why: str) -> None:
        if ref.checksum not in self._facts.made:
            self._facts.fixed.setdefault(ref.checksum, (ref, why))
