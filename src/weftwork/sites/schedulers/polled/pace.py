"""How a batch system is used: what a site adds to each submission, and how often and patiently it is asked."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass

from weftwork.core.placement import Resources

ANY = Resources(cpus=10_000, gpus=10_000)
"""The capacity of a site that says nothing about its nodes: the batch system refuses what does not fit."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What a site adds: ``options`` (words of every submission), ``directives`` (lines at the head of the script), ``prologue``
    (lines of ``sh`` that run on the node first), ``python`` there. ``array``: the largest array; ``at_once``: the most
    tasks in the queue; ``capacity``: the largest task."""

    options: Sequence[str] = ()
    directives: Sequence[str] = ()
    prologue: str = ""
    python: str = "python3"
    array: int = 1000
    at_once: int = 10_000
    capacity: Resources = ANY


@dataclass(frozen=True, slots=True)
class Pace:
    """How often and how patiently, in seconds. Asking begins with every ``poll`` and slows to ``slowest`` while nothing changes.

    ``gather``: a batch is submitted when no task has come for so long, or the first has waited ten times that.
    ``outcomes``: between two looks at the folders of what runs. ``patience``: for a task that the batch system shows no
    more, or shows as ended, to leave its outcome. ``outage``: how long a submission that fails is tried again. ``grace``:
    what a cancelled task has before the batch system ends it. ``burst`` commands at once, then one every ``every``.
    """

    gather: float = 0.3
    poll: float = 2.0
    slowest: float = 30.0
    outcomes: float = 1.0
    patience: float = 90.0
    outage: float = 900.0
    grace: float = 15.0
    burst: int = 4
    every: float = 2.0


class Bucket:
    """Keeps the commands that reach a controller few: ``burst`` tokens, a new one every ``seconds``."""

    def __init__(self, burst: int, seconds: float) -> None:
        self._burst = burst
        self._seconds = seconds
        self._tokens = float(burst)
        self._at = time.monotonic()

    async def take(self) -> None:
        """Take a token; comes back when there is one."""
        if self._seconds <= 0:
            return
        now = time.monotonic()
        self._tokens = min(self._burst, self._tokens + (now - self._at) / self._seconds) - 1
        self._at = now
        if self._tokens < 0:
            await asyncio.sleep(-self._tokens * self._seconds)
