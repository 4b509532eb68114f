"""Values that are files: inputs laid out for a function to read, and what it returned taken out of its hands.

Guarantees: a function never sees an inode of the store, only a copy (a reflink where the file system can) in its
worker's ``inputs`` folder, whose bytes were hashed on the way. A copy stays for the next call, unless it was touched.
What a function returned is taken out of its scratch folder, or copied from elsewhere, into the spool, before the
scratch folder is emptied.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from typing import Final

from weftwork.core.checksum import Checksum, from_canonical
from weftwork.core.codecs import directory_bytes
from weftwork.core.values import Directory, File, Type
from weftwork.errors import Corrupt, NoOutput, StagingFailed

_CHUNK: Final = 1 << 20
_LAID_TIME: Final = 315532800  # 1 January 1980
_FICLONE: Final = 0x40049409  # linux/fs.h: _IOW(0x94, 9, int)

Fetch = Callable[[Checksum], "bytes | str"]
"""The bytes of a checksum, or the path of a file that has them and must not be written to."""


class Inputs:
    """Buffers by checksum: what came with the call, and what is fetched when it turns out to be needed."""

    def __init__(self, folder: str, fetch: Fetch) -> None:
        self._folder = folder
        self._fetch = fetch
        self._given: dict[Checksum, bytes | str] = {}
        self._laid: dict[Checksum, tuple[str, tuple[int, ...]]] = {}
        os.makedirs(folder, exist_ok=True)

    def give(self, checksum: Checksum, source: bytes | str) -> None:
        """Where the bytes of an input of the call at hand are."""
        self._given[checksum] = source

    def get(self, checksum: Checksum) -> bytes:
        """The bytes. Raises :class:`~weftwork.errors.Corrupt` when a file's are not what its name says."""
        source = self._source(checksum)
        if isinstance(source, bytes):
            return source
        with _staging(checksum), open(source, "rb") as file:
            data = file.read()
        if Checksum.of(data) != checksum:
            raise Corrupt(f"{source} should have the checksum {checksum} and has {Checksum.of(data)}")
        return data

    def local(self, actual: Type, checksum: Checksum) -> File:
        """A file or directory with the content, for the function to read."""
        if checksum not in self._laid:
            path = os.path.join(self._folder, checksum)
            try:
                if actual.name == "directory":
                    self._lay_directory(path, checksum)
                else:
                    self._lay(path, checksum, executable=False)
            except BaseException:
                # In part: in the way of the next call, which may find all of it.
                if os.path.lexists(path):
                    remove(path)
                raise
            self._laid[checksum] = (path, _seen(path))
        path = self._laid[checksum][0]
        return Directory(path) if actual.name == "directory" else File(path)

    def after_call(self) -> None:
        """Forget what came with the call, and remove the copies that it touched."""
        self._given.clear()
        for checksum, (path, seen) in list(self._laid.items()):
            if _seen(path) != seen:
                remove(path)
                del self._laid[checksum]

    def _source(self, checksum: Checksum) -> bytes | str:
        source = self._given.get(checksum)
        if source is None:
            source = self._given[checksum] = self._fetch(checksum)
        return source

    def _lay_directory(self, path: str, checksum: Checksum) -> None:
        with _staging(checksum):
            os.makedirs(path)
            for name, executable, each in from_canonical(self.get(checksum)):
                target = os.path.join(path, name)
                os.makedirs(os.path.dirname(target), exist_ok=True)
                self._lay(target, Checksum(each), executable=executable)
            for folder, _, _ in os.walk(path, topdown=False):
                os.chmod(folder, 0o555)
                os.utime(folder, (_LAID_TIME, _LAID_TIME))

    def _lay(self, path: str, checksum: Checksum, *, executable: bool) -> None:
        source = self._source(checksum)
        with _staging(checksum), open(path, "xb", buffering=0) as target:
            if isinstance(source, bytes):
                target.write(source)
                found = Checksum.of(source)
            else:
                found = _copy(source, target.fileno())
            os.fchmod(target.fileno(), 0o555 if executable else 0o444)
            # A fixed time long ago: any write moves it, also one within the clock's resolution.
            os.utime(target.fileno(), (_LAID_TIME, _LAID_TIME))
        if found != checksum:
            raise Corrupt(f"the input {checksum.short} should have the checksum {checksum} and has {found}")


@contextlib.contextmanager
def _staging(checksum: Checksum) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StagingFailed(f"the input {checksum.short} cannot be laid out: {error}", checksum=checksum) from None


