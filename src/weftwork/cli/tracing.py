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

_CALL = re.compile(
    r"^(?P<process>\d+)\s+(?P<name>\w+)\((?P<arguments>.*)\)\s*=\s*(?P<result>-?\d+)(?:\s+(?P<error>\w+))?"
)
_TEXT = re.compile(r'"((?:[^"\\]|\\.)*)"')
_READS = frozenset({"open", "openat", "openat2", "execve"})


class Tracer:
    """The words that trace a command, and what they found."""

    def __init__(self) -> None:
        strace = shutil.which("strace")
        if strace is None:
            raise Refused(
                "--trace needs the program strace: install it (Debian: apt install strace), or leave --trace away"
            )
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
            sys.stderr.write(
                "weft: no file was opened below this folder that is not declared (a module that Python does not find it never opens)\n"
            )
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
        inside = _in_job(path, home)
        if found != (inside is None):
            continue
        place, seen = (path, read) if inside is None else (os.path.join(folder, inside), missed)
        place = os.path.normpath(place)
        if place.startswith(f"{folder}/") and os.path.isfile(place) and not _is_declared(place, declared):
            seen[os.path.relpath(place, folder)] = None
    return list(read), [each for each in missed if each not in read]


def _is_declared(place: str, declared: frozenset[str]) -> bool:
    return place in declared or any(str(parent) in declared for parent in Path(place).parents)


def _in_job(path: str, home: Path) -> str | None:
    """The path below the work folder of the job; ``None`` for one elsewhere."""
    if path.startswith(_WORK):
        return path.removeprefix(_WORK)
    head, work, rest = path.partition("/work/")
    return rest if work and head.startswith(f"{home}/jobs/") else None


def _opened(text: str) -> Iterator[tuple[str, bool]]:
    """Absolute paths that were opened for reading or run, and whether that worked."""
    folders: dict[str, str] = {}
    for line in text.splitlines():
        call = _CALL.match(line)
        path = call and _TEXT.search(call["arguments"])
        if call is None or path is None:
            continue
        folder = folders.get(call["process"], _WORK)
        place = os.path.join(folder, _unquoted(path[1]))
        worked = not call["result"].startswith("-")
        if call["name"] == "chdir" and worked:
            folders[call["process"]] = place
        elif _reads(call) and (worked or call["error"] == "ENOENT"):
            yield place, worked


def _reads(call: re.Match[str]) -> bool:
    return call["name"] in _READS and "O_WRONLY" not in call["arguments"] and "O_DIRECTORY" not in call["arguments"]


_WORK = "//work/"
"""Stands for the job's work folder, in which a traced command begins."""


def _unquoted(text: str) -> str:
    return (
        text.encode("latin-1", "backslashreplace")
        .decode("unicode_escape")
        .encode("latin-1", "replace")
        .decode("utf-8", "replace")
    )
