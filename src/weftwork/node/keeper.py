"""Ends what an engine leaves behind when it dies: its workers' process groups, whatever they started, their folder.

Started as ``weftwork.node.keeper:main FOLDER`` with a pipe from the engine as its standard input, one for each pool of
workers. It hears ``+PID`` and ``-PID``: a worker (the leader of its process group) began, or is gone. When the pipe
ends, or the engine is no longer its parent, it kills all groups that it still knows and every process whose
environment names the folder, removes the folder, and ends.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import time
from typing import Final

from weftwork.node import processes
from weftwork.node.handover import remove

_PATIENCE: Final = 5.0


def kill_marked(folder: str) -> bool:
    """Kill every process whose environment names the folder; whether there was any. The caller itself is spared."""
    found = _marked(folder) - {os.getpid()}
    for pid in found:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)
    return bool(found)


def _marked(folder: str) -> set[int]:
    """The processes whose HOME, when they began, was the folder or below it."""
    if processes.HAVE_PROC:
        return processes.marked(folder)
    lines = subprocess.run(["ps", "-A", "eww", "-o", "pid=,command="], stdout=subprocess.PIPE, check=False).stdout
    mark = os.fsencode(f" HOME={folder}/")
    return {int(line.split(None, 1)[0]) for line in lines.splitlines() if mark in line}


def main(folder: str) -> None:
    """Wait for the engine's end, then leave nothing of it."""
    os.setsid()
    for group in _listen(os.getppid()):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(group, signal.SIGKILL)
    deadline = time.monotonic() + _PATIENCE
    while kill_marked(folder) and time.monotonic() < deadline:
        time.sleep(0.02)
    remove(folder)


def _listen(parent: int) -> set[int]:
    groups: set[int] = set()
    rest = b""
    while os.getppid() == parent:
        # The pipe may have been inherited by others: then the parent's death is seen within the second.
        if not select.select([0], [], [], 1.0)[0]:
            continue
        data = os.read(0, 65536)
        if not data:
            break
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            (groups.add if line[:1] == b"+" else groups.discard)(int(line[1:]))
    return groups


if __name__ == "__main__":
    main(sys.argv[1])
