"""What is kept in a home and what goes: pins, garbage collection, verification. Needs the home alone, and no engine."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from weftwork.config import Home
from weftwork.core.calculation import Frame
from weftwork.core.checksum import Checksum
from weftwork.core.module import Module
from weftwork.core.placement import Placement
from weftwork.data.collecting import Alone, Plan, plan, sweep
from weftwork.data.facts import Facts, gather
from weftwork.data.holders import Holder, Live, Pins, Programs
from weftwork.data.verifying import Trouble, damaged, missing, troubles
from weftwork.engine.frames import frame_of
from weftwork.errors import Invalid, NotFound
from weftwork.ports import PinRow

_CHECKSUM = re.compile(r"[0-9a-f]{64}\Z")


@dataclass(frozen=True, slots=True)
class Collected:
    """What a collection let go, or would let go; ``disk`` are bytes that the store takes on disk before and after."""

    plan: Plan
    freed: int
    disk: tuple[int, int]


def facts_of(home: Home) -> Facts:
    """What the home knows of its values, and which of them could be made again on this machine now."""
    from weftwork.sites.machine import Machine

    machine = Machine(home.sources.checksum)

    def frame(module: Module, placement: Placement) -> Frame:
        return frame_of(module, machine.resolve(module))

    return gather(home.ledger, home.store, frame)


def holders(home: Home, facts: Facts) -> list[Holder]:
    """Who keeps values in a home: an open list."""
    return [Pins(home.ledger), Live(home.ledger), Programs(home.ledger, home.store, facts.modules)]


def collect(home: Home, *, keep: int | None = None, older: float | None = None, dry_run: bool = False) -> Collected:
    """Let go what can be made again, cheapest first, until the store has at most ``keep`` bytes; of what was made more than
    ``older`` seconds ago. Without either: scratch outputs, and what nothing names.

    Raises :class:`~weftwork.errors.Conflict` while another process does the same.
    """
    if older is not None and not older >= 0:
        raise Invalid(f"older is {older}; a number of at least 0 is expected")
    with Alone(home.folder / "gc.lock"):
        facts = facts_of(home)
        found = plan(facts, home.store, holders(home, facts), keep=keep, older=older, now=time.time())
        before = disk_usage(home.folder / "store")
        if dry_run:
            return Collected(found, found.size, (before, before))
        freed = sweep(found, facts, home.store, [Pins(home.ledger), Live(home.ledger)], home.sources.forget)
        home.store.compact()
        return Collected(found, freed, (before, disk_usage(home.folder / "store")))


@dataclass(frozen=True, slots=True)
class Verified:
    """What reading a store back found: ``count`` buffers of ``size`` bytes; those that were ``damaged``, and are set ``aside``;
    ``freed`` values that are gone and can be made again, and those that are gone and ``lost``."""

    count: int
    size: int
    damaged: list[Trouble]
    aside: list[Path]
    freed: int
    lost: list[Trouble]


def verify(
    home: Home, jobs: int | None = None, seen: Callable[[int, int], None] = lambda count, size: None
) -> Verified:
    """Read the whole store back with ``jobs`` threads (all cores), and set aside what is damaged.

    ``seen`` is told how many buffers and bytes were read so far. Raises :class:`~weftwork.errors.Corrupt` where a SQLite
    file is damaged, with the next step.
    """
    count = size = 0

    def told(buffers: int, bytes_: int) -> None:
        nonlocal count, size
        count, size = count + buffers, size + bytes_
        seen(count, size)

    wrong = damaged(home.store, jobs or os.cpu_count() or 1, told)
    aside = home.store.set_aside(wrong) if wrong else []
    facts = facts_of(home)
    freed, gone = missing(facts)
    lost = [each for each in gone if each not in set(wrong)]
    found = {each.checksum: each for each in troubles(home.ledger, home.store, facts, [*wrong, *lost])}
    return Verified(count, size, [found[each] for each in wrong], aside, freed, [found[each] for each in lost])


def disk_usage(folder: Path) -> int:
    """Bytes that the files of a folder take on the disk."""
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.stat().st_blocks * 512
        except OSError:
            continue
    return total


def pin(home: Home, target: str, note: str = "") -> PinRow:
    """Keep something from being freed: a job or run by the beginning of its id, a value by its checksum, a calculation by its key.

    Raises :class:`~weftwork.errors.NotFound` for what is not there.
    """
    row = PinRow(*_target(home, target), note, time.time())
    home.ledger.pin(row)
    return row


def unpin(home: Home, target: str) -> str:
    """Let it be freed again; what was unpinned. Raises :class:`~weftwork.errors.NotFound` for what is not pinned."""
    matching = [row.target for row in home.ledger.pins() if row.target.startswith(target)]
    name = matching[0] if len(matching) == 1 else target
    if not home.ledger.unpin(name):
        pinned = ", ".join(row.target[:16] for row in home.ledger.pins()) or "nothing"
        raise NotFound(f"{target} is not pinned; what is: {pinned}")
    return name


def _target(home: Home, text: str) -> tuple[str, str]:
    """What is named, and what it is."""
    if _CHECKSUM.match(text):
        checksum = Checksum(text)
        if home.ledger.calculation(checksum) is not None:
            return text, "key"
        if home.store.missing([checksum]) and not home.ledger.makers([checksum]):
            raise NotFound(f"nothing in this home has the checksum or key {checksum.short}")
        return text, "checksum"
    if text.startswith("r"):
        return home.ledger.run(text).id, "run"
    return home.ledger.job(text).job.id, "job"


__all__: Sequence[str] = (
    "Collected",
    "Verified",
    "collect",
    "disk_usage",
    "facts_of",
    "holders",
    "pin",
    "unpin",
    "verify",
)
