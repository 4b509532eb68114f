"""Lays the declared inputs of a job into its folder, and checks the programs that it expects.

Guarantees, once :func:`materialise` has returned: each input is a file of its own, never an inode of the store (a
reflink or a copy), and its bytes were hashed on the way and have the checksum that the job names. Inputs are
read-only (0444, or 0555 when executable) unless declared writable; a job that changes one all the same harms
only its copy. When it raises, nothing may be run: :class:`~weftwork.errors.Corrupt` names the input and both
checksums, :class:`~weftwork.errors.StagingFailed` the source that is not there.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import stat
import sys
import threading
import time

from weftwork.core.checksum import Checksum
from weftwork.errors import Corrupt, DiskLimit, EnvironmentDiffers, StagingFailed
from weftwork.node.claim import STARTED
from weftwork.node.disk import is_full_error
from weftwork.node.job import JOB, STREAMS, DirectoryInput, FileInput, Job
from weftwork.node.outcome import OUTCOME

_CHUNK = 1 << 20
_FICLONE = 0x40049409  # linux/fs.h: _IOW(0x94, 9, int)


def materialise(folder: str, job: Job) -> None:
    """Make ``work/`` and lay every input into its place."""
    os.makedirs(os.path.join(folder, job.work), exist_ok=True)
    for item in job.inputs:
        if isinstance(item, FileInput):
            _lay(os.path.join(folder, item.path), item, item.path)
        else:
            _lay_directory(folder, item)


def _lay_directory(folder: str, item: DirectoryInput) -> None:
    top = os.path.join(folder, item.path)
    os.makedirs(top, exist_ok=True)
    for entry in item.entries:
        _lay(os.path.join(top, entry.path), entry, f"{item.path}/{entry.path}")


def _lay(target: str, item: FileInput, name: str) -> None:
    try:
        os.makedirs(os.path.dirname(target), exist_ok=True)
        # O_EXCL: what is there already is another input, or a link that something left behind.
        descriptor = os.open(target, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise _failed(name, item, error) from None
    try:
        found = _fill(descriptor, item, name)
        if found != item.checksum:
            raise Corrupt(
                f"the input {name} should have the checksum {item.checksum} and has {found}"
                + (f" (read from {item.source})" if item.source else ""),
                input=name,
                expected=item.checksum,
                found=found,
            )
        os.fchmod(descriptor, (0o555 if item.executable else 0o444) | (0o200 if item.writable else 0))
    finally:
        os.close(descriptor)


def _fill(target: int, item: FileInput, name: str) -> Checksum:
    try:
        if item.data is not None:
            _write(target, item.data)
            return Checksum.of(item.data)
        assert item.source is not None
        source = os.open(item.source, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            if not stat.S_ISREG(os.fstat(source).st_mode):
                raise StagingFailed(f"the input {name} cannot be had: {item.source} is not a file", input=name)
            return _hash(target) if _reflink(source, target) else _copy(source, target)
        finally:
            os.close(source)
    except OSError as error:
        raise _failed(name, item, error) from None


def _reflink(source: int, target: int) -> bool:
    """Share the blocks, copy on write: XFS, btrfs, bcachefs. Elsewhere the kernel refuses at once."""
    if not sys.platform.startswith("linux"):
        return False
    try:
        fcntl.ioctl(target, _FICLONE, source)
    except OSError:
        return False
    return True


def _copy(source: int, target: int) -> Checksum:
    """Copy and hash in one pass: the kernel's own copy would have to be read a second time to be hashed."""
    hasher = hashlib.sha256()
    while chunk := os.read(source, _CHUNK):
        hasher.update(chunk)
        _write(target, chunk)
    return Checksum.of_digest(hasher.digest())


def _hash(descriptor: int) -> Checksum:
    hasher = hashlib.sha256()
    os.lseek(descriptor, 0, os.SEEK_SET)
    while chunk := os.read(descriptor, _CHUNK):
        hasher.update(chunk)
    return Checksum.of_digest(hasher.digest())


def _write(target: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(target, view) :]


def _failed(name: str, item: FileInput, error: OSError) -> Exception:
    if is_full_error(error):
        return DiskLimit(f"the disk is full: the input {name} does not fit ({error.strerror})", input=name)
    return StagingFailed(
        f"the input {name} cannot be had: {error.strerror}: {error.filename or item.source}", input=name
    )


class Programs:
    """Checksums of programs, remembered by (device, inode, size, mtime, ctime) for the life of the process."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, int, int, int, int], Checksum] = {}
        self._lock = threading.Lock()

    def check(self, job: Job) -> None:
        """Raise :class:`~weftwork.errors.EnvironmentDiffers` for the first program that is not what the key says."""
        for expected in job.expects:
            try:
                found = self._checksum(expected.path)
            except OSError as error:
                raise EnvironmentDiffers(
                    f"the program {expected.path} should have the checksum {expected.checksum} "
                    f"and cannot be read here: {error.strerror}",
                    program=expected.path,
                    expected=expected.checksum,
                    found=None,
                ) from None
            if found != expected.checksum:
                raise EnvironmentDiffers(
                    f"the program {expected.path} should have the checksum {expected.checksum} and has {found} here; "
                    "nothing was run: submit again to have the key made from what is here now",
                    program=expected.path,
                    expected=expected.checksum,
                    found=found,
                )

    def _checksum(self, path: str) -> Checksum:
        with open(path, "rb", buffering=0) as file:
            it = os.fstat(file.fileno())
            key = (it.st_dev, it.st_ino, it.st_size, it.st_mtime_ns, it.st_ctime_ns)
            with self._lock:
                known = self._known.get(key)
            if known is None:
                known = Checksum.of_digest(hashlib.file_digest(file, "sha256").digest())
                # A file changed a moment ago may change again within the resolution of its times: not remembered.
                if time.time() - max(it.st_mtime, it.st_ctime) > 2:
                    with self._lock:
                        self._known[key] = known
            return known


def discard(folder: str) -> None:
    """Remove a job folder whole, directories that the job made unreadable too. Links are removed, never followed."""
    if _discard_plain(folder):
        return
    for _ in range(2):
        shutil.rmtree(folder, ignore_errors=True)
        if not os.path.lexists(folder):
            return
        for directory, _names, _files in os.walk(folder):
            _open_up(directory)
    shutil.rmtree(folder)


def _discard_plain(folder: str) -> bool:
    """Remove a folder in which nothing lies but what every job has; whether that was so."""
    try:
        for name in (JOB, STARTED, OUTCOME, *STREAMS):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(os.path.join(folder, name))
        for name in ("inputs", "work", "home", "tmp"):
            with contextlib.suppress(FileNotFoundError):
                os.rmdir(os.path.join(folder, name))
        os.rmdir(folder)
    except OSError:
        return False
    return True


def _open_up(directory: str) -> None:
    """Make a directory and its direct subdirectories ours to read and empty; ``walk`` reads them afterwards."""
    os.chmod(directory, 0o700)
    with os.scandir(directory) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                os.chmod(entry.path, 0o700)
