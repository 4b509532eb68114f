"""What a batch system is to us: how it is told to start, asked and told to stop. Pure functions, one small file a system.

Every batch is a job array whose name is unique in the world; its tasks are numbered from 1. A dialect never meets a
task's folder: which folder a number stands for is in the batch's list.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from weftwork.core.placement import Resources

State = Literal["queued", "running", "stuck", "ended", "unknown"]
"""``stuck``: it is listed, and will not run unless somebody intervenes. ``unknown``: a state that no page describes."""

Cause = Literal["", "memory", "time", "evicted", "cancelled"]
"""Why a task ended, on the word of the batch system; empty where it does not say, or where it just ended."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A task as the batch system shows it: task ``number`` of the array ``batch``; ``id`` is what cancels it.

    ``words`` are the system's own, for people.
    """

    batch: str
    number: int
    id: str
    state: State
    cause: Cause = ""
    words: str = ""

    @property
    def over(self) -> bool:
        return self.state in ("ended", "stuck")


@dataclass(frozen=True, slots=True)
class Needs:
    """What to ask for a task: ``mib`` of memory, ``seconds`` of walltime; ``None`` is the site's default."""

    cpus: int = 1
    mib: int | None = None
    seconds: int | None = None
    gpus: int = 0

    @staticmethod
    def of(resources: Resources, memory: int = 64, seconds: int = 60) -> Needs:
        """A task's resources, with ``memory`` MiB and ``seconds`` more for the node program, which holds the task to its own limits."""
        mib = None if resources.memory is None else math.ceil(resources.memory / 2**20) + memory
        time = None if resources.time is None else math.ceil(resources.time) + seconds
        return Needs(resources.cpus, mib, time, resources.gpus)


@dataclass(frozen=True, slots=True)
class Array:
    """A batch to be submitted: its script comes on the standard input. ``options`` are words of the site's own."""

    name: str
    count: int
    needs: Needs
    folder: str
    options: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Dialect:
    """A batch system.

    ``submit``: the words that submit an array. ``submitted``: the id out of what they print, ``None`` where there is none.
    ``ask``: the words that list the tasks of arrays by name. ``past``: the same for those that the queue has forgotten,
    where there is a way. ``read``: the tasks out of what either prints, with whatever a site prints around it. ``cancel``: the
    words that end tasks.

    ``full``: that it has too many tasks for now, or the array has. ``words`` are those for a partition, an account, a quality of service, with ``{}`` for its name; ``variable`` is what ``sh`` expands to a task's number; ``refused`` matches what a submission says that will never be
    taken as it is, so that it is not tried again for long.
    """

    name: str
    variable: str
    submit: Callable[[Array], list[str]]
    submitted: Callable[[str], str | None]
    ask: Callable[[Sequence[str]], list[str]]
    read: Callable[[str], list[Seen]]
    cancel: Callable[[Sequence[Seen]], list[str]]
    refused: re.Pattern[str]
    full: re.Pattern[str]
    words: Mapping[str, Sequence[str]]
    past: Callable[[Sequence[str]], list[str]] | None = None


def numbers(text: str) -> list[int]:
    """The numbers of a range as batch systems write it: ``3``, ``1-4,7``, ``1-9:2``, with a ``%5`` at its end."""
    found: list[int] = []
    for part in text.split("%")[0].split(","):
        match = re.fullmatch(r"(\d+)(?:-(\d+)(?::(\d+))?)?", part.strip())
        if match is not None:
            first, last, step = match.groups()
            found.extend(range(int(first), int(last or first) + 1, int(step or 1)))
    return found


def spans(found: Sequence[int]) -> str:
    """Numbers as a range: ``1-4,7``."""
    parts: list[list[int]] = []
    for number in sorted(set(found)):
        if parts and parts[-1][1] == number - 1:
            parts[-1][1] = number
        else:
            parts.append([number, number])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in parts)
