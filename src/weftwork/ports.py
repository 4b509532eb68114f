"""Floor 2: what the engine needs from the outside, as protocols. Adapters implement them; nobody else is named here.

Each docstring states guarantees phase by phase. The contract suites in :mod:`weftwork.testing` hold every
implementation to them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Literal, Protocol

from weftwork.core.calculation import Calculation
from weftwork.core.checksum import Checksum
from weftwork.core.job import Event, Job, Record
from weftwork.core.module import Module
from weftwork.core.placement import Placement, Resources
from weftwork.core.values import Type
from weftwork.errors import WeftError


class Store(Protocol):
    """Bytes, named by their checksum. Safe to use from many threads and processes at once.

    *Before a put returns* nothing of it can be seen under its name; *after* it the bytes are durable, whole, and
    seen by every process. Killed at any moment, a put leaves either the whole buffer or nothing that counts. A *get*
    verifies: bytes that do not match their name raise :class:`~weftwork.errors.Corrupt`, and a name that is not there
    raises :class:`~weftwork.errors.NotFound`. Putting what is there already changes nothing and repairs what was corrupt.
    """

    def put(self, data: bytes) -> Checksum: ...

    def put_many(self, buffers: Sequence[bytes]) -> list[Checksum]:
        """All of them, durable together, in one go."""
        ...

    def put_stream(self, chunks: Iterable[bytes], expected: Checksum | None = None) -> tuple[Checksum, int]:
        """Bytes that arrive in pieces; the checksum and size. ``expected`` that differs is Corrupt, and nothing is kept."""
        ...

    def put_file(self, path: Path, expected: Checksum | None = None, *, move: bool = False) -> tuple[Checksum, int]:
        """A file's bytes: copied (by reflink where the file system can), or moved in when the caller owns the file."""
        ...

    def get(self, checksum: Checksum) -> bytes: ...

    def get_many(self, checksums: Sequence[Checksum]) -> dict[Checksum, bytes]:
        """Those that are there; absent ones are left out."""
        ...

    def open(self, checksum: Checksum) -> BinaryIO:
        """A stream for reading; verified as it is read to its end (the last read raises Corrupt)."""
        ...

    def path(self, checksum: Checksum) -> Path | None:
        """A local file with these bytes that must not be written to, or ``None`` where there is none."""
        ...

    def size(self, checksum: Checksum) -> int: ...

    def missing(self, checksums: Iterable[Checksum]) -> set[Checksum]:
        """Those that are not there."""
        ...

    def remove(self, checksums: Iterable[Checksum]) -> None: ...

    def checksums(self) -> Iterator[tuple[Checksum, int]]:
        """All names with their sizes, in any order."""
        ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Claim:
    """What an owner asks of the ledger for one calculation: a result, or the right to make it."""

    calculation: Calculation
    placement: Placement
    run: str | None = None
    step: str | None = None


@dataclass(frozen=True, slots=True)
class Claimed:
    """The answer to a :class:`Claim`.

    ``hit``: ``record`` answers it (``job`` is an ended job made for it). ``waiting``: a live owner has ``job``, perhaps
    the caller itself by an earlier claim.
    ``mine``: this owner has the lease on ``job`` in this ``epoch``; ``attempt`` above 0 says that an earlier owner
    died while it was trying, and its last attempt may still be found.
    """

    answer: Literal["hit", "waiting", "mine"]
    job: str
    epoch: int = 0
    attempt: int = 0
    record: Record | None = None


@dataclass(frozen=True, slots=True)
class Ending:
    """How a job ended, written together with its record: ``event`` is succeeded, failed or cancelled."""

    job: str
    epoch: int
    event: Event
    record: Record | None = None


@dataclass(frozen=True, slots=True)
class JobRow:
    """A job as the ledger shows it."""

    job: Job
    epoch: int
    owner: str | None
    run: str | None
    step: str | None
    placement: Placement
    cancel: str | None = None
    waiters: int = 0


@dataclass(frozen=True, slots=True)
class RunRow:
    """A run as the ledger shows it. ``document`` says what was run: {workflow, inputs, placement}; ``outcome`` how it ended;
    ``cancel`` who asked for its end."""

    id: str
    name: str
    state: str
    created: float
    document: Mapping[str, Any]
    ended: float | None = None
    outcome: Mapping[str, Any] | None = None
    owner: str | None = None
    cancel: str | None = None


@dataclass(frozen=True, slots=True)
class StepRow:
    """A step of a run: the job that it got, once it got one."""

    run: str
    step: str
    state: str
    job: str | None = None
    detail: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Owner:
    """A process that owns jobs: by host, boot, process id and that process's start time, so that its death is seen."""

    id: str
    host: str
    boot: str
    pid: int
    started: float


