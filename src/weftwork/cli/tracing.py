"""``weft do --trace``: which files a command read that were not declared, as strace saw it."""

from __future__ import annotations

import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from weftwork.errors import Refused

_CALL = re.compile(r'^\d+\s+(\w+)\((.*)\)\s*=\s*(-?\d+)(?:\s+(\w+))?')
_TEXT = re.compile(r'"((?:[^"\\]|\\.)*)"')
_FOLDER = re.compile(r'^\d+\s+chdir\("((?:[^"\\]|\\.)*)"\)\s*=\s*0')
_READS = frozenset({"open", "openat", "openat2", "execve"})


class Tracer:
    """The words that trace a command, and what they found."""

    def __init__(self) -> None:
        strace = shutil.which("strace")
        if strace is None:
            raise Refused("--trace needs the program strace: install it (Debian: apt install strace), or leave --trace away")
        descriptor, self._path = tempfile.mkstemp(prefix="weft-trace-")
        os.close(descriptor)
        self.words = (strace, "-f", "-qq", "-s", "4096", "-e", "trace=%file", "-o", self._path, "--")

    def tell(self, folder: Path, declared: frozenset[str], home: Path) -> None:
        """Write the undeclared files to standard error, and remove the trace."""
        try:
            text = Path(self._path).read_text("utf-8", "replace")
        finally:
            os.unlink(self._path)
        read, missed = undeclared(text, folder, declared, home)
        if not read and not missed:
            sys.stderr.write("weft: all files that the command read below this folder are declared\n")
        for each in missed:
            sys.stderr.write(f"weft: not declared, and looked for in vain: {each} (add -i {each})\n")
        for each in read:
            sys.stderr.write(f"weft: not declared, and read: {each} (add -i {each})\n")
        sys.stderr.flush()


def undeclared(text: str, folder: Path, declared: frozenset[str], home: Path) -> tuple[list[str], list[str]]:
    """The files below a folder that a trace shows as read where they lie, and those that were looked for in the job's folder.

    Paths are relative to the folder; what is declared, by itself or within a declared folder, is left out.
    """
    read: dict[str, None] = {}
    missed: dict[str, None] = {}
    for path, found in _opened(text):
        parts = path.split("/work/", 1)
        if path.startswith(f"{home}/jobs/") and len(parts) == 2:
            place, seen = os.path.normpath(folder / parts[1]), missed
            if found:
                continue
        else:
            place, seen = os.path.normpath(path), read
            if not found:
                continue
        if place.startswith(f"{folder}/") and os.path.isfile(place) and not _is_declared(place, declared):
            seen[os.path.relpath(place, folder)] = None
    return list(read), [each for each in missed if each not in read]


def _is_declared(place: str, declared: frozenset[str]) -> bool:
    return place in declared or any(str(parent) in declared for parent in Path(place).parents)


def _opened(text: str) -> Iterator[tuple[str, bool]]:
    """Absolute paths that were opened for reading or run, and whether that worked."""
    folder = ""
    for line in text.splitlines():
        moved = _FOLDER.match(line)
        if moved:
            folder = os.path.join(folder, _unquoted(moved[1]))
            continue
        call = _CALL.match(line)
        if call is None or call[1] not in _READS:
            continue
        path = _TEXT.search(call[2])
        if path is None or "O_WRONLY" in call[2] or "O_DIRECTORY" in call[2]:
            continue
        worked = not call[3].startswith("-")
        if worked or call[4] == "ENOENT":
            yield os.path.join(folder or _WORK, _unquoted(path[1])), worked


_WORK = "/work/"
"""Stands for the job's work folder, in which a traced command begins."""


def _unquoted(text: str) -> str:
    return text.encode("latin-1", "backslashreplace").decode("unicode_escape").encode("latin-1", "replace").decode("utf-8", "replace")
