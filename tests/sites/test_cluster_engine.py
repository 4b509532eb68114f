"""The engine with a real Slurm as one of its sites: the same key and result as here, and nothing lost or done twice."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cluster import AT_CLUSTER, open_cluster

from services import Service, running
from weftwork.embedded import Embedded
from weftwork.errors import Refused, SiteFailed
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
    _until(lambda: _control(slurm, "squeue", "-h") == "", 20)
    assert job.status == "cancelled"
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
    words = [
        sys.executable,
        str(Path(__file__).parent / "cluster.py"),
        str(home),
        slurm.environment["SLURM_CONF"],
        slow,
        f"note={note}",
        "seconds=6",
    ]
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


@module
def doubled(x: int) -> int:
    return 2 * x


def test_a_function_is_refused_before_anything_is_made_of_it(session: Embedded) -> None:
    with pytest.raises(Refused, match="takes commands and scripts alone"):
        session.submit(doubled, {"x": 1}, AT_CLUSTER)