class Ledger(Protocol):
    """Facts: who has which job, what happened, what came out. One transaction a call; every method may take many.

    *A call that returned is durable.* Each write to a job names its epoch; a stale one is refused by leaving it out of
    the answer, and changes nothing. A dead owner of this host is replaced at the next claim, one of another host when
    its lease has run out by the database's clock. Safe to use from many threads and processes at once.
    """

    def register(self, owner: Owner, lease: float) -> None:
        """This process owns jobs from now on, for ``lease`` seconds unless renewed."""
        ...

    def renew(self, owner: str, lease: float) -> None: ...

    def release(self, owner: str) -> None:
        """The owner ends well: its lease ends at once, so that others may take over what is left."""
        ...

    def claim(self, owner: str, claims: Sequence[Claim]) -> list[Claimed]:
        """For each claim, in order: a usable record, else the live job of that key, else a new job of this owner.

        The caller is entered as a waiter of the job in every case but a hit. ``placement.cache`` false: always a new job,
        which is this owner's alone. The second claim of a key in one call finds what the first one made. A job that is
        taken over from a dead owner by a claim is no longer asked to be cancelled.
        """
        ...

    def follow(self, owner: str, jobs: Sequence[str]) -> dict[str, Claimed | JobRow]:
        """How jobs that others own stand: still ``waiting``, ended (the row; its record by :meth:`record_of`), or
        ``mine``, when the owner was found dead and this one took over. Raises NotFound for a job that there is not."""
        ...

    def append(self, owner: str, events: Sequence[tuple[str, int, Event]]) -> set[str]:
        """Events ``(job, epoch, event)``; the jobs whose epoch still holds. Raises Invalid for an event that ends a job."""
        ...

    def end(self, owner: str, endings: Sequence[Ending]) -> dict[str, Record | None]:
        """End jobs with their records, and free their slots. The record that now answers the key comes back: the first
        one stays the answer, a different later one is kept as a conflict. A job with ``placement.cache`` false is answered
        with its own record, which answers nobody else. Jobs with a stale epoch are left out. Raises Invalid for a job that
        succeeded without a record, or has one and did not."""
        ...

    def withdraw(self, owner: str, jobs: Sequence[str], cancel: str | None = None) -> set[str]:
        """This owner no longer waits; those live jobs for which no living process waits any more come back. With
        ``cancel`` they are asked to end in the same transaction, so that nobody can begin to wait in between."""
        ...

    def request_cancel(self, jobs: Sequence[str], by: str) -> None:
        """Ask the owners of live jobs to cancel them."""
        ...

    def cancels(self, owner: str) -> dict[str, str]:
        """Live jobs of this owner that somebody asked to cancel, and who."""
        ...

    def version(self) -> int:
        """A number that changes when any other process has written: cheap, for polling."""
        ...

    def take_slots(
        self,
        owner: str,
        host: str,
        capacity: Resources,
        wants: Sequence[tuple[str, Resources]],
        running: Callable[[str], bool] = ...,
    ) -> set[str]:
        """Take local CPUs, memory and GPUs for the named holders, first come first served; those that got theirs. The
        others queue, and get theirs at a later call. What dead owners held is free, except for holders of which
        ``running`` says that they go on; who asks in the name of one has its slots. Raises Refused, and queues nothing,
        for a want that is larger than the capacity."""
        ...

    def free_slots(self, owner: str, holders: Sequence[str]) -> None:
        """Give back, or leave the queue. The end of a job frees the slots of the holder of its name by itself."""
        ...

    def records(self, keys: Sequence[Checksum]) -> dict[Checksum, Record]:
        """Usable records by key. Never blocked by writers."""
        ...

    def record_of(self, job: str) -> Record | None:
        """The record that a job gave or was answered with, reusable or not."""
        ...

    def calculation(self, key: Checksum) -> bytes | None:
        """The document of a calculation that was ever claimed."""
        ...

    def previous(self, name: str, job: str, run_name: str | None = None, step: str | None = None) -> list[str]:
        """Earlier jobs to compare a job with, most alike first: the same step of an earlier run of that name, then the
        same module's name; newest first."""
        ...

    def job(self, prefix: str) -> JobRow:
        """A job by its id or an unambiguous beginning. Raises NotFound, or Invalid where several begin so."""
        ...

    def jobs(self, *, run: str | None = None, states: Iterable[str] = (), limit: int = 100) -> list[JobRow]:
        """Jobs, newest first."""
        ...

    def events(self, job: str, after: int = 0) -> list[tuple[int, Event]]:
        """The events of a job, numbered from 1 without gaps, those after a number."""
        ...

    def start_run(self, owner: str, run: RunRow) -> None:
        """Raises Conflict where there is a run of that id."""
        ...

    def take_run(self, owner: str, run: str) -> RunRow:
        """Go on with a run whose owner is dead or which was left. Raises Conflict while another live process has it, and
        when it has ended."""
        ...

    def request_cancel_run(self, run: str, by: str) -> None:
        """Ask the owner of a run that has not ended to cancel it; :attr:`RunRow.cancel` tells it who."""
        ...

    def set_steps(self, owner: str, steps: Sequence[StepRow]) -> None:
        """Write steps as they stand now. Raises Conflict for a run that another process took over; so does ``end_run``."""
        ...

    def end_run(self, owner: str, run: str, state: str, outcome: Mapping[str, Any], time: float) -> None: ...

    def run(self, prefix: str) -> RunRow:
        """A run by its id or an unambiguous beginning. One that has not ended and whose owner is dead is ``interrupted``."""
        ...

    def runs(self, limit: int = 100) -> list[RunRow]: ...

    def steps(self, run: str) -> list[StepRow]: ...

    def choose(self, key: Checksum, choice: Mapping[str, Any]) -> dict[str, Any]:
        """Record the choice of a race; the choice that stands (the first one written) comes back."""
        ...

    def choice(self, key: Checksum) -> dict[str, Any] | None: ...

    def conflicts(self, limit: int = 100) -> list[tuple[Record, Record]]:
        """Keys that gave two results: the one that stands and the other."""
        ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Call:
    """A task of the function lane: call the function of a module's bundle with inputs by checksum."""

    name: str
    job: str
    calculation: Calculation
    module: Module
    resources: Resources


