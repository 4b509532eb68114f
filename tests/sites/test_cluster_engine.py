"""The engine with a real Slurm as one of its sites: the same key and result as here, and nothing lost or done twice."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cluster import AT_CLUSTER, open_cluster

import weftwork as weft
from services import Service, running
from weftwork.core.step import Overrides
from weftwork.embedded import Embedded
from weftwork.errors import ExitCode, Raised, SiteFailed, TimeLimit, WeftError
from weftwork.handles import Job
from weftwork.python.decorators import module

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("slurm")]

EXAMPLE = Path(__file__).parent.parent.parent / "examples" / "shell" / "gauges.yaml"

SLOW = """
name: slow
script: |
  set -e
  echo begin >> "$note"
  sleep "$seconds"
  echo end >> "$note"
  printf done
inputs: {note: str, seconds: int}
outputs: {result: {type: str, from: stdout}}
environment: {tools: [sleep]}
"""


@pytest.fixture(scope="module")
def slurm() -> Iterator[Service]:
    with running("slurm") as service:
        yield service


@pytest.fixture
def session(slurm: Service, tmp_path: Path) -> Iterator[Embedded]:
    with open_cluster(tmp_path / "home", slurm.environment) as session:
        yield session


@pytest.fixture
def slow(tmp_path: Path) -> str:
    path = tmp_path / "slow.module.yaml"
    path.write_text(SLOW)
    return str(path)


def _control(slurm: Service, *words: str) -> str:
    return subprocess.run(words, env={**os.environ, **slurm.environment}, capture_output=True, text=True).stdout


def _until(holds: Callable[[], object], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.05)


def _words(home: Path, slurm: Service, thing: str, *inputs: str) -> list[str]:
    """The command line of another engine over the home."""
    program = str(Path(__file__).parent / "cluster.py")
    return [sys.executable, program, str(home), slurm.environment["SLURM_CONF"], thing, *inputs]


def _lines(note: Path) -> list[str]:
    return note.read_text().split() if note.exists() else []


def test_a_workflow_gives_there_what_it_gives_here_and_is_then_known_here(session: Embedded) -> None:
    there = session.submit(str(EXAMPLE), {}, AT_CLUSTER)
    report = there.result().report
    here = session.submit(str(EXAMPLE), {})
    assert here.result().report == report
    jobs = session.home.ledger.jobs(limit=100)
    assert {row.job.cached for row in jobs if row.run == here.id} == {True}
    assert {row.job.cached for row in jobs if row.run == there.id} == {False}


def test_a_job_that_is_cancelled_is_gone_from_the_cluster(
    session: Embedded, slurm: Service, slow: str, tmp_path: Path
) -> None:
    note = tmp_path / "note"
    job = session.submit(slow, {"note": str(note), "seconds": 60}, AT_CLUSTER)
    _until(lambda: _lines(note))
    job.cancel()
    _until(lambda: _control(slurm, "squeue", "-h") == "" and job.status == "cancelled", 20)
    assert _lines(note) == ["begin"]


def test_nodes_that_fail_burn_no_retry(session: Embedded, slurm: Service, slow: str, tmp_path: Path) -> None:
    note = tmp_path / "note"
    job = session.submit(slow, {"note": str(note), "seconds": 8}, AT_CLUSTER)
    assert isinstance(job, Job)
    try:
        for times in range(1, 5):
            _until(lambda times=times: len(_lines(note)) == times)
            node = _control(slurm, "squeue", "-h", "-t", "running", "-o", "%N").strip()
            _control(slurm, "scontrol", "update", f"nodename={node}", "state=down", "reason=test")
            time.sleep(1.5)
            _control(slurm, "scontrol", "update", f"nodename={node}", "state=resume")
        assert job.result() == "done"
    finally:
        _control(slurm, "scontrol", "update", "nodename=n1,n2", "state=resume")
    assert _lines(note) == ["begin"] * 5 + ["end"]
    errors = [event.data["error"]["type"] for event in job.events() if event.kind == "retried"]
    assert errors == ["Evicted"] * 4


def test_an_engine_that_is_killed_finds_its_jobs_again(slurm: Service, slow: str, tmp_path: Path) -> None:
    note, home = tmp_path / "note", tmp_path / "home"
    words = _words(home, slurm, slow, f"note={note}", "seconds=6")
    first = subprocess.Popen(words, stdout=subprocess.PIPE)
    _until(lambda: _lines(note))
    first.send_signal(signal.SIGKILL)
    first.communicate()
    second = subprocess.run(words, capture_output=True, text=True, timeout=120)
    assert second.stdout == "done\n", second.stderr
    assert _lines(note) == ["begin", "end"]


def test_what_the_cluster_refuses_is_told_in_its_words(slurm: Service, slow: str, tmp_path: Path) -> None:
    with open_cluster(tmp_path / "home", slurm.environment, partition="nope") as session:
        job = session.submit(slow, {"note": str(tmp_path / "note"), "seconds": 0}, AT_CLUSTER)
        with pytest.raises(SiteFailed, match="Invalid partition name specified"):
            job.result()


TABLE = {f"row {number}": list(range(200)) for number in range(100)}


@module
def described(numbers: list[int], text: weft.File, folder: weft.Directory, big: bytes) -> dict[str, Any]:
    """What it was given, and what it captured: large, small, files and folders."""
    import os
    import sys

    print("on stdout", len(big))
    print("on stderr", file=sys.stderr)
    names = sorted(os.listdir(folder))
    return {"sum": sum(numbers), "text": open(text).read(), "names": names, "big": len(big), "row": TABLE["row 7"][9]}


def _described(tmp_path: Path) -> dict[str, Any]:
    (tmp_path / "a.txt").write_text("the text")
    folder = tmp_path / "folder"
    (folder / "below").mkdir(parents=True, exist_ok=True)
    for name in ("one", "below/two"):
        (folder / name).write_text(name * 10)
    return {
        "numbers": [1, 2, 3],
        "text": weft.File(tmp_path / "a.txt"),
        "folder": weft.Directory(folder),
        "big": b"x" * 3_000_000,
    }


def test_a_function_gives_there_what_it_gives_here(session: Embedded, tmp_path: Path) -> None:
    job = session.submit(described, _described(tmp_path), AT_CLUSTER)
    assert isinstance(job, Job)
    result = job.result()
    assert result == {"sum": 6, "text": "the text", "names": ["below", "one"], "big": 3_000_000, "row": 9}
    assert "on stdout 3000000\n" in session.logs(job.id)
    assert "on stderr\n" in session.logs(job.id)
    here = session.submit(described, _described(tmp_path))
    assert isinstance(here, Job)
    assert here.result() == result
    assert session.home.ledger.job(here.id).job.cached
    _until(lambda: not list((tmp_path / "home" / "jobs").glob(f"{job.id}*")))


@module
def made(size: int) -> weft.Directory:
    from pathlib import Path

    Path("many/below").mkdir(parents=True)
    Path("many/below/large").write_bytes(b"y" * size)
    for number in range(20):
        Path(f"many/{number}").write_text(str(number))
    return weft.Directory("many")


def test_files_that_a_function_makes_come_back(session: Embedded) -> None:
    many = session.submit(made, {"size": 5_000_000}, AT_CLUSTER).result()
    assert len(os.listdir(many)) == 21
    assert os.path.getsize(os.path.join(many, "below", "large")) == 5_000_000


@module
def failing(how: str) -> int:
    import os
    import time

    if how == "raise":
        raise ValueError("no such thing")
    if how == "exit":
        os._exit(3)
    time.sleep(60)
    return 1


@pytest.mark.parametrize(
    ("how", "kind", "said"),
    [
        ("raise", Raised, "ValueError: no such thing"),
        ("exit", ExitCode, "exit code 3"),
        ("sleep", TimeLimit, "time limit"),
    ],
)
def test_why_a_function_failed_there_is_told(session: Embedded, how: str, kind: type[WeftError], said: str) -> None:
    with pytest.raises(kind, match=said):
        session.submit(failing, {"how": how}, Overrides(site="cluster", resources=(("time", 2),))).result()


@module
def slowly(note: str, seconds: int) -> str:
    import time

    with open(note, "a") as file:
        file.write("begin\n")
    time.sleep(seconds)
    with open(note, "a") as file:
        file.write("end\n")
    return "done"


def test_a_call_of_an_engine_that_is_killed_is_found_again(slurm: Service, tmp_path: Path) -> None:
    note, home = tmp_path / "note", tmp_path / "home"
    words = _words(home, slurm, f"{__file__}:slowly", f"note={note}", "seconds=6")
    first = subprocess.Popen(words, stdout=subprocess.PIPE)
    _until(lambda: _lines(note))
    first.send_signal(signal.SIGKILL)
    first.communicate()
    second = subprocess.run(words, capture_output=True, text=True, timeout=120)
    assert second.stdout == "done\n", second.stderr
    assert _lines(note) == ["begin", "end"]


def test_a_call_that_is_cancelled_is_gone_from_the_cluster(session: Embedded, slurm: Service, tmp_path: Path) -> None:
    note = tmp_path / "note"
    job = session.submit(slowly, {"note": str(note), "seconds": 60}, AT_CLUSTER)
    _until(lambda: _lines(note))
    job.cancel()
    _until(lambda: _control(slurm, "squeue", "-h") == "" and job.status == "cancelled", 20)
    assert _lines(note) == ["begin"]
