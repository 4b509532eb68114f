"""Attempts in and out: batches of calls to the schedulers, batches of outcomes to the store and the ledger."""

from __future__ import annotations

import asyncio
import functools
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from weftwork.core.checksum import Checksum
from weftwork.core.job import Event, Record
from weftwork.core.values import Ref
from weftwork.engine.jobs import Live, internal
from weftwork.errors import Cancelled, Lost, StagingFailed, WeftError
from weftwork.node.outcome import read_outcome
from weftwork.ports import CallOutcome, Ending, Report

if TYPE_CHECKING:
    from weftwork.engine.engine import Engine


_ENOUGH: Final = 256
_GATHERING: Final = 0.002
"""Ends that are worth a commit of their own, and seconds for which more are waited for while they come."""


_Good: TypeAlias = list[tuple[Live, Record]]
_Bad: TypeAlias = list[tuple[Live, WeftError]]


class Collector:
    """Gathers what one turn of the loop brings, so that a thousand calls are one hand-over, one write, one commit."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._calls: list[Live] = []
        self._ended: list[tuple[Live, Report]] = []
        self._collecting: asyncio.Task[None] | None = None
        self._written: asyncio.Future[None] | None = None
        self._handing = False

    def call(self, live: Live) -> None:
        """Hand a job of the function lane to its site's scheduler, with all others of this turn."""
        self._calls.append(live)
        if not self._handing:
            self._handing = True
            asyncio.get_running_loop().call_soon(self._hand_over)

    async def rejoin(self, live: Live) -> None:
        """Go on with the call that a dead owner left, where its place still knows it; else begin another attempt."""
        try:
            if live.task not in await live.site.scheduler.find([live.task]):
                live.attempt += 1
        except WeftError as error:
            await self._engine.failed(live, error)
            return
        if not live.done:
            self.call(live)

    def _hand_over(self) -> None:
        self._handing = False
        calls, self._calls = self._calls, []
        by_site: dict[str, list[Live]] = {}
        for live in calls:
            # What was cancelled in this very turn is not begun.
            if not live.done and live.cancelled_by is None:
                by_site.setdefault(live.site.name, []).append(live)
        for lives in by_site.values():
            self._engine.spawn(self._run(lives))

    async def _run(self, lives: list[Live]) -> None:
        engine = self._engine
        try:
            await lives[0].site.scheduler.run([engine.call(live) for live in lives], engine.report(*lives))
        except Exception as error:
            for live in lives:
                await engine.failed(live, internal(error))

    def ended(self, live: Live, report: Report) -> None:
        """An attempt is over: collect it, with all others that are over by then."""
        self._ended.append((live, report))
        if self._collecting is None:
            self._collecting = self._engine.spawn(self._collect())

    async def quiet(self) -> None:
        """Come back when what is being written now is durable: who acts on ends then acts on more of them at once."""
        if self._collecting is not None:
            if self._written is None:
                self._written = asyncio.get_running_loop().create_future()
            await asyncio.shield(self._written)

    async def _collect(self) -> None:
        try:
            while self._ended:
                await self._gathered()
                batch, self._ended = self._ended, []
                good, bad, ended = await asyncio.to_thread(self._write, batch)
                for live, error in bad:
                    self._engine.spawn(self._engine.failed(live, error))
                if isinstance(ended, Exception):
                    # Nothing is told that is not durable: the jobs stay live in the ledger, for whoever comes after us.
                    for live, _ in good:
                        self._engine.settle(live, None, internal(ended))
                elif good:
                    await self._engine.succeeded(good, ended)
                self._tell()
        finally:
            self._collecting = None
            self._tell()

    async def _gathered(self) -> None:
        """Come back when a turn of the loop has brought no more, or enough is there: each batch costs two commits."""
        until, count = time.monotonic() + _GATHERING, 0
        while count < len(self._ended) < _ENOUGH and time.monotonic() < until:
            count = len(self._ended)
            await asyncio.sleep(0)

    def _tell(self) -> None:
        if self._written is not None:
            self._written.set_result(None)
            self._written = None

    def _write(self, batch: list[tuple[Live, Report]]) -> tuple[_Good, _Bad, Mapping[str, Record | None] | Exception]:
        """On a thread: the bytes, then all records together; how attempts ended, and what the ledger says to it."""
        good, bad = self._store(batch)
        if not good:
            return good, bad, {}
        event = Event("succeeded", time.time(), {"cached": False})
        endings = [Ending(live.id, live.epoch, event, record, bool(live.request.lost)) for live, record in good]
        try:
            return good, bad, self._engine.scribe.ended(endings)
        except Exception as error:
            return good, bad, error

    def _store(self, batch: list[tuple[Live, Report]]) -> tuple[_Good, _Bad]:
        """On a thread: bytes first, durable before any record names them."""
        good: _Good = []
        bad: _Bad = []
        calls = [(live, report.outcome) for live, report in batch if report.outcome is not None]
        small = [data for _, outcome in calls for data in _small(outcome)]
        try:
            # The store works out each name from the bytes, and nobody else does again.
            named = dict(zip(map(id, small), self._engine.store.put_many(small), strict=True))
        except (WeftError, OSError) as error:
            failure = StagingFailed(f"the results could not be stored: {error}")
            return [], [(live, failure) for live, _ in batch]
        # One time for what is written together.
        now = time.time()
        for live, report in batch:
            try:
                self._check(live, report)
                if report.outcome is not None:
                    record = self._called(live, report.outcome, named, now)
                else:
                    record = self._processed(live, now)
            except WeftError as error:
                bad.append((live, error))
            except OSError as error:
                bad.append((live, StagingFailed(f"the results of {live.id} could not be stored: {error}")))
            except Exception as error:
                bad.append((live, internal(error)))
            else:
                good.append((live, record))
        return good, bad

    def _check(self, live: Live, report: Report) -> None:
        """Raise what an attempt failed with, as the engine has to tell it."""
        if report.outcome is not None:
            self._keep_log(live, report.outcome.log)
            error = report.outcome.error
        else:
            outcome = read_outcome(str(self._engine.folders.path(live.task)))
            if report.error is not None:
                raise report.error
            if outcome is None:
                raise Lost(f"job {live.id}: its process is gone and left no outcome")
            error = outcome.error
            if isinstance(error, Cancelled) and live.cancelled_by is None:
                # A dead owner's caller had it stopped; it is wanted again since.
                raise Lost(f"job {live.id}: its attempt {live.attempt} was stopped by {error.details.get('by')}")
        if error is not None:
            raise error

    def _called(self, live: Live, outcome: CallOutcome, named: Mapping[int, Checksum], now: float) -> Record:
        """The record of a call whose small buffers are stored; ``named`` by their identity. ``now`` is that of its batch."""
        for each in outcome.buffers:
            if isinstance(each, Path):
                self._engine.store.put_file(each, move=True)
        outputs = []
        for name, (kind, data) in outcome.outputs.items():
            if isinstance(data, Path):
                checksum, size = self._engine.store.put_file(data, move=True)
            else:
                checksum, size = named[id(data)], len(data)
            outputs.append((name, Ref(kind, checksum, size)))
        return _record(live, outputs, dict(outcome.observed), now)

    def _keep_log(self, live: Live, log: bytes) -> None:
        if log:
            folder = self._engine.logs / live.id[:3]
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{live.task}.stderr").write_bytes(log)

    def _processed(self, live: Live, now: float) -> Record:
        folders = self._engine.folders
        folder = folders.path(live.task)
        outcome = read_outcome(str(folder))
        assert outcome is not None
        # Before the outputs are taken: a stream may be one of them, and is moved.
        folders.keep_logs(folder, self._engine.logs / live.id[:3])
        outputs = list(folders.collect(folder, live.request.module, outcome).items())
        observed: dict[str, Any] = {"host": outcome.host, **outcome.usage}
        if outcome.started is not None:
            observed["seconds"] = outcome.ended - outcome.started
        executable = [
            name
            for name, each in outcome.outputs.items()
            if each and each.kind == "file" and each.entries[0].executable
        ]
        if executable:
            observed["executable"] = executable
        return _record(live, outputs, observed, now)


def _small(outcome: CallOutcome) -> list[bytes]:
    out = [data for data in outcome.buffers if isinstance(data, bytes)]
    out.extend(data for _, data in outcome.outputs.values() if isinstance(data, bytes))
    return out


@functools.cache
def _host() -> str:
    return socket.gethostname()


def _record(live: Live, outputs: list[tuple[str, Ref]], observed: dict[str, Any], now: float) -> Record:
    observed.setdefault("host", _host())
    observed["site"] = live.site.name
    # What may come out otherwise each time is its own job's alone, and no evidence against another result.
    reusable = live.request.module.deterministic and not observed.get("outside")
    return Record(live.key, tuple(sorted(outputs)), now, reusable, observed)
