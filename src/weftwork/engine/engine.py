"""calculation → record: claims, dispatch, collection, retries, cancellation.

One loop owns all live jobs. A job of the function lane never has a task of its own; the command
lane has one each while it runs. Everything durable goes through the :class:`Scribe`.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any

from weftwork.core.calculation import Frame
from weftwork.core.checksum import Checksum
from weftwork.core.job import Event, Kind, Record
from weftwork.core.module import Function, Module
from weftwork.core.placement import Placement
from weftwork.engine.binding import Binder
from weftwork.engine.collecting import Collector
from weftwork.engine.commands import Folders
from weftwork.engine.conflicts import conflicts_refused
from weftwork.engine.frames import frame_of
from weftwork.engine.jobs import Live, Request, Waiter, internal, withdrawn
from weftwork.engine.known import Known
from weftwork.engine.leaving import Leaving
from weftwork.engine.remaking import TRIES, Remaking
from weftwork.engine.running import Running
from weftwork.engine.scratch import Scratch
from weftwork.engine.scribe import Scribe
from weftwork.engine.trying import has_tries
from weftwork.engine.watching import Watch
from weftwork.errors import (
    Cancelled,
    Corrupt,
    Evicted,
    Lost,
    MissingInputs,
    Refused,
    SiteFailed,
    Unavailable,
    WeftError,
)
from weftwork.ports import Call, Claim, Claimed, Ending, First, Ledger, Report, Site, Sites, Store

LEASE = 30.0
"""Seconds after which a silent owner on another host is taken for dead."""


_FRAMES = 256
"""Frames that an engine keeps at most."""


class Engine:
    """Gets calculations: from the record, from whoever makes it already, or by running it. Async; one loop, on which it
    is made."""

    def __init__(
        self, store: Store, ledger: Ledger, scribe: Scribe, owner: str, sites: Sites, binder: Binder, home: Path
    ) -> None:
        self.store = store
        self.ledger = ledger
        self.owner = owner
        self.sites = sites
        self.binder = binder
        self.home = home
        self.folders = Folders(home / "jobs", store, binder)
        self.logs = home / "logs"
        self.scribe = scribe
        self.known = Known(ledger, self.scribe, asyncio.get_running_loop())
        self.leaving = Leaving(self)
        self.remaking = Remaking(self)
        self.scratch = Scratch()
        self.collector = Collector(self)
        self._running = Running(self)
        self._watch = Watch(self)
        self._frames: dict[tuple[Checksum, str], Frame] = {}
        self._live: dict[str, Live] = {}
        self._shared: dict[str, Live] = {}
        self.tasks: set[asyncio.Task[Any]] = set()
        self.closing = False

    # What is to run

    def placed(self, module: Module, placement: Placement) -> Placement:
        """The placement at a site: chosen by the rules where it names none, once, before the environment is resolved there.

        Raises Refused where there is no such site, or none takes the module, and why.
        """
        return self.sites.placed(module, placement, self._busy())

    def _busy(self) -> Counter[str]:
        """The CPUs that our jobs have or wait for, by site. Called from any thread."""
        busy: Counter[str] = Counter()
        for live in list(self._live.values()):
            busy[live.site.name] += live.request.placement.resources.cpus
        return busy

    def site(self, placement: Placement) -> Site:
        """The site of a placement that is placed."""
        assert placement.site is not None, "a site is chosen before anything is made for it"
        return self.sites.named(placement.site)

    def frame(self, module: Module, placement: Placement) -> Frame:
        """What all calculations of a module at a site share. The environment is resolved for the site, now."""
        site = self.site(placement)
        refusal = site.refusal(module, placement.resources)
        if refusal is not None:
            raise Refused(f"the site {site.name} does not take {module.name}: {refusal}")
        environment = site.resolve(module)
        known = self._frames.get((module.checksum, site.name))
        if known is None or known.environment != environment:
            if len(self._frames) >= _FRAMES:
                self._frames.clear()
            # One object for all calls of a module as it is: what is worked out of it is kept with it.
            known = self._frames[module.checksum, site.name] = frame_of(module, environment)
        return known

    # From submit to result

    async def submit(self, requests: Sequence[Request]) -> list[Waiter]:
        """Somebody who waits for each request, whose job is claimed: ended already where a record answers it.

        Equal requests share one job, here and with every process of the home. A caller that is cancelled meanwhile
        has withdrawn from all.
        """
        if self.closing:
            raise Refused("this engine is closed: nothing can be submitted to it any more")
        loop = asyncio.get_running_loop()
        sites = [self.site(request.placement) for request in requests]
        waiters: list[Waiter] = []
        fresh: list[Live] = []
        for request, site in zip(requests, sites, strict=True):
            live = self._shared.get(request.calculation.key) if request.placement.cache else None
            if live is None or not live.shareable:
                live = Live(request, site, loop)
                if request.placement.cache:
                    self._shared[live.key] = live
                fresh.append(live)
            waiters.append(live.join(strict=request.placement.strict))
        try:
            if fresh:
                # A task of the engine: what the ledger was asked for is taken, whether or not the caller still waits.
                await asyncio.shield(self.spawn(self._claim(fresh)))
            for waiter in waiters:
                if not waiter.live.id:
                    await waiter.live.claimed()
        except asyncio.CancelledError:
            self.spawn(self.leaving.withdraw(waiters, "its caller"))
            raise
        for waiter in waiters:
            if waiter.error is not None and not waiter.live.id:
                raise waiter.error
        return waiters

    async def _claim(self, lives: Sequence[Live]) -> None:
        """Ask the ledger, and act on each answer. An error of the ledger ends the jobs with it.

        A record answers whether or not its bytes are there: who reads them has them made again.
        """
        try:
            answers = await self.scribe.claim([_claim_of(live) for live in lives])
        except Exception as error:
            for live in lives:
                self.settle(live, None, internal(error))
            return
        for live, answer in zip(lives, answers, strict=True):
            live.id, live.epoch, live.attempt = answer.job, answer.epoch, answer.attempt
            live.submitted, live.held = answer.submitted, answer.held
            live.own = answer.answer == "hit" or (answer.answer == "mine" and answer.epoch == 1)
            if answer.record is None:
                self._begin(live, answer)
            else:
                live.cached = True
                self.settle(live, answer.record, None)

    def _begin(self, live: Live, answer: Claimed) -> None:
        """A job that is not over: follow it where another process has it, else dispatch it."""
        live.was_claimed()
        earlier = self._live.get(live.id)
        if earlier is not None and earlier is not live:
            # It is being given up here, or goes on for others: how it ends tells whether to claim again.
            earlier.heirs.append(live)
            return
        self._live[live.id] = live
        live.followed = answer.answer == "waiting"
        if not live.followed:
            if live.request.lost:
                self.scribe.append(live.id, live.epoch, Event("noted", time.time(), {"lost": live.request.lost}))
            self.dispatch(live, rejoin=True)

    def taken_over(self, live: Live, answer: Claimed) -> None:
        """The owner of a followed job is dead: it is ours now."""
        live.epoch, live.attempt, live.followed = answer.epoch, answer.attempt, False
        if live.cancelled_by is not None:
            self.spawn(self._ended_for_good(live, answer, live.cancelled_by))
        else:
            self.dispatch(live, rejoin=True)

    async def _ended_for_good(self, live: Live, answer: Claimed, by: str) -> None:
        await self.leaving.end_orphan(live.id, answer, by)
        self.settle(live, None, Cancelled(f"job {live.id} was cancelled by {by}", by=by))

    def dispatch(self, live: Live, *, rejoin: bool = False) -> None:
        """Begin an attempt; ``rejoin``: perhaps the one that a dead owner left."""
        live.retry = None
        if live.done:
            return
        if isinstance(live.request.module.program, Function):
            if rejoin and live.attempt and live.site.scheduler.lasting:
                self.spawn(self.collector.rejoin(live))
                return
            live.attempt += 1
            self.collector.call(live)
        else:
            self.spawn(self._running.run(live, rejoin=rejoin))

    def report(self, *lives: Live) -> Callable[[Report], None]:
        """What a scheduler calls with the states of these jobs' tasks."""
        tasks = {live.task: live for live in lives}

        def told(report: Report) -> None:
            live = tasks[report.task]
            if live.done or live.task != report.task:
                return
            match report.state:
                case "started":
                    data = {"attempt": live.attempt, "site": live.site.name, "log": report.detail}
                    self.scribe.append(live.id, live.epoch, Event("started", time.time(), data))
                case "ended":
                    self.collector.ended(live, report)
                case "lost":
                    detail = report.detail or "its process is gone and left no outcome"
                    self.spawn(self.failed(live, Lost(f"job {live.id}: {detail}")))
                case "evicted":
                    self.spawn(self.failed(live, Evicted(f"job {live.id} was evicted: {report.detail}")))
                case "unavailable":
                    self.spawn(
                        self.failed(
                            live, Unavailable(f"the site {live.site.name} cannot run {live.id}: {report.detail}")
                        )
                    )

        return told

    # How it ends

    async def failed(self, live: Live, error: WeftError) -> None:
        """An attempt failed: try again where the place is to blame and tries are left, else the job has failed."""
        if live.done:
            return
        if live.cancelled_by is not None:
            error = Cancelled(f"job {live.id} was cancelled by {live.cancelled_by}", by=live.cancelled_by)
        elif self.closing:
            # Others wait for it, and go on with it when this process is gone: its end is not ours to write.
            self.settle(live, None, error)
            return
        elif isinstance(error, SiteFailed) and await has_tries(self.ledger, live, error):
            self._again(live, error)
            return
        elif isinstance(error, (MissingInputs, Corrupt)) and live.restored < TRIES:
            self._forget_folder(live)
            self.remaking.restore(live, error)
            return
        kind: Kind = "cancelled" if isinstance(error, Cancelled) else "failed"
        data = {"error": error.document()} | ({"by": error.details.get("by")} if kind == "cancelled" else {})
        try:
            ended = await self.scribe.end([Ending(live.id, live.epoch, Event(kind, time.time(), data))])
        except Exception as unwritten:
            self.settle(live, None, internal(unwritten))
            return
        if live.done:
            return
        if live.id not in ended:
            self.lost_lease(live)
            return
        self._forget_folder(live)
        error.details.setdefault("job", live.id)
        self.settle(live, None, error)

    def _again(self, live: Live, error: SiteFailed) -> None:
        """Try once more after a while, the longer the more often it was tried."""
        self._forget_folder(live)
        delay = min(10.0, 0.2 * 2**live.attempt) * random.uniform(0.5, 1.0)
        data = {"attempt": live.attempt, "error": error.document(), "delay": delay}
        self.scribe.append(live.id, live.epoch, Event("retried", time.time(), data))
        live.retry = live.loop.call_later(delay, self.dispatch, live)

    async def succeeded(self, ends: Sequence[tuple[Live, Record]], answers: Mapping[str, Record | None]) -> None:
        """Tell of attempts that succeeded, whose records are durable."""
        refused = await conflicts_refused(self, [live for live, _ in ends if live.strict])
        for live, record in ends:
            if live.done:
                continue
            if live.id not in answers:
                self.lost_lease(live)
                continue
            # The folder was needed until the record is durable: a dead engine's successor would have read it again.
            self._forget_folder(live)
            private = not live.request.placement.cache or not record.reusable
            if not private:
                self.scratch.made(live.request, record)
            self.settle(live, record if private else answers[live.id] or record, None, refused.get(live.id))

    def lost_lease(self, live: Live) -> None:
        """Another process took this job over: what we did of it does not count, and we wait like anybody else."""
        live.followed = True
        self._watch.wake()

    def settle(
        self, live: Live, record: Record | None, error: WeftError | None, conflict: WeftError | None = None
    ) -> None:
        """A live job is over here: whoever waits is told, or claims again where it was cancelled before they came."""
        if self._live.get(live.id) is live:
            del self._live[live.id]
        heirs, live.heirs = live.heirs, []
        if withdrawn(error) and live.wanted and not self.closing:
            live.followed, live.cancelled_by = False, None
            heirs.append(live)
        else:
            if self._shared.get(live.key) is live:
                del self._shared[live.key]
            live.settle(record, error, conflict)
        again = [heir for heir in heirs if isinstance(error, Cancelled) and heir.wanted and not self.closing]
        for heir in heirs:
            if heir not in again:
                self.settle(heir, record, error, conflict)
        if again:
            self.spawn(self._claim(again))

    def ended_elsewhere(self, live: Live, record: Record | None, error: WeftError | None) -> None:
        """A followed job is over."""
        live.cached = record is not None
        self.settle(live, record, error)

    def _forget_folder(self, live: Live) -> None:
        """Remove the folder of an attempt that is over, off the loop; its streams are kept."""
        if live.site.scheduler.lasting or not isinstance(live.request.module.program, Function):
            self.spawn(asyncio.to_thread(self.folders.discard, live.task, self.logs / live.id[:3]))

    def live(self, job: str) -> Live | None:
        return self._live.get(job)

    def lives(self) -> list[Live]:
        return list(self._live.values())

    # Lifetime

    async def start(self) -> None:
        """Begin to watch what other processes do."""
        self._watch.start()

    async def close(self) -> None:
        """Withdraw from all that is live, let the last writes through, and end every process of ours."""
        self.closing = True
        await self.leaving.close()
        await self._watch.close()
        await self.sites.close()
        try:
            await self.scribe.call(self.ledger.release, self.owner)
        finally:
            await self.scribe.close()

    def spawn(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """A task that the engine waits for at its end, and whose bug is not swallowed."""
        task = asyncio.get_running_loop().create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return task

    def call(self, live: Live) -> Call:
        """The task of a job of the function lane."""
        request = live.request
        return Call(live.task, live.id, request.calculation, request.module, request.placement.resources)


def _claim_of(live: Live) -> Claim:
    request, first = live.request, None
    if not isinstance(request.module.program, Function):
        first = First(live.site.name, live.site.scheduler.machine)
    return Claim(
        request.calculation, request.placement, request.run, request.step, lost=bool(request.lost), first=first
    )
