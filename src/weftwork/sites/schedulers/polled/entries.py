"""A task on its way through a batch system: what is known of it, and what is concluded when it is over."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from weftwork.errors import Cancelled, ExitCode, MemoryLimit, Signalled, TimeLimit, WeftError
from weftwork.node import claim
from weftwork.node.outcome import OUTCOME, Outcome, read_outcome
from weftwork.ports import Process, Report
from weftwork.sites.schedulers.polled.batches import Key, said, withdraw
from weftwork.sites.schedulers.polled.dialect import Seen

_KILLED = (137, 143)
"""Exit codes by which a shell tells that what it ran was killed (128 + SIGKILL, SIGTERM)."""


@dataclass(slots=True, eq=False)
class Entry:
    """One task. ``seen`` is the last that the batch system said of it; ``over_since``: since when, asked with success,
    it shows the task as ended, or no more."""

    process: Process
    report: Callable[[Report], None]
    done: asyncio.Future[None]
    key: Key | None = None
    seen: Seen | None = None
    started: bool = False
    over_since: float | None = None
    cancelled: bool = False

    @property
    def name(self) -> str:
        return self.process.name

    @property
    def folder(self) -> Path:
        return self.process.folder

    @property
    def ended(self) -> bool:
        """Whether the batch system said that it is over."""
        return self.seen is not None and self.seen.over

    def begin(self) -> None:
        if not self.started:
            self.started = True
            self.report(Report(self.name, "started", detail=str(self.folder)))

    def saw(self, seen: Seen | None, now: float) -> bool:
        """Take what the batch system shows of it, ``None`` for nothing; whether that is new."""
        if seen is None:
            if self.over_since is None:
                self.over_since = now
            return False
        new = self.seen is None or self.seen.state != seen.state
        self.seen = seen
        if not seen.over:
            self.over_since = None
        elif self.over_since is None:
            self.over_since = now
        if seen.state == "running":
            self.begin()
        return new

    def end(self, report: Report | None) -> None:
        """Over, with a report or (``None``) without a word."""
        if not self.done.done():
            if report is not None:
                self.report(report)
            self.done.set_result(None)


@dataclass(frozen=True, slots=True)
class Found:
    """What the file system says of a task: its outcome, and whether a node has taken its folder."""

    outcome: Outcome | None
    begun: bool


def look(folder: Path) -> Found:
    """Look at a job folder. It is listed first: a network file system then looks again at what is in it."""
    try:
        names = {each.name for each in folder.iterdir()}
    except OSError:
        return Found(None, False)
    return Found(read_outcome(str(folder)) if OUTCOME in names else None, claim.STARTED in names)


def told(entry: Entry, outcome: Outcome, site: str) -> Report | None:
    """The report of a task that left an outcome. ``None``: it was killed, and the batch system has not yet said why."""
    killed = isinstance(outcome.error, Signalled) or (
        isinstance(outcome.error, ExitCode) and outcome.exit_code in _KILLED
    )
    if killed and not entry.cancelled:
        if entry.over_since is None:
            return None
        if entry.seen is not None and (report := _by_its_word(entry, entry.seen, site)) is not None:
            return report
    return Report(entry.name, "ended")


def conclude(entry: Entry, site: str) -> Report:
    """On a thread: how a task ended that left no outcome in the time it was given. What never began never will."""
    outcome = look(entry.folder).outcome
    if outcome is not None:
        return told(entry, outcome, site) or Report(entry.name, "ended")
    never, name, seen = withdraw(entry.folder), entry.name, entry.seen
    if entry.cancelled:
        return Report(name, "lost", detail="it was cancelled")
    if seen is None or not seen.over:
        gone = f"{site} does not know it any more"
        if never:
            return Report(name, "evicted", detail=f"{gone}, and it never began")
        return Report(name, "lost", detail=f"{gone}, and it left no outcome{said(entry.folder)}")
    if (report := _by_its_word(entry, seen, site)) is not None:
        return report
    words = f"{site} says {seen.words}"
    if never:
        return Report(name, "unavailable", detail=f"{words}, and the node program never began{said(entry.folder)}")
    return Report(name, "lost", detail=f"{words}, and it left no outcome{said(entry.folder)}")


def _by_its_word(entry: Entry, seen: Seen, site: str) -> Report | None:
    """What a task ended with on the word of the batch system, where that says it."""
    asked = entry.process.resources
    error: WeftError
    match seen.cause:
        case "evicted":
            return Report(entry.name, "evicted", detail=f"{site} says {seen.words}")
        case "cancelled":
            error = Cancelled(f"it was cancelled at {site}: {seen.words}", by=site)
        case "memory":
            told = f"the job used more memory than it was given: {site} says {seen.words}"
            error = MemoryLimit(told, limit=asked.memory)
        case "time":
            given = "it names no time, so the site's counted: give it one" if asked.time is None else ""
            limit = given or f"its time limit is {asked.time:g} s"
            told = f"the job did not end within its walltime: {site} says {seen.words}; {limit}"
            error = TimeLimit(told, limit=asked.time)
        case _:
            return None
    return Report(entry.name, "ended", error=error)
