"""Describe a scientific calculation once. Run it anywhere, never twice. Share it live.

``import weftwork as weft``: the names below are the public API; each is loaded when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOMES = {
    "module": "python.decorators",
    "workflow": "python.decorators",
    "race": "python.decorators",
    "Range": "python.signature",
    "File": "core.values",
    "Directory": "core.values",
    "Ref": "core.values",
    "Resources": "core.placement",
    "Explanation": "core.calculation",
    "run": "api",
    "submit": "api",
    "check": "api",
    "run_async": "api",
    "submit_async": "api",
    "map": "api",
    "explain": "api",
    "load": "api",
    "session": "api",
    "use": "api",
    "close": "api",
    "Job": "handles",
    "Run": "handles",
    "Outputs": "handles",
    "WeftError": "errors",
    "Invalid": "errors",
    "NotFound": "errors",
    "MissingInputs": "errors",
    "Refused": "errors",
    "Forbidden": "errors",
    "Conflict": "errors",
    "CalculationFailed": "errors",
    "SiteFailed": "errors",
    "Cancelled": "errors",
    "Corrupt": "errors",
}
"""Where each public name lives, below this package."""

__all__ = [
    "CalculationFailed",
    "Cancelled",
    "Conflict",
    "Corrupt",
    "Directory",
    "Explanation",
    "File",
    "Forbidden",
    "Invalid",
    "Job",
    "MissingInputs",
    "NotFound",
    "Outputs",
    "Range",
    "Ref",
    "Refused",
    "Resources",
    "Run",
    "SiteFailed",
    "WeftError",
    "__version__",
    "check",
    "close",
    "explain",
    "load",
    "map",
    "module",
    "race",
    "run",
    "run_async",
    "session",
    "submit",
    "submit_async",
    "use",
    "workflow",
]

if TYPE_CHECKING:
    from weftwork.api import check, close, explain, load, run, run_async, session, submit, submit_async, use
    from weftwork.api import map_ as map
    from weftwork.core.calculation import Explanation
    from weftwork.core.placement import Resources
    from weftwork.core.values import Directory, File, Ref
    from weftwork.errors import (
        CalculationFailed,
        Cancelled,
        Conflict,
        Corrupt,
        Forbidden,
        Invalid,
        MissingInputs,
        NotFound,
        Refused,
        SiteFailed,
        WeftError,
    )
    from weftwork.handles import Job, Outputs, Run
    from weftwork.python.decorators import module, race, workflow
    from weftwork.python.signature import Range


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'weftwork' has no attribute {name!r}")
    if home.startswith("python."):
        _provide()
    found = getattr(importlib.import_module(f"weftwork.{home}"), "map_" if name == "map" else name)
    globals()[name] = found
    return found


def _provide() -> None:
    """A module's own ``.map`` and ``.submit`` go to the default session, which lower floors do not know."""
    from weftwork.python import default

    def session() -> Any:
        from weftwork import api

        return api.session()

    default.provide(session)


def __dir__() -> list[str]:
    return __all__
