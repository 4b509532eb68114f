"""Where a module's ``.map`` and ``.submit`` go: to the session that the floors above provide."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

_provider: list[Callable[[], Any]] = []


def provide(provider: Callable[[], Any]) -> None:
    """Say how to get the default session. The last word counts."""
    _provider[:] = [provider]


def session() -> Any:
    """The default session."""
    return _provider[0]()
