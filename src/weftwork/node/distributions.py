"""Which module is what: the standard library, weftwork itself, an installed package, or project code.

A package counts by its name and version only where it is immutable: in site-packages, listed in a RECORD, not
editable, and not from a version-control address or a local folder, whose version says nothing about its content.
All else is project code and is walked as such.
"""

from __future__ import annotations

import functools
import importlib.util
import json
import os
import re
import site
import sys
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Literal

OriginKind = Literal["stdlib", "weftwork", "package", "project"]


@dataclass(frozen=True)
class Origin:
    """Where a module comes from; a package names its distribution, normalised as in PEP 503."""

    kind: OriginKind
    distribution: str | None = None

    @property
    def walked(self) -> bool:
        """Whether its code belongs to the program, rather than to the environment."""
        return self.kind == "project"


_STDLIB = Origin("stdlib")
_WEFTWORK = Origin("weftwork")
PROJECT = Origin("project")

_WEFTWORK_FOLDER = str(Path(__file__).resolve().parent.parent) + os.sep
# Managed by dpkg, which keeps no RECORD; the version pins the content all the same.
_DEBIAN = "/usr/lib/python3/dist-packages"


def normalise(name: str) -> str:
    """The name of a distribution as PEP 503 compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


@functools.cache
def stdlib_folders() -> tuple[str, ...]:
    paths = {sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib"), os.path.dirname(os.__file__)}
    return tuple(sorted({p + os.sep for path in paths if path for p in (path, os.path.realpath(path))}))


@functools.cache
def site_folders() -> tuple[str, ...]:
    """The folders where distributions are installed, the deepest first."""
    paths = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib"), *site.getsitepackages(), _DEBIAN}
    if site.ENABLE_USER_SITE:
        paths.add(site.getusersitepackages())
    paths |= {path for path in sys.path if path.endswith(("site-packages", "dist-packages"))}
    found = {p for path in paths if path for p in (path, os.path.realpath(path)) if os.path.isdir(p)}
    return tuple(sorted(found, key=lambda path: (-len(path), path)))


def origin_of(name: str, module: ModuleType | None = None) -> Origin:
    """Where the module of that (dotted) name comes from. It is not imported for this."""
    module = module if module is not None else sys.modules.get(name)
    if module is None:
        return _origin_of_unimported(name)
    file = getattr(module, "__file__", None)
    if file is None:
        return _origin_without_file(name, module)
    return _origin(name, str(file))


def _origin_without_file(name: str, module: ModuleType) -> Origin:
    top = name.partition(".")[0]
    folders = list(getattr(module, "__path__", ()))
    if folders:
        return _origin(name, os.path.join(str(folders[0]), "__init__.py"))
    spec = getattr(module, "__spec__", None)
    if top in sys.stdlib_module_names and name != "__main__" and (spec is not None or name != top):
        return _STDLIB
    # Made at run time by its package, as six.moves is.
    if "." in name and sys.modules.get(top) not in (None, module):
        return origin_of(top)
    return PROJECT


@functools.lru_cache(maxsize=4096)
def _origin_of_unimported(name: str) -> Origin:
    top = name.partition(".")[0]
    if top in sys.builtin_module_names:
        return _STDLIB
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        return PROJECT
    if spec is None:
        return PROJECT
    if spec.origin in ("built-in", "frozen") and top in sys.stdlib_module_names:
        return _STDLIB
    folders = list(spec.submodule_search_locations or ())
    file = spec.origin or (os.path.join(folders[0], "__init__.py") if folders else "")
    return _origin(top, file)


@functools.lru_cache(maxsize=16384)
def _origin(name: str, file: str) -> Origin:
    top = name.partition(".")[0]
    path = os.path.abspath(file)
    folder = next((f for f in site_folders() if path.startswith(f + os.sep)), None)
    if folder is not None:
        return _installed(folder, os.path.relpath(path, folder), top)
    if top == "weftwork" and (path.startswith(_WEFTWORK_FOLDER) or os.path.realpath(path).startswith(_WEFTWORK_FOLDER)):
        return _WEFTWORK
    if path.startswith(stdlib_folders()):
        # By place and not by name: the build's own `_sysconfigdata_...` is in no list of names.
        return _STDLIB
    return PROJECT


def _installed(folder: str, relative: str, top: str) -> Origin:
    for distribution in _candidates(folder, top):
        if relative in distribution.files or distribution.owns_all_of(top):
            name = normalise(distribution.name)
            if not distribution.immutable:
                return PROJECT
            return _WEFTWORK if name == "weftwork" else Origin("package", name)
    return _namespace(folder, top) if relative == os.path.join(top, "__init__.py") else PROJECT


def _namespace(folder: str, top: str) -> Origin:
    """A namespace package has no file of its own; it is nobody's when several distributions share it."""
    owners = {normalise(item.name) for item in _candidates(folder, top) if item.immutable and top in item.tops}
    if not owners:
        return PROJECT
    return Origin("package", owners.pop() if len(owners) == 1 else None)


@dataclass(frozen=True)
class _Distribution:
    name: str
    path: Path

    @functools.cached_property
    def files(self) -> frozenset[str]:
        """What it installed, relative to its folder; empty without a RECORD."""
        try:
            text = (self.path / "RECORD").read_text(encoding="utf-8")
        except OSError:
            return frozenset()
        return frozenset(line.rsplit(",", 2)[0].strip('"') for line in text.splitlines())

    @functools.cached_property
    def tops(self) -> frozenset[str]:
        return frozenset(file.partition("/")[0].removesuffix(".py").partition(".")[0] for file in self.files)

    def owns_all_of(self, top: str) -> bool:
        """Debian's distributions have no RECORD, and are known by their name alone."""
        return str(self.path.parent) == _DEBIAN and normalise(self.name) == normalise(top)

    @functools.cached_property
    def immutable(self) -> bool:
        try:
            address = json.loads((self.path / "direct_url.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return True
        if "vcs_info" in address or address.get("dir_info", {}).get("editable"):
            return False
        # conda records the folder where its package was built; that package is immutable.
        return "dir_info" not in address or self._installer() == "conda"

    def _installer(self) -> str:
        try:
            return (self.path / "INSTALLER").read_text(encoding="utf-8").strip()
        except OSError:
            return ""


def _candidates(folder: str, top: str) -> Iterator[_Distribution]:
    """The distributions of a folder that may own a top-level name, the likeliest first."""
    known = _distributions(folder, os.stat(folder).st_mtime_ns)
    likely = [item for item in known if normalise(item.name) == normalise(top)]
    yield from likely
    yield from (item for item in known if item not in likely and top in item.tops)


@functools.lru_cache(maxsize=64)
def _distributions(folder: str, changed: int) -> tuple[_Distribution, ...]:
    entries = sorted(entry for entry in os.listdir(folder) if entry.endswith((".dist-info", ".egg-info")))
    return tuple(_Distribution(entry.rpartition(".")[0].partition("-")[0], Path(folder, entry)) for entry in entries)
