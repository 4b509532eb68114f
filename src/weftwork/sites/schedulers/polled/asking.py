"""Asking: one question about all tasks, what follows from the answer, and the command that ends what is to be ended."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from weftwork.errors import Unavailable
from weftwork.sites.schedulers.polled.batches import Key
from weftwork.sites.schedulers.polled.dialect import Seen
from weftwork.sites.schedulers.polled.entries import Entry
from weftwork.sites.schedulers.polled.queue import Queue
from weftwork.sites.schedulers.polled.submitting import Submitting

_SLOWER = 1.3
_LONGEST = 60.0


@dataclass(slots=True)
class Asking:
    """The second half of the loop. ``failing``: the last question was not answered, and nothing follows from that."""

    queue: Queue
    submitting: Submitting
    at: float = 0.0
    failing: bool = False
    _past: Callable[[Sequence[str]], list[str]] | None = None

    def __post_init__(self) -> None:
        self._past = self.queue.dialect.past

    async def turn(self) -> None:
        """Ask, when it is time; then end what is due."""
        queue, now = self.queue, time.monotonic()
        if now < self.at:
            return
        names = {*queue.batch_names(), *(key.batch for key in queue.ending)}
        names -= queue.submitting - self.submitting.doubtful()
        if names:
            seen = await self._answer(queue.dialect.ask(sorted(names)))
            self.failing = seen is None
            if seen is None:
                queue.interval = min(_LONGEST, queue.interval * 2)
            else:
                queue.interval = min(queue.pace.slowest, queue.interval * _SLOWER)
                await self._learn(seen)
                await self._end(seen, time.monotonic())
        self.at = time.monotonic() + queue.interval

    async def end_all(self) -> None:
        """End all that is to be ended, due or not."""
        if self.queue.ending:
            seen = await self._answer(self.queue.dialect.ask(sorted({key.batch for key in self.queue.ending})))
            if seen is not None:
                await self._end(seen, float("inf"))

    async def _answer(self, words: list[str]) -> dict[Key, Seen] | None:
        try:
            ran = await self.queue.command(words)
        except Unavailable:
            return None
        if ran.exit_code != 0:
            return None
        found: dict[Key, Seen] = {}
        for seen in self.queue.dialect.read(ran.stdout):
            key = Key(seen.batch, seen.number)
            # Submitted twice, the first time slow to show: whatever of it is alive counts.
            if key not in found or found[key].over:
                found[key] = seen
        return found

    async def _learn(self, seen: dict[Key, Seen]) -> None:
        queue, now = self.queue, time.monotonic()
        self.submitting.shown({key.batch for key in seen})
        gone = []
        for entry in list(queue.entries.values()):
            if entry.key is None or entry.key.batch in queue.submitting:
                continue
            found = seen.get(entry.key)
            if entry.saw(found, now):
                queue.interval = queue.pace.poll
            if found is None and not entry.ended:
                gone.append(entry)
        if gone and self._past is not None:
            await self._remember(gone, self._past)

    async def _remember(self, gone: Iterable[Entry], past: Callable[[Sequence[str]], list[str]]) -> None:
        """How tasks ended that have left the queue, as far as the batch system keeps books."""
        keys = {entry.key: entry for entry in gone if entry.key is not None}
        seen = await self._answer(past(sorted({key.batch for key in keys})))
        if seen is None:
            # It keeps none: outcomes must do.
            self._past = None
            return
        for key, entry in keys.items():
            if (found := seen.get(key)) is not None and found.over:
                entry.saw(found, time.monotonic())

    async def _end(self, seen: dict[Key, Seen], now: float) -> None:
        """One command for all that is to be ended by ``now`` and is still there."""
        ending = self.queue.ending
        for key in list(ending):
            here = seen.get(key)
            if key.batch not in self.queue.submitting and (here is None or here.state == "ended"):
                del ending[key]
        due = [seen[key] for key, at in ending.items() if at <= now and key in seen]
        if due:
            with contextlib.suppress(Unavailable):
                await self.queue.command(self.queue.dialect.cancel(due))
            self.queue.interval = self.queue.pace.poll
