"""``weft run`` and the commands that look at what it left."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import subprocess
import time
from pathlib import Path

import pytest
from weft_command import WEFT, Weft, until

pytestmark = pytest.mark.slow  # many short ones: together too long for a quick look

WORKFLOW = """
name: squares
inputs:
  numbers: list[int]
steps:
  square:
    module: square.module.yaml
    for_each: {n: $numbers}
    inputs: {n: $n}
outputs:
  squares: $square.result
"""

SQUARE = """
name: square
inputs:
  n: int
outputs:
  result: {type: int, from: stdout}
command: [sh, -c, "echo $(($0 * $0))", "{n}"]
"""


def test_a_module_prints_its_outputs_on_stdout_and_its_progress_on_stderr(weft: Weft) -> None:
    first = weft("run", "mods.py:add", "-i", "x=1")
    assert first.stdout == b"result = 2.0\n"
    assert b"add succeeded" in first.stderr
    second = weft("run", "mods.py:add", "-i", "x=1.0")
    assert b"add succeeded (cached)" in second.stderr


def test_a_workflow_tells_each_step_and_its_end(weft: Weft) -> None:
    done = weft("run", "mods.py:flow", "-i", "x=3")
    assert done.stdout == b"result = 6.0\n"
    lines = done.stderr.decode().splitlines()
    assert [line.split()[0:2] for line in lines[:4]] == [
        ["add", "running"],
        ["add", "succeeded"],
        ["add_2", "running"],
        ["add_2", "succeeded"],
    ]
    assert "2 succeeded" in lines[-1]


def test_json_is_one_document_with_outputs_steps_run_and_state(weft: Weft) -> None:
    weft("run", "mods.py:flow", "-i", "x=3")
    document = weft.json("run", "mods.py:flow", "-i", "x=3", "--json")
    assert document["state"] == "succeeded"
    assert document["outputs"]["result"]["value"] == 6.0
    assert {name: each["cached"] for name, each in document["steps"].items()} == {"add": True, "add_2": True}
    assert weft.json("show", document["run"], "--json")["state"] == "succeeded"


def test_a_failure_shows_the_error_its_log_and_where_to_look(weft: Weft) -> None:
    done = weft("run", "mods.py:mixed", "-i", "x=3", code=1)
    told = done.stderr.decode()
    assert "ValueError: no: 4.0" in told
    assert "about to fail" in told
    assert "add_2 cancelled: bad failed" in told
    job = re.search(r"weft logs (\w+); weft why", told)
    assert job is not None
    assert "about to fail" in weft.out("logs", job[1])
    assert "ran and failed" in weft.out("why", job[1])
    assert done.stdout == b"first = 4.0\n"


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("run", "mods.py:add", "-i", "z=1"), 2, "there is no input 'z'"),
        (("run", "mods.py:add", "-i", "x=one"), 2, "'one' cannot be read as float"),
        (("run", "mods.py:add", "-i", "x"), 2, "write it as name=value"),
        (("run", "mods.py:add"), 2, "input 'x' is missing"),
        (("run", "mods.py:sloow"), 3, "did you mean 'slow'"),
        (("run", "absent.yaml"), 3, "absent.yaml"),
        (("run",), 2, "give either a workflow or module"),
        (("run", "mods.py:add", "-i", "x=1", "--at", "moon"), 4, "there is no site 'moon'"),
        (("run", "mods.py:flow", "-i", "x=1", "--at", "moon"), 4, "there is no site 'moon'"),
        (("run", "mods.py:add", "-i", "x=1", "-o", "y=out"), 2, "there is no output 'y'"),
        (("rum",), 2, "did you mean 'run'"),
        (("show", "j234"), 3, "no job has the name 'j234' or an id that begins so"),
        (("why", "nothing"), 3, "nothing"),
    ],
)
def test_errors_are_one_clear_line_with_the_exit_code_of_their_kind(
    weft: Weft, words: tuple[str, ...], code: int, said: str
) -> None:
    done = weft(*words, code=code)
    assert said in done.stderr.decode()
    assert done.stderr.startswith(b"weft: ")
    assert b"Traceback" not in done.stderr
    assert done.stdout == b""


def test_inputs_are_read_from_a_file_and_the_command_line_wins(weft: Weft) -> None:
    weft.write("in/inputs.yaml", "x: 1\ny: 5\n")
    assert weft.out("run", "mods.py:add", "--inputs", "in/inputs.yaml") == "result = 6.0\n"
    assert weft.out("run", "mods.py:add", "--inputs", "in/inputs.yaml", "-i", "y=2") == "result = 3.0\n"


def test_files_are_given_by_their_paths(weft: Weft) -> None:
    weft.write("a b.txt", "four")
    weft.write("in/c.txt", "seven!!")
    assert weft.out("run", "mods.py:sizes", "-i", "files=a b.txt", "-i", "files=in/c.txt") == "result = [4,7]\n"
    weft.write("in/inputs.yaml", "files: [c.txt]\n")
    assert weft.out("run", "mods.py:sizes", "--inputs", "in/inputs.yaml") == "result = [7]\n"


def test_outputs_are_saved_and_got(weft: Weft) -> None:
    document = weft.json("run", "mods.py:add", "-i", "x=1", "-o", "result=out/r.json", "--json")
    assert json.loads((weft.folder / "out/r.json").read_text()) == 2.0
    assert weft.out("get", document["job"]) == "2.0"
    weft("get", document["job"], "result", "-o", "again.json")
    assert (weft.folder / "again.json").read_text() == "2.0"
    assert weft.out("get", document["outputs"]["result"]["checksum"]) == "2.0"


def test_jobs_and_runs_are_listed_and_shown_by_the_beginning_of_their_ids(weft: Weft) -> None:
    run = weft.json("run", "mods.py:flow", "-i", "x=3", "--json")["run"]
    rows = weft.json("jobs", "--json")
    assert {row["step"] for row in rows} == {"add", "add_2"}
    assert weft.json("runs", "--json")[0]["run"] == run
    assert f"run {run[:5]}" in weft.out("show", run[:5])
    job = rows[0]["job"]
    shown = weft.json("show", job, "--json")
    assert shown["outputs"]["result"]["value"] == 6.0
    assert shown["events"][0]["kind"] == "queued"
    assert weft.json("jobs", "--state", "failed", "--json") == []
    assert len(weft.json("jobs", "--run", run[:6], "-n", "1", "--json")) == 1


def test_why_names_a_step_of_the_latest_run_or_of_another(weft: Weft) -> None:
    first = weft.json("run", "mods.py:flow", "-i", "x=3", "--json")["run"]
    weft("run", "mods.py:flow", "-i", "x=4")
    assert "input x: 3.0 → 4.0" in weft.out("why", "add")
    assert "nothing to compare it with" in weft.out("why", f"{first}:add")


def test_a_job_without_a_run_is_found_by_its_name_and_the_jobs_of_a_map_by_theirs(weft: Weft) -> None:
    weft("run", "mods.py:add", "-i", "x=3")
    weft("run", "mods.py:add", "-i", "x=4")
    assert weft.out("logs", "add") == "adding 4.0 1.0\n"
    assert weft.out("get", "add") == "5.0"
    assert "input x: 3.0 → 4.0" in weft.out("why", "add")
    weft.write(
        "maps.py",
        "import weftwork as weft\nfrom mods import add\n@weft.workflow\ndef all(x: list[float]):\n    return add.map(x)\n",
    )
    weft("run", "maps.py:all", "-i", "x=7,8")
    assert b"has 2 jobs: name one, as in 'add[0]'" in weft("logs", "add", code=3).stderr
    assert weft.out("logs", "add[1]") == "adding 8.0 1.0\n"


def test_without_a_command_it_shows_its_help(weft: Weft) -> None:
    done = weft(code=2)
    assert done.stderr.startswith(b"Usage: weft ")
    assert done.stderr.count(b"Usage:") == 1


def test_a_line_that_announces_others_is_told_without_the_announcement() -> None:
    from weftwork.cli.text import headline

    assert headline("the program ended with exit code 2; its last words on stderr:\nawk: no") == (
        "the program ended with exit code 2"
    )
    assert headline("input x: 'a' is wrong\nmore") == "input x: 'a' is wrong"
    assert headline("as follows:\n1") == "as follows"
    assert headline("") == ""


def test_explain_tells_what_was_noticed_for_people(weft: Weft) -> None:
    weft.write("now.py", "import time\ndef now() -> float:\n    return time.time()\n")
    assert re.search(r"warning: time\.time in now \(.*now\.py:3\): clock\n", weft.out("explain", "now.py:now"))


def test_explain_tells_the_key_and_runs_nothing(weft: Weft) -> None:
    document = weft.json("explain", "mods.py:bad", "-i", "x=1", "--json")
    assert re.fullmatch(r"[0-9a-f]{64}", document["key"])
    assert weft.json("jobs", "--json") == []


def test_a_map_is_counted_in_its_lines(weft: Weft) -> None:
    weft.write("squares.yaml", WORKFLOW)
    weft.write("square.module.yaml", SQUARE)
    numbers = json.dumps(list(range(12)))
    done = weft("run", "squares.yaml", "-i", f"numbers={numbers}", "--json")
    assert json.loads(done.stdout)["outputs"]["squares"]["value"] == [n * n for n in range(12)]
    assert b"square succeeded (12/12" in done.stderr
    assert len(done.stderr.splitlines()) < 12


@pytest.mark.slow
def test_ten_thousand_items_are_one_line(weft: Weft) -> None:
    weft.write("square.py", "import weftwork as weft\n\n@weft.module\ndef square(n: int) -> int:\n    return n * n\n")
    weft.write("squares.yaml", WORKFLOW.replace("square.module.yaml", "square.py:square"))
    weft.write("inputs.json", json.dumps({"numbers": list(range(10_000))}))
    done = weft("run", "squares.yaml", "--inputs", "inputs.json", "--json")
    assert sum(json.loads(done.stdout)["outputs"]["squares"]["value"]) == sum(n * n for n in range(10_000))
    assert b"10,000/10,000" in done.stderr
    assert len(done.stderr.splitlines()) < 30


def test_graph_draws_a_workflow_as_text_and_svg(weft: Weft) -> None:
    text = weft.out("graph", "mods.py:mixed")
    assert text.index("add") < text.index("bad") < text.index("add_2")
    weft("graph", "mods.py:mixed", "--svg", "graph.svg")
    import xml.etree.ElementTree as ElementTree

    root = ElementTree.fromstring((weft.folder / "graph.svg").read_text())
    texts = [each.text for each in root.iter("{http://www.w3.org/2000/svg}text")]
    assert {"add", "bad", "add_2", "x", "last", "first"} <= set(texts)


def test_a_closed_pipe_is_quiet(weft: Weft) -> None:
    weft("run", "mods.py:flow", "-i", "x=3")
    line = f"'{WEFT}' show $('{WEFT}' runs --json | head -n 3 | grep -o 'r[0-9a-f]*\"' | head -n 1 | tr -d '\"') | true"
    done = subprocess.run(line, shell=True, cwd=weft.folder, env=weft.environment, capture_output=True, timeout=60)
    assert done.stderr == b""


def test_a_fault_of_weftwork_is_told_in_a_line_and_its_traceback_saved(weft: Weft) -> None:
    weft("jobs")
    broken = weft.write("sitecustomize.py", "import weftwork.cli.listing as l\nl.table = None\n")
    weft("run", "mods.py:add", "-i", "x=1")
    done = weft("jobs", code=70, env=weft.environment | {"PYTHONPATH": str(broken.parent)})
    assert b"internal error: TypeError" in done.stderr
    assert b"Traceback" not in done.stderr
    saved = list((weft.home / "crash").iterdir())
    assert str(saved[0]).encode() in done.stderr
    assert "Traceback" in saved[0].read_text()


def test_the_live_display_is_drawn_on_a_terminal_and_results_are_not_mixed_in(weft: Weft) -> None:
    leader, follower = pty.openpty()
    environment = {name: value for name, value in weft.environment.items() if name != "NO_COLOR"} | {"TERM": "xterm"}
    process = weft.start("run", "mods.py:flow", "-i", "x=3", stderr=follower, env=environment)
    os.close(follower)
    drawn = _read_terminal(leader, process)
    assert process.stdout.read() == b"result = 6.0\n"  # type: ignore[union-attr]
    assert process.wait() == 0
    assert b"\x1b[" in drawn
    assert b"add_2" in drawn
    assert b"succeeded" in drawn


def _read_terminal(leader: int, process: subprocess.Popen[bytes]) -> bytes:
    drawn = b""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        ready, _, _ = select.select([leader], [], [], 0.1)
        if ready:
            try:
                drawn += os.read(leader, 65536)
            except OSError:
                break
        elif process.poll() is not None:
            break
    os.close(leader)
    return drawn


@pytest.mark.slow
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_cancels_the_run_and_says_how_to_go_on(weft: Weft, sent: signal.Signals) -> None:
    process = weft.start("run", "mods.py:long", "-i", "x=3001")
    _until_running(weft, "slow")
    process.send_signal(sent)
    _, told = process.communicate(timeout=30)
    assert process.returncode == (130 if sent == signal.SIGINT else 143)
    assert b"give the same command again" in told
    (row,) = weft.json("runs", "--json")
    assert row["state"] == "cancelled"
    assert {each["state"] for each in weft.json("jobs", "--json")} == {"cancelled"}


@pytest.mark.slow
def test_a_second_interrupt_ends_at_once_and_leaves_no_process(weft: Weft) -> None:
    # The command does not heed SIGTERM: only the second interrupt is faster than its grace of five seconds.
    stubborn = "trap '' TERM; sleep 3002 & while true; do sleep 1; done"
    process = weft.start("do", "--", stubborn)
    until(lambda: _sleeping("3002"))
    process.send_signal(signal.SIGINT)
    time.sleep(0.7)
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    process.wait(timeout=30)
    assert time.monotonic() - began < 2
    assert process.returncode == 130
    until(lambda: not _sleeping("3002"), 10)


@pytest.mark.slow
def test_cancel_works_from_another_process_for_a_run_and_for_a_job(weft: Weft) -> None:
    process = weft.start("run", "mods.py:long", "-i", "x=3003")
    _until_running(weft, "slow")
    (row,) = weft.json("runs", "--json")
    weft("cancel", row["run"])
    _, told = process.communicate(timeout=30)
    assert process.returncode == 130
    assert b"cancelled" in told
    assert weft.json("runs", "--json")[0]["state"] == "cancelled"
    other = weft.start("do", "--name", "nap", "--", "sleep", "3004")
    until(lambda: _sleeping("3004"))
    job = next(each["job"] for each in weft.json("jobs", "--json") if each["name"] == "nap")
    weft("cancel", job)
    other.wait(timeout=30)
    assert other.returncode == 130
    until(lambda: not _sleeping("3004"), 10)


@pytest.mark.slow
def test_logs_are_followed_until_the_job_ends(weft: Weft) -> None:
    process = weft.start("do", "--name", "talk", "--", "echo one; sleep 3; echo two")
    job = until(lambda: [each for each in weft.json("jobs", "--json") if each["state"] == "running"])[0]["job"]
    follower = weft.start("logs", "-f", job)
    assert process.wait(timeout=60) == 0
    out, _ = follower.communicate(timeout=30)
    assert out == b"one\ntwo\n"


@pytest.mark.slow
def test_a_killed_run_is_resumed_where_it_was(weft: Weft) -> None:
    process = weft.start("run", "mods.py:long", "-i", "x=4")
    _until_running(weft, "slow")
    process.kill()
    process.wait()
    (row,) = weft.json("runs", "--json")
    assert row["state"] == "interrupted"
    assert weft.out("run", "--resume", row["run"]) == "result = 4.0\n"
    assert weft.json("runs", "--json")[0]["state"] == "succeeded"


def _until_running(weft: Weft, name: str) -> None:
    until(lambda: any(each["name"] == name for each in weft.json("jobs", "--json")))
    time.sleep(0.5)


def _sleeping(seconds: str) -> list[int]:
    """The processes ``sleep <seconds>``."""
    out = []
    for each in Path("/proc").glob("[0-9]*"):
        try:
            words = (each / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if words[:2] in ([b"sleep", seconds.encode()], [b"/usr/bin/sleep", seconds.encode()]):
            out.append(int(each.name))
    return out
