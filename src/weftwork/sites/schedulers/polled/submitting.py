"""Submission: tasks are gathered into arrays, and an array is submitted once, however often that has to be tried."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from weftwork.core.placement import Resources
from weftwork.errors import Unavailable, WeftError
from weftwork.ports import Ran, Report
from weftwork.sites.nodeprogram import node_program
from weftwork.sites.schedulers.polled import batches
from weftwork.sites.schedulers.polled.batches import Key
from weftwork.sites.schedulers.polled.dialect import Array, Needs
from weftwork.sites.schedulers.polled.entries import Entry
from weftwork.sites.schedulers.polled.queue import Queue

_LONGEST = 60.0
"""Seconds between two tries of a submission, at most."""


@dataclass(slots=True, eq=False)
class _Batch:
    """Tasks that are submitted together. ``doubtful``: a submission failed, and may have been taken all the same; ``absent``:
    the batch system was asked since, and does not show it."""

    name: str
    entries: list[Entry]
    script: bytes
    since: float
    doubtful: bool = False
    absent: bool = False
    failures: int = 0
    due: float = 0.0
    why: str = ""


@dataclass(slots=True)
class Submitting:
    """The first half of the loop: what waits, and what is on its way to the batch system."""

    queue: Queue
    waiting: list[Entry] = field(default_factory=list)
    _batches: list[_Batch] = field(default_factory=list)
    _first: float = 0.0
    _last: float = 0.0
    _array: int = 0

    def __post_init__(self) -> None:
        self._array = self.queue.settings.array

    def add(self, entry: Entry) -> None:
        self._last = time.monotonic()
        self._first = self._first if self.waiting else self._last
        self.waiting.append(entry)

    def due(self) -> float:
        """When there is something to do next."""
        now = time.monotonic()
        times = [batch.due for batch in self._batches if not batch.doubtful or batch.absent]
        if self.waiting:
            times.append(self._ripe() if self._room() > 0 else now + 1.0)
        return min(times, default=now + 3600.0)

    def _ripe(self) -> float:
        """What waits is submitted soon after the last came, and not long after the first."""
        gather = self.queue.pace.gather
        return min(self._last + gather, self._first + 10 * gather)

    def _room(self) -> int:
        return self.queue.settings.at_once - self.queue.in_batches()

    async def turn(self) -> None:
        """Write what is ripe as batches, and submit those that are due."""
        self.waiting = [entry for entry in self.waiting if not entry.done.done()]
        if self.waiting and time.monotonic() >= self._ripe() and (room := self._room()) > 0:
            chosen, self.waiting = self.waiting[:room], self.waiting[room:]
            for entries in self._alike(chosen):
                await self._write(entries)
        for batch in list(self._batches):
            if batch.doubtful and time.monotonic() - batch.since > self.queue.pace.outage:
                await self._give_up(batch)
            elif batch.due <= time.monotonic() and (not batch.doubtful or batch.absent):
                await self._submit(batch)

    def _alike(self, entries: Sequence[Entry]) -> list[list[Entry]]:
        """Tasks with equal resources together, no more than an array may have."""
        alike: dict[Resources, list[Entry]] = {}
        for entry in entries:
            alike.setdefault(entry.process.resources, []).append(entry)
        return [
            each[start : start + self._array] for each in alike.values() for start in range(0, len(each), self._array)
        ]

    async def _write(self, entries: list[Entry]) -> None:
        queue, settings = self.queue, self.queue.settings
        name = f"weft-{secrets.token_hex(6)}"
        folder = queue.batch_folder(name)
        folders = [entry.folder for entry in entries]

        def write() -> str:
            node = node_program(queue.home / "node")
            text = batches.script(
                name, queue.dialect.variable, folder, node, settings.python, settings.directives, settings.prologue
            )
            batches.write_batch(folder, folders, text)
            return text

        try:
            text = await asyncio.to_thread(write)
        except (WeftError, OSError) as error:
            for entry in entries:
                queue.end(entry, Report(entry.name, "unavailable", detail=f"its batch cannot be written: {error}"))
            return
        for number, entry in enumerate(entries, 1):
            queue.put(entry, Key(name, number))
        queue.submitting.add(name)
        self._batches.append(_Batch(name, entries, text.encode("utf-8", "surrogateescape"), time.monotonic()))

    async def _submit(self, batch: _Batch) -> None:
        if all(entry.done.done() for entry in batch.entries):
            self._remove(batch)
            return
        queue = self.queue
        needs = Needs.of(batch.entries[0].process.resources)
        folder = str(queue.batch_folder(batch.name))
        array = Array(batch.name, len(batch.entries), needs, folder, queue.settings.options)
        try:
            ran = await queue.command(queue.dialect.submit(array), batch.script)
        except Unavailable as error:
            ran = Ran(-1, "", error.message)
        queue.interval = queue.pace.poll
        if ran.exit_code == 0 and queue.dialect.submitted(ran.stdout) is not None:
            self._remove(batch)
        elif ran.exit_code > 0 and queue.dialect.full.search(said := ran.stderr + ran.stdout):
            self._full(batch)
        elif ran.exit_code > 0 and queue.dialect.refused.search(said):
            self._refused(batch, last_words(ran))
        else:
            batch.doubtful, batch.absent = True, False
            batch.failures += 1
            batch.due = time.monotonic() + min(_LONGEST, queue.pace.poll * 2**batch.failures)
            batch.why = last_words(ran)

    def doubtful(self) -> set[str]:
        """Names to be asked about although nobody said that they were taken."""
        return {batch.name for batch in self._batches if batch.doubtful}

    def shown(self, names: set[str]) -> None:
        """The batch system was asked, and shows these."""
        for batch in [each for each in self._batches if each.doubtful]:
            if batch.name in names:
                self._remove(batch)
            else:
                batch.absent = True

    def _remove(self, batch: _Batch) -> None:
        self._batches.remove(batch)
        self.queue.submitting.discard(batch.name)

    def _full(self, batch: _Batch) -> None:
        """It was not taken because it is too many tasks: an array is cut in two, and a single task waits for its turn."""
        if len(batch.entries) == 1:
            batch.due = time.monotonic() + _LONGEST
            return
        self._remove(batch)
        self._array = max(1, len(batch.entries) // 2)
        for entry in batch.entries:
            if not entry.done.done():
                self.queue.take_out(entry)
                self.add(entry)

    def _refused(self, batch: _Batch, why: str) -> None:
        """It was not taken and never will be; nor will what needs the same."""
        self._remove(batch)
        needs = batch.entries[0].process.resources
        for entry in [*batch.entries, *self.waiting]:
            if entry.process.resources == needs:
                self.queue.end(entry, Report(entry.name, "unavailable", detail=why))
        for other in [
            each for each in self._batches if each.entries[0].process.resources == needs and not each.doubtful
        ]:
            self._remove(other)
            for entry in other.entries:
                self.queue.end(entry, Report(entry.name, "unavailable", detail=why))

    async def _give_up(self, batch: _Batch) -> None:
        """The commands have failed for too long. Where a node began all the same, the batch was taken."""
        self._remove(batch)
        outage = self.queue.pace.outage
        for entry in batch.entries:
            if not entry.done.done() and await asyncio.to_thread(batches.withdraw, entry.folder):
                detail = f"{self.queue.dialect.name} could not be reached for {outage:g} s: {batch.why}"
                self.queue.end(entry, Report(entry.name, "unavailable", detail=detail))


def last_words(ran: Ran) -> str:
    """The last words of a command that failed, in one line."""
    lines = [line.strip() for line in (ran.stderr or ran.stdout).splitlines() if line.strip()]
    return "; ".join(lines[-3:]) or f"exit code {ran.exit_code}, and no word"
