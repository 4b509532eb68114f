"""What this node has, held against the environment that a key was made with."""

from __future__ import annotations

import importlib.metadata
import platform
import sys
from collections.abc import Mapping
from typing import Any

from weftwork.errors import EnvironmentDiffers


def check(environment: Mapping[str, Any]) -> None:
    """Raises :class:`~weftwork.errors.EnvironmentDiffers` for the first difference; it names both versions.

    Compared is what the resolved environment says about the interpreter, the platform and the packages; an
    environment with an image is the image's business.
    """
    if environment.get("image") is not None:
        return
    said = {**dict(environment.get("platform") or {}), **environment}
    here = {
        "system": platform.system().lower(),
        "machine": platform.machine().lower(),
        "implementation": sys.implementation.name,
    }
    for what, found in here.items():
        if said.get(what) is not None and str(said[what]).lower() != found:
            raise _differs(what, str(said[what]), found)
    wanted = said.get("python")
    if wanted is not None and not (platform.python_version() + ".").startswith(f"{wanted}."):
        raise _differs("Python", str(wanted), platform.python_version())
    for name, version in (said.get("packages") or {}).items():
        installed = package_version(name)
        if installed != version:
            raise _differs(f"the package {name}", version, installed or "not installed")


def package_version(name: str) -> str | None:
    """The version of an installed distribution, or ``None``."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _differs(what: str, wanted: str, found: str) -> EnvironmentDiffers:
    return EnvironmentDiffers(
        f"the key was made with {what} {wanted}, and this worker has {found}; nothing was run",
        what=what,
        wanted=wanted,
        found=found,
    )
