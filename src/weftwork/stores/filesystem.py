"""Names of temporary files, so that those of dead processes can be told from those of live ones."""

from __future__ import annotations

import contextlib
import itertools
import os
import time
from functools import cache
from pathlib import Path

from weftwork.core.checksum import Checksum

_STALE = 24 * 3600.0
"""Seconds without a write after which a temporary file of another host counts as left behind."""


_counter = itertools.count()


@cache
def _origin() -> str:
    """Names the set of processes whose ids mean the same: this boot of this host, this namespace of ids."""
    parts = [os.uname().nodename]
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
