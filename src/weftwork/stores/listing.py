"""What a directory holds, as an input: its files by relative path, and nothing that has no place in a content."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from weftwork.core.checksum import shorten
from weftwork.errors import Invalid, NotFound


class Found(NamedTuple):
    """A file of a directory: its path below the directory, where it really is, and how it stood when it was seen."""

    name: str
    path: str
    stat: os.stat_result

    @property
    def executable(self) -> bool:
        return bool(self.stat.st_mode & stat.S_IXUSR)


def listing(path: Path) -> list[Found]:
    """The files of a directory, sorted by relative path.

    Links are followed where they stay inside; folders without files do not count. Raises
    :class:`~weftwork.errors.Invalid`, naming it, for a link that leaves, is broken or leads back to itself, for
    sockets, pipes and devices, and for a name that is not UTF-8.
    """
    path = Path(path)
    if not path.exists():
        raise NotFound(f"{path} is not there", path=str(path))
    if not path.is_dir():
        raise Invalid(f"{path} is not a directory", path=str(path))
    top = os.path.realpath(path)
    return sorted(_walk(top, top, "", (top,)), key=lambda each: each.name)


def _walk(top: str, folder: str, prefix: str, above: tuple[str, ...]) -> Iterator[Found]:
    try:
        with os.scandir(folder) as found:
            entries = sorted(found, key=lambda entry: entry.name)
    except OSError as error:
        raise Invalid(f"{folder} cannot be read: {error.strerror}", path=folder) from None
    for entry in entries:
        place, relative = entry.path, prefix + entry.name
        try:
            relative.encode("utf-8")
        except UnicodeEncodeError:
            raise Invalid(f"{shorten(place, 200)}: the name is not UTF-8; rename it", path=ascii(place)) from None
        real = _inside(top, place) if entry.is_symlink() else place
        try:
            it = os.stat(real)
        except FileNotFoundError:
            raise NotFound(f"{place} is no longer there: it was removed meanwhile", path=place) from None
        if stat.S_ISDIR(it.st_mode):
            if real in above:
                raise Invalid(f"{place} is a link to a folder that it lies in", path=place)
            yield from _walk(top, real, relative + "/", (*above, real))
        elif stat.S_ISREG(it.st_mode):
            yield Found(relative, real, it)
        else:
            raise Invalid(
                f"{place} is neither a file nor a folder, but {_SPECIAL.get(stat.S_IFMT(it.st_mode), 'special')}"
            )


def _inside(top: str, place: str) -> str:
    """Where a link leads."""
    real = os.path.realpath(place)
    if not os.path.exists(real):
        raise Invalid(f"{place} is a broken link, to {os.readlink(place)}", path=place)
    if not real.startswith(top.rstrip("/") + "/") and real != top:
        raise Invalid(f"{place} is a link that leaves the directory, to {real}; copy the file in", path=place)
    return real


_SPECIAL = {stat.S_IFIFO: "a named pipe", stat.S_IFSOCK: "a socket", stat.S_IFBLK: "a device", stat.S_IFCHR: "a device"}
