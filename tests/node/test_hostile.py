"""Jobs that do not behave: each ends in the right error, leaves no process, and nothing outside its folder."""

from __future__ import annotations

import os
import signal
import stat
import sys
import threading
from pathlib import Path

import pytest
from node_lanes import NAP, Lane, Resident, eventually, file, forked_by, held_back, limits, napping

from weftwork.core.checksum import Checksum
from weftwork.errors import (
    DiskLimit,
    EnvironmentDiffers,
    ExitCode,
    MemoryLimit,
    NoOutput,
    Signalled,
    SiteFailed,
    TimeLimit,
)
from weftwork.node.job import DirectoryInput, Expected, FileInput
from weftwork.node.outcome import read_outcome

pytestmark = pytest.mark.slow  # many short ones: together too long for a quick look

PYTHON = sys.executable


def test_ignoring_sigterm_ends_at_the_time_limit_after_the_grace(any_system: Lane) -> None:
    outcome, _ = any_system.run(
        script="trap '' TERM; while :; do sleep 0.05; done", limits=limits(seconds=0.6, grace=0.3)
    )
    assert isinstance(outcome.error, TimeLimit)
    assert outcome.error.details["limit"] == 0.6
    assert outcome.signal == 9
    assert 0.85 < outcome.ended - outcome.started < 8


def test_a_job_that_heeds_sigterm_is_not_killed(lane: Lane) -> None:
    script = "trap 'echo bye; exit 0' TERM; while :; do sleep 0.05; done"
    outcome, folder = lane.run(script=script, limits=limits(seconds=0.6, grace=20))
    assert isinstance(outcome.error, TimeLimit)
    assert outcome.exit_code == 0
    assert (folder / "stdout").read_text() == "bye\n"


def test_a_stopped_job_ends_at_the_time_limit(any_system: Lane) -> None:
    outcome, _ = any_system.run(script="kill -STOP $$", limits=limits(seconds=0.3, grace=60))
    assert isinstance(outcome.error, TimeLimit)
    assert outcome.signal == 15


def test_a_grandchild_that_holds_the_streams_does_not_delay_the_end(any_system: Lane) -> None:
    outcome, _ = any_system.run(script="sleep NAP & echo done", outputs=(file("said", "stdout"),))
    assert outcome.error is None
    assert outcome.ended - outcome.started < 5
    assert napping() == []


def test_closing_its_streams_and_living_on_is_allowed(lane: Lane) -> None:
    outcome, _ = lane.run(script="exec <&- >&- 2>&-; sleep 0.3; : > made", outputs=(file("made"),))
    assert outcome.error is None
    assert outcome.ended - outcome.started >= 0.3


@pytest.mark.parametrize(
    "script",
    [
        "setsid sleep NAP &",
        "(setsid sh -c 'sleep NAP & sleep NAP' >/dev/null 2>&1 </dev/null &)",
        "setsid sh -c '(sleep NAP &) ' & wait",
    ],
)
def test_leaving_the_group_and_the_session_is_no_escape(any_system: Lane, script: str) -> None:
    outcome, _ = any_system.run(script=f"{script}\nsleep 0.1")
    assert outcome.error is None
    assert napping() == []


def test_hiding_every_mark_is_no_escape(resident: Resident) -> None:
    """A daemon of the book: forked twice, a session of its own, no variables, no streams, at the root."""
    hide = (
        f"cd /; exec env -i setsid sh -c '(/bin/sleep {NAP} </dev/null >/dev/null 2>&1 &)' </dev/null >/dev/null 2>&1"
    )
    outcome, _ = resident.run(script='(sh -c "$HIDE" &); sleep 0.2', environment={"PATH": os.defpath, "HIDE": hide})
    assert outcome.error is None
    assert napping() == []


