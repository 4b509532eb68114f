"""What a call read beside its bundle: files of the project, modules of the project, undeclared packages.

One audit hook (PEP 578) is installed in the process, once; it notes names only while a :class:`Watch` is open. A result
that came with such names is given to the caller and is not reused.
"""

from __future__ import annotations

import functools
import os
import sys
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from weftwork.node.distributions import origin_of, site_folders, stdlib_folders


@dataclass
class Seen:
    """What was read outside the bundle. Empty when the watch ended and all was well."""

    paths: set[str] = field(default_factory=set)
    """Files below the project's folders that were opened for reading, and modules' files that were imported."""
    packages: set[str] = field(default_factory=set)
    """Distributions that were imported and that the program's environment does not name."""

    def __bool__(self) -> bool:
        return bool(self.paths or self.packages)

    def messages(self) -> list[str]:
        """One line for each, for people."""
        return [
            *(f"read {path}, which is not part of the program; declare it with uses=" for path in sorted(self.paths)),
            *(f"imported {name}, which the environment does not name" for name in sorted(self.packages)),
        ]


@dataclass
class _Noted:
    opened: list[Any] = field(default_factory=list)
    imported: list[str] = field(default_factory=list)


_noted: _Noted | None = None
_installed = False


def bundle_roots(document: Mapping[str, Any]) -> tuple[str, ...]:
    """The folders of a bundle's project: where its modules came from, packages counted from their top."""
    roots = set()
    for node in document["nodes"]:
        file = node.get("file") if node["kind"] in ("module", "extension") else ""
        if not file or not os.path.isabs(file) or not node.get("served", True):
            continue
        depth = node["name"].count(".") + (1 if node.get("package") else 0)
        folder = os.path.dirname(file)
        for _ in range(depth):
            folder = os.path.dirname(folder)
        roots.add(folder)
    return tuple(sorted(roots))


class Watch:
    """Notes what is read outside a bundle within each block: ``with watch as seen``; :class:`Seen` is filled at its end.

    ``roots`` are the project's folders (:func:`bundle_roots`), ``packages`` the distributions of the environment,
    with what they depend on, and ``ignored`` the folders where reading is meant: the call's own, its inputs. One watch
    is open at a time in a process, and it sees all threads. It can be opened again and again.
    """

    def __init__(self, roots: Iterable[str] = (), *, packages: Iterable[str] = (), ignored: Iterable[str] = ()) -> None:
        global _installed
        self._roots, self._packages, self._ignored = tuple(roots), frozenset(packages), tuple(ignored)
        self._noted = _Noted()
        self._outer: _Noted | None = None
        self._seen = Seen()
        if not _installed:
            sys.addaudithook(_hook)
            _installed = True

    def __enter__(self) -> Seen:
        global _noted
        if self._seen:
            self._seen = Seen()
        self._outer, _noted = _noted, self._noted
        return self._seen

    def __exit__(self, *_: object) -> None:
        global _noted
        _noted = self._outer
        noted = self._noted
        if noted.opened or noted.imported:
            self._noted = _Noted()
            _note_paths(self._seen, noted.opened, self._roots, self._ignored)
            _note_modules(self._seen, noted.imported, self._packages)


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    # Runs for every event of the process, and cannot be removed: nothing but this test when no watch is open.
    if _noted is None:
        return
    if event == "open":
        path, _, flags = arguments
        if not isinstance(path, int) and not _only_writes(flags):
            _noted.opened.append(path)
    elif event in _PLACES:
        if arguments and isinstance(arguments[0], str | bytes | os.PathLike):
            _noted.opened.append(arguments[0])
    elif event == "import":
        _noted.imported.append(arguments[0])


_PLACES = frozenset({"ctypes.dlopen", "sqlite3.connect", "os.listdir", "os.scandir"})
"""Events beside ``open`` that name what is read."""


def _only_writes(flags: Any) -> bool:
    return isinstance(flags, int) and (flags & os.O_ACCMODE == os.O_WRONLY or bool(flags & os.O_TRUNC))


def _note_paths(seen: Seen, opened: Iterable[Any], roots: tuple[str, ...], ignored: tuple[str, ...]) -> None:
    inside = tuple(os.path.join(root, "") for root in roots)
    outside = (*_library_folders(), *(os.path.join(folder, "") for folder in ignored))
    for given in opened:
        try:
            path = os.path.abspath(os.fsdecode(given))
        except (TypeError, ValueError):
            continue
        if path.startswith(outside) or "__pycache__" in path:
            continue
        # Of the project even what is not there counts; elsewhere only what is, for libraries look in many places.
        if path.startswith(inside) or (not path.startswith(_system_folders()) and os.path.lexists(path)):
            seen.paths.add(path)


_SYSTEM = ("/usr", "/lib", "/lib32", "/lib64", "/bin", "/sbin", "/etc", "/proc", "/sys", "/dev", "/run", "/opt", "/nix")
_APPLE = ("/System", "/Library", "/private/etc", "/private/var/db")


@functools.cache
def _system_folders() -> tuple[str, ...]:
    """Where the machine's own files lie, and this Python's: the environment's, and not data."""
    folders = {
        *_SYSTEM,
        *_APPLE,
        sys.prefix,
        sys.base_prefix,
        sys.exec_prefix,
        os.path.dirname(os.path.dirname(__file__)),
    }
    return tuple(sorted(os.path.join(folder, "") for folder in folders))


def _library_folders() -> tuple[str, ...]:
    folders = [*stdlib_folders(), *(os.path.join(folder, "") for folder in site_folders())]
    return (*folders, os.path.join(tempfile.gettempdir(), "weft-files-"))


def _note_modules(seen: Seen, imported: Iterable[str], packages: frozenset[str]) -> None:
    for name in imported:
        module = sys.modules.get(name)
        if module is None:
            continue  # an optional import that failed; its absence is the environment's
        origin = origin_of(name, module)
        if origin.kind == "project" and getattr(module, "__file__", None):
            seen.paths.add(str(module.__file__))
        elif origin.distribution is not None and origin.distribution not in packages:
            seen.packages.add(origin.distribution)
