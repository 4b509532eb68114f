"""Settings: where state lives, and what a home is made of. Lower floors get built objects from here."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from weftwork.core.placement import Resources
from weftwork.engine.binding import Binder
from weftwork.errors import Invalid, Unavailable
from weftwork.ledger.sqlite import SqliteLedger
from weftwork.stores.directory import DirectoryStore
from weftwork.stores.sources import Sources

if TYPE_CHECKING:
    from weftwork.core.siting import Sites
    from weftwork.engine.engine import Engine

SETTINGS = {
    "WEFT_HOME": "the folder of all state; the command line's --home wins over it",
    "WEFT_SITES": "a sites.yaml, over the project's and the home's; the command line's --sites wins over it",
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
    """An opened home: its store and ledger, and the border between values and bytes."""

    folder: Path
    store: DirectoryStore
    ledger: SqliteLedger
    sources: Sources
    binder: Binder

    def close(self) -> None:
        self.ledger.close()
        self.store.close()
        self.sources.close()


def open_home(home: str | os.PathLike[str] | None = None) -> Home:
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
    return Home(folder, store, ledger, sources, Binder(store, sources))


def open_engine(home: Home) -> Engine:
    """An engine for this process over a home, registered as an owner of jobs. To be called on its loop."""
    # Imported here: what is answered from the ledger alone needs a home and no engine.
    from weftwork import plugins
    from weftwork.engine.engine import LEASE, Engine
    from weftwork.engine.scribe import Scribe
    from weftwork.engine.slots import Slots
    from weftwork.ledger import owners
    from weftwork.node.claim import is_alive
    from weftwork.sites.described import DescribedSites
    from weftwork.sites.schedulers.local import Local

    owner = owners.this()
    home.ledger.register(owner, LEASE)
    jobs = home.folder / "jobs"
    scribe = Scribe(home.ledger, owner.id)
    slots = Slots(scribe, owner.host, _capacity(), lambda holder: is_alive(str(jobs / holder)))
    here = Local(home.folder, home.store, slots)
    sites = DescribedSites(
        described_sites(home.folder), plugins.load, here, home.folder, home.store, home.sources.checksum
    )
    return Engine(home.store, home.ledger, scribe, owner.id, sites, home.binder, home.folder)


def described_sites(home: Path) -> Sites:
    """The sites of the home's ``sites.yaml``, of the working directory's, of the file that ``WEFT_SITES`` names, and those
    that are there without a file.

    Raises :class:`~weftwork.errors.Invalid` with what is wrong with a file, :class:`~weftwork.errors.NotFound` where the
    named one is not there.
    """
    from weftwork.sites.described import BUILTIN

    paths = [path for path in (home / "sites.yaml", Path("sites.yaml")) if path.is_file()]
    named = os.environ.get("WEFT_SITES")
    if named:
        paths.append(Path(named).expanduser())
    if not paths:
        return BUILTIN
    from weftwork import plugins
    from weftwork.formats.sites_file import read_sites

    return read_sites(dict.fromkeys(paths), plugins.adapters(), BUILTIN)


def _capacity() -> Resources:
    from weftwork.sites.machine import machine_resources

    found = machine_resources()
    text = os.environ.get("WEFT_CPUS")
    if not text:
        return found
    if not text.isdigit() or int(text) < 1:
        raise Invalid(f"WEFT_CPUS is {text!r}; a whole number of at least 1 is expected")
    return replace(found, cpus=int(text))
