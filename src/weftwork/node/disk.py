"""How much of the disk a job uses, and whether the disk is full."""

from __future__ import annotations

import contextlib
import errno
import os
from typing import Final

_NEARLY_NOTHING: Final = 128 * 1024


def is_full_error(error: OSError) -> bool:
    """Whether the error says that the disk, or our share of it, is full."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT)


def is_full(folder: str) -> bool:
    """Whether the file system of the folder has next to no room left, in bytes or in files.

    A program on a full disk may have lost what it wrote and still have ended well: many never look at
    what ``close`` returns. So what a job leaves on a full disk is not a result.
    """
    try:
        it = os.statvfs(folder)
    except OSError:
        return False
    blocks, files = (it.f_bfree, it.f_ffree) if os.geteuid() == 0 else (it.f_bavail, it.f_favail)
    return blocks * it.f_frsize < min(_NEARLY_NOTHING, it.f_blocks * it.f_frsize) or (it.f_files > 0 and files == 0)


def used(folder: str) -> int:
    """Bytes on disk below the folder. What vanishes while it is being counted does not count; links are not followed."""
    total = 0
    waiting = [folder]
    while waiting:
        try:
            with os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
                    else:
                        with contextlib.suppress(OSError):
                            total += entry.stat(follow_symlinks=False).st_blocks * 512
        except OSError:
            continue
    return total


def streams(folder: str) -> int:
    """The bytes of the two streams."""
    total = 0
    for name in ("stdout", "stderr"):
        try:
            total += os.stat(os.path.join(folder, name)).st_size
        except OSError:
            continue
    return total
