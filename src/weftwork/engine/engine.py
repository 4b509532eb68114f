"""calculation → record: claims, dispatch, collection, retries, cancellation.

One loop owns all live jobs. A job of the function lane never has a task of its own; the command
lane has one each while it runs. Everything durable goes through the :class:`Scribe`.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from weftwork.core.calculation import Frame
from weftwork.core.job import Event, Kind, Record
from weftwork.core.module import Function, Module
from weftwork.core.placement import Placement
from weftwork.engine.binding import Binder
from weftwork.engine.collecting import Collector
from weftwork.engine.commands import Folders
from weftwork.engine.frames import frame_of
from weftwork.engine.jobs import Live, Request, internal
from weftwork.engine.scribe import Scribe
from weftwork.engine.watching import Watch
from weftwork.errors import Cancelled, Conflict, Lost, Refused, SiteFailed, Unavailable, WeftError
from weftwork.node.outcome import read_outcome
from weftwork.ports import Call, Claim, Claimed, Ending, Ledger, Process, Report, Site, Store

LEASE = 30.0
"""Seconds after which a silent owner on another host is taken for dead."""


class Engine:
    """Gets calculations: from the record, from whoever makes it already, or by running it. Async; one loop."""

    def __init__(
        self, store: Store, ledger: Ledger, owner: str, sites: Mapping[str, Site], binder: Binder, home: Path
    ) -> None:
        self.store = store
        self.ledger = ledger
        self.owner = owner
        self.sites = dict(sites)
        self.binder = binder
        self.home = home
        self.folders = Folders(home / "jobs", store, binder)
        self.logs = home / "logs"
        self.scribe = Scribe(ledger, owner)
        self._collector = Collector(self)
        self._watch = Watch(self)
        self._live: dict[str, Live] = {}
        self._shared: dict[str, Live] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self._closing = False

    # What is to run

    def site(self, placement: Placement) -> Site:
        """The site that a placement names. Raises Refused with the names that exist."""
        name = placement.site or "local"
        try:
            return self.sites[name]
        except KeyError:
            raise Refused(f"there is no site {name!r}; the sites are {', '.join(sorted(self.sites))}") from None

    def frame(self, module: Module, placement: Placement) -> Frame:
        """What all calculations of a module at a site share. The environment is resolved for the site, now."""
        site = self.site(placement)
        refusal = site.refusal(module, placement.resources)
        if refusal is not None:
            raise Refused(f"the site {site.name} does not take {module.name}: {refusal}")
        return frame_of(module, site.resolve(module))

    # From submit to result

    async def submit(self, requests: Sequence[Request]) -> list[Live]:
        """A live job for each request, claimed: ended already where a record answers it.

        Equal requests share one job, here and with every process of the home.
        """
        lives: list[Live] = []
        fresh: list[Live] = []
        for request in requests:
            shared = self._shared.get(request.calculation.key) if request.placement.cache else None
            if shared is not None and not shared.done and shared.cancelled_by is None:
                shared.interest += 1
                lives.append(shared)
                continue
            live = Live(request, self.site(request.placement), asyncio.get_running_loop())
            if request.placement.cache:
                self._shared[live.key] = live
            lives.append(live)
            fresh.append(live)
        if fresh:
            await self._claim(fresh)
        for live in lives:
            await live.claimed.wait()
        return lives

    async def _claim(self, lives: Sequence[Live], *, anew: bool = False) -> None:
        try:
            answers = await self.scribe.claim([_claim_of(live.request, anew) for live in lives])
        except BaseException as error:
            for live in lives:
                self._shared.pop(live.key, None)
                live.settle(
                    None, error if isinstance(error, WeftError) else Cancelled("the submission was interrupted")
                )
            raise
        hits = [(live, answer) for live, answer in zip(lives, answers, strict=True) if answer.answer == "hit"]
        gone = await self._gone([answer.record for _, answer in hits if answer.record is not None])
        again: list[Live] = []
        for live, answer in zip(lives, answers, strict=True):
            live.id, live.epoch, live.attempt = answer.job, answer.epoch, answer.attempt
            if answer.answer != "hit":
                self._begin(live, answer)
            elif answer.record is not None and answer.record.key not in gone:
                live.cached = True
                self._settle(live, answer.record, None)
            else:
                again.append(live)
        if again:
            await self._claim(again, anew=True)

    async def _gone(self, records: Sequence[Record]) -> set[str]:
        """Keys of records of which bytes are no longer in the store: a hit means that its bytes are there."""
        wanted = {ref.checksum for record in records for _, ref in record.outputs}
        if not wanted:
            return set()
        missing = await asyncio.to_thread(self.store.missing, wanted)
        return {
            record.key for record in records if missing and any(ref.checksum in missing for _, ref in record.outputs)
        }

    def _begin(self, live: Live, answer: Claimed) -> None:
        """A job that is not over: follow it where another process has it, else dispatch it."""
        self._live[live.id] = live
        live.followed = answer.answer == "waiting"
        live.claimed.set()
        if not live.followed:
            self._dispatch(live, rejoin=True)

    def taken_over(self, live: Live, answer: Claimed) -> None:
        """The owner of a followed job is dead: it is ours now."""
        live.epoch, live.attempt, live.followed = answer.epoch, answer.attempt, False
        self._dispatch(live, rejoin=True)

    def _dispatch(self, live: Live, *, rejoin: bool = False) -> None:
        if isinstance(live.request.module.program, Function):
            live.attempt += 1
            self._collector.call(live)
        else:
            self.spawn(self._run_command(live, rejoin=rejoin))

    async def _run_command(self, live: Live, *, rejoin: bool) -> None:
        """One attempt of a job of the command lane; ``rejoin``: first look for the one that a dead owner left."""
        try:
            if rejoin and live.attempt > 0 and await self._rejoin(live):
                return
            live.attempt += 1
            submitted = Event("submitted", time.time(), {"attempt": live.attempt, "site": live.site.name})
            if not await self.scribe.written(live.id, live.epoch, submitted):
                self._lost_lease(live)
                return
            request = live.request
            folder = await asyncio.to_thread(
                self.folders.write,
                live.task,
                request.calculation,
                request.module,
                request.placement.resources,
                live.site,
            )
            await self._hand_over(live, folder)
        except WeftError as error:
            await self.failed(live, error)
        except OSError as error:
            await self.failed(
                live, Unavailable(f"the job folder of {live.id} cannot be made below {self.folders.root}: {error}")
            )
        except Exception as error:
            await self.failed(live, internal(error))

    async def _rejoin(self, live: Live) -> bool:
        """Go on with the attempt that a dead owner left: its outcome, or itself while it still runs."""
        folder = self.folders.path(live.task)
        ended = await asyncio.to_thread(read_outcome, str(folder)) is not None
        if not ended and live.task not in await live.site.scheduler.find([live.task]):
            return False
        if ended:
            self.report(live)(Report(live.task, "ended"))
        else:
            await self._hand_over(live, folder)
        return True

    async def _hand_over(self, live: Live, folder: Path) -> None:
        task = Process(live.task, live.id, folder, live.request.placement.resources)
        await live.site.scheduler.run([task], self.report(live))

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
                    self._collector.ended(live, report)
                case "lost":
                    detail = report.detail or "its process is gone and left no outcome"
                    self.spawn(self.failed(live, Lost(f"job {live.id}: {detail}")))
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
        if live.cancelled_by is not None and not isinstance(error, Cancelled):
            error = Cancelled(f"job {live.id} was cancelled by {live.cancelled_by}", by=live.cancelled_by)
        retries = min(live.request.placement.retries, 3)
        if isinstance(error, SiteFailed) and live.attempt <= retries and not self._closing:
            delay = min(10.0, 0.2 * 2**live.attempt) * random.uniform(0.5, 1.0)
            data = {"attempt": live.attempt, "error": error.document(), "delay": delay}
            self.scribe.append(live.id, live.epoch, Event("retried", time.time(), data))
            await asyncio.sleep(delay)
            if not live.done:
                self._dispatch(live)
            return
        kind: Kind = "cancelled" if isinstance(error, Cancelled) else "failed"
        document = error.document()
        event = Event(
            kind, time.time(), {"error": document} | ({"by": error.details.get("by")} if kind == "cancelled" else {})
        )
        try:
            ended = await self.scribe.end([Ending(live.id, live.epoch, event)])
        except Exception as unwritten:
            self._settle(live, None, internal(unwritten))
            return
        if live.id not in ended:
            self._lost_lease(live)
            return
        error.details.setdefault("job", live.id)
        self._settle(live, None, error)

    async def succeeded(self, ends: Sequence[tuple[Live, Record]]) -> None:
        """Write the records of attempts that succeeded, all together, and only then tell."""
        event = Event("succeeded", time.time(), {"cached": False})
        try:
            answers = await self.scribe.end([Ending(live.id, live.epoch, event, record) for live, record in ends])
        except Exception as error:
            # Nothing is told that is not durable: the jobs stay live in the ledger, for whoever comes after us.
            for live, _ in ends:
                self._settle(live, None, internal(error))
            return
        for live, record in ends:
            if live.id not in answers:
                self._lost_lease(live)
                continue
            private = not live.request.placement.cache or not record.reusable
            self._settle(live, record if private else answers[live.id] or record, None)

    def _lost_lease(self, live: Live) -> None:
        """Another process took this job over: what we did of it does not count, and we wait like anybody else."""
        live.followed = True
        self._watch.wake()

    def _settle(self, live: Live, record: Record | None, error: WeftError | None) -> None:
        self._live.pop(live.id, None)
        if self._shared.get(live.key) is live:
            del self._shared[live.key]
        live.settle(record, error)

    def ended_elsewhere(self, live: Live, record: Record | None, error: WeftError | None) -> None:
        """A followed job is over."""
        live.cached = record is not None
        self._settle(live, record, error)

    # Who no longer wants it

    async def withdraw(self, lives: Iterable[Live], by: str) -> None:
        """One interest less in each; the jobs that nobody wants any more, in any process, are cancelled."""
        leaving = []
        for live in lives:
            live.interest -= 1
            if live.interest <= 0 and not live.done and live.id:
                leaving.append(live)
        if not leaving:
            return
        alone = await self.scribe.call(self.ledger.withdraw, self.owner, [live.id for live in leaving], by)
        await self.cancel([live for live in leaving if live.id in alone], by)
        for live in leaving:
            if live.id in alone:
                continue
            error = Cancelled(f"nobody here waits for {live.id} any more", by=by, job=live.id)
            if live.followed:
                self._settle(live, None, error)
            else:
                # Others wait for it in their processes, and its owner is this one: it goes on.
                live.leave(error)

    async def cancel(self, lives: Sequence[Live], by: str) -> None:
        """Cancel jobs for everybody. Comes back when it is asked for; each ends with Cancelled in its own time."""
        mine: dict[str, list[Live]] = {}
        elsewhere = []
        for live in lives:
            if live.done or live.cancelled_by is not None:
                continue
            live.cancelled_by = by
            if live.followed:
                elsewhere.append(live.id)
            else:
                mine.setdefault(live.site.name, []).append(live)
        if elsewhere:
            await self.scribe.call(self.ledger.request_cancel, elsewhere, by)
        for name, owned in mine.items():
            await self.sites[name].scheduler.cancel([live.task for live in owned])
            for live in owned:
                self.spawn(self.failed(live, Cancelled(f"job {live.id} was cancelled by {by}", by=by)))

    async def cancel_anywhere(self, job: str, by: str) -> None:
        """Cancel a job for everybody, whichever process owns it; one whose owner is dead is taken over for that."""
        row = await asyncio.to_thread(self.ledger.job, job)
        if not row.job.live:
            raise Conflict(f"job {row.job.id} has {row.job.state} already: there is nothing to cancel")
        live = self._live.get(row.job.id)
        if live is not None:
            await self.cancel([live], by)
            return
        await self.scribe.call(self.ledger.request_cancel, [row.job.id], by)
        answer = (await self.scribe.call(self.ledger.follow, self.owner, [row.job.id]))[row.job.id]
        if isinstance(answer, Claimed) and answer.answer == "mine":
            await self._cancel_orphan(row.job.id, answer, by)

    async def _cancel_orphan(self, job: str, answer: Claimed, by: str) -> None:
        """End a job that a dead owner left: what still runs of it, then the job."""
        task = f"{job}-{answer.attempt}"
        for site in self.sites.values():
            if task in await site.scheduler.find([task]):
                await site.scheduler.cancel([task])
        error = Cancelled(f"job {job} was cancelled by {by}", by=by)
        await self.scribe.end(
            [Ending(job, answer.epoch, Event("cancelled", time.time(), {"error": error.document(), "by": by}))]
        )

    def forget_folder(self, folder: Path) -> None:
        """Remove the folder of an attempt whose end is durable, off the loop."""
        self.spawn(asyncio.to_thread(self.folders.remove, folder))

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
        self._closing = True
        await self.withdraw([live for live in self.lives() for _ in range(live.interest)], "the end of its process")
        while self._tasks:
            await asyncio.wait(set(self._tasks), timeout=10)
            for task in self._tasks:
                task.cancel()
        await self._watch.close()
        await self._collector.close()
        for site in self.sites.values():
            await site.scheduler.close()
        await self.scribe.call(self.ledger.release, self.owner)
        await self.scribe.close()

    def spawn(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """A task that the engine waits for at its end, and whose bug is not swallowed."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def call(self, live: Live) -> Call:
        """The task of a job of the function lane."""
        request = live.request
        return Call(live.task, live.id, request.calculation, request.module, request.placement.resources)


def _claim_of(request: Request, anew: bool) -> Claim:
    placement = replace(request.placement, cache=False) if anew else request.placement
    return Claim(request.calculation, placement, request.run, request.step)