@dataclass(frozen=True, slots=True)
class Process:
    """A task of the command lane: a prepared job folder, which holds ``job.json``."""

    name: str
    job: str
    folder: Path
    resources: Resources


Task = Call | Process


@dataclass(frozen=True, slots=True)
class CallOutcome:
    """How a call ended: its outputs (or an error), and what was observed.

    ``outputs`` maps a name to the concrete type and the canonical bytes, or a file with them that the receiver owns
    and moves into the store. ``buffers`` are what the outputs hold (the files of a directory, the arrays of a list),
    to be stored first. ``observed``: ``seconds``, ``memory`` (bytes), ``host``, ``outside`` (files opened outside the
    bundle: the result is not reused), ``warnings``. ``log`` is what the call wrote to both streams, with its
    ``logging`` records and warnings.
    """

    outputs: Mapping[str, tuple[Type, bytes | Path]] = field(default_factory=dict)
    buffers: Sequence[bytes | Path] = ()
    error: WeftError | None = None
    observed: Mapping[str, Any] = field(default_factory=dict)
    log: bytes = b""


@dataclass(frozen=True, slots=True)
class Report:
    """A state that a scheduler pushes about a task, by its name.

    ``started``: it runs now (``detail`` is the path and offset of its live log, or empty). ``ended``: it is over: for a
    :class:`Call` ``outcome`` tells how, for a :class:`Process` the folder's ``outcome.json`` does. ``lost``: it is gone
    and nobody knows how; ``unavailable``: the place refused to try, and says why in ``detail``.
    """

    task: str
    state: Literal["started", "ended", "lost", "unavailable"]
    outcome: CallOutcome | None = None
    detail: str = ""


class Scheduler(Protocol):
    """How a process starts at a place.

    *Before* ``run`` is awaited, a task's name is unique in the world and written down. *While* it runs, each task gets
    ``started`` at most once and then exactly one of the others, through ``report``, which never blocks. *When* ``run``
    is cancelled its tasks are cancelled, and no process of theirs is left. *After a restart*, ``find`` names those of
    the given tasks that the place still knows, and ``run`` of such a task joins it instead of starting it again.
    """

    takes: frozenset[str]

    async def run(self, tasks: Sequence[Task], report: Callable[[Report], None]) -> None: ...

    async def find(self, names: Sequence[str]) -> set[str]: ...

    async def cancel(self, names: Sequence[str]) -> None: ...

    async def leave(self, names: Sequence[str]) -> None:
        """Let go of tasks that another process goes on with: their ``run`` returns, nothing more is reported of them
        here, and those that do not need this process run on and can be found."""
        ...

    def capacity(self) -> Resources: ...

    async def close(self) -> None: ...


class Site(Protocol):
    """A named place to compute. ``resolve`` says what a module will really find there, before the key is made.

    Raises :class:`~weftwork.errors.Refused` when the site cannot run such a module, and why.
    """

    name: str
    scheduler: Scheduler

    def resolve(self, module: Module) -> dict[str, Any]: ...

    def tools(self, environment: Mapping[str, Any]) -> dict[str, tuple[str, Checksum]]:
        """Where the programs that a resolved environment counts lie at this site: absolute path and content, by name."""
        ...

    def refusal(self, module: Module, resources: Resources) -> str | None:
        """Why the site does not take a module with these resources; ``None`` when it does."""
        ...


class Files(Protocol):
    """What is known of files on this machine's disks and at addresses."""

    def checksum(self, path: Path) -> tuple[Checksum, int]:
        """Checksum and size of a file, from a cache where nothing can have changed since."""
        ...

    def entries(self, path: Path) -> list[tuple[str, bool, Path]]:
        """The files of a directory: relative path, executable, absolute path, sorted. Raises Invalid for what cannot be named."""
        ...

    def fetch(self, address: str, expected: Checksum | None) -> Path:
        """A local file with what an ``https://`` or ``s3://`` address holds, fetched once and verified."""
        ...

    def folder(self, checksum: Checksum, store: Store) -> Path:
        """A stored directory as a read-only folder of files, made once."""
        ...
