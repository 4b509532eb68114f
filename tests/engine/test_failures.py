"""What a calculation's own failure is: its own call alone, never cached, never retried; limits; and the site's."""

from __future__ import annotations

import os
import stat
import traceback

import engine_faults as faults
import engine_work as work
import psutil
import pytest
from engine_place import Place

import weftwork as weft
from weftwork import errors
from weftwork.core.placement import Resources
from weftwork.core.step import Overrides
from weftwork.embedded import Embedded
from weftwork.ledger import owners

WAYS = {
    "raise": (errors.Raised, "ValueError: no 3"),
    "file": (errors.Raised, r"'absent\.txt' .*what it reads is an input"),
    "exit": (errors.ExitCode, "exit code 3"),
    "sys.exit": (errors.Raised, "SystemExit: 4"),
    "segfault": (errors.Signalled, "signal 11"),
    "none": (errors.NoOutput, "returned None where int is expected"),
    "text": (errors.NoOutput, "seven"),
}


@pytest.mark.parametrize("how", WAYS)
def test_a_call_that_fails_fails_alone_and_runs_again_when_asked_again(
    place: Place, session: Embedded, how: str
) -> None:
    kind, text = WAYS[how]
    jobs = [weft.submit(faults.flawed, log=place.log, how=how if n == 3 else "well", value=n) for n in range(6)]
    with pytest.raises(kind, match=text) as caught:
        jobs[3].result()
    assert caught.value.details["job"] == jobs[3].id
    assert [job.result() for job in jobs if job is not jobs[3]] == [0, 1, 2, 4, 5]
    assert jobs[3].status == "failed"
    with pytest.raises(kind):
        weft.run(faults.flawed, log=place.log, how=how, value=3)
    assert place.executions()[f"{how} 3"] == 2
    assert [event.kind for event in jobs[3].events() if event.kind not in ("submitted", "started")] == [
        "queued",
        "failed",
    ]


def test_what_a_function_raised_is_shown_with_its_own_traceback_and_not_the_engines(
    place: Place, session: Embedded
) -> None:
    job = weft.submit(faults.flawed, log=place.log, how="raise", value=3)
    for _ in range(2):
        with pytest.raises(errors.Raised) as caught:
            job.result()
    shown = "".join(traceback.format_exception(caught.value))
    assert shown.count("engine_faults.py") == 2, "in the message and in the note"
    assert 'raise ValueError(f"no {value}")' in shown
    assert "collecting.py" not in shown


def test_a_command_that_fails_tells_its_code_and_its_last_words(place: Place, session: Embedded) -> None:
    job = weft.submit(faults.greedy, log=place.log, what="fail")
    with pytest.raises(errors.ExitCode, match="3") as caught:
        job.result()
    assert "it went wrong" in str(caught.value.details)
    assert "it went wrong" in job.logs()
    assert [event.kind for event in job.events()].count("retried") == 0
    weft.submit(faults.greedy, log=place.log, what="fail").exception()
    assert len(place.lines()) == 2
    place.until(lambda: not list((place.home / "jobs").iterdir()))


def test_a_command_without_its_output(place: Place, session: Embedded) -> None:
    with pytest.raises(errors.NoOutput, match=r"result\.txt"):
        weft.run(faults.silent, log=place.log)


def test_a_function_past_its_time_limit(place: Place, session: Embedded) -> None:
    with pytest.raises(errors.TimeLimit, match=r"0\.5 s") as caught:
        weft.run(faults.forever, log=place.log, resources={"time": 0.5})
    assert caught.value.details["limit"] == 0.5
    assert not psutil.pid_exists(place.pid_of("forever"))


def test_a_command_past_its_time_limit(place: Place, session: Embedded) -> None:
    with pytest.raises(errors.TimeLimit, match=r"0\.5 s"):
        weft.run(faults.greedy, log=place.log, what="time", resources={"time": "0.5s"})
    assert not psutil.pid_exists(place.pid_of("greedy"))


@pytest.mark.slow
def test_a_function_past_its_memory_limit(place: Place, session: Embedded) -> None:
    with pytest.raises(errors.MemoryLimit, match="150 MB") as caught:
        weft.run(faults.hungry, log=place.log, megabytes=1000, resources={"memory": "150 MB"})
    assert caught.value.details["used"] > 150e6
    assert not psutil.pid_exists(place.pid_of("hungry"))


