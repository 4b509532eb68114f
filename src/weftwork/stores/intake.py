"""How a file of somebody else comes into a store: read once, hashed on the way, watched for changes meanwhile.

A copy shares blocks where the file system can (``copy_file_range`` does so by itself on XFS and btrfs).
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from weftwork.core.checksum import Checksum
from weftwork.errors import Corrupt, Invalid, NotFound, StagingFailed
from weftwork.stores.files import CHUNK, Incoming

_SEGMENT = 1 << 30
"""Bytes that one ``copy_file_range`` is asked for."""

_NOT_HERE = frozenset({errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM, errno.EBADF})
"""How a kernel or file system says that it cannot copy by itself."""


class Changed(Exception):
    """The file changed while it was read."""


class Source:
    """A regular file that is open for reading, as it stood when it was opened."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self.descriptor = descriptor
        self.before = os.fstat(descriptor)

    @property
    def size(self) -> int:
        return self.before.st_size

    def check(self) -> None:
        """Raise :class:`Changed` unless the file is as it was when it was opened."""
        now = os.fstat(self.descriptor)
        if (now.st_size, now.st_mtime_ns) != (self.before.st_size, self.before.st_mtime_ns):
            raise Changed

    def read(self) -> bytes:
        """All of it, from the beginning. For small files."""
        os.lseek(self.descriptor, 0, os.SEEK_SET)
        data = b"".join(iter(lambda: os.read(self.descriptor, CHUNK), b""))
        self.check()
        return data

    def hash(self) -> Checksum:
        found = _hash(self.descriptor)
        self.check()
        return found

    def movable(self) -> bool:
        """Whether a rename makes it ours alone: no other name to write through, no other owner."""
        return self.before.st_nlink == 1 and self.before.st_uid == os.geteuid()

    def copy_to(self, target: Incoming) -> Checksum:
        """Copy all of it. The checksum is that of the bytes that arrived."""
        os.lseek(self.descriptor, 0, os.SEEK_SET)
        if clone(self.descriptor, target.descriptor, self.size):
            found = _hash(target.descriptor)
        else:
            while chunk := os.read(self.descriptor, CHUNK):
                target.write(chunk)
            found = target.hasher.checksum()
        self.check()
        return found


@contextlib.contextmanager
def source(path: Path) -> Iterator[Source]:
    """Open a file to be taken in. Raises NotFound, or Invalid for what is not a regular, readable file."""
    try:
        # Non-blocking: opening a named pipe must not wait for a writer.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        raise NotFound(f"{path} is not there", path=str(path)) from None
    except OSError as error:
        raise Invalid(f"{path} cannot be read: {error.strerror}", path=str(path)) from None
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise Invalid(f"{path} is not a regular file", path=str(path))
        yield Source(path, descriptor)
    finally:
        os.close(descriptor)


def clone(source: int, target: int, size: int) -> bool:
    """Let the kernel copy, sharing blocks where it can. False, with nothing written, where it cannot."""
    if not hasattr(os, "copy_file_range"):
        return False
    done = 0
    while done < size:
        try:
            count = os.copy_file_range(source, target, min(size - done, _SEGMENT), done, done)
        except OSError as error:
            if done or error.errno not in _NOT_HERE:
                raise
            return False
        if count == 0:
            if done:
                raise Changed
            # Some file systems have sizes and nothing to copy by themselves.
            return False
        done += count
    return True


def _hash(descriptor: int) -> Checksum:
    os.lseek(descriptor, 0, os.SEEK_SET)
    with open(descriptor, "rb", buffering=0, closefd=False) as file:
        return Checksum(hashlib.file_digest(file, "sha256").hexdigest())


def expect(expected: Checksum | None, found: Checksum, what: str) -> None:
    """Raise Corrupt unless the bytes are the expected ones."""
    if expected is not None and found != expected:
        raise Corrupt(
            f"{what} should have the checksum {expected.short} and has {found.short}; nothing was stored",
            expected=str(expected),
            found=str(found),
        )


def unsteady(path: Path) -> StagingFailed:
    return StagingFailed(
        f"{path} changed each time while it was read; wait until nothing writes to it, then try again", path=str(path)
    )
