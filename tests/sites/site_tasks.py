"""Tasks of the command lane, as the tests of schedulers want them, and how they ended by what lies in their folder."""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Sequence
from pathlib import Path

import psutil

from weftwork import config
from weftwork.core.calculation import Calculation
from weftwork.core.checksum import canonical
from weftwork.core.placement import Resources
from weftwork.engine.frames import frame_of
from weftwork.errors import WeftError
from weftwork.node.job import Job, Limits, write_job
from weftwork.node.outcome import read_outcome
from weftwork.ports import Call, Process, Report, Task
from weftwork.python.decorators import module
from weftwork.sites.machine import Machine


def noting(name: str, note: Path, seconds: float, exit_code: int) -> str:
    """A script that adds its begin and its end to a note."""
    path, own = shlex.quote(str(note)), shlex.quote(name)
    fails = f"[ {exit_code} = 0 ] || exit {exit_code}"
    return f"echo begin {own} >> {path}; sleep {seconds}; {fails}; echo end {own} >> {path}"


@module
def noted(note: str, name: str, seconds: float, exit_code: int) -> None:
    import os
    import time

    with open(note, "a") as file:
        file.write(f"begin {name}\n")
    time.sleep(seconds)
    if exit_code:
        os._exit(exit_code)
    with open(note, "a") as file:
        file.write(f"end {name}\n")


def noting_call(home: config.Home, name: str, note: Path, seconds: float, exit_code: int) -> Call:
    """A call that does what :func:`noting` says, of a function that is in the home's store."""
    found, carried = noted.resolve()
    home.store.put_many([*carried.buffers, canonical(found.document())])
    frame = frame_of(found, Machine(home.sources.checksum).resolve(found))
    values = {"note": str(note), "name": name, "seconds": seconds, "exit_code": exit_code}
    calculation = Calculation.of(frame, home.binder.bind(found, values))
    return Call(name, name, calculation, found, Resources())


def script_task(folder: Path, script: str, resources: Resources) -> Process:
    """The job folder of a script, under the limits of its resources."""
    limits = Limits(seconds=resources.time, memory=resources.memory, disk=resources.disk, grace=1.0)
    environment = {"PATH": "/usr/bin:/bin"}
    write_job(str(folder), Job(id=folder.name, command=("sh", "-c", script), environment=environment, limits=limits))
    return Process(folder.name, folder.name, folder, resources)


def folder_error(task: Task, report: Report) -> WeftError | None:
    """What a task failed with: the word of its place, else its outcome."""
    if isinstance(task, Call):
        return None if report.outcome is None else report.outcome.error
    if report.error is not None:
        return report.error
    outcome = read_outcome(str(task.folder))
    return None if outcome is None else outcome.error


def alive(jobs: Path, names: Sequence[str]) -> set[str]:
    """Those of the tasks of which a process is alive on this host, by the mark in its environment."""
    found = set()
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            folder = process.environ().get("WEFT_JOB", "")
            found |= {name for name in names if folder == str(jobs / name)}
    return found
