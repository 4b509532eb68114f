"""``weft do``: a command runs once for equal inputs and programs, and is replayed byte for byte."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from weft_command import Weft

pytestmark = pytest.mark.slow  # many short ones: together too long for a quick look


def counted(weft: Weft) -> tuple[str, Path]:
    """A line for the shell that leaves a mark where the engine does not look, and the file of marks."""
    marks = weft.folder.parent / "marks"
    return f"echo x >> {marks}", marks


def runs(marks: Path) -> int:
    return len(marks.read_text().splitlines()) if marks.exists() else 0


def test_a_command_runs_once_and_is_replayed_with_its_outputs_and_streams(weft: Weft) -> None:
    mark, marks = counted(weft)
    weft.write("in.txt", "b\na\n")
    words = ("do", "-i", "in.txt", "-o", "out.txt", "--", f"{mark}; sort in.txt > out.txt; echo said; echo warned >&2")
    first = weft(*words)
    (weft.folder / "out.txt").unlink()
    second = weft(*words)
    assert runs(marks) == 1
    assert (weft.folder / "out.txt").read_text() == "a\nb\n"
    assert (first.stdout, first.stderr) == (second.stdout, second.stderr) == (b"said\n", b"warned\n")


def test_a_command_needs_neither_functions_nor_documents_and_a_replay_no_engine(weft: Weft) -> None:
    def imported() -> set[str]:
        timed = weft.environment | {"PYTHONPROFILEIMPORTTIME": "1"}
        lines = weft("do", "--", "echo", "said", env=timed).stderr.decode().splitlines()
        return {line.rpartition("|")[2].strip() for line in lines if line.startswith("import time:")}

    first, replay = imported(), imported()
    assert "weftwork.engine.engine" in first
    assert not {name for name in first if name.startswith(("weftwork.python", "weftwork.formats", "click"))}
    assert not {name for name in first if name.startswith("weftwork.sites.schedulers.workers")}
    assert "weftwork.lookup" in replay
    assert not replay & {"weftwork.engine.engine", "weftwork.node", "asyncio", "subprocess", "difflib", "fractions"}


def test_a_changed_input_runs_again(weft: Weft) -> None:
    weft.write("in.txt", "1\n")
    assert weft.out("do", "-i", "in.txt", "--", "cat", "in.txt") == "1\n"
    weft.write("in.txt", "2\n")
    assert weft.out("do", "-i", "in.txt", "--", "cat", "in.txt") == "2\n"


@pytest.mark.parametrize(
    "words",
    [
        ("./prog.sh",),
        ("sh", "prog.sh"),
        ("./prog.sh; true",),
        ("prog.sh",),
        ("nice", "-n", "1", "./prog.sh"),
        ("env A=1 ./prog.sh | cat",),
    ],
)
def test_a_program_of_the_folder_counts_by_content(weft: Weft, words: tuple[str, ...]) -> None:
    weft.write("prog.sh", "#!/bin/sh\necho one\n", 0o755)
    assert weft.out("do", "--", *words) == "one\n"
    weft.write("prog.sh", "#!/bin/sh\necho two\n", 0o755)
    assert weft.out("do", "--", *words) == "two\n"


def test_a_program_that_is_given_as_an_input_may_be_run(weft: Weft) -> None:
    weft.write("bin/tool.sh", "#!/bin/sh\necho tool\n", 0o755)
    assert weft.out("do", "-i", "bin/tool.sh", "--", "find bin -name 'tool.*' -exec {} ';'") == "tool\n"
    assert weft.out("do", "-i", "bin", "--", "find bin -name 'tool.*' -exec {} ';'") == "tool\n"


def test_the_words_are_handed_over_as_they_are(weft: Weft) -> None:
    weft.write("with space.txt", "content\n")
    assert weft.out("do", "--", "printf", "%s|", "a b", "{x}", "$HOME", "*") == "a b|{x}|$HOME|*|"
    assert weft.out("do", "-i", "with space.txt", "--", "cat", "with space.txt") == "content\n"


def test_outputs_lie_in_folders_with_their_right_to_be_run(weft: Weft) -> None:
    line = "printf '#!/bin/sh\\necho hello\\n' > build/bin/tool; chmod +x build/bin/tool; echo {} > 'build/a b.json'"
    for _ in range(2):
        weft("do", "-o", "build/bin/tool", "-o", "build/a b.json", "--", line)
        assert os.access(weft.folder / "build/bin/tool", os.X_OK)
        assert (weft.folder / "build/a b.json").read_text() == "{}\n"
        (weft.folder / "build/bin/tool").unlink()


def test_a_directory_is_an_input_and_an_output(weft: Weft) -> None:
    weft.write("data/b/2.txt", "2")
    weft.write("data/1.txt", "1")
    for _ in range(2):
        weft("do", "-i", "data", "-o", "copy/", "--", "cp", "-r", "data", "copy")
        assert (weft.folder / "copy/b/2.txt").read_text() == "2"
        weft.write("copy/1.txt", "may be written")
    assert (weft.folder / "data/1.txt").read_text() == "1"


def test_a_folder_named_inputs_is_a_folder_like_any_other(weft: Weft) -> None:
    weft.write("inputs/x.txt", "x")
    assert weft.out("do", "-i", "inputs/x.txt", "--", "cat", "inputs/x.txt") == "x"


def test_a_file_declared_as_output_that_is_a_folder_says_how_to_declare_it(weft: Weft) -> None:
    done = weft("do", "-o", "out", "--", "mkdir", "out", code=1)
    assert b"-o out/" in done.stderr


def test_a_failing_command_passes_its_code_and_streams_through_and_is_not_remembered(weft: Weft) -> None:
    mark, marks = counted(weft)
    for _ in range(2):
        done = weft("do", "--", f"{mark}; echo out; echo err >&2; exit 7", code=7)
        assert (done.stdout, done.stderr) == (b"out\n", b"err\n")
    assert runs(marks) == 2


def test_a_command_killed_by_a_signal_ends_as_in_a_shell(weft: Weft) -> None:
    weft("do", "--", "kill -9 $$", code=128 + 9)


def test_an_undeclared_file_is_named_when_the_command_fails(weft: Weft) -> None:
    weft.write("in.txt", "x")
    done = weft("do", "--", "cat", "in.txt", code=1)
    assert b"is -i in.txt missing?" in done.stderr


def test_a_file_that_is_named_by_its_full_path_and_not_declared_is_never_replayed(weft: Weft) -> None:
    outside = weft.folder.parent / "outside.txt"
    for words in (["cat", str(outside)], [f"cat {outside} | cat"]):
        for text in ("one", "two"):
            outside.write_text(text)
            done = weft("do", "--", *words)
            assert done.stdout == text.encode()
            assert f"add -i {outside}".encode() in done.stderr
    assert weft("do", "-i", str(outside), "--", "cat", str(outside)).stderr == b""
    script = weft.folder.parent / "script.sh"
    for text in ("echo 1", "echo 2"):
        script.write_text(text)
        assert weft("do", "--", "sh", str(script)).stdout == text[-1:].encode() + b"\n"


def test_a_module_that_a_script_imports_is_named_when_it_is_missing(weft: Weft) -> None:
    weft.write("helper.py", "X = 1")
    weft.write("tools/own.py", "X = 2")
    weft.write("prog.py", "import helper")
    weft.write("tools/prog.py", "import own")
    assert b"is -i helper.py missing?" in weft("do", "--", "python3", "prog.py", code=1).stderr
    assert b"is -i tools/own.py missing?" in weft("do", "--", "python3", "tools/prog.py", code=1).stderr
    weft("do", "-i", "helper.py", "--", "python3", "prog.py")


def test_an_output_that_was_not_written_is_named_by_its_path_beside_what_was_written(weft: Weft) -> None:
    weft.write("in.txt", "x")
    done = weft("do", "-i", "in.txt", "-o", "a b/out.csv", "--", "cp in.txt out.txt", code=1)
    assert done.stderr.decode().endswith("did not write the output a b/out.csv; it wrote out.txt\n")


def test_binary_streams_are_replayed_byte_for_byte(weft: Weft) -> None:
    data = bytes(range(256)) * 4000
    (weft.folder / "in.bin").write_bytes(data)
    for _ in range(2):
        assert weft("do", "-i", "in.bin", "--", "cat", "in.bin").stdout == data


@pytest.mark.slow
def test_streams_are_shown_while_the_command_runs_and_each_byte_once(weft: Weft) -> None:
    process = weft.start("do", "--", "echo first; sleep 2; echo second; exit 3")
    assert process.stdout is not None
    assert process.stdout.readline() == b"first\n"
    assert process.poll() is None
    assert process.stdout.read() == b"second\n"
    assert process.wait() == 3


def test_a_file_outside_of_the_folder_is_found_by_its_word(weft: Weft) -> None:
    (weft.folder.parent / "outside.txt").write_text("far")
    assert weft.out("do", "-i", "../outside.txt", "--", "cat", "../outside.txt") == "far"
    target = weft.folder.parent / "made.txt"
    weft("do", "-i", "../outside.txt", "-o", str(target), "--", "cp", "../outside.txt", str(target))
    assert target.read_text() == "far"
    done = weft("do", "-i", "../outside.txt", "--", "cat", "elsewhere", code=2)
    assert b"outside.txt lies outside of the current folder" in done.stderr


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("-i", "absent", "--", "true"), 3, b"the input absent is not there"),
        (("--", "no-such-program", "x"), 4, b"'no-such-program' is not on this machine"),
        (("-i", "mods.py", "-o", "mods.py", "--", "true"), 2, b"named twice"),
        (("-o", "never", "--", "true", "x"), 1, b"never"),
        (("--env", "NOT_SET_ANYWHERE", "--", "true", "x"), 2, b"no such variable"),
        ((), 2, b"COMMAND"),
    ],
)
def test_what_cannot_be_run_is_refused(weft: Weft, words: tuple[str, ...], code: int, said: bytes) -> None:
    assert said in weft("do", *words, code=code).stderr


def test_variables_are_seen_when_they_are_declared_and_count(weft: Weft) -> None:
    assert weft.out("do", "--", "echo ${SHADE-none}") == "none\n"
    assert weft.out("do", "--env", "SHADE=red", "--", "echo ${SHADE-none}") == "red\n"
    assert weft.out("do", "--env", "SHADE=blue", "--", "echo ${SHADE-none}") == "blue\n"


def test_no_cache_runs_each_time(weft: Weft) -> None:
    mark, marks = counted(weft)
    for _ in range(2):
        weft("do", "--no-cache", "--", mark)
    assert runs(marks) == 2


def test_a_time_limit_ends_the_command(weft: Weft) -> None:
    began = time.monotonic()
    done = weft("do", "--time", "0.5", "--", "sleep", "60", code=1)
    assert b"time" in done.stderr
    assert time.monotonic() - began < 30


@pytest.mark.skipif(not os.path.exists("/usr/bin/strace"), reason="strace is not installed")
def test_trace_lists_what_was_read_and_not_declared(weft: Weft) -> None:
    for name in ("declared.txt", "relative.txt", "absolute.txt"):
        weft.write(name, name)
    absolute = weft.folder / "absolute.txt"
    done = weft("do", "--trace", "-i", "declared.txt", "--", f"cat declared.txt '{absolute}'; cat relative.txt || true")
    told = done.stderr.decode()
    assert "not declared, and read: absolute.txt" in told
    assert "not declared, and looked for in vain: relative.txt" in told
    assert "declared.txt (add" not in told


def test_trace_without_strace_says_what_to_install(weft: Weft, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    done = weft("do", "--trace", "--", "true", "x", code=4, env=weft.environment | {"PATH": str(empty)})
    assert b"strace: install it" in done.stderr