def test_a_child_that_forks_as_fast_as_it_dies_is_ended(any_system: Lane) -> None:
    script = "f() { setsid sleep NAP & }; for i in 1 2 3 4 5 6 7 8 9 10; do f; done; sleep 0.1"
    outcome, _ = any_system.run(script=script)
    assert outcome.error is None
    assert napping() == []


@pytest.mark.slow
def test_flooding_both_streams_is_kept_whole(resident: Resident) -> None:
    script = "head -c 100000000 /dev/zero & head -c 100000000 /dev/zero >&2; wait"
    outcome, folder = resident.run(script=script, outputs=(file("out", "stdout"), file("err", "stderr")))
    assert outcome.error is None
    expected = Checksum.of(bytes(100_000_000))
    assert {entry.entries[0].checksum for entry in outcome.outputs.values()} == {expected}
    assert (folder / "stderr").stat().st_size == 100_000_000


def test_flooding_past_the_disk_limit_ends_and_is_cut(any_system: Lane) -> None:
    outcome, folder = any_system.run(script="yes & yes >&2; wait", limits=limits(disk=3_000_000, grace=0.2))
    assert isinstance(outcome.error, DiskLimit)
    assert "3.0 MB" in outcome.error.message
    assert (folder / "stdout").stat().st_size <= 3_000_000
    assert (folder / "stderr").stat().st_size <= 3_000_000


def test_passing_the_disk_limit_with_files(lane: Lane) -> None:
    script = "i=0; while :; do head -c 1000000 /dev/zero > f$i; i=$((i+1)); sleep 0.02; done"
    outcome, _ = lane.run(script=script, limits=limits(disk=5_000_000, grace=0.2))
    assert isinstance(outcome.error, DiskLimit)
    assert outcome.error.details["disk"] > 5_000_000


def test_passing_the_disk_limit_in_an_instant(lane: Lane) -> None:
    """Over before anything could be measured."""
    outcome, _ = lane.run(script="head -c 3000000 /dev/zero > f", limits=limits(disk=1_000_000), outputs=(file("f"),))
    assert isinstance(outcome.error, DiskLimit)
    assert outcome.outputs == {}


def test_inputs_do_not_count_for_the_disk_limit(resident: Resident) -> None:
    data = os.urandom(2_000_000)
    given = FileInput("inputs/x", Checksum.of(data), data=data)
    outcome, _ = resident.run("sleep", "0.4", inputs=(given,), limits=limits(disk=1_000_000))
    assert outcome.error is None


def test_writing_into_its_input_harms_only_its_copy(lane: Lane, tmp_path: Path) -> None:
    source = tmp_path / "stored"
    source.write_bytes(b"precious")
    source.chmod(0o444)
    given = FileInput("inputs/x", Checksum.of(b"precious"), source=str(source))
    script = "chmod u+w ../inputs/x; echo broken > ../inputs/x; cat ../inputs/x > y"
    outcome, folder = lane.run(script=script, inputs=(given,), outputs=(file("y"),))
    assert outcome.error is None
    assert (folder / "work/y").read_bytes() == b"broken\n"
    assert source.read_bytes() == b"precious"
    assert stat.S_IMODE(source.stat().st_mode) == 0o444
    assert source.stat().st_nlink == 1


def test_a_directory_input_can_be_read_and_not_be_written(lane: Lane) -> None:
    entries = (
        FileInput("a b/deep.txt", Checksum.of(b"1"), data=b"1"),
        FileInput("run.sh", Checksum.of(b"#!/bin/sh\necho ran\n"), data=b"#!/bin/sh\necho ran\n", executable=True),
    )
    given = DirectoryInput("work/data", entries)
    outcome, folder = lane.run(
        script="data/run.sh; cat 'data/a b/deep.txt'", inputs=(given,), outputs=(file("s", "stdout"),)
    )
    assert outcome.error is None
    assert (folder / "stdout").read_text() == "ran\n1"
    assert stat.S_IMODE((folder / "work/data/run.sh").stat().st_mode) == 0o555
    assert stat.S_IMODE((folder / "work/data/a b/deep.txt").stat().st_mode) == 0o444


