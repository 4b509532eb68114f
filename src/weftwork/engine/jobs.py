"""A live job as its engine holds it: mutable, owned by one loop, gone when it ends."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from weftwork.core.calculation import Calculation
from weftwork.core.checksum import Checksum
from weftwork.core.job import Record
from weftwork.core.module import Module
from weftwork.core.placement import Placement
from weftwork.errors import WeftError
from weftwork.ports import Site


@dataclass(frozen=True, slots=True)
class Request:
    """A calculation to be got: with what runs it, where, and for which step of which run."""

    calculation: Calculation
    module: Module
    placement: Placement
    run: str | None = None
    step: str | None = None


@dataclass(slots=True, eq=False)
class Live:
    """A job that this process wants the result of: its own, or one that another process owns (``followed``)."""

    request: Request
    site: Site
    loop: asyncio.AbstractEventLoop
    id: str = ""
    epoch: int = 0
    attempt: int = 0
    interest: int = 1
    cached: bool = False
    followed: bool = False
    cancelled_by: str | None = None
    record: Record | None = None
    error: WeftError | None = None
    claimed: asyncio.Event = field(default_factory=asyncio.Event)
    done: bool = False
    _callbacks: list[Callable[[Live], None]] = field(default_factory=list)

    @property
    def key(self) -> Checksum:
        return self.request.calculation.key

    @property
    def task(self) -> str:
        """The name of the present attempt, unique in the world."""
        return f"{self.id}-{self.attempt}"

    def settle(self, record: Record | None, error: WeftError | None) -> None:
        """The end: callbacks are told on the loop, once."""
        if self.done:
            return
        self.record, self.error, self.done = record, error, True
        self.claimed.set()
        callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            callback(self)

    def leave(self, error: WeftError) -> None:
        """Those who wait here are told that it is over for them; the job itself goes on."""
        callbacks, self._callbacks = self._callbacks, []
        left = replace(self, error=error, done=True, _callbacks=[])
        for callback in callbacks:
            callback(left)

    def when_done(self, callback: Callable[[Live], None]) -> None:
        """Call back at the end, at once if that was before."""
        if self.done:
            callback(self)
        else:
            self._callbacks.append(callback)

    async def wait(self) -> Record:
        """The record; raises what the job ended with."""
        future: asyncio.Future[Live] = self.loop.create_future()

        def wake(ended: Live) -> None:
            if not future.done():
                future.set_result(ended)

        self.when_done(wake)
        ended = await future
        if ended.error is not None:
            raise ended.error
        assert ended.record is not None
        return ended.record


def internal(error: Exception) -> WeftError:
    """An error of ours as one that a caller gets: never a hang. A WeftError stays as it is."""
    if isinstance(error, WeftError):
        return error
    text = "".join(traceback.format_exception(error))
    return WeftError(f"internal error, please report it: {type(error).__name__}: {error}", traceback=text)
