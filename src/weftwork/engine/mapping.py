"""A module called for many rows: chunks of rows in flight, results in order, each error at its own place.

What is known already is looked up by the caller's own thread, chunk by chunk; the engine hears of the rest. A chunk is
given when all of it has ended, or, where that takes long, the part of it that has; and while its first call takes long,
the engine gets more to do.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import itertools
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from weftwork.core.calculation import Calculation, Frame
from weftwork.core.job import Record
from weftwork.core.module import Module
from weftwork.core.placement import Placement
from weftwork.core.values import Ref
from weftwork.engine.engine import Engine
from weftwork.engine.jobs import Request, Waiter
from weftwork.engine.known import Noted
from weftwork.engine.portal import Portal
from weftwork.errors import Invalid, WeftError

CHUNK: Final = 512
"""Calls that go together at most: enough to share a commit, few enough to keep memory flat."""

_FLYING: Final = 8
_MOST: Final = _FLYING * CHUNK
"""Rows that are read and not given yet, at most: those that ended behind a long call are kept."""
_FAST: Final = 0.25
"""Seconds from which on a chunk is a slow one: the next are not made larger."""
_PATIENCE: Final = 0.05
"""Seconds for which the whole of a chunk is waited for, before a part of it is given and more is sent meanwhile."""
_IMPATIENCE: Final = 1.0
"""Seconds after which it is looked for such a part again, at most."""

Row = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Rows:
    """What a map reads: the inputs that its columns are for, the rows, and the inputs that are the same in each."""

    names: Sequence[str]
    rows: Iterable[Row]
    fixed: Mapping[str, Ref]

    def columns(self, chunk: Sequence[Row]) -> dict[str, Sequence[Any]]:
        """Some rows, input by input."""
        given = dict(zip(self.names, zip(*chunk, strict=True), strict=True))
        return {**given, **{name: [ref] * len(chunk) for name, ref in self.fixed.items()}}


@dataclass(slots=True, eq=False)
class _Chunk:
    """Rows with what answers them: records that were known, and those who wait for the others. ``given`` counts those
    that the caller has got, ``asked`` those among them that were waited for."""

    rows: Sequence[Row]
    known: Sequence[Record | None]
    waiting: concurrent.futures.Future[None] | None = None
    waiters: Sequence[Waiter] = ()
    since: float = 0.0
    given: int = 0
    asked: int = 0

    @property
    def over(self) -> bool:
        """Whether all of it has ended, or cannot be asked for."""
        return self.waiting is None or self.waiting.done()

    @property
    def ripe(self) -> bool:
        """Whether the next of its results is there."""
        if self.known[self.given] is not None:
            return True
        return len(self.waiters) > self.asked and self.waiters[self.asked].done

    @property
    def spent(self) -> bool:
        return self.given == len(self.rows)

    def take(self) -> tuple[list[Record], WeftError | None]:
        """The records of the next that have ended well, one after the other, and the error of the one after these."""
        if self.waiting is not None and self.waiting.done():
            self.waiting.result()
        records: list[Record] = []
        error = None
        waiters = itertools.islice(self.waiters, self.asked, None)
        for record in itertools.islice(self.known, self.given, None):
            if record is None:
                waiter = next(waiters, None)
                if waiter is None or not waiter.done:
                    break
                self.asked += 1
                record = waiter.record
                if record is None:
                    error = waiter.error
                    break
            records.append(record)
        self.given += len(records)
        return records, error


class _Landing:
    """How many of the calls that were sent have ended: counted on the loop, waited for by the caller's thread."""

    def __init__(self) -> None:
        self._sent = 0
        self._landed = 0
        self._low = -1
        self._news = threading.Event()

    @property
    def flying(self) -> int:
        return self._sent - self._landed

    def sends(self, count: int) -> None:
        self._sent += count

    def landed(self, _: object = None) -> None:
        """On the loop, at each end."""
        self._landed += 1
        if self._sent - self._landed <= self._low:
            self._low = -1
            self._news.set()

    def over(self, _: object) -> None:
        """A chunk has ended, whichever way."""
        self._news.set()

    def wait(self, look: Callable[[], bool], low: int, timeout: float) -> None:
        """Come back when a chunk has ended, no more than ``low`` calls are in flight, or after some seconds, unless
        ``look`` says that it is so already."""
        self._news.clear()
        self._low = low
        if not look() and self.flying > low:
            self._news.wait(timeout)
        self._low = -1