@pytest.mark.slow
def test_a_command_past_its_memory_limit(place: Place, session: Embedded) -> None:
    with pytest.raises(errors.MemoryLimit, match=r"its limit is 150\.0 MB"):
        weft.run(faults.greedy, log=place.log, what="memory", resources={"memory": "150 MB"})
    assert not psutil.pid_exists(place.pid_of("greedy"))


def test_a_command_past_its_disk_limit(place: Place, session: Embedded) -> None:
    with pytest.raises(errors.DiskLimit, match=r"its disk limit is 20\.0 MB"):
        weft.run(faults.greedy, log=place.log, what="disk", resources={"disk": "20 MB"})
    assert not psutil.pid_exists(place.pid_of("greedy"))


def test_more_than_the_machine_has_is_refused_before_anything_runs(place: Place, session: Embedded) -> None:
    with pytest.raises(weft.Refused, match="cpus: 3, and this machine has 2"):
        weft.run(work.double, log=place.log, value=1, resources={"cpus": 3})
    with pytest.raises(weft.Refused, match=r"memory: 900\.0 TB, and this machine has [\d.]+ GB"):
        weft.run(work.double, log=place.log, value=1, resources={"memory": "900 TB"})
    assert session.home.ledger.jobs() == []


@pytest.mark.slow
def test_a_supervisor_that_is_killed_is_a_failure_of_the_site_and_is_tried_again(
    place: Place, session: Embedded
) -> None:
    job = weft.submit(work.command, log=place.log, value=1, seconds=3.0)
    place.has("nap 1")
    for process in place.processes(supervisor=True):
        if "supervise" in " ".join(process.cmdline()):
            process.kill()
    assert job.result(30).out == 1
    retried = [event for event in job.events() if event.kind == "retried"]
    assert len(retried) == 1
    assert retried[0].data["error"]["type"] == "Lost"
    assert 0 < retried[0].data["delay"] < 2
    assert place.executions()["nap 1 ended"] == 1


@pytest.mark.slow
def test_a_tool_that_is_another_than_the_key_says_is_tried_again_and_told(
    place: Place, session: Embedded, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The program changes between the key and the start: nothing is recorded, and both versions are named."""
    folder = place.folder / "bin"
    folder.mkdir()
    tool = folder / "mytool"
    _write(tool, "one")
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    document = place.folder / "tool.module.yaml"
    document.write_text("name: tool\noutputs:\n  out: {type: text, from: stdout}\ncommand: [mytool]\n")
    blockers = [weft.submit(work.command, log=place.log, value=n, seconds=1.5) for n in range(2)]
    place.has("nap 0")
    place.has("nap 1")
    job = weft.submit(weft.load(document))
    place.until(lambda: list((place.home / "jobs").glob(f"{job.id}-1/job.json")))
    _write(tool, "two")
    with pytest.raises(errors.EnvironmentDiffers, match="mytool"):
        job.result(30)
    retried = [event.data["error"]["type"] for event in job.events() if event.kind == "retried"]
    assert retried == ["EnvironmentDiffers"] * 3
    assert [each.result().out for each in blockers] == [0, 1]
    assert weft.run(weft.load(document)).out == "two\n"


def _write(tool: object, says: str) -> None:
    path = os.fspath(tool)  # type: ignore[call-overload]
    with open(path + ".new", "w") as file:
        file.write(f"#!/bin/sh\necho {says}\n")
    os.chmod(path + ".new", stat.S_IRWXU)
    os.replace(path + ".new", path)


def test_commands_whose_folder_cannot_be_made_give_their_slots_back(place: Place, session: Embedded) -> None:
    (place.home / "jobs").write_text("no folder")
    for value in range(3):
        inputs = {"log": place.log, "value": value, "seconds": 0.0}
        with pytest.raises(errors.Unavailable, match="cannot be made"):
            session.submit(work.command, inputs, Overrides(retries=0)).result(20)
    ledger, owner = session.home.ledger, session.engine.owner
    everything = Resources(cpus=2)
    place.until(lambda: ledger.take_slots(owner, owners.host(), everything, [("all", everything)]))
