"""What is known of the steps of a run while it goes on, and the plain lines that tell it where there is no terminal."""

from __future__ import annotations

import sys
import time
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from weftwork.cli.text import duration, headline

if TYPE_CHECKING:
    from weftwork.engine.driver import StepEvent

_EVERY = 2.0
"""Seconds between two lines about one map."""


@dataclass(slots=True)
class Line:
    """One step with all of its items and candidates."""

    name: str
    state: str = "waiting"
    tasks: Counter[str] = field(default_factory=Counter)
    cached: int = 0
    since: float | None = None
    until: float | None = None
    detail: str = ""
    many: bool = False
    told: float = 0.0
    _states: dict[str, str] = field(default_factory=dict)

    @property
    def total(self) -> int:
        return len(self._states)

    @property
    def done(self) -> int:
        return self.total - self.tasks["running"]

    def heard(self, event: StepEvent) -> None:
        self.since = event.time if self.since is None else self.since
        if event.step == self.name and self._states and self.name not in self._states:
            self._ended(event)
            return
        before = self._states.get(event.step)
        if before is not None:
            self.tasks[before] -= 1
        self._states[event.step] = event.state
        self.tasks[event.state] += 1
        self.cached += event.cached
        self.many = self.many or event.step != self.name
        if not self.many:
            self._ended(event)
        elif self.until is None:  # a race goes on being over while its losers end
            self.state = "running"

    def _ended(self, event: StepEvent) -> None:
        self.state, self.detail = event.state, event.detail
        self.until = None if event.state == "running" else event.time

    def marks(self) -> str:
        """``cached``, how long, how many of how many."""
        parts = []
        if self.many:
            parts.append(f"{self.done:,}/{self.total:,}")
        if self.cached:
            parts.append("cached" if self.cached == self.total else f"{self.cached:,} cached")
        if self.since is not None and not (self.cached and self.cached == self.total):
            seconds = (self.until or time.time()) - self.since
            parts.append(duration(max(seconds, 0.0)))
        return ", ".join(parts)


class Board:
    """The steps of a run in the order of its document; events come from another thread."""

    def __init__(self, names: Sequence[str]) -> None:
        self.lines = {name: Line(name) for name in names}
        self.started = time.time()
        self.jobs: dict[str, str] = {}
        self.seconds: dict[str, float] = {}
        self._events: deque[StepEvent] = deque()

    def watch(self, event: StepEvent) -> None:
        """Called by the engine, at any time."""
        self._events.append(event)

    def take(self) -> list[StepEvent]:
        """The events since the last look, taken into account."""
        out = []
        while self._events:
            event = self._events.popleft()
            name = event.step.partition("[")[0].partition("{")[0]
            self.lines.setdefault(name, Line(name)).heard(event)
            if event.job is not None:
                self.jobs[event.step] = event.job
            if event.seconds is not None:
                self.seconds[event.step] = event.seconds
            out.append(event)
        return out


class Display(Protocol):
    """Shows a board while a run goes on."""

    def show(self) -> None: ...

    def close(self) -> None: ...


class Plain:
    """One line a change, on standard error. Items of a map are counted, and told one by one where they fail."""

    def __init__(self, board: Board) -> None:
        self._board = board

    def show(self) -> None:
        for event in self._board.take():
            line = self._board.lines[event.step.partition("[")[0].partition("{")[0]]
            if "[" not in event.step:
                self._write(event.step, event.state, self._marks(event, line), event.detail)
            elif event.state not in ("running", "succeeded"):
                self._write(event.step, event.state, "", event.detail)
            elif line.done < line.total and time.monotonic() - line.told > _EVERY:
                line.told = time.monotonic()
                self._write(line.name, "running", line.marks(), "")

    def _marks(self, event: StepEvent, line: Line) -> str:
        if line.many and event.step == line.name:
            return line.marks()
        if event.cached:
            return "cached"
        return duration(event.seconds)

    def _write(self, name: str, state: str, marks: str, detail: str) -> None:
        marked = f" ({marks})" if marks else ""
        first = headline(detail)
        sys.stderr.write(f"{name} {state}{marked}{': ' if first else ''}{first}\n")
        sys.stderr.flush()

    def close(self) -> None:
        self.show()


class Silent:
    """Shows nothing, and takes the events."""

    def __init__(self, board: Board) -> None:
        self._board = board

    def show(self) -> None:
        self._board.take()

    def close(self) -> None:
        self._board.take()


def display(board: Board, *, quiet: bool) -> Display:
    """The display for this standard error."""
    import os

    if quiet:
        return Silent(board)
    if sys.stderr.isatty() and os.environ.get("TERM", "dumb") != "dumb":
        from weftwork.cli.live import LiveDisplay

        return LiveDisplay(board)
    return Plain(board)
