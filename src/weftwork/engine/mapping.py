"""A module called for many rows: chunks of rows in flight, results in order, each error at its own place."""

from __future__ import annotations

import asyncio
import concurrent.futures
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from typing import Any, Final

from weftwork.core.calculation import Calculation, Frame
from weftwork.core.job import Record
from weftwork.core.module import Module
from weftwork.core.placement import Placement
from weftwork.engine.engine import Engine
from weftwork.engine.jobs import Request, Waiter
from weftwork.engine.portal import Portal
from weftwork.errors import Invalid, WeftError

CHUNK: Final = 512
"""Calls that go together at most: enough to share a commit, few enough to keep memory flat."""

_FLYING: Final = 8
_FAST: Final = 0.25
"""Seconds from which on a chunk is a slow one: the next are not made larger."""

Row = Mapping[str, Any]


class Mapper:
    """One map: what it reads, how far it has read, and what is in flight."""

    def __init__(
        self, engine: Engine, portal: Portal, module: Module, frame: Frame, placement: Placement, rows: Iterable[Row]
    ) -> None:
        self._engine = engine
        self._portal = portal
        self._module = module
        self._frame = frame
        self._placement = placement
        self._rows = iter(rows)
        self._flying: deque[tuple[concurrent.futures.Future[list[Waiter]], float]] = deque()
        self._size = 2 * engine.site(placement).scheduler.capacity().cpus
        self._exhausted = False
        self._error: Exception | None = None

    def results(self, shape: Callable[[Mapping[str, Any]], Any]) -> Generator[Any, None, None]:
        """The results in order. Closing it withdraws from all that is in flight."""
        try:
            while True:
                while not self._exhausted and len(self._flying) < _FLYING:
                    self._send()
                if not self._flying:
                    break
                records, error = _until_error(self._next())
                for values in self._engine.binder.values(records, self._again):
                    yield shape(values)
                if error is not None:
                    raise error
            if self._error is not None:
                raise self._error
        finally:
            for future, _ in self._flying:
                future.cancel()

    def _again(self, records: Sequence[Record]) -> Sequence[Record]:
        """On the caller's thread: the records with their lost bytes made again."""
        return self._portal.call(self._engine.remaking.answers(records))

    def _next(self) -> list[Waiter]:
        """The first chunk in flight, once it has ended. It stays in flight meanwhile, to be withdrawn from."""
        future, since = self._flying[0]
        waiters = future.result()
        self._flying.popleft()
        if time.monotonic() - since < _FAST:
            self._size = min(2 * self._size, CHUNK)
        return waiters

    def _send(self) -> None:
        chunk = self._read()
        try:
            bound = self._engine.binder.bind_many(self._module, chunk)
        except Invalid:
            bound = self._bound_until_error(chunk)
        if bound:
            requests = [Request(Calculation.of(self._frame, inputs), self._module, self._placement) for inputs in bound]
            self._flying.append((self._portal.send(all_ended(self._engine, requests)), time.monotonic()))

    def _read(self) -> list[Row]:
        """The next rows. What reading them raises comes after the results of those before."""
        chunk: list[Row] = []
        try:
            for row in self._rows:
                chunk.append(row)
                if len(chunk) == self._size:
                    return chunk
        except Exception as error:
            self._error = error
        self._exhausted = True
        return chunk

    def _bound_until_error(self, chunk: list[Row]) -> list[dict[str, Any]]:
        """The rows before the first one that is wrong."""
        bound = []
        for row in chunk:
            try:
                bound += self._engine.binder.bind_many(self._module, [row])
            except Invalid as error:
                self._error, self._exhausted = error, True
                break
        return bound


def _until_error(waiters: list[Waiter]) -> tuple[list[Record], WeftError | None]:
    """The records of those that ended well before the first that did not, and its error."""
    records: list[Record] = []
    for waiter in waiters:
        if waiter.record is None:
            return records, waiter.error
        records.append(waiter.record)
    return records, None


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
