"""Sites behind a batch system, out of plain settings: which system, reached from where, and what is said to it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weftwork.core.checksum import Checksum
from weftwork.core.placement import Resources
from weftwork.errors import Invalid
from weftwork.ports import Runtime, Shell
from weftwork.sites.machine import Machine
from weftwork.sites.runtimes.none import Bare
from weftwork.sites.schedulers.polled.pace import ANY, Pace, Settings
from weftwork.sites.schedulers.polled.scheduler import Polled
from weftwork.sites.shells.here import Here
from weftwork.sites.site import PlacedSite

if TYPE_CHECKING:
    from weftwork.sites.schedulers.polled.dialect import Dialect

HashFile = Callable[[Path], tuple[Checksum, int]]


def batch_site(
    name: str,
    system: str,
    home: Path,
    hash_file: HashFile,
    *,
    shell: Shell | None = None,
    runtime: Runtime | None = None,
    partition: str | None = None,
    account: str | None = None,
    qos: str | None = None,
    options: Sequence[str] = (),
    directives: Sequence[str] = (),
    prologue: str = "",
    python: str = "python3",
    array: int = 1000,
    at_once: int = 10_000,
    capacity: Resources = ANY,
    pace: Mapping[str, Any] | None = None,
) -> PlacedSite:
    """A site whose jobs a batch system starts.

    ``system`` is ``slurm``, ``sge`` or ``pbs``. ``home`` is the folder of all state, on a file system that the nodes see by
    the same path. ``partition`` (a queue), ``account`` (a project) and ``qos`` are said in the system's words; ``options``
    are further words of each submission; ``directives`` lines at the head of its script; ``prologue`` lines of ``sh`` that
    run on the node before anything else; ``python`` is Python there. ``array`` is the largest job array, ``at_once`` the most
    tasks that the queue is given, ``capacity`` the largest task. ``pace`` are the seconds of :class:`~weftwork.sites.schedulers.polled.pace.Pace`.

    Raises :class:`~weftwork.errors.Invalid` for a system that is not known, or a word that it has not got.
    """
    dialect = dialect_of(system)
    words = {"partition": partition, "account": account, "qos": qos}
    said = []
    for word, value in words.items():
        if value is None:
            continue
        if word not in dialect.words:
            raise Invalid(f"site {name}: {system} has no {word}; it has {', '.join(sorted(dialect.words))}")
        said += [each.format(value) for each in dialect.words[word]]
    settings = Settings([*said, *options], tuple(directives), prologue, python, array, at_once, capacity)
    scheduler = Polled(dialect, shell or Here(), home, settings, Pace(**(pace or {})))
    return PlacedSite(name, scheduler, runtime or Bare(), Machine(hash_file))


def dialect_of(system: str) -> Dialect:
    """The dialect of a batch system by its name."""
    if system == "slurm":
        from weftwork.sites.schedulers.polled.slurm import SLURM

        return SLURM
    raise Invalid(f"there is no batch system {system!r}; there is slurm")
