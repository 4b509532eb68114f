"""Adapters by name: our own by their modules, those of others by their entry points (group ``weftwork.adapters``)."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from weftwork.errors import Refused, Unavailable
from weftwork.sites.adapters import Maker

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

    from weftwork.formats.adapters import Adapters, Choice

GROUP: Final = "weftwork.adapters"
"""An entry point of it is called ``runtime.NAME``, ``scheduler.NAME``, ..., and is a module: see :mod:`weftwork.sites.adapters`."""

OURS: Final = {
    "scheduler.local": "weftwork.sites.schedulers.local",
    "scheduler.slurm": "weftwork.sites.schedulers.polled.slurm",
    "scheduler.sge": "weftwork.sites.schedulers.polled.sge",
    "scheduler.pbs": "weftwork.sites.schedulers.polled.pbs",
    "runtime.none": "weftwork.sites.runtimes.none",
    "runtime.docker": "weftwork.sites.runtimes.docker",
    "runtime.podman": "weftwork.sites.runtimes.podman",
    "runtime.apptainer": "weftwork.sites.runtimes.apptainer",
    "runtime.charliecloud": "weftwork.sites.runtimes.charliecloud",
    "runtime.bubblewrap": "weftwork.sites.runtimes.bubblewrap",
    "staging.shared": "weftwork.sites.stagings.shared",
    "shell.here": "weftwork.sites.shells.here",
    "shell.ssh": "weftwork.sites.shells.ssh",
}
"""Without entry points: looking for these takes longer than a known result, where much is installed."""


def load(choice: Choice, name: str) -> Maker:
    """The module of an adapter. Raises :class:`~weftwork.errors.Refused` with the names that there are."""
    full = f"{choice}.{name}"
    if full in OURS:
        return importlib.import_module(OURS[full])  # type: ignore[return-value]
    for entry in _others():
        if entry.name == full:
            return _loaded(entry)
    raise Refused(adapters().unknown(choice, name))


def adapters() -> Adapters:
    """All adapters, as the reader of ``sites.yaml`` has to know them. Imports their modules."""
    from weftwork.formats.adapters import Adapters

    ours = [importlib.import_module(module).adapter() for module in OURS.values()]
    return Adapters([*ours, *(_loaded(entry).adapter() for entry in _others())])


def _others() -> Iterator[EntryPoint]:
    from importlib.metadata import entry_points

    yield from (entry for entry in entry_points(group=GROUP) if entry.name not in OURS)


def _loaded(entry: EntryPoint) -> Maker:
    try:
        return entry.load()  # type: ignore[no-any-return]
    except Exception as error:
        raise Unavailable(
            f"the adapter {entry.name} ({entry.value}) cannot be imported: {type(error).__name__}: {error}; "
            "update or uninstall the distribution that brought it"
        ) from error
