"""What must be known of the disk below a path: is it a network's, is it full, is it ours to write to, is it durable.

Owns how the system's refusals are told as errors of ours, with the place and the next step.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from weftwork.errors import Unavailable

NETWORK = frozenset(
    {
        *("nfs", "nfs3", "nfs4", "cifs", "smb2", "smb3", "smbfs", "afpfs", "webdav", "ncpfs", "afs", "coda"),
        *("lustre", "gpfs", "mmfs", "beegfs", "fhgfs", "ceph", "glusterfs", "panfs", "pvfs2", "orangefs", "wekafs"),
        *("quobyte", "moosefs", "ocfs2", "gfs2", "9p", "virtiofs", "vboxsf", "prl_fs", "vmhgfs", "autofs"),
    }
)
"""Types of file systems that other hosts can write to: there SQLite's shared memory (WAL) is not safe."""

_LOCAL_FUSE = frozenset({"fuseblk", "fuse.ntfs", "fuse.ntfs-3g", "fuse.exfat", "fuse.fuse-overlayfs", "fuse.ext2"})


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
    import subprocess

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


@contextlib.contextmanager
def translated(root: Path) -> Iterator[None]:
    """Tell what the system refused as :class:`~weftwork.errors.Unavailable`, with the folder and the next step."""
    try:
        yield
    except OSError as error:
        raise _told(error, root) from error


def _told(error: OSError, root: Path) -> Unavailable:
    place = error.filename or str(root)
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return full(root)
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return denied(str(place), error.strerror)
    if error.errno in (errno.EMFILE, errno.ENFILE):
        return Unavailable(f"too many files are open ({error.strerror}) to use {root}; raise `ulimit -n`")
    return Unavailable(f"{place}: {error.strerror or error}; {root} cannot be used", path=str(place))


def denied(place: str, why: object) -> Unavailable:
    """The error for what may not be written to."""
    return Unavailable(
        f"{place} may not be written to ({why}); let this user write to it and to its folder, or choose another home "
        "with WEFT_HOME",
        path=place,
    )


def full(root: Path) -> Unavailable:
    """The error for a full disk: where, and how much is free."""
    free = free_bytes(root)
    return Unavailable(
        f"the disk of {root} is full ({free / 1e6:,.1f} MB free, or the quota is used up); nothing of this was stored, "
        "and nothing that was told is lost: free some space, then go on, or choose another home with WEFT_HOME",
        path=str(root),
        free=free,
    )


def free_bytes(path: Path) -> int:
    """How much is free on the disk of a file that may not be there; 0 where that cannot be asked."""
    for place in (path, path.parent):
        with contextlib.suppress(OSError):
            found = os.statvfs(place)
            return found.f_bavail * found.f_frsize
    return 0
