"""What a call read beside its bundle: files of the project, modules of the project, undeclared packages.

One audit hook (PEP 578) is installed in the process, once; it notes names only while a :func:`watch` is open. A result
that came with such names is given to the caller and is not reused.
"""

from __future__ import annotations

import functools
import os
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
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


@contextmanager
def watch(roots: Iterable[str] = (), *, packages: Iterable[str] = (), ignored: Iterable[str] = ()) -> Iterator[Seen]:
    """Note what is read outside a bundle until the block ends; :class:`Seen` is filled in then.

    ``roots`` are the project's folders (:func:`bundle_roots`), ``packages`` the distributions of the environment,
    with what they depend on, and ``ignored`` the folders where reading is meant: the call's own, its inputs. One watch
    is open at a time in a process, and it sees all threads.
    """
    global _noted, _installed
    if not _installed:
        sys.addaudithook(_hook)
        _installed = True
    outer, noted = _noted, _Noted()
    _noted = noted
    seen = Seen()
    try:
        yield seen
    finally:
        _noted = outer
        if noted.opened:
            _note_paths(seen, noted.opened, tuple(roots), tuple(ignored))
        if noted.imported:
            _note_modules(seen, noted.imported, frozenset(packages))


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
