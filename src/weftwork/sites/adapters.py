"""What makes a part of a site: each adapter's module describes itself (``adapter``) and makes its part (``make``).

Nothing is known here of any adapter. A module of one has no more to it than the two names of :class:`Maker`. What it says of
itself is made when it is asked for: only who reads ``sites.yaml`` needs it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from weftwork.core.siting import SiteDescription
from weftwork.ports import Scheduler, Shell, Store
from weftwork.sites.machine import HashFile

if TYPE_CHECKING:
    from weftwork.formats.adapters import Adapter, Choice
    from weftwork.sites.images.stock import Stock


@dataclass(frozen=True, slots=True)
class Making:
    """What an adapter may be made of: the ``options`` that were written for it, the site that it is a part of, the home
    and its store, this machine's own scheduler (``here``), the images of the home, and the shell of the site."""

    options: Mapping[str, Any]
    site: SiteDescription
    home: Path
    store: Store
    hash_file: HashFile
    here: Scheduler
    images: Callable[[], Stock]
    shell: Callable[[], Shell]


class Maker(Protocol):
    """The module of an adapter."""

    @staticmethod
    def adapter() -> Adapter:
        """Its choice, name and options, and what it goes with."""
        ...

    @staticmethod
    def make(making: Making) -> Any:
        """The part: a Scheduler, Runtime or Shell. Nothing is looked at or started yet."""
        ...


Load = Callable[["Choice", str], Maker]
"""The module of an adapter by its choice and name."""


def without_options(choice: Choice, name: str, description: str) -> Adapter:
    """An adapter that has nothing to be told."""
    from weftwork.formats.adapters import Adapter
    from weftwork.formats.kinds import Section

    return Adapter(choice, name, Section(f"{choice} {name}", description))
