"""Facts: claims, jobs, runs, records."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

from weftwork.core.calculation import Calculation
from weftwork.core.checksum import Checksum
from weftwork.core.direct import direct
from weftwork.core.job import Event, Job, Record
from weftwork.core.placement import Placement, Resources

if TYPE_CHECKING:
    from weftwork.ports.batches import Answers, Batch


@direct
@dataclass(frozen=True, slots=True)
class Machine:
    """A host whose CPUs, memory and GPUs all processes of a home share, as slots."""

    host: str
    capacity: Resources


@dataclass(frozen=True, slots=True)
class First:
    """The first attempt at a job, to be begun with the job itself: at a ``site``, and where that takes slots, of which
    ``machine``. It is named by :func:`weftwork.core.job.task_name`, and so is the holder of its slots."""

    site: str
    machine: Machine | None = None


@dataclass(frozen=True, slots=True)
class Claim:
    """What an owner asks of the ledger for one calculation: a result, or the right to make it.

    ``answered``: the owner has read a record that answers it already, and asks for nothing but the ended job that says so;
    where there is no such record any more there is none.
    ``lost`` says that the bytes of its result are gone: the record that stands is no answer, and the calculation is
    made again by one job that all share. ``first``: where the claim makes a job, its first attempt is submitted with it.
    """

    calculation: Calculation
    placement: Placement
    run: str | None = None
    step: str | None = None
    answered: bool = False
    lost: bool = False
    first: First | None = None


@direct
@dataclass(frozen=True, slots=True)
class Claimed:
    """The answer to a :class:`Claim`.

    ``hit``: ``record`` answers it (``job`` is an ended job made for it; the record of an ``answered`` claim is left out, its
    owner has it). ``waiting``: a live owner has ``job``, perhaps
    the caller itself by an earlier claim.
    ``gone``: no record answers what the owner says was ``answered``; there is no job, and the owner may claim it.
    ``mine``: this owner has the lease on ``job`` in this ``epoch``; ``attempt`` above 0 says that an earlier owner
    died while it was trying, and its last attempt may still be found. ``submitted``: the job is new, and the ``first`` attempt
    of its claim is written down; ``held``: with its slots, which were free and nobody waited for.
    """

    answer: Literal["hit", "waiting", "mine", "gone"]
    job: str
    epoch: int = 0
    attempt: int = 0
    record: Record | None = None
    submitted: bool = False
    held: bool = False


@direct
@dataclass(frozen=True, slots=True)
class Ending:
    """How a job ended, written together with its record: ``event`` is succeeded, failed or cancelled.

    ``lost`` as the job was claimed: it made again what stands in a record whose bytes are gone.
    """

    job: str
    epoch: int
    event: Event
    record: Record | None = None
    lost: bool = False


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
    """A step of a run: the job that it got, once it got one. ``detail``: the ``time`` when that became so, and as far as they
    are known ``cached``, ``why`` and ``seconds``."""

    run: str
    step: str
    state: str
    job: str | None = None
    detail: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Evidence:
    """A record with the job that gave it, and the step of the run for which that was; the job is ``None`` where it is
    not known any more."""

    record: Record
    job: str | None = None
    run: str | None = None
    step: str | None = None


@dataclass(frozen=True, slots=True)
class ConflictRow:
    """A key that gave two results: the one that stands, which is the first unless its bytes were lost, and another.
    ``name`` is the module's, ``module`` the checksum of its document as it was declared last with this key."""

    key: Checksum
    name: str
    module: Checksum
    stands: Evidence
    differs: Evidence

    @property
    def later(self) -> Evidence:
        """The result that brought it up."""
        return max(self.stands, self.differs, key=lambda each: each.record.created)


