"""Large buffers, each a read-only file named by its checksum: ``files/ab/abcdef…``.

A file is made in ``tmp/`` of the same file system, synced, and renamed to its name: so a name is never seen with
half of its bytes. What is small is :mod:`weftwork.stores.packed`'s; how foreign files come in is
:mod:`weftwork.stores.intake`'s.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import itertools
import os
import re
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, cast

from weftwork import disk
from weftwork.core.checksum import Checksum, Hasher
from weftwork.errors import Corrupt, NotFound
from weftwork.stores import filesystem

CHUNK = 1 << 20
"""Bytes read or written at a time."""

_GROUP = 64
"""Files that are open at once while a batch is written and synced."""

_NAME = re.compile(r"[0-9a-f]{64}\Z")


class Incoming:
    """A file in the making. :meth:`write` adds bytes; :meth:`Files.keep` gives it its name, else it vanishes."""

    __slots__ = ("descriptor", "hasher", "path")

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self.descriptor = descriptor
        self.hasher = Hasher()

    def write(self, data: bytes | memoryview) -> None:
        self.hasher.update(data)
        view = memoryview(data)
        while view:
            view = view[os.write(self.descriptor, view) :]


class Files:
    """The files of a store. System errors pass as they are: the store tells them."""

    def __init__(self, root: Path) -> None:
        self._folder = root / "files"
        self._temporary = root / "tmp"
        for folder in (self._folder, self._temporary):
            folder.mkdir(parents=True, exist_ok=True)
        filesystem.remove_leftovers(self._temporary)

    def place(self, checksum: Checksum) -> Path:
        """Where the buffer is, or would be."""
        return self._folder / checksum[:2] / checksum

    def has(self, checksum: Checksum) -> bool:
        return self.place(checksum).is_file()

    @contextlib.contextmanager
    def incoming(self) -> Iterator[Incoming]:
        """A new temporary file, gone at the end unless it was kept."""
        path = filesystem.temporary(self._temporary)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            yield Incoming(path, descriptor)
        finally:
            os.close(descriptor)
            with contextlib.suppress(FileNotFoundError):
                path.unlink()

    def put(self, buffers: Mapping[Checksum, bytes]) -> None:
        """Durable when this returns, synced in groups. Files that differ from their buffer are replaced."""
        new = iter([(checksum, data) for checksum, data in buffers.items() if not self._same(checksum, data)])
        while group := list(itertools.islice(new, _GROUP)):
            with contextlib.ExitStack() as stack:
                made = [(stack.enter_context(self.incoming()), checksum, data) for checksum, data in group]
                for file, _, data in made:
                    file.write(data)
                self.keep([(file, checksum) for file, checksum, _ in made])
        self.sync(buffers)

    def keep(self, made: Iterable[tuple[Incoming, Checksum]]) -> None:
        """Sync files, then give them their names. The names are durable after :meth:`sync`."""
        made = list(made)
        for file, _ in made:
            os.fchmod(file.descriptor, 0o444)
            disk.sync_file(file.descriptor)
        for file, checksum in made:
            self.adopt(file.path, checksum)

    def adopt(self, path: Path, checksum: Checksum) -> None:
        """Rename a synced file of this file system to its name. What has that name is replaced: it may be corrupt."""
        place = self.place(checksum)
        try:
            path.replace(place)
        except FileNotFoundError:
            place.parent.mkdir(exist_ok=True)
            disk.sync_directory(self._folder)
            path.replace(place)

    def sync(self, checksums: Iterable[Checksum]) -> None:
        """Make names durable: also those found there, which another process may have renamed a moment ago."""
        places = [self.place(each) for each in checksums]
        for place in places:
            # A put counts as a use, also of what was there: whoever looks for what nobody needs sees it.
            with contextlib.suppress(OSError):
                os.utime(place)
        for folder in {place.parent for place in places}:
            disk.sync_directory(folder)

    def _same(self, checksum: Checksum, data: bytes) -> bool:
        """Whether the file is there with just these bytes. Comparing is cheaper than hashing, and surer than the size."""
        try:
            with open(self.place(checksum), "rb", buffering=0) as file:
                if os.fstat(file.fileno()).st_size != len(data):
                    return False
                view = memoryview(data)
                while view:
                    chunk = file.read(CHUNK)
                    if not chunk or chunk != view[: len(chunk)]:
                        return False
                    view = view[len(chunk) :]
                return True
        except FileNotFoundError:
            return False

    def sound(self, checksum: Checksum) -> bool:
        """Whether the file is there and has its checksum: reads all of it."""
        try:
            with open(self.place(checksum), "rb", buffering=0) as file:
                return hashlib.file_digest(file, "sha256").hexdigest() == checksum
        except FileNotFoundError:
            return False

    def read(self, checksum: Checksum) -> bytes:
        """The bytes, not yet verified."""
        try:
            return self.place(checksum).read_bytes()
        except FileNotFoundError:
            raise absent(checksum, self._folder.parent) from None

    def open(self, checksum: Checksum) -> BinaryIO:
        try:
            file = open(self.place(checksum), "rb", buffering=0)  # noqa: SIM115 - closed by its reader
        except FileNotFoundError:
            raise absent(checksum, self._folder.parent) from None
        return verified_reader(file, checksum, os.fstat(file.fileno()).st_size, str(self.place(checksum)))

    def size(self, checksum: Checksum) -> int:
        try:
            return self.place(checksum).stat().st_size
        except FileNotFoundError:
            raise absent(checksum, self._folder.parent) from None

    def age(self, checksum: Checksum) -> float | None:
        """Seconds since the file was last put; ``None`` where there is none."""
        try:
            return max(0.0, time.time() - self.place(checksum).stat().st_mtime)
        except FileNotFoundError:
            return None

    def move(self, checksum: Checksum, target: Path) -> None:
        """Take the file away, to a path of this file system."""
        self.place(checksum).replace(target)

    def remove(self, checksum: Checksum) -> None:
        self.place(checksum).unlink(missing_ok=True)

    def names(self) -> Iterator[tuple[Checksum, int]]:
        for folder in sorted(os.listdir(self._folder)):
            with contextlib.suppress(FileNotFoundError, NotADirectoryError), os.scandir(self._folder / folder) as found:
                for entry in found:
                    with contextlib.suppress(FileNotFoundError):
                        if _NAME.match(entry.name) and entry.name.startswith(folder) and entry.is_file():
                            yield Checksum(entry.name), entry.stat().st_size


def absent(checksum: Checksum, root: Path) -> NotFound:
    return NotFound(f"{checksum} is not in the store {root}", checksum=str(checksum))


def corrupt(checksum: Checksum, found: Checksum, place: str) -> Corrupt:
    return Corrupt(
        f"the stored bytes of {checksum.short} have the checksum {found.short}: {place} is damaged; "
        "putting the buffer again, or running again what made it, repairs it",
        expected=str(checksum),
        found=str(found),
    )


class _Verified(io.RawIOBase):
    """Reads a file to its end and hashes on the way: the read that would give the last bytes raises Corrupt instead."""

    def __init__(self, file: Any, checksum: Checksum, size: int, place: str) -> None:
        self._file, self._checksum, self._left, self._place = file, checksum, size, place
        self._hasher = Hasher()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        count: int = self._file.readinto(buffer) or 0
        self._hasher.update(memoryview(buffer)[:count])
        self._left -= count
        # Told with the last bytes, not after them: who reads just as many as there are must hear it too.
        if (count == 0 and len(buffer)) or self._left <= 0:
            found = self._hasher.checksum()
            if found != self._checksum:
                raise corrupt(self._checksum, found, self._place)
        return count

    def readall(self) -> bytes:
        return b"".join(iter(lambda: self.read(CHUNK) or b"", b""))

    def close(self) -> None:
        self._file.close()
        super().close()


def verified_reader(file: Any, checksum: Checksum, size: int, place: str) -> BinaryIO:
    """A buffered stream over ``file`` that raises Corrupt at its end unless it had the checksum."""
    return cast(BinaryIO, io.BufferedReader(_Verified(file, checksum, size, place), CHUNK))
