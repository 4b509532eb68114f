"""A job: the getting of one calculation's result, as the fold of its events.

``advance(job, event)`` is the only rule of how a job changes. Events are numbered per job without
gaps, are durable before they are told, and are never taken back.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from weftwork.core.checksum import Checksum
from weftwork.core.direct import direct
from weftwork.core.values import Ref
from weftwork.errors import Conflict, Invalid, WeftError, from_document

State = Literal["queued", "running", "succeeded", "failed", "cancelled"]
ENDED: frozenset[str] = frozenset({"succeeded", "failed", "cancelled"})

Kind = Literal["queued", "submitted", "started", "retried", "taken over", "succeeded", "failed", "cancelled", "noted"]


@direct
@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to a job. ``time`` is seconds since 1970, UTC; ``data`` depends on the kind:

    ``queued`` {}, ``submitted`` {attempt, site} (written before the site hears of it), ``started`` {attempt, site, log}, ``retried`` {attempt, error, delay}, ``taken over`` {owner, epoch},
    ``succeeded`` {cached: whether a record answered}, ``failed`` {error}, ``cancelled`` {by}, ``noted`` {text}.
    """

    kind: Kind
    time: float
    data: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Job:
    """A job as its events have made it. ``attempt`` counts from 1 when the first try starts."""

    id: str
    key: Checksum
    name: str
    state: State = "queued"
    attempt: int = 0
    cached: bool = False
    error: Mapping[str, Any] | None = None
    queued: float | None = None
    started: float | None = None
    ended: float | None = None

    @property
    def live(self) -> bool:
        return self.state not in ENDED

    def failure(self) -> WeftError | None:
        """The error that ended the job, or ``None``."""
        return None if self.error is None else from_document(dict(self.error))


def task_name(job: str, attempt: int) -> str:
    """What an attempt at a job is called, wherever it is tried: unique in the world."""
    return f"{job}-{attempt}"


def advance(job: Job, event: Event) -> Job:
    """The job after an event. An ended job does not change: a late event is a :class:`~weftwork.errors.Conflict`."""
    if not job.live and event.kind != "noted":
        raise Conflict(f"job {job.id} has {job.state}: nothing can follow, and {event.kind!r} came")
    match event.kind:
        case "queued":
            return replace(job, state="queued", queued=event.time)
        case "submitted":
            return replace(job, attempt=int(event.data["attempt"]))
        case "started":
            started = job.started if job.started is not None else event.time
            return replace(
                job, state="running", attempt=int(event.data.get("attempt", max(job.attempt, 1))), started=started
            )
        case "retried" | "taken over":
            return replace(job, state="queued")
        case "succeeded":
            return replace(job, state="succeeded", ended=event.time, cached=bool(event.data.get("cached")), error=None)
        case "failed":
            return replace(job, state="failed", ended=event.time, error=event.data.get("error"))
        case "cancelled":
            return replace(job, state="cancelled", ended=event.time, error=event.data.get("error"))
        case "noted":
            return job
        case _:
            raise Invalid(f"job {job.id}: {event.kind!r} is not a kind of event; a newer Weftwork may have written it")


def fold(job: Job, events: Iterable[Event]) -> Job:
    """The job after all the events."""
    for event in events:
        job = advance(job, event)
    return job


@direct
@dataclass(frozen=True, slots=True)
class Record:
    """The evidence: which outputs a calculation gave, where, when, with what observed.

    ``reusable`` is false where something outside the key was seen to be used, and where the module says of itself that
    it is not deterministic: the result is given to its own job and to no other. ``observed`` holds what was seen: ``seconds``, ``memory``, ``host``,
    ``outside`` (files opened outside the bundle), ``warnings``.
    """

    key: Checksum
    outputs: tuple[tuple[str, Ref], ...]
    created: float
    reusable: bool = True
    observed: Mapping[str, Any] = field(default_factory=dict)

    def output(self, name: str) -> Ref:
        return dict(self.outputs)[name]

    def outputs_document(self) -> dict[str, Any]:
        return {name: ref.document() for name, ref in self.outputs}
