"""Settings: where state lives, and what a home is made of. Lower floors get built objects from here."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from weftwork.core.placement import Resources
from weftwork.engine.binding import Binder
from weftwork.errors import Invalid, Unavailable
from weftwork.ledger.sqlite import SqliteLedger
from weftwork.stores.directory import DirectoryStore
from weftwork.stores.sources import Sources

if TYPE_CHECKING:
    from weftwork.engine.engine import Engine
    from weftwork.ports import Site

SETTINGS = {
    "WEFT_HOME": "the folder of all state; the command line's --home wins over it",
    "WEFT_CPUS": "how many CPUs of this machine jobs may use at once; by default all that the process may",
    "WEFT_DEBUG": "1: the command line shows the traceback of a fault of Weftwork, beside keeping it",
}
"""The environment variables that Weftwork reads, each with what it does."""


def home_folder(home: str | os.PathLike[str] | None = None) -> Path:
    """The folder of all state: the one given, ``WEFT_HOME``, or the platform's data directory."""
    if home is not None:
        return Path(home).expanduser().absolute()
    from_environment = os.environ.get("WEFT_HOME")
    if from_environment:
        return Path(from_environment).expanduser().absolute()
    import platformdirs

    return Path(platformdirs.user_data_dir("weftwork", appauthor=False))


@dataclass(frozen=True, slots=True)
class Home:
    """An opened home: its store and ledger, and the border between values and bytes.

    ``described`` makes further sites than this machine's own, each when it is first named."""

    folder: Path
    store: DirectoryStore
    ledger: SqliteLedger
    sources: Sources
    binder: Binder
    described: Mapping[str, Callable[[Home], Site]] = field(default_factory=dict)

    def close(self) -> None:
        self.ledger.close()
        self.store.close()
        self.sources.close()


def open_home(
    home: str | os.PathLike[str] | None = None, described: Mapping[str, Callable[[Home], Site]] | None = None
) -> Home:
    """Open a home, which is made where there is none.

    Raises :class:`~weftwork.errors.Unavailable` when the folder cannot be used, with what to do.
    """
    folder = home_folder(home)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Unavailable(
            f"the home {folder} cannot be made: {error.strerror}; choose another with --home or WEFT_HOME"
        ) from error
    if not os.access(folder, os.W_OK):
        raise Unavailable(f"the home {folder} cannot be written to; choose another with --home or WEFT_HOME")
    store = DirectoryStore(folder / "store")
    ledger = SqliteLedger(folder / "ledger.sqlite")
    sources = Sources(folder / "cache")
    return Home(folder, store, ledger, sources, Binder(store, sources), described or {})


def open_engine(home: Home) -> Engine:
    """An engine for this process over a home, registered as an owner of jobs. To be called on its loop."""
    # Imported here: what is answered from the ledger alone needs a home and no engine.
    from weftwork.engine.engine import LEASE, Engine
    from weftwork.engine.slots import Slots
    from weftwork.ledger import owners
    from weftwork.node.claim import is_alive
    from weftwork.sites.builtin import MachineSites
    from weftwork.sites.named import NamedSites
    from weftwork.sites.schedulers.local import Local

    owner = owners.this()
    home.ledger.register(owner, LEASE)
    jobs = home.folder / "jobs"
    slots = Slots(home.ledger, owner.id, owner.host, _capacity(), lambda holder: is_alive(str(jobs / holder)))
    machine = MachineSites(Local(home.folder, home.store, slots), home.folder, home.sources.checksum)
    sites = NamedSites(machine, {name: functools.partial(make, home) for name, make in home.described.items()})
    return Engine(home.store, home.ledger, owner.id, sites, home.binder, home.folder)


def _capacity() -> Resources:
    from weftwork.sites.machine import machine_resources

    found = machine_resources()
    text = os.environ.get("WEFT_CPUS")
    if not text:
        return found
    if not text.isdigit() or int(text) < 1:
        raise Invalid(f"WEFT_CPUS is {text!r}; a whole number of at least 1 is expected")
    return replace(found, cpus=int(text))
