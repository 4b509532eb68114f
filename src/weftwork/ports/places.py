"""Where calculations run: tasks, schedulers, runtimes, sites."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from weftwork.core.calculation import Calculation
from weftwork.core.checksum import Checksum
from weftwork.core.direct import direct
from weftwork.core.module import Module
from weftwork.core.placement import Placement, Resources
from weftwork.core.values import Type
from weftwork.errors import WeftError

if TYPE_CHECKING:
    from weftwork.node.container import Container
    from weftwork.node.job import Job, Limits
    from weftwork.ports.ledger import Machine


@direct
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
    """A task of the command lane: a prepared job folder, which holds ``job.json``. ``held``: its name has its slots already;
    they are the scheduler's to free."""

    name: str
    job: str
    folder: Path
    resources: Resources
    held: bool = False


Task = Call | Process


@direct
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


@direct
@dataclass(frozen=True, slots=True)
class Report:
    """A state that a scheduler pushes about a task, by its name.

    ``started``: it runs now (``detail`` is the path and offset of its live log, or empty). ``ended``: it is over: for a
    :class:`Call` ``outcome`` tells how, for a :class:`Process` the folder's ``outcome.json`` does, or ``error``: what
    the place itself says of an end that the folder does not know of, or knows only as a kill (a memory limit, a
    walltime). ``lost``: it is gone and nobody knows how; ``unavailable``: the place refused to try; ``evicted``: the
    place took back what it ran on, or never began it. ``detail`` says why.
    """

    task: str
    state: Literal["started", "ended", "lost", "unavailable", "evicted"]
    outcome: CallOutcome | None = None
    detail: str = ""
    error: WeftError | None = None


class Scheduler(Protocol):
    """How a process starts at a place.

    *Before* ``run`` is awaited, a task's name is unique in the world and written down. *While* it runs, each task gets
    ``started`` at most once and then exactly one of the others, through ``report``, which never blocks. *When* ``run``
    is cancelled its tasks are cancelled, and no process of theirs is left. *After a restart*, ``find`` names those of
    the given tasks that the place still knows, and ``run`` of such a task joins it instead of starting it again.

    ``takes``: the kinds of task, ``call`` and ``process``. ``lasting``: its calls are job folders as processes are: they
    outlive this process, and the engine removes them when their record is durable. ``machine``: whose slots its processes take,
    where they take any.
    """

    takes: frozenset[str]
    lasting: bool

    @property
    def machine(self) -> Machine | None: ...

    async def run(self, tasks: Sequence[Task], report: Callable[[Report], None]) -> None: ...

    async def find(self, names: Sequence[str]) -> set[str]: ...

    async def cancel(self, names: Sequence[str]) -> None: ...

    async def leave(self, names: Sequence[str]) -> None:
        """Let go of tasks that another process goes on with: their ``run`` returns, nothing more is reported of them
        here, and those that do not need this process run on and can be found."""
        ...

    def capacity(self) -> Resources: ...

    async def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Image:
    """A container image, found. ``identity`` is what counts, wherever the bytes are; ``environment`` are its own variables;
    ``origin`` says where to get the bytes (``docker:ID``, ``registry:HOST/NAME@DIGEST``, ``archive:PATH``, ...)."""

    reference: str
    identity: Checksum
    environment: Mapping[str, str]
    origin: str


@dataclass(frozen=True, slots=True)
class Wrapping:
    """What a runtime needs to know of a command. ``image`` is what :meth:`Runtime.ready` gave; ``environment`` is complete.

    ``stdin``: the command reads a file there. ``limits`` are those that the site enforces by itself as far as it can.
    """

    task: str
    image: str
    environment: Mapping[str, str]
    limits: Limits
    cpus: int = 1
    gpus: int = 0
    network: bool = False
    stdin: bool = False


class Runtime(Protocol):
    """What wraps a command at a place.

    In every runtime the command sees its job folder at one fixed path (``weftwork.node.container.ROOT``): ``inputs`` read-only,
    ``work`` (where it starts), ``tmp`` and ``home`` its own; beside these the image, read-only, and nothing of the machine.
    It runs as the user, without network unless it is wrapped with one, whatever the image's entry point says.
    ``takes``: ``image``, a command in an image; ``machine``, one with the programs of the machine.
    ``enforces`` names the limits that the runtime itself holds a command to (``memory``, ``cpus``, ``processes``,
    ``network``); the node program measures what is left of them, a few times a second.

    *resolve* comes before the key is made, *ready* before the job folder is written: it gets the image to where the runtime can
    start it, once, however many ask. *wrap* is pure: words and nothing else. All raise
    :class:`~weftwork.errors.ImageFailed` for an image that cannot be had, and :class:`~weftwork.errors.Unavailable` where the
    runtime itself cannot be used.
    """

    name: str
    takes: frozenset[Literal["machine", "image"]]
    enforces: frozenset[str]

    def missing(self) -> str | None:
        """The program that is missing on this machine; ``None`` where all is there. Cheap: nothing is started."""
        ...

    def resolve(self, reference: str) -> Image: ...

    def ready(self, identity: Checksum) -> tuple[Image, str]:
        """The image of that identity, once resolved, and how this runtime names it when it starts it."""
        ...

    def wrap(self, wrapping: Wrapping) -> tuple[Container | None, dict[str, str]]:
        """The ``container`` part of a job (``None``: it is started as it is), and the environment in which it is started."""
        ...


class Site(Protocol):
    """A named place to compute. ``resolve`` says what a module will really find there, before the key is made.

    Raises :class:`~weftwork.errors.Refused` when the site cannot run such a module, and why.
    """

    name: str
    scheduler: Scheduler

    def resolve(self, module: Module) -> dict[str, Any]: ...

    def placed(self, job: Job, module: Module, environment: Mapping[str, Any], resources: Resources) -> Job:
        """The job as it must be run here: as it is, or in a container of the resolved environment's image."""
        ...

    def tools(self, environment: Mapping[str, Any]) -> dict[str, tuple[str, Checksum]]:
        """Where the programs that a resolved environment counts lie at this site: absolute path and content, by name."""
        ...

    def refusal(self, module: Module, resources: Resources) -> str | None:
        """Why the site does not take a module with these resources; ``None`` when it does."""
        ...


class Sites(Protocol):
    """The places that there are, by name. One is made when it is asked for; nothing of it is looked at before."""

    def placed(self, module: Module, placement: Placement, busy: Mapping[str, float]) -> Placement:
        """The placement at a site: the one that it names, or the one that the rules choose for the module, with why.

        ``busy`` gives the CPUs that jobs have or wait for, by site. Raises :class:`~weftwork.errors.Refused` where there is no such
        site, or none takes the module: each row of the rules, and why.
        """
        ...

    def named(self, name: str) -> Site:
        """Raises :class:`~weftwork.errors.Refused` with the names that exist."""
        ...

    def schedulers(self) -> list[Scheduler]:
        """Those of all sites that were made, each once."""
        ...

    async def close(self) -> None:
        """End what the sites have started for this process alone."""
        ...
