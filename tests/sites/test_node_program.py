"""The node program is one file, the same for the same sources, and runs a job folder with Python alone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

from site_tasks import alive, script_task

from weftwork.core.placement import Resources
from weftwork.node.outcome import read_outcome
from weftwork.sites.nodeprogram import node_program, node_program_bytes


def _run(program: Path, folder: Path) -> subprocess.Popen[bytes]:
    # Isolated and away from here: nothing but the file itself can be imported from.
    return subprocess.Popen([sys.executable, "-I", "-S", str(program), "run", str(folder)], cwd="/")


def test_it_runs_a_folder_to_its_outcome(tmp_path: Path) -> None:
    task = script_task(tmp_path / "jobs" / "one", "echo out; exit 3", Resources())
    assert _run(node_program(tmp_path), task.folder).wait(30) == 1
    outcome = read_outcome(str(task.folder))
    assert outcome is not None
    assert outcome.exit_code == 3
    assert (task.folder / "stdout").read_text() == "out\n"


def test_a_second_start_of_a_folder_runs_nothing(tmp_path: Path) -> None:
    task = script_task(tmp_path / "jobs" / "once", f"echo ran >> {tmp_path}/note", Resources())
    program = node_program(tmp_path)
    assert [_run(program, task.folder).wait(30) for _ in range(2)] == [0, 75]
    assert (tmp_path / "note").read_text() == "ran\n"


def test_it_is_made_once_for_its_content_and_holds_nothing_else(tmp_path: Path) -> None:
    first = node_program(tmp_path)
    made = first.stat().st_mtime_ns
    assert node_program(tmp_path) == first
    assert first.stat().st_mtime_ns == made
    assert node_program_bytes() == first.read_bytes()
    tops = {name.split("/")[1] for name in zipfile.ZipFile(first).namelist() if name.startswith("weftwork/")}
    assert tops == {"__init__.py", "errors.py", "core", "node", "python"}


def test_killed_outright_it_leaves_no_process_of_the_job(tmp_path: Path) -> None:
    script = f"setsid sleep 60 & (setsid sh -c 'sleep 60' &) ; touch {tmp_path}/begun; sleep 60"
    task = script_task(tmp_path / "jobs" / "killed", script, Resources())
    program = _run(node_program(tmp_path), task.folder)
    deadline = time.monotonic() + 20
    while not (tmp_path / "begun").exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.kill(program.pid, signal.SIGKILL)
    program.wait()
    deadline = time.monotonic() + 20
    while alive(tmp_path / "jobs", ["killed"]) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert alive(tmp_path / "jobs", ["killed"]) == set()
    assert read_outcome(str(task.folder)) is None