@dataclass(frozen=True, slots=True)
class PinRow:
    """What is never freed: outputs of a ``job``, of a ``run`` with all its steps, of a calculation by its ``key``; or the
    value of a ``checksum``. ``kind`` says which of these ``target`` names."""

    target: str
    kind: str
    note: str = ""
    created: float = 0.0


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

    def write(self, owner: str, batch: Batch) -> Answers:
        """All parts of a batch in one transaction, in its order; each is answered as the method for it alone would, and
        what one of them raises, which is told in the answers, neither undoes nor fails the others."""
        ...

    def claim(self, owner: str, claims: Sequence[Claim]) -> list[Claimed]:
        """For each claim, in order: a usable record, else the live job of that key, else a new job of this owner.

        The caller is entered as a waiter of the job in every case but a hit. ``placement.cache`` false: always a new job,
        which is this owner's alone. The second claim of a key in one call finds what the first one made. A job that is
        taken over from a dead owner by a claim is no longer asked to be cancelled. An ``answered`` claim is a hit,
        or ``gone``, and no job is written, where no usable record answers it. A claim of what is ``lost`` gets the
        live job of its key, or a new one, although a record stands, which goes on to answer all others meanwhile.
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
        one stays the answer, a different later one is kept as a conflict. Where a job that made again what was ``lost`` gave
        something different, its own record becomes the answer, and the first one the conflict: nobody can have the
        first one's bytes any more. A job with ``placement.cache`` false is answered
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
        freed: Sequence[str] = (),
    ) -> set[str]:
        """Take local CPUs, memory and GPUs for the named holders, first come first served; those that got theirs. The
        others queue, and get theirs at a later call. What dead owners held is free, except for holders of which
        ``running`` says that they go on; who asks in the name of one has its slots. Before anything is taken, what the
        ``freed`` holders have is given back. Raises Refused, and changes nothing, for a want that is larger than the
        capacity."""
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

    def calculations(self, after: int = 0, limit: int = 1000) -> list[tuple[int, Calculation]]:
        """All calculations that were ever claimed, numbered, those after a number."""
        ...

    def history(self, after: int = 0, limit: int = 1000) -> list[tuple[int, str, Record]]:
        """All records, numbered, those after a number; with their rank: the ``answer`` to its key, a ``conflict`` with
        that, or its job's ``own``."""
        ...

    def pin(self, row: PinRow) -> None:
        """Keep something from being freed. Pinned again it has the later note."""
        ...

    def unpin(self, target: str) -> bool:
        """Let it be freed again; whether it was pinned."""
        ...

    def pins(self) -> list[PinRow]:
        """In the order of pinning."""
        ...

    def makers(self, checksums: Sequence[Checksum]) -> dict[Checksum, list[Checksum]]:
        """Keys of calculations that gave an output with one of these checksums, the first ones first; what nobody made
        is left out. Some of them, where very many did; none whose result belongs to its job because it used what is not
        in its key."""
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

    def steps(self, run: str, step: str | None = None) -> list[StepRow]:
        """The steps of a run in the order in which they began: those that were written, and besides them each step for
        which a job of its own was claimed, as its newest job stands. With ``step`` that one alone, and what it consists
        of: items (``step[0]``), candidates (``step{name}``)."""
        ...

    def choose(self, key: Checksum, choice: Mapping[str, Any]) -> dict[str, Any]:
        """Record the choice of a race; the choice that stands (the first one written) comes back."""
        ...

    def choice(self, key: Checksum) -> dict[str, Any] | None: ...

    def declared(self, key: Checksum) -> Checksum | None:
        """The document of the module that a key's calculation was asked for with last; ``None`` for an unknown key."""
        ...

    def sampled(
        self,
        count: int,
        seed: int,
        *,
        name: str | None = None,
        run: str | None = None,
        program: Mapping[str, Any] | None = None,
    ) -> tuple[list[str], int]:
        """A job for each of ``count`` calculations that succeeded, and among how many they were drawn: of a module's
        name, of a run, of a program as it counts. Equal seeds draw equally."""
        ...

    def conflicts(
        self,
        *,
        key: Checksum | None = None,
        name: str | None = None,
        run: str | None = None,
        jobs: Sequence[str] | None = None,
        limit: int = 100,
    ) -> list[ConflictRow]:
        """Keys that gave two results, the latest first: of a key, of a module by its name; those whose later result came
        from a run, or from one of the jobs."""
        ...

    def close(self) -> None: ...