class Mapper:
    """One map: what it reads, how far it has read, and what is in flight."""

    def __init__(
        self, engine: Engine, portal: Portal, module: Module, frame: Frame, placement: Placement, rows: Rows
    ) -> None:
        self._engine = engine
        self._portal = portal
        self._module = module
        self._frame = frame
        self._placement = placement
        self._given = rows
        self._rows = iter(rows.rows)
        self._flying: deque[_Chunk] = deque()
        self._noted: deque[Noted] = deque()
        self._landing = _Landing()
        self._size = 2 * engine.site(placement).scheduler.capacity().cpus
        self._fed = 0.0
        self._exhausted = False
        self._error: Exception | None = None

    def results(self, shape: Callable[[Mapping[str, Any]], Any]) -> Generator[Any, None, None]:
        """The results in order. Closing it withdraws from all that is in flight."""
        try:
            while self._fill():
                rows, records, error = self._next()
                yield from map(shape, self._engine.binder.values(records, partial(self._again, rows)))
                if error is not None:
                    raise error
            if self._error is not None:
                raise self._error
            self._heed_notes(0)
        finally:
            for chunk in self._flying:
                if chunk.waiting is not None:
                    chunk.waiting.cancel()

    def _again(self, rows: Sequence[Row], records: Sequence[Record]) -> Sequence[Record]:
        """On the caller's thread: records of some rows with their lost bytes made again, from the inputs that are given."""
        taken = self._engine.binder.taken()
        self._engine.binder.bind_columns(self._module, self._given.columns(rows), len(rows), taken)
        taken.store()
        return self._portal.call(self._engine.remaking.answers(records))

    def _fill(self) -> bool:
        """Read on until enough is in flight, or the next results are there; whether there are any more."""
        while not self._exhausted and len(self._flying) < _FLYING:
            self._send()
            if self._flying and self._flying[0].waiting is None:
                break
        return bool(self._flying)

    def _next(self) -> tuple[Sequence[Row], list[Record], WeftError | None]:
        """The next rows that have ended, with their records. Their chunk stays in flight meanwhile, to be withdrawn from."""
        chunk = self._flying[0]
        self._land(chunk)
        first = chunk.given
        records, error = chunk.take()
        if chunk.spent or error is not None:
            self._flying.popleft()
            if time.monotonic() - chunk.since < _FAST:
                self._size = min(2 * self._size, CHUNK)
        return chunk.rows[first : chunk.given], records, error

    def _land(self, chunk: _Chunk) -> None:
        """Come back when a chunk has ended, or where that takes long a part of it; meanwhile others are sent."""
        begun = time.monotonic()
        while not chunk.over:
            self._portal.check()
            waited = time.monotonic() - begun
            if waited >= _PATIENCE and chunk.ripe:
                return
            low = self._low() if waited >= _PATIENCE else -1
            if self._landing.flying <= low:
                self._feed()
            else:
                self._landing.wait(lambda: chunk.over, low, min(max(_PATIENCE, waited / 10), _IMPATIENCE))

    def _low(self) -> int:
        """How few calls in flight are too few, or -1 where no more can be read."""
        unseen = sum(len(chunk.rows) - chunk.given for chunk in self._flying)
        return -1 if self._exhausted or unseen >= _MOST else _FLYING * self._size // 2

    def _feed(self) -> None:
        """Send more while the first chunk takes long: larger ones when the last were soon used up."""
        now = time.monotonic()
        if now - self._fed < _FAST:
            self._size = min(2 * self._size, CHUNK)
        self._fed = now
        while self._landing.flying < _FLYING * self._size and self._low() >= 0:
            self._send()

    def _send(self) -> None:
        self._portal.check()
        rows = self._read()
        try:
            known, asked = self._asked(rows)
        except Invalid:
            known, asked = self._asked_until_error(rows)
        if known:
            chunk = _Chunk(rows[: len(known)], known, since=time.monotonic())
            if asked:
                self._landing.sends(len(asked))
                chunk.waiting = self._portal.send(_fly(self._engine, chunk, asked, self._landing.landed))
                chunk.waiting.add_done_callback(self._landing.over)
            self._flying.append(chunk)

    def _asked(self, rows: list[Row]) -> tuple[list[Record | None], list[Request]]:
        """For each row the record that is known, else a request, whose inputs are stored."""
        if not rows:
            return [], []
        binder = self._engine.binder
        taken = binder.taken()
        columns = binder.bind_columns(self._module, self._given.columns(rows), len(rows), taken)
        calculations = Calculation.of_columns(self._frame, columns, len(rows))
        known: list[Record | None] = [None] * len(rows)
        if self._placement.cache and self._module.deterministic:
            known = self._engine.known.records(calculations)
        pairs = list(zip(calculations, known, strict=True))
        asked = [Request(each, self._module, self._placement) for each, record in pairs if record is None]
        if asked:
            taken.store()
        if len(asked) < len(rows):
            self._note([each for each, record in pairs if record is not None])
        return known, asked

    def _asked_until_error(self, rows: list[Row]) -> tuple[list[Record | None], list[Request]]:
        """The same row by row, up to the first one that is wrong."""
        known: list[Record | None] = []
        asked: list[Request] = []
        for row in rows:
            try:
                more_known, more_asked = self._asked([row])
            except Invalid as error:
                self._error, self._exhausted = error, True
                break
            known += more_known
            asked += more_asked
        return known, asked

    def _note(self, hits: list[Calculation]) -> None:
        """Have it written down that records answered these, a few chunks behind at most."""
        self._noted.append(self._engine.known.answered(hits, self._placement))
        self._heed_notes(_FLYING)

    def _heed_notes(self, left: int) -> None:
        """Wait until but a few chunks are still to be written down. Raises what kept one from being written."""
        while len(self._noted) > left:
            self._noted.popleft().result()

    def _read(self) -> list[Row]:
        """The next rows. What reading them raises comes after the results of those before."""
        chunk: list[Row] = []
        try:
            # One by one, so that what came before an error is there.
            for row in itertools.islice(self._rows, self._size):
                chunk.append(row)  # noqa: PERF402
        except Exception as error:
            self._error = error
        self._exhausted = len(chunk) < self._size
        return chunk


async def all_ended(engine: Engine, requests: list[Request]) -> list[Waiter]:
    """Those who wait for many requests, all ended. A caller that is cancelled withdraws from all."""
    waiters = await engine.submit(requests)
    await _ended(engine, waiters)
    return waiters


async def _fly(engine: Engine, chunk: _Chunk, requests: list[Request], landed: Callable[[Waiter], None]) -> None:
    """The same for a chunk, which has those who wait as soon as there are any."""
    chunk.waiters = await engine.submit(requests)
    await _ended(engine, chunk.waiters, landed)


async def _ended(engine: Engine, waiters: Sequence[Waiter], each: Callable[[Waiter], None] | None = None) -> None:
    """Come back when none waits any more; ``each`` is called with everyone at their end."""
    count = len(waiters)
    everything = asyncio.get_running_loop().create_future()

    def ended(waiter: Waiter) -> None:
        nonlocal count
        count -= 1
        if each is not None:
            each(waiter)
        if not count and not everything.done():
            everything.set_result(None)

    for waiter in waiters:
        waiter.when_done(ended)
    try:
        if waiters:
            await everything
    except asyncio.CancelledError:
        await asyncio.shield(engine.leaving.withdraw(waiters, "its caller"))
        raise