NAMES = ["a b", "line\nbreak", "grüße 雪", "[x]", "*", "'\"$(id)", "-rf", "\\", "tab\t", "?"]


@pytest.mark.parametrize("name", NAMES)
def test_names_that_scripts_trip_over(resident: Resident, name: str) -> None:
    script = 'printf %s "$1" > "./$1"'
    given = FileInput(f"inputs/{name}", Checksum.of(b"given"), data=b"given")
    outcome, _ = resident.run("sh", "-c", script, "sh", name, inputs=(given,), outputs=(file("it", f"./{name}"),))
    assert outcome.error is None
    gathered = outcome.outputs["it"]
    assert gathered is not None
    assert gathered.path == f"work/{name}"
    assert gathered.entries[0].checksum == Checksum.of(name.encode())


def test_names_that_scripts_trip_over_all_in_a_directory(lane: Lane) -> None:
    script = 'mkdir d; for name; do : > "d/$name"; done'
    outcome, _ = lane.run("sh", "-c", script, "sh", *NAMES, outputs=(file("d", kind="directory"),))
    assert outcome.error is None
    assert [entry.path for entry in outcome.outputs["d"].entries] == sorted(NAMES)


def test_a_name_that_is_not_utf8_is_refused(lane: Lane) -> None:
    outcome, _ = lane.run(script="mkdir d; : > d/$(printf '\\377\\376')", outputs=(file("d", kind="directory"),))
    assert isinstance(outcome.error, NoOutput)
    assert "b'\\xff\\xfe' is not UTF-8" in outcome.error.message


@pytest.mark.parametrize(
    ("script", "says"),
    [
        ("ln -s /etc/passwd x", "'work/x' is a link that leads out of the job folder, to '/etc/passwd'"),
        ("ln -s ../../../../../../../../../../../etc/passwd x", "leads out of the job folder"),
        ("ln -s nowhere x", "leads nowhere, to 'nowhere'"),
        ("ln -s x x", "leads round in a circle"),
        ("ln -s /etc e; ln -s e/passwd x", "'work/x' is a link that leads out of the job folder"),
        ("mkfifo x", "is a named pipe"),
        ("mkdir x", "is a directory"),
    ],
)
def test_an_output_that_is_no_file_of_the_folder(resident: Resident, script: str, says: str) -> None:
    outcome, _ = resident.run(script=script, outputs=(file("x"),))
    assert isinstance(outcome.error, NoOutput)
    assert says in outcome.error.message


@pytest.mark.parametrize(
    "script", ["ln -s /etc d/x", "ln -s /etc/passwd d/x", "ln -s .. d/up", "ln -s gone d/x", "mkfifo d/x"]
)
def test_a_directory_that_holds_what_is_no_file_of_the_folder(resident: Resident, script: str) -> None:
    outcome, _ = resident.run(script=f"mkdir -p d/e; : > d/ok; {script}", outputs=(file("d", kind="directory"),))
    assert isinstance(outcome.error, NoOutput)


def test_a_link_that_stays_inside_is_its_content(lane: Lane) -> None:
    script = "echo 1 > real; mkdir -p d/sub; cp real d/sub/a; ln -s ../real d/link; ln -s sub d/again; ln -s real x"
    outcome, _ = lane.run(script=script, outputs=(file("x"), file("d", kind="directory")))
    assert outcome.error is None
    one = Checksum.of(b"1\n")
    assert outcome.outputs["x"].entries[0].checksum == one
    assert [(entry.path, entry.checksum) for entry in outcome.outputs["d"].entries] == [
        ("again/a", one),
        ("link", one),
        ("sub/a", one),
    ]


