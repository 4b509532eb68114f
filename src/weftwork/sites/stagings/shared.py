"""One file system: the nodes see the home by the path that it has here, and nothing is copied."""

from __future__ import annotations

from typing import TYPE_CHECKING

from weftwork.sites.adapters import Making, without_options

if TYPE_CHECKING:
    from weftwork.formats.adapters import Adapter


def adapter() -> Adapter:
    return without_options("staging", "shared", "One file system: nodes see the home by the same path.")


def make(making: Making) -> None:
    """There is nothing to do, and nobody who does it."""
