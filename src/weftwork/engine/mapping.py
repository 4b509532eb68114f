"""A module called for many rows: chunks of rows in flight, results in order, each error at its own place.

What is known already is looked up by the caller's own thread, chunk by chunk; the engine hears of the rest.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import itertools
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
_FAST: Final = 0.25
"""Seconds from which on a chunk is a slow one: the next are not made larger."""

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


@dataclass(slots=True)
class _Chunk:
    """Rows with what answers them: records that were known, and those who wait for the others."""

    rows: Sequence[Row]
    known: list[Record | None]
    waiting: concurrent.futures.Future[list[Waiter]] | None = None
    since: float = 0.0

    def ended(self) -> tuple[list[Record], WeftError | None]:
        """The records of those that ended well before the first that did not, and its error. Waits for them."""
        waiters = iter(self.waiting.result() if self.waiting is not None else ())
        records: list[Record] = []
        for record in self.known:
            if record is None:
                waiter = next(waiters)
                record = waiter.record
                if record is None:
                    return records, waiter.error
            records.append(record)
        return records, None


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
        self._size = 2 * engine.site(placement).scheduler.capacity().cpus
        self._exhausted = False
        self._error: Exception | None = None

    def results(self, shape: Callable[[Mapping[str, Any]], Any]) -> Generator[Any, None, None]:
        """The results in order. Closing it withdraws from all that is in flight."""
        try:
            while self._fill():
                chunk, records, error = self._next()
                for values in self._engine.binder.values(records, partial(self._again, chunk.rows)):
                    yield shape(values)
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

    def _next(self) -> tuple[_Chunk, list[Record], WeftError | None]:
        """The first chunk in flight, once it has ended. It stays in flight meanwhile, to be withdrawn from."""
        chunk = self._flying[0]
        records, error = chunk.ended()
        self._flying.popleft()
        if time.monotonic() - chunk.since < _FAST:
            self._size = min(2 * self._size, CHUNK)
        return chunk, records, error

    def _send(self) -> None:
        self._portal.check()
        rows = self._read()
        try:
            known, asked = self._asked(rows)
        except Invalid:
            known, asked = self._asked_until_error(rows)
        if known:
            chunk = _Chunk(rows, known, since=time.monotonic())
            if asked:
                chunk.waiting = self._portal.send(all_ended(self._engine, asked))
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
    left = [waiter for waiter in waiters if not waiter.done]
    if not left:
        return waiters
    everything = asyncio.get_running_loop().create_future()
    count = len(left)

    def ended(_: Waiter) -> None:
        nonlocal count
        count -= 1
        if not count and not everything.done():
            everything.set_result(None)

    for waiter in left:
        waiter.when_done(ended)
    try:
        await everything
    except asyncio.CancelledError:
        await asyncio.shield(engine.leaving.withdraw(waiters, "its caller"))
        raise
    return waiters
