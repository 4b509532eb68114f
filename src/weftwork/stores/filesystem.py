"""What a store must know of the file system below it: is it a network's, is it full, is it ours to write to.

Also the names of temporary files, so that those of dead processes can be told from those of live ones.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import platform
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from weftwork.core.checksum import Checksum
from weftwork.errors import Corrupt, StagingFailed, Unavailable, WeftError

NETWORK = frozenset(
    {
        *("nfs", "nfs3", "nfs4", "cifs", "smb2", "smb3", "smbfs", "afpfs", "webdav", "ncpfs", "afs", "coda"),
        *("lustre", "gpfs", "mmfs", "beegfs", "fhgfs", "ceph", "glusterfs", "panfs", "pvfs2", "orangefs", "wekafs"),
        *("quobyte", "moosefs", "ocfs2", "gfs2", "9p", "virtiofs", "vboxsf", "prl_fs", "vmhgfs", "autofs"),
    }
)
"""Types of file systems that other hosts can write to: there SQLite's shared memory (WAL) is not safe."""

_LOCAL_FUSE = frozenset({"fuseblk", "fuse.ntfs", "fuse.ntfs-3g", "fuse.exfat", "fuse.fuse-overlayfs", "fuse.ext2"})

_STALE = 24 * 3600.0
"""Seconds without a write after which a temporary file of another host counts as left behind."""


def is_network(path: Path) -> bool:
    """Whether the path, or where it will be, lies on a network file system. What cannot be found out counts as local."""
    kind = file_system(path)
    return kind in NETWORK or (kind.startswith("fuse") and kind not in _LOCAL_FUSE)


def file_system(path: Path) -> str:
    """The type of the path's file system, such as ``ext4`` or ``nfs4``; empty where nothing tells."""
    place = os.path.realpath(path)
    best, found = -1, ""
    for point, kind in _mounts():
        inside = place == point or place.startswith(point.rstrip("/") + "/")
        # Of two mounts on one point the later one hides the earlier.
        if inside and len(point) >= best:
            best, found = len(point), kind
    return found


def _mounts() -> Iterator[tuple[str, str]]:
    """Mount points with their types, in the order in which they were mounted."""
    try:
        text = Path("/proc/self/mounts").read_text("utf-8", "surrogateescape")
    except OSError:
        yield from _mounts_command()
        return
    for line in text.splitlines():
        words = line.split(" ")
        if len(words) > 2:
            yield _unescape(words[1]), words[2]


def _unescape(text: str) -> str:
    """The kernel writes space, tab, newline and backslash as three octal digits."""
    for code, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        text = text.replace(code, character)
    return text


def _mounts_command() -> Iterator[tuple[str, str]]:
    """macOS and the BSDs: ``server:/x on /mnt (nfs, asynchronous)``."""
    try:
        out = subprocess.run(["/sbin/mount"], capture_output=True, timeout=10, check=False).stdout
    except (OSError, subprocess.TimeoutExpired):
        return
    for line in out.decode("utf-8", "surrogateescape").splitlines():
        place, _, options = line.rpartition(" (")
        _, _, point = place.partition(" on ")
        if point:
            yield point, options.split(",")[0].rstrip(")").strip()


def sync_directory(path: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_DIRECTORY", 0))
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Some network file systems refuse to sync a folder, and need not be asked.
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EBADF):
            raise
    finally:
        os.close(descriptor)


def sync_file(descriptor: int) -> None:
    """Make a file's bytes durable; on macOS past the disk's own cache too."""
    if sys.platform == "darwin":
        import fcntl

        with contextlib.suppress(OSError):
            fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)
            return
    os.fsync(descriptor)


_counter = itertools.count()


@cache
def _origin() -> str:
    """Names the set of processes whose ids mean the same: this boot of this host, this namespace of ids."""
    parts = [platform.node()]
    for source in ("/proc/sys/kernel/random/boot_id",):
        with contextlib.suppress(OSError):
            parts.append(Path(source).read_text("ascii").strip())
    with contextlib.suppress(OSError):
        parts.append(os.readlink("/proc/self/ns/pid"))
    return Checksum.of("\n".join(parts).encode("utf-8", "surrogateescape"))[:16]


def temporary(folder: Path) -> Path:
    """A name in ``folder`` for a file in the making, which says whose it is."""
    return folder / f"{_origin()}-{os.getpid()}-{next(_counter)}-{os.urandom(4).hex()}"


def remove_leftovers(folder: Path) -> None:
    """Remove the temporary files of processes that died: seen by process id here, elsewhere by a day without a write."""
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            with contextlib.suppress(OSError):
                if _left_behind(entry):
                    os.unlink(entry.path)


def _left_behind(entry: os.DirEntry[str]) -> bool:
    origin, _, rest = entry.name.partition("-")
    pid = rest.partition("-")[0]
    if origin == _origin() and pid.isdigit() and not _alive(int(pid)):
        return True
    return time.time() - entry.stat(follow_symlinks=False).st_mtime > _STALE


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True


@contextlib.contextmanager
def translated(root: Path) -> Iterator[None]:
    """Tell what the system refused as an error of ours, with the folder and the next step."""
    try:
        yield
    except sqlite3.Error as error:
        raise of_sqlite(error, root) from error
    except OSError as error:
        raise of_system(error, root) from error


def of_system(error: OSError, root: Path) -> WeftError:
    place = error.filename or str(root)
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return full(root)
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return StagingFailed(
            f"{place} may not be written to ({error.strerror}); let this user write to {root}, or choose another home with WEFT_HOME",
            path=str(place),
        )
    if error.errno in (errno.EMFILE, errno.ENFILE):
        return StagingFailed(f"too many files are open ({error.strerror}) to use {root}; raise `ulimit -n`")
    return StagingFailed(f"{place}: {error.strerror or error}; the store {root} cannot be used", path=str(place))


def full(root: Path) -> StagingFailed:
    """The error for a full disk: which folder, and how much is free."""
    free = 0
    with contextlib.suppress(OSError):
        free = shutil.disk_usage(root).free
    return StagingFailed(
        f"the disk of {root} is full ({free / 1e6:,.1f} MB free, or the quota is used up); nothing was stored: "
        "free some space, or choose another home with WEFT_HOME",
        path=str(root),
        free=free,
    )


def of_sqlite(error: sqlite3.Error, root: Path) -> WeftError:
    # The low byte is the primary code; the rest only refines it.
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code == sqlite3.SQLITE_FULL:
        return full(root)
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return Unavailable(
            f"{root} has been locked by another process for too long ({error}); see which with `lsof`, then try again",
            path=str(root),
        )
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return Corrupt(
            f"{root} is damaged ({error}); move it away: what it held is made again when it is needed "
            f"(`sqlite3 {root} .recover` shows what can be saved)",
            path=str(root),
        )
    if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH, sqlite3.SQLITE_CANTOPEN):
        return StagingFailed(
            f"{root} may not be opened for writing ({error}); let this user write to it and to its folder, "
            "or choose another home with WEFT_HOME",
            path=str(root),
        )
    with contextlib.suppress(OSError):
        # A disk that fills under memory-mapped or written pages is told as an I/O error.
        if code == sqlite3.SQLITE_IOERR and shutil.disk_usage(root.parent).free < 1 << 20:
            return full(root)
    return StagingFailed(f"{root}: {error}; look at the disk's state, then try again", path=str(root))