def test_a_hard_link_to_a_file_outside_is_parted(lane: Lane, tmp_path: Path) -> None:
    outside = lane.home / f"outside-{os.path.basename(tmp_path)}"
    outside.write_text("mine")
    outcome, folder = lane.run("ln", str(outside), "x", outputs=(file("x"),))
    assert outcome.error is None
    assert outside.stat().st_ino != (folder / "work/x").stat().st_ino
    assert (folder / "work/x").read_text() == "mine"


def test_streams_replaced_by_links_are_neither_read_nor_cut(lane: Lane, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.write_bytes(b"secret" * 1000)
    script = f"ln -sf {mine} ../stdout; ln -sf {mine} ../stderr; head -c 1000000 /dev/zero > big; exit 3"
    outcome, _ = lane.run(script=script, limits=limits(disk=1000))
    assert isinstance(outcome.error, DiskLimit)
    outcome, _ = lane.run(script=f"ln -sf {mine} ../stderr; exit 3")
    assert isinstance(outcome.error, ExitCode)
    assert "secret" not in outcome.error.message
    assert mine.read_bytes() == b"secret" * 1000


def test_returning_nothing_names_the_pattern_and_what_is_there(lane: Lane) -> None:
    outcome, _ = lane.run(script="mkdir d; : > d/other.dat; : > 'a b'", outputs=(file("fit", "*.csv"),))
    assert isinstance(outcome.error, NoOutput)
    assert (
        outcome.error.message == "the output fit is missing: nothing is at '*.csv'; the job left 'a b', 'd/other.dat'"
    )


def test_removing_its_own_directory_is_a_missing_output(lane: Lane) -> None:
    outcome, _ = lane.run(script='rm -rf "$PWD"', outputs=(file("x"),))
    assert isinstance(outcome.error, NoOutput)


def test_an_optional_output_may_be_missing(lane: Lane) -> None:
    outcome, _ = lane.run("true", outputs=(file("x", optional=True), file("y", "*.y", kind="files", optional=True)))
    assert outcome.error is None
    assert outcome.outputs == {"x": None, "y": None}


def test_an_exit_code_brings_the_last_words(any_system: Lane) -> None:
    outcome, _ = any_system.run(script="echo nonsense >&2; echo 'no such star' >&2; exit 3", outputs=(file("x"),))
    assert isinstance(outcome.error, ExitCode)
    assert outcome.exit_code == outcome.error.details["exit_code"] == 3
    assert "exit code 3" in outcome.error.message
    assert outcome.error.message.endswith("no such star")


def test_killing_itself_is_told_as_signal_9_perhaps_memory(any_system: Lane) -> None:
    outcome, _ = any_system.run(script="kill -9 $$")
    assert isinstance(outcome.error, Signalled)
    assert "killed by signal 9, perhaps" in outcome.error.message
    assert outcome.signal == 9


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux tells")
def test_being_killed_before_it_became_the_program_is_no_failure_of_the_program(lane: Lane, tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    folder = lane.folder(str(program))
    runner = threading.Thread(target=lane.start, args=(folder,))
    with held_back(program):
        runner.start()
        eventually(lambda: forked_by(folder) != 0)
        os.kill(forked_by(folder), signal.SIGKILL)
        runner.join()
    outcome = read_outcome(folder)
    assert outcome is not None
    assert type(outcome.error) is SiteFailed
    assert "the program never ran" in outcome.error.message


def test_passing_the_memory_limit_in_a_grandchild(any_system: Lane) -> None:
    eat = "import time; x = bytearray(150_000_000); time.sleep(30)"
    outcome, _ = any_system.run(
        "sh", "-c", '"$1" -I -S -c "$2" & wait', "sh", PYTHON, eat, limits=limits(memory=100_000_000, grace=0.2)
    )
    assert isinstance(outcome.error, MemoryLimit)
    assert outcome.error.details["memory"] > 100_000_000
    assert outcome.usage["memory"] > 100_000_000
    assert "its limit is 100.0 MB" in outcome.error.message


def test_shared_pages_count_once_for_the_memory_limit(resident: Resident) -> None:
    fork = (
        "import os, time\nx = bytearray(60_000_000)\n"
        "for _ in range(5):\n    if os.fork() == 0:\n        time.sleep(0.8); os._exit(0)\ntime.sleep(0.8)\n"
    )
    outcome, _ = resident.run(PYTHON, "-I", "-S", "-c", fork, limits=limits(memory=150_000_000))
    assert outcome.error is None


def test_too_many_processes(any_system: Lane) -> None:
    script = "for i in 1 2 3 4 5 6 7 8 9; do sleep NAP & done; wait"
    outcome, _ = any_system.run(script=script, limits=limits(processes=5, grace=0.2))
    assert outcome.error is not None
    assert "10 processes; its limit is 5" in outcome.error.message
    assert napping() == []


def test_a_program_that_differs_is_named_and_not_run(lane: Lane) -> None:
    wrong = Checksum.of(b"another")
    outcome, folder = lane.run("/bin/sh", "-c", ": > ran", expects=(Expected("/bin/sh", wrong),))
    assert isinstance(outcome.error, EnvironmentDiffers)
    right = Checksum.of(Path("/bin/sh").read_bytes())
    assert wrong in outcome.error.message
    assert right in outcome.error.message
    assert not (folder / "work/ran").exists()
    outcome, folder = lane.run("/bin/sh", "-c", ": > ran", expects=(Expected("/bin/sh", right),))
    assert outcome.error is None
    assert (folder / "work/ran").exists()


def test_a_program_that_is_not_there(lane: Lane) -> None:
    outcome, _ = lane.run("no-such-program")
    assert isinstance(outcome.error, EnvironmentDiffers)
    assert "no-such-program" in outcome.error.message
    assert "PATH=" in outcome.error.message
    outcome, _ = lane.run("./mine")
    assert isinstance(outcome.error, ExitCode)
    assert outcome.error.details["exit_code"] == 127


def test_nothing_is_inherited(any_system: Lane, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "1")
    outcome, folder = any_system.run("env", environment={"PATH": os.defpath, "B": "a\nb"})
    assert outcome.error is None
    names = {line.split("=")[0] for line in (folder / "stdout").read_text().splitlines() if "=" in line}
    assert names <= {"PATH", "B", "HOME", "TMPDIR", "WEFT_JOB"}


def test_its_home_and_temporary_files_lie_in_its_folder(lane: Lane) -> None:
    outcome, folder = lane.run(script='cd; pwd; : > "$(mktemp)"; ulimit -c; umask; cat', outputs=(file("o", "stdout"),))
    assert outcome.error is None
    assert (folder / "stdout").read_text().splitlines()[0] == str(folder / "home")
    assert len(list((folder / "tmp").iterdir())) == 1


@pytest.mark.parametrize(
    "script",
    [
        "cat /dev/zero > big",
        "cat /dev/zero > big 2>/dev/null; exit 0",
        "cat /dev/zero",
        "cat /dev/zero > big; rm big; : > x; cat /dev/zero > y; exit 0",
    ],
)
def test_a_disk_that_is_really_full(lane: Lane, small_disk: Path, script: str) -> None:
    outcome, _ = type(lane)(small_disk, lane.home).run(script=script, outputs=(file("x", optional=True),))
    assert isinstance(outcome.error, DiskLimit)
    assert "the disk is full" in outcome.error.message


def test_an_input_that_does_not_fit_on_the_disk(lane: Lane, small_disk: Path, tmp_path: Path) -> None:
    data = bytes(6_000_000)
    (tmp_path / "source").write_bytes(data)
    given = FileInput("inputs/x", Checksum.of(data), source=str(tmp_path / "source"))
    outcome, _ = type(lane)(small_disk, lane.home).run("true", inputs=(given,))
    assert isinstance(outcome.error, DiskLimit)
    assert "the disk is full" in outcome.error.message
