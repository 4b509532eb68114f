"""Gathers the declared outputs of a job that has ended, and hashes them.

Guarantees: nothing outside the job folder is ever read. A link whose target lies inside the folder stands for
what it leads to (a file output holds the content, a directory output the content under the link's name); one
that leads outside, nowhere, or round in a circle is :class:`~weftwork.errors.NoOutput`, naming it and its target. So
are fifos, sockets and devices, and names that are not UTF-8. A required output that is missing is ``NoOutput`` with
the pattern and what is there instead. Empty directories are not part of a directory output.

Each gathered file is an inode of its own: hard links are parted. All this relies on no process of the job being left:
what is hashed here does not change any more.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
import stat
from collections.abc import Iterator
from typing import Final

from weftwork.core.checksum import Checksum
from weftwork.errors import DiskLimit, NoOutput
from weftwork.node import disk
from weftwork.node.job import STREAMS, Job, Output, relative
from weftwork.node.outcome import Entry, Gathered
from weftwork.node.patterns import find

_LISTED: Final = 20


def gather(folder: str, job: Job) -> dict[str, Gathered | None]:
    """Every declared output by name; ``None`` for an optional one that was not made. ``folder`` is a real path."""
    gatherer = _Gatherer(folder, job)
    return {output.name: gatherer.one(output) for output in job.outputs}


class _Gatherer:
    def __init__(self, folder: str, job: Job) -> None:
        self._folder = folder
        self._work = job.work
        self._root = os.path.join(self._folder, job.work)
        self._left = job.limits.disk

    def one(self, output: Output) -> Gathered | None:
        if output.origin in STREAMS:
            entry = self._file(output, os.path.join(self._folder, output.origin), output.origin)
            return Gathered("file", output.origin, (entry,))
        pattern = relative(output.origin, f"the output {output.name}")
        try:
            paths = self._paths(output, pattern)
            if not paths:
                if output.optional:
                    return None
                raise self._missing(output)
            if output.kind == "file":
                entry = self._file(output, os.path.join(self._root, paths[0]), os.path.join(self._work, paths[0]))
                return Gathered("file", entry.path, (entry,))
            if output.kind == "directory":
                top = os.path.join(self._root, paths[0])
                entries = sorted(self._below(output, top, "", ()), key=lambda entry: entry.path)
                return Gathered(
                    "directory",
                    self._named(output, os.path.normpath(os.path.join(self._work, paths[0]))),
                    tuple(entries),
                )
            found = tuple(self._file(output, os.path.join(self._root, path), path) for path in paths)
            return Gathered("files", self._work, found)
        except OSError as error:
            raise self._unreadable(output, error) from None

    def _paths(self, output: Output, pattern: str) -> list[str]:
        def enter(directory: str) -> None:
            self._inside(output, directory)
            _make_readable(directory)

        if not os.path.isdir(self._root):
            return []
        single = output.kind != "files"
        paths = find(self._root, pattern, single=single, enter=enter)
        if not single:
            return [path for path in paths if not self._is_directory(output, path)]
        if len(paths) > 1:
            paths = [path for path in paths if self._is_directory(output, path) == (output.kind == "directory")]
        if len(paths) > 1:
            raise NoOutput(
                f"the output {output.name} is one {output.kind}, and {output.origin!r} names {len(paths)}: {_some(paths)}; "
                "declare kind files, or a narrower pattern",
                output=output.name,
                pattern=output.origin,
                found=paths[:_LISTED],
            )
        if paths and self._is_directory(output, paths[0]) != (output.kind == "directory"):
            what = "a directory" if output.kind == "file" else "a file"
            raise NoOutput(
                f"the output {output.name} should be a {output.kind}, and {paths[0]!r} is {what}",
                output=output.name,
                pattern=output.origin,
            )
        return paths

    def _is_directory(self, output: Output, path: str) -> bool:
        return os.path.isdir(self._inside(output, os.path.join(self._root, path)))

    def _inside(self, output: Output, path: str) -> str:
        """The real path, once it is certain that it is there and lies in the folder."""
        if os.path.dirname(path) == self._folder and os.path.lexists(path) and not os.path.islink(path):
            return path
        try:
            real = os.path.realpath(path, strict=True)
        except OSError as error:
            link = _first_link(self._folder, path)
            if link is None:
                raise
            why = "round in a circle" if error.errno == errno.ELOOP else "nowhere"
            raise self._bad_link(output, link, why) from None
        if real != self._folder and not real.startswith(self._folder + "/"):
            raise self._bad_link(output, _first_link(self._folder, path) or path, "out of the job folder")
        return real

    def _bad_link(self, output: Output, link: str, why: str) -> NoOutput:
        try:
            target = os.readlink(link)
        except OSError:
            target = "?"
        name = os.path.relpath(link, self._folder)
        return NoOutput(
            f"the output {output.name}: {name!r} is a link that leads {why}, to {target!r}; have the job copy the file",
            output=output.name,
            pattern=output.origin,
            link=_printable(name),
            target=_printable(target),
        )

    def _below(self, output: Output, directory: str, prefix: str, above: tuple[str, ...]) -> Iterator[Entry]:
        real = self._inside(output, directory)
        if real in above:
            raise self._bad_link(output, _first_link(self._folder, directory) or directory, "round in a circle")
        _make_readable(real)
        for name in sorted(os.listdir(real)):
            path, below = os.path.join(real, name), os.path.join(prefix, name)
            if os.path.isdir(self._inside(output, path)):
                yield from self._below(output, path, below, (*above, real))
            else:
                yield self._file(output, path, below)

    def _file(self, output: Output, path: str, name: str) -> Entry:
        real = self._inside(output, path)
        mode = os.stat(real).st_mode
        if not stat.S_ISREG(mode):
            raise NoOutput(
                f"the output {output.name}: {name!r} is {_kind(mode)}, not a file",
                output=output.name,
                pattern=output.origin,
            )
        if os.stat(real).st_nlink > 1:
            self._part(real)
        # O_NONBLOCK and a second look: whatever stands there, opening it neither blocks nor follows a link.
        descriptor = _open(real, mode)
        with os.fdopen(descriptor, "rb", buffering=0) as file:
            it = os.fstat(descriptor)
            self._count(it.st_size)
            checksum = Checksum.of_digest(hashlib.file_digest(file, "sha256").digest())
        return Entry(self._named(output, name), checksum, it.st_size, bool(mode & 0o100))

    def _part(self, path: str) -> None:
        """Make a file with several names a file of its own: the others may lie outside the folder, and be written to."""
        temporary = os.path.join(self._folder, "parted.new")
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        shutil.copy2(path, temporary)
        os.replace(temporary, path)

    def _count(self, size: int) -> None:
        if self._left is not None:
            self._left -= size
            if self._left < 0:
                raise DiskLimit("the outputs are larger than the disk limit of the job")

    def _named(self, output: Output, name: str) -> str:
        try:
            name.encode("utf-8")
        except UnicodeEncodeError:
            raise NoOutput(
                f"the output {output.name}: the name {os.fsencode(name)!r} is not UTF-8; have the job name its files in UTF-8",
                output=output.name,
                pattern=output.origin,
            ) from None
        return name

    def _missing(self, output: Output) -> NoOutput:
        there = _listing(self._root)
        return NoOutput(
            f"the output {output.name} is missing: nothing is at {output.origin!r}; "
            + (f"the job left {_some(there)}" if there else "the job left no file"),
            output=output.name,
            pattern=output.origin,
            found=[_printable(path) for path in there[:_LISTED]],
        )

    def _unreadable(self, output: Output, error: OSError) -> Exception:
        if disk.is_full_error(error):
            return DiskLimit(f"the disk is full: the output {output.name} cannot be gathered")
        return NoOutput(
            f"the output {output.name} cannot be read: {error.strerror}: {_printable(str(error.filename))}",
            output=output.name,
            pattern=output.origin,
        )


def _open(path: str, mode: int) -> int:
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        return os.open(path, flags)
    except PermissionError:
        os.chmod(path, stat.S_IMODE(mode) | 0o400)
        return os.open(path, flags)


def _make_readable(directory: str) -> None:
    if not os.access(directory, os.R_OK | os.X_OK):
        os.chmod(directory, stat.S_IMODE(os.stat(directory).st_mode) | 0o500)


def _first_link(top: str, path: str) -> str | None:
    """The first link on the way from ``top`` to ``path`` (a path below it)."""
    at = top
    for part in os.path.relpath(path, top).split("/"):
        at = os.path.join(at, part)
        if os.path.islink(at):
            return at
    return None


def _kind(mode: int) -> str:
    kinds = (
        (stat.S_ISFIFO, "a named pipe"),
        (stat.S_ISSOCK, "a socket"),
        (stat.S_ISCHR, "a device"),
        (stat.S_ISBLK, "a device"),
    )
    return next((name for is_it, name in kinds if is_it(mode)), "a special file")


def _listing(root: str) -> list[str]:
    """Some of what is there, breadth first: enough for a message."""
    found: list[str] = []
    waiting = [""]
    while waiting and len(found) <= _LISTED:
        at = waiting.pop(0)
        try:
            names = sorted(os.listdir(os.path.join(root, at)))
        except OSError:
            continue
        for name in names:
            path = os.path.join(at, name)
            real = os.path.join(root, path)
            if os.path.isdir(real) and not os.path.islink(real):
                waiting.append(path)
            else:
                found.append(path)
    return found


def _some(paths: list[str]) -> str:
    more = "" if len(paths) <= _LISTED else f" and {len(paths) - _LISTED} more or so"
    return ", ".join(repr(_printable(path)) for path in paths[:_LISTED]) + more


def _printable(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