class Spool:
    """The folder through which large values and files leave a worker; the receiver moves them on."""

    def __init__(self, folder: str, prefix: str, scratch: str) -> None:
        self._folder = folder
        self._prefix = prefix
        self._scratch = os.path.realpath(scratch) + os.sep
        self._count = 0

    def write(self, data: bytes) -> str:
        """A file with the bytes."""
        path = self._next()
        with open(path, "xb", buffering=0) as file:
            view = memoryview(data)
            while view:
                view = view[file.write(view) :]
        return path

    def take(self, source: str, where: str) -> str:
        """A file that the function returned: its own when it lies in the scratch folder, else a copy.

        Raises :class:`~weftwork.errors.NoOutput` when it is not a file that can be read.
        """
        real = os.path.realpath(source)
        try:
            status = os.stat(real)
            if not stat.S_ISREG(status.st_mode):
                raise NoOutput(f"{where}: {source} is not a regular file")
            if not real.startswith(self._scratch) or status.st_nlink > 1:
                return self._copy(real)
            # A link, not a move: another output may hold it too. The scratch folder is emptied before this is told.
            path = self._next()
            os.link(real, path)
            if status.st_mode & 0o400 == 0:
                os.chmod(path, 0o600)
        except OSError as error:
            raise NoOutput(f"{where}: the file {source} cannot be had: {error.strerror}") from None
        return path

    def take_directory(self, source: str, where: str) -> tuple[bytes, list[str]]:
        """A directory: its canonical bytes, and its files in the spool. Links are followed, and stay inside the folder."""
        top = os.path.realpath(source)
        if not os.path.isdir(top):
            raise NoOutput(f"{where}: {source} is not a directory")
        entries, paths = [], []
        for folder, folders, names in os.walk(top, followlinks=False, onerror=_raise(where)):
            for name in [*names, *(each for each in folders if os.path.islink(os.path.join(folder, each)))]:
                path = os.path.join(folder, name)
                real = os.path.realpath(path)
                if os.path.islink(path) and not (real.startswith(top + os.sep) and os.path.isfile(real)):
                    raise NoOutput(
                        f"{where}: {path} is a link to {os.readlink(path)}, which is no file of the directory"
                    )
                spooled = self.take(path, where)
                executable = bool(os.stat(spooled).st_mode & 0o100)
                relative = _utf8(os.path.relpath(path, top), where)
                entries.append((relative, executable, hash_file(spooled)[0]))
                paths.append(spooled)
        return directory_bytes(entries), paths

    def _next(self) -> str:
        self._count += 1
        return os.path.join(self._folder, f"{self._prefix}-{self._count}")

    def _copy(self, source: str) -> str:
        path = self._next()
        with open(path, "xb", buffering=0) as target:
            _copy(source, target.fileno())
            os.fchmod(target.fileno(), 0o700 if os.stat(source).st_mode & 0o100 else 0o600)
        return path


def _raise(where: str) -> Callable[[OSError], None]:
    def fail(error: OSError) -> None:
        raise NoOutput(f"{where}: {error.filename} cannot be read: {error.strerror}")

    return fail


def _utf8(name: str, where: str) -> str:
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        raise NoOutput(f"{where}: the file name {os.fsencode(name)!r} is not UTF-8") from None
    return name


def hash_file(path: str) -> tuple[Checksum, int]:
    """The checksum and size of a file."""
    with open(path, "rb", buffering=0) as file:
        digest = hashlib.file_digest(file, "sha256").digest()
        return Checksum.of_digest(digest), os.fstat(file.fileno()).st_size


def _copy(source: str, target: int) -> Checksum:
    """Copy a file and hash what was copied: one pass, or a reflink that is then read."""
    hasher = hashlib.sha256()
    with open(source, "rb", buffering=0) as file:
        shared = _reflink(file.fileno(), target)
        while chunk := file.read(_CHUNK):
            hasher.update(chunk)
            view = memoryview(chunk)
            while view and not shared:
                view = view[os.write(target, view) :]
    return Checksum.of_digest(hasher.digest())


def _reflink(source: int, target: int) -> bool:
    import fcntl

    try:
        fcntl.ioctl(target, _FICLONE, source)
    except OSError:
        return False
    return True


def _seen(path: str) -> tuple[int, ...]:
    """What changes when somebody writes to the file or below the directory; empty when it is gone."""
    try:
        status = os.lstat(path)
        marks = [status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns]
        if stat.S_ISDIR(status.st_mode):
            for folder, folders, names in os.walk(path):
                for name in (*folders, *names):
                    status = os.lstat(os.path.join(folder, name))
                    marks += [status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns]
    except OSError:
        return ()
    return tuple(marks)


def remove(path: str) -> None:
    """Remove a file or folder with all that is in it, also what was made read-only. What resists stays."""

    def insist(function: Callable[[str], object], name: str, _: object) -> None:
        with contextlib.suppress(OSError):
            os.chmod(os.path.dirname(name), 0o700)
            if os.path.isdir(name) and not os.path.islink(name):
                os.chmod(name, 0o700)
                shutil.rmtree(name, ignore_errors=True)
            else:
                os.unlink(name)

    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path, onerror=insist)
    else:
        with contextlib.suppress(OSError):
            os.unlink(path)
