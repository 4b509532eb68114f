"""The Python environment of a program, as the node states it: interpreter, platform, and the versions that count.

Only the distributions that the program reaches count, with the closure of what they depend on. Weftwork, and its
dependencies as such, never do.
"""

from __future__ import annotations

import functools
import importlib.metadata
import platform
import re
import sys
from collections.abc import Iterable, Iterator
from typing import Any

from weftwork.errors import NotFound
from weftwork.node.distributions import normalise

_REQUIREMENT = re.compile(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)\s*(?:\[([^\]]*)\])?[^;]*(?:;(.*))?")
_EXTRA = re.compile(r"""\bextra\s*==\s*['"]([^'"]*)""")
_DEVELOPERS = re.compile(r"test|dev|doc|lint|typing|mypy|check|cover|release|^all$|^ci$|bench|example|tutorial")


def python_environment(packages: Iterable[str]) -> dict[str, Any]:
    """The environment document of a program that reaches these distributions.

    ``{"python": "3.11", "implementation": "cpython", "system", "machine", "packages": {name: version}}`` with names
    normalised as in PEP 503. Raises :class:`~weftwork.errors.NotFound` when one of them is not installed here.
    """
    return {
        "python": f"{sys.version_info.major}.{sys.version_info.minor}",
        "implementation": sys.implementation.name,
        "system": platform.system().lower(),
        "machine": platform.machine().lower(),
        "packages": package_versions(packages),
    }


def package_versions(packages: Iterable[str]) -> dict[str, str]:
    """Names and versions of these distributions and of all that they depend on and that is installed."""
    found: dict[str, str] = {}
    wanted = [normalise(name) for name in packages]
    for name in wanted:
        if _about(name) is None:
            raise NotFound(f"the package {name!r} is not installed in this environment; install it here", package=name)
    # What a library uses when it happens to be installed, as pandas does pyarrow, acts on its results too.
    wanted += [extra for name in wanted for extra in _optional(name)]
    while wanted:
        name = wanted.pop()
        about = _about(name)
        if about is None or name in found or name == "weftwork":
            continue
        found[name] = about[0]
        wanted.extend(about[1])
    return dict(sorted(found.items()))


@functools.lru_cache(maxsize=4096)
def _about(name: str) -> tuple[str, tuple[str, ...]] | None:
    """Version and requirements of an installed distribution; a process does not change its packages under way."""
    try:
        distribution = importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        return None
    return distribution.version, tuple(_requirements(distribution))


@functools.lru_cache(maxsize=4096)
def _optional(name: str) -> tuple[str, ...]:
    """The installed requirements of a distribution's extras, those of its developers apart."""
    found = []
    for text in _requires(name):
        match = _REQUIREMENT.match(text)
        extra = _EXTRA.search(match.group(3) or "") if match else None
        if match and extra and not _DEVELOPERS.search(extra.group(1)) and _about(normalise(match.group(1))):
            found.append(normalise(match.group(1)))
    return tuple(found)


def _requires(name: str) -> list[str]:
    try:
        return importlib.metadata.requires(name) or []
    except importlib.metadata.PackageNotFoundError:
        return []


def _requirements(distribution: importlib.metadata.Distribution) -> Iterator[str]:
    for text in distribution.requires or ():
        match = _REQUIREMENT.match(text)
        # Extras are optional: what uses them was reached by itself, or is found by the import at run time. Other
        # markers need no evaluation, since what does not apply here is not installed here, or does no harm.
        if match and not _EXTRA.search(match.group(3) or ""):
            yield normalise(match.group(1))
