"""A live job as its engine holds it, and those who wait for it: mutable, owned by one loop, gone when it ends."""

from __future__ import annotations

import asyncio
import concurrent.futures
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from weftwork.core.calculation import Calculation
from weftwork.core.checksum import Checksum
from weftwork.core.direct import direct
from weftwork.core.job import Record, task_name
from weftwork.core.module import Module
from weftwork.core.placement import Placement
from weftwork.errors import Cancelled, WeftError
from weftwork.ports import Site

LAST = ", the last to wait for it"
"""Ends the name of who cancelled a job by withdrawing. Whoever began to wait at that very moment claims it anew."""


@direct
@dataclass(frozen=True, slots=True)
class Request:
    """A calculation to be got: with what runs it, where, and for which step of which run.

    ``lost`` says that bytes of its result are, and for whom: it is made again although a record stands.

    A module that says of itself that it is not deterministic is never answered from the cache, whatever was asked for.
    """

    calculation: Calculation
    module: Module
    placement: Placement
    run: str | None = None
    step: str | None = None
    lost: str = ""

    def __post_init__(self) -> None:
        if self.placement.cache and not self.module.deterministic:
            object.__setattr__(self, "placement", replace(self.placement, cache=False))


@dataclass(slots=True, eq=False)
class Live:
    """A job that this process makes, or follows while another one makes it (``followed``).

    ``waiters`` want its result here; ``heirs`` are live jobs of the same calculation that were asked for while this one
    was being given up: how it ends decides whether they have to claim again. ``leaving``: nobody here wants it.
    ``own``: the ledger made the job for this very request, and shows its run and step.
    ``retry`` is what will try it once more; ``restored`` counts how often it missed bytes of its inputs, ``uncounted`` the
    attempts that ended so, which are nobody's failure.
    ``submitted``: its first attempt was written down with the claim, and ``held``: has its slots.
    ``noted``: its id will be there, where a record answered it before it was written down.
    """

    request: Request
    site: Site
    loop: asyncio.AbstractEventLoop
    id: str = ""
    epoch: int = 0
    attempt: int = 0
    submitted: bool = False
    held: bool = False
    cached: bool = False
    followed: bool = False
    own: bool = False
    leaving: bool = False
    cancelled_by: str | None = None
    done: bool = False
    record: Record | None = None
    error: WeftError | None = None
    retry: asyncio.TimerHandle | asyncio.Task[None] | None = None
    restored: int = 0
    uncounted: int = 0
    waiters: list[Waiter] = field(default_factory=list)
    heirs: list[Live] = field(default_factory=list)
    noted: concurrent.futures.Future[list[str]] | None = None
    _claimed: asyncio.Future[None] | None = None

    @property
    def key(self) -> Checksum:
        return self.request.calculation.key

    @property
    def task(self) -> str:
        """The name of the present attempt, unique in the world."""
        return task_name(self.id, self.attempt)

    @property
    def shareable(self) -> bool:
        """Whether somebody else may wait for it."""
        return not (self.done or self.leaving or self.cancelled_by is not None)

    @property
    def wanted(self) -> bool:
        """Whether anybody here still waits for it."""
        return any(not waiter.withdrawn for waiter in self.waiters)

    @property
    def strict(self) -> bool:
        """Whether anybody who waits allows no conflict."""
        return any(waiter.strict for waiter in self.waiters)

    def join(self, *, strict: bool = False) -> Waiter:
        """One more who waits; ``strict``: who takes no result that differs from the one that stands."""
        waiter = Waiter(self, strict)
        self.waiters.append(waiter)
        return waiter

    async def claimed(self) -> None:
        """Come back when the ledger has answered, however it did."""
        if not self.id and not self.done:
            if self._claimed is None:
                self._claimed = self.loop.create_future()
            await asyncio.shield(self._claimed)

    def was_claimed(self) -> None:
        if self._claimed is not None and not self._claimed.done():
            self._claimed.set_result(None)

    def settle(self, record: Record | None, error: WeftError | None, conflict: WeftError | None = None) -> None:
        """The end: whoever waits is told, once; of a conflict those who allow none."""
        if self.done:
            return
        self.record, self.error, self.done = record, error, True
        self.was_claimed()
        waiters, self.waiters = self.waiters, []
        for waiter in waiters:
            waiter.settle(*((None, conflict) if conflict is not None and waiter.strict else (record, error)))


@dataclass(slots=True, eq=False)
class Waiter:
    """One caller's interest in a job. It ends with the job, or earlier where it is withdrawn while others wait."""

    live: Live
    strict: bool = False
    done: bool = False
    withdrawn: bool = False
    record: Record | None = None
    error: WeftError | None = None
    _callback: Callable[[Waiter], None] | None = None

    def settle(self, record: Record | None, error: WeftError | None) -> None:
        if self.done:
            return
        self.record, self.error, self.done = record, error, True
        if self._callback is not None:
            self._callback(self)

    def when_done(self, callback: Callable[[Waiter], None]) -> None:
        """Call back on the loop at the end, at once if that was before. One callback a waiter."""
        if self.done:
            callback(self)
        else:
            self._callback = callback

    async def wait(self) -> Record:
        """The record; raises what the job ended with."""
        if not self.done:
            future: asyncio.Future[None] = self.live.loop.create_future()
            self.when_done(lambda _: None if future.done() else future.set_result(None))
            await future
        if self.error is not None:
            raise self.error
        assert self.record is not None
        return self.record


def withdrawn(error: WeftError | None) -> bool:
    """Whether a job was cancelled only because nobody seemed to want it any more."""
    return isinstance(error, Cancelled) and str(error.details.get("by", "")).endswith(LAST)


def internal(error: Exception) -> WeftError:
    """An error of ours as one that a caller gets: never a hang. A WeftError stays as it is."""
    if isinstance(error, WeftError):
        return error
    text = "".join(traceback.format_exception(error))
    return WeftError(f"internal error, please report it: {type(error).__name__}: {error}", traceback=text)
