"""Garbage collection: which bytes may go, in which order, and letting them go.

What may go is what can be made again *now* (:mod:`weftwork.data.facts`) and what nobody holds (:mod:`weftwork.data.holders`),
cheapest to make again first. Safe beside processes that work: bytes that vanish under a reader are made again. Killed at
any moment, it leaves each buffer whole or gone.
"""

from __future__ import annotations

import fcntl
import heapq
import os
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from weftwork.core.checksum import Checksum
from weftwork.data.facts import Facts, Given
from weftwork.data.holders import Holder
from weftwork.errors import Conflict
from weftwork.ports import Store

DAY = 24 * 3600.0

_LARGE = 64 * 1024
"""Bytes above which a buffer that nothing names is worth looking at."""

_BATCH = 2000
"""Buffers that go together, before it is asked again what is in use."""


@dataclass(frozen=True, slots=True)
class Unit:
    """A value that can be made again: what it takes in seconds, and the buffers that go with it."""

    checksum: Checksum
    given: Given
    seconds: float
    size: int
    buffers: tuple[Checksum, ...]


@dataclass(slots=True)
class Plan:
    """What would go. ``leftovers`` are buffers that nothing names; ``kept`` counts the others and their bytes by reason."""

    total: int
    units: list[Unit] = field(default_factory=list)
    leftovers: list[Checksum] = field(default_factory=list)
    buffers: dict[Checksum, int] = field(default_factory=dict)
    kept: dict[str, tuple[int, int]] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """Bytes that go."""
        return sum(self.buffers.values())

    @property
    def seconds(self) -> float:
        """What it would take to make all of it again, one after the other."""
        return sum({unit.given.key: unit.given.seconds for unit in self.units}.values())


def plan(
    facts: Facts, store: Store, holders: Iterable[Holder], *, keep: int | None, older: float | None, now: float
) -> Plan:
    """What is to go so that the store has at most ``keep`` bytes, of results made more than ``older`` seconds ago.

    Without ``keep``: all that is older. Without both: only scratch outputs, and what nothing names.
    """
    return _Planning(facts, store, holders, now).run(keep, older)


class _Planning:
    def __init__(self, facts: Facts, store: Store, holders: Iterable[Holder], now: float) -> None:
        self._facts = facts
        self._store = store
        self._now = now
        self._held: dict[Checksum, str] = {}
        for holder in holders:
            for ref, _ in holder.holds():
                self._hold(facts.holding(store, facts.refs.get(ref.checksum, ref)), holder.name)
        for ref, _ in facts.fixed.values():
            self._hold(facts.holding(store, ref), "cannot be made again")
        self._users: Counter[Checksum] = Counter()
        self._gone: dict[Checksum, float] = {}
        self._plan = Plan(facts.total)

    def _hold(self, buffers: Iterable[Checksum], reason: str) -> None:
        for each in buffers:
            self._held.setdefault(each, reason)

    def run(self, keep: int | None, older: float | None) -> Plan:
        plan = self._plan
        self._leftovers()
        left = plan.total - plan.size
        heap = self._units(older, everything=keep is not None or older is not None)
        while heap:
            scratch, cost, checksum = heapq.heappop(heap)
            if scratch and keep is not None and left <= keep:
                break
            unit = self._unit(checksum)
            if unit.size and unit.seconds / unit.size > cost:
                # What it needs has become dearer since: it may have its turn later.
                heapq.heappush(heap, (scratch, unit.seconds / unit.size, checksum))
                continue
            left -= self._free(unit)
        self._count_kept()
        return plan

    def _units(self, older: float | None, *, everything: bool) -> list[tuple[int, float, Checksum]]:
        """What may go: scratch outputs before all others, then by seconds a byte."""
        heap = []
        for checksum, given in self._facts.made.items():
            ref = self._facts.refs[checksum]
            buffers = self._facts.holding(self._store, ref)
            for each in buffers:
                self._users[each] += 1
            if any(each not in self._facts.sizes for each in buffers):
                self._gone[checksum] = self._seconds(given)
            if checksum in self._held:
                continue
            scratch = any(name in given.scratch and each == ref for name, each in given.outputs)
            young = older is not None and given.created > self._now - older
            if not scratch and (young or not everything):
                continue
            unit = self._unit(checksum)
            if unit.size:
                heap.append((0 if scratch else 1, unit.seconds / unit.size, checksum))
        heapq.heapify(heap)
        return heap

    def _seconds(self, given: Given) -> float:
        """What it takes to make a value: its calculation, after those of what this needs and is gone."""
        return given.seconds + sum(self._gone.get(ref.checksum, 0.0) for _, ref in given.inputs)

    def _unit(self, checksum: Checksum) -> Unit:
        given, sizes = self._facts.made[checksum], self._facts.sizes
        buffers = tuple(
            each
            for each in self._facts.holding(self._store, self._facts.refs[checksum])
            if each in sizes and each not in self._held
        )
        return Unit(checksum, given, self._seconds(given), sum(sizes[each] for each in buffers), buffers)

    def _free(self, unit: Unit) -> int:
        """Take it into the plan; the bytes that go with it: what other values hold too goes with the last of them."""
        freed = 0
        self._gone[unit.checksum] = unit.seconds
        self._plan.units.append(unit)
        for each in unit.buffers:
            self._users[each] -= 1
            if self._users[each] <= 0 and each not in self._plan.buffers:
                freed += self._facts.sizes[each]
                self._plan.buffers[each] = self._facts.sizes[each]
        return freed

    def _leftovers(self) -> None:
        """Large buffers that nothing names, and that nobody has put for a day: a process died before it wrote its record."""
        named = set(self._held)
        for checksum in self._facts.made:
            named.update(self._facts.holding(self._store, self._facts.refs[checksum]))
        for checksum, size in self._facts.sizes.items():
            if size > _LARGE and checksum not in named:
                age = self._store.age(checksum)
                if age is not None and age > DAY:
                    self._plan.leftovers.append(checksum)
                    self._plan.buffers[checksum] = size

    def _count_kept(self) -> None:
        for checksum, size in self._facts.sizes.items():
            if checksum not in self._plan.buffers:
                reason = self._held.get(checksum, "could go, and was not asked for")
                count, bytes_ = self._plan.kept.get(reason, (0, 0))
                self._plan.kept[reason] = count + 1, bytes_ + size


def sweep(
    plan: Plan, facts: Facts, store: Store, busy: Sequence[Holder], gone: Callable[[Sequence[Checksum]], None]
) -> int:
    """Let go what is planned, in the planned order, unless it has come into use since; the bytes that went.

    ``busy`` are the holders that change while this runs. ``gone`` is told what went.
    """
    order = [*plan.leftovers, *(each for unit in plan.units for each in unit.buffers if each in plan.buffers)]
    names, freed = list(dict.fromkeys(order)), 0
    for start in range(0, len(names), _BATCH):
        held = {
            each
            for holder in busy
            for ref, _ in holder.holds()
            for each in facts.holding(store, facts.refs.get(ref.checksum, ref))
        }
        some = [each for each in names[start : start + _BATCH] if each not in held]
        store.remove(some)
        gone(some)
        freed += sum(plan.buffers[each] for each in some)
    return freed


class Alone:
    """One collection at a time in a home: a second one would plan with what the first is letting go."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> None:
        self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._descriptor)
            raise Conflict("another `weft gc` is at work in this home: wait until it has ended") from None

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)
