"""The facilities of the system and their fallbacks tell the same."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys

import pytest
from node_lanes import NAP, eventually, napping

from weftwork.node import processes

ASK = """
import json, sys
from weftwork.node import processes
pid, folder = int(sys.argv[1]), sys.argv[2]
it = processes.look(pid)
print(json.dumps({
    "portable": processes.PORTABLE, "parent": it.parent, "group": it.group, "session": it.session, "zombie": it.zombie,
    "memory": it.memory > 0, "marked": sorted(processes.marked(folder)), "in table": pid in processes.table(),
    "running": processes.is_running(pid, processes.identity(pid)), "pidfd": processes.open_pidfd(pid) is not None,
    "none": processes.look(2**22 - 1) is None, "subreaper": processes.become_subreaper(),
    "tree": sorted(each.pid for each in processes.descendants(processes.table(), {pid})),
}))
"""


@pytest.mark.skipif(shutil.which("ps") is None, reason="ps is not installed")
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="compares with what only Linux has")
def test_ps_tells_what_proc_tells(tmp_path: str) -> None:
    folder = f"{tmp_path}/a folder"
    words = ["sh", "-c", f"sleep {NAP} & wait"]
    child = subprocess.Popen(words, env={"WEFT_JOB": folder, "PATH": os.defpath}, start_new_session=True)
    try:
        eventually(lambda: len(napping()) == 1)
        answers = []
        for portable in ("0", "1"):
            done = subprocess.run(
                [sys.executable, "-c", ASK, str(child.pid), folder],
                env={**os.environ, "WEFT_PORTABLE": portable},
                capture_output=True,
                check=True,
            )
            answers.append(json.loads(done.stdout))
        linux, portable = answers
        assert (linux.pop("portable"), portable.pop("portable")) == (False, True)
        assert (linux.pop("pidfd"), portable.pop("pidfd")) == (True, False)
        assert (linux.pop("subreaper"), portable.pop("subreaper")) == (True, False)
        assert linux == portable
        assert linux["marked"] == linux["tree"] == sorted([child.pid, *napping()])
        assert linux["session"] == linux["group"] == child.pid
    finally:
        os.killpg(child.pid, 9)
        child.wait()


def test_a_pid_that_was_reused_is_another_process() -> None:
    own = processes.identity(os.getpid())
    assert processes.is_running(os.getpid(), own)
    assert not processes.is_running(os.getpid(), f"{own}0")
    assert not processes.is_running(os.getpid(), None)


def test_a_zombie_does_not_run() -> None:
    child = subprocess.Popen(["true"])
    eventually(lambda: processes.identity(child.pid) is None)
    assert child.wait() == 0


def test_a_name_of_blanks_and_parentheses_is_read(tmp_path: str) -> None:
    program = f"{tmp_path}/) R 1 (x"
    shutil.copy(shutil.which("sleep") or "", program)
    child = subprocess.Popen([program, NAP])
    try:
        it = processes.look(child.pid)
        assert it is not None
        assert it.parent == os.getpid()
    finally:
        child.kill()
        child.wait()
