"""One file system: the nodes see the home by the path that it has here, and nothing is copied."""

from __future__ import annotations

from weftwork.sites.adapters import Making, without_options

ADAPTER = without_options("staging", "shared", "One file system: nodes see the home by the same path.")


def make(making: Making) -> None:
    """There is nothing to do, and nobody who does it."""
