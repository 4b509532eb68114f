"""What every Runtime must do. A runtime's tests subclass :class:`RuntimeContract` and give it a :class:`RuntimePlace`.

Commands run by the node program in a process of its own, in real containers; what is left of one is looked for by the place, which asks
the system and not the runtime. Images are named by the role that they have in a test (see :data:`weftwork.testing.runtime_place.ROLES`).
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from weftwork.core.checksum import Checksum
from weftwork.core.placement import Resources
from weftwork.errors import Cancelled, ExitCode, MemoryLimit, Signalled, TimeLimit, WeftError
from weftwork.node.job import FileInput, Job, Limits, Output, read_job, write_job
from weftwork.node.outcome import Outcome
from weftwork.node.request import request_cancel
from weftwork.testing.runtime_place import NODE, RuntimePlace, Try

NAP = 10**7 + os.getpid()
"""Begins the seconds that a test's programs sleep: they are looked for by them, and no other run has them."""

HOSTILE = (
    "a b",
    'say "so"',
    "it's",
    "two\nlines",
    "$(touch pwned)",
    "`touch pwned`",
    "-rf",
    "--help",
    "ünïcode ☃",
    "{folder}",
    "{command}",
    "{{x}}",
    "a,b:c=d;e&f|g",
    "\\n",
    "*",
    "~",
    "%s",
)
"""Names and words that something between caller and program may take for its own."""


class RuntimeContract:
    """The tests. ``place`` is a fixture of the subclass."""

    @pytest.fixture(autouse=True)
    def _count(self, request: pytest.FixtureRequest) -> Iterator[None]:
        self._number = 0
        self._name = f"t{os.getpid()}-{abs(hash(request.node.name)) % 10**8}"
        self._tries: list[Try] = []
        yield
        for each in self._tries:
            with contextlib.suppress(AssertionError, ProcessLookupError):
                each.signal(signal.SIGTERM)
                each.end(20)

    def prepare(
        self,
        place: RuntimePlace,
        *command: str,
        image: str = "plain",
        inputs: Mapping[str, bytes] | None = None,
        outputs: Sequence[Output] = (),
        limits: Limits | None = None,
        variables: Mapping[str, str] | None = None,
        network: bool = False,
        stdin: str | None = None,
        resources: Resources | None = None,
    ) -> Try:
        """A job folder, ready to be run."""
        self._number += 1
        job = Job(
            id=f"{self._name}-{self._number}",
            command=command,
            environment={"LANG": "C.UTF-8", "TZ": "UTC", **(variables or {})},
            stdin=stdin,
            inputs=tuple(
                FileInput(path, Checksum.of(data), len(data), data=data) for path, data in (inputs or {}).items()
            ),
            outputs=tuple(outputs),
            limits=limits or Limits(),
        )
        folder = place.folder / "jobs" / job.id
        write_job(str(folder), place.job(job, image, network=network, resources=resources))
        made = Try(folder)
        self._tries.append(made)
        return made

    def run(self, place: RuntimePlace, *command: str, **how: Any) -> tuple[Outcome, Try]:
        """Run a command to its end; nothing may be left of it."""
        job = self.prepare(place, *command, **how)
        job.start()
        job.end()
        outcome = job.outcome()
        assert outcome is not None
        assert place.left(job.folder.name) == []
        return outcome, job

    def good(self, place: RuntimePlace, *command: str, **how: Any) -> str:
        """What a command writes that must end well."""
        outcome, job = self.run(place, *command, **how)
        assert outcome.error is None, (outcome.error, job.text("stderr"))
        return job.text("stdout")

    def bad(self, place: RuntimePlace, kind: type[WeftError], *command: str, **how: Any) -> WeftError:
        outcome, job = self.run(place, *command, **how)
        assert type(outcome.error) is kind, (outcome.error, job.text("stderr"))
        assert outcome.error is not None
        return outcome.error

    # How a command ends

    def test_a_command_runs_and_its_outputs_are_the_users_own(self, place: RuntimePlace) -> None:
        outcome, job = self.run(
            place,
            *("sh", "-c", "cat ../inputs/x > y; echo told; echo meant >&2; touch ../home/h $TMPDIR/t"),
            image="swallow",
            inputs={"inputs/x": b"content"},
            outputs=[Output("y", "y")],
        )
        assert outcome.error is None, (outcome.error, job.text("stderr"))
        assert (job.text("work/y"), job.text("stdout"), job.text("stderr")) == ("content", "told\n", "meant\n")
        for made in ("work/y", "home/h", "tmp/t") if place.shares else ("work/y",):
            assert (job.folder / made).stat().st_uid == os.getuid()

    def test_an_exit_code_is_the_programs_own(self, place: RuntimePlace) -> None:
        for code in (1, 3, 125, 126, 127):
            assert self.bad(place, ExitCode, "sh", "-c", f"exit {code}").details["exit_code"] == code

    def test_a_signal_is_told_as_such(self, place: RuntimePlace) -> None:
        assert self.bad(place, Signalled, "sh", "-c", "kill -SEGV $$").details["signal"] == signal.SIGSEGV
        assert self.bad(place, Signalled, "sh", "-c", "kill -KILL $$").details["signal"] == signal.SIGKILL

    def test_both_streams_flooded_at_once_come_whole(self, place: RuntimePlace) -> None:
        script = "(yes out | head -c 6000000) & (yes err | head -c 6000000 >&2) & wait"
        _, job = self.run(place, "sh", "-c", script)
        assert [(job.folder / name).stat().st_size for name in ("stdout", "stderr")] == [6000000, 6000000]
        assert set(job.text("stdout").split()) == {"out"}
        assert set(job.text("stderr").split()) == {"err"}

    def test_a_cancelled_command_leaves_nothing(self, place: RuntimePlace) -> None:
        job = self.prepare(
            place, "sh", "-c", f"sleep {NAP}3 & touch begun; echo begun; sleep {NAP}3", limits=Limits(grace=1.0)
        )
        job.start()
        job.until("begun")
        request_cancel(str(job.folder), "the test", None)
        job.end()
        outcome = job.outcome()
        assert outcome is not None
        assert isinstance(outcome.error, Cancelled)
        assert place.left(job.folder.name) == []
        assert _running(f"sleep\x00{NAP}3") == []

    def test_a_program_that_ignores_being_asked_is_killed(self, place: RuntimePlace) -> None:
        outcome, _ = self.run(
            place, "sh", "-c", "trap '' TERM; while :; do sleep 0.2; done", limits=Limits(seconds=1.5, grace=0.5)
        )
        assert isinstance(outcome.error, TimeLimit)

    def test_a_program_may_end_well_when_it_is_asked_to_end(self, place: RuntimePlace) -> None:
        outcome, job = self.run(
            place,
            *("sh", "-c", "trap 'echo asked; exit 0' TERM; touch begun; while :; do sleep 0.1; done"),
            limits=Limits(seconds=3.0, grace=10.0),
        )
        assert isinstance(outcome.error, TimeLimit)
        assert job.text("stdout") == "asked\n", (job.text("stdout"), job.text("stderr"))

    def test_a_memory_limit_is_told_as_such(self, place: RuntimePlace) -> None:
        # One block is read into memory and written out again, many times.
        words = ("dd", "if=/dev/zero", "of=/dev/null", "bs=400M", "count=200")
        self.bad(place, MemoryLimit, *words, limits=Limits(memory=64 << 20))

    def test_a_number_of_processes_is_held(self, place: RuntimePlace) -> None:
        script = "n=0; while [ $n -lt 60 ]; do sleep 3 & n=$((n+1)); done; wait"
        outcome, _ = self.run(place, "sh", "-c", script, limits=Limits(processes=20))
        assert outcome.error is not None
        assert _running("sleep\x003\x00") == []

    def test_a_killed_node_program_leaves_nothing_after_the_next_looks(self, place: RuntimePlace) -> None:
        job = self.prepare(place, "sh", "-c", f"(busybox setsid sleep {NAP}4 &); touch begun; echo begun; sleep {NAP}4")
        job.start()
        job.until("begun")
        job.signal(signal.SIGKILL)
        job.end()
        program = [*NODE, "cleanup", str(job.folder)]
        assert subprocess.run(program, timeout=60, check=False).returncode == 0
        assert place.left(job.folder.name) == []
        assert _running(f"sleep\x00{NAP}4") == []

    def test_a_withdrawn_node_program_leaves_nothing(self, place: RuntimePlace) -> None:
        job = self.prepare(place, "sh", "-c", f"touch begun; echo begun; sleep {NAP}5")
        job.start()
        job.until("begun")
        job.signal(signal.SIGTERM)
        assert job.end() == 75
        assert job.outcome() is None
        assert place.left(job.folder.name) == []
        assert _running(f"sleep\x00{NAP}5") == []

    # What a command sees

    def test_hostile_words_variables_and_names_arrive_as_they_are(self, place: RuntimePlace) -> None:
        names = [f"x{word}".replace("/", "_") for word in HOSTILE]
        out = self.good(
            place,
            *(
                "sh",
                "-c",
                'printf "%s\\0" "$@" "$HOSTILE"; for f in ../inputs/x*; do cat "$f"; cp "$f" "$(echo o)${f##*/}"; done',
            ),
            *("sh", *HOSTILE),
            inputs={f"inputs/{name}": name.encode() for name in names},
            outputs=[Output("all", "ox*", kind="files")],
            variables={"HOSTILE": "\n".join(HOSTILE)},
        )
        *words, rest = out.split("\0")
        assert tuple(words[: len(HOSTILE)]) == HOSTILE
        assert words[len(HOSTILE)] == "\n".join(HOSTILE)
        assert all(name in rest for name in names)
        for each in ("{folder}", "a,b:c=d;e&f|g", "two\nlines", "$(touch pwned)"):
            assert self.good(place, "sh", "-c", 'printf %s "$V"', variables={"V": each}) == each

    def test_the_first_word_and_its_arguments_are_not_read_by_anybody_else(self, place: RuntimePlace) -> None:
        assert self.good(place, "echo", "--help-me", "-e", "--", "{command}") == "--help-me -e -- {command}\n"

    def test_the_environment_is_the_images_and_the_jobs(
        self, place: RuntimePlace, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("DOCKER_OF_THE_HOST", "1")  # what an engine's own program may see, and no other
        out = self.good(place, "env", variables={"MINE": "1", "EMPTY": ""})
        seen = dict(line.split("=", 1) for line in out.splitlines())
        assert seen["PATH"] == "/opt/bin:/usr/local/bin:/usr/bin:/bin"
        assert seen["FROM_IMAGE"] == "yes"
        assert (seen["HOME"], seen["TMPDIR"], seen["MINE"], seen["EMPTY"]) == ("/weft/home", "/weft/tmp", "1", "")
        foreign = set(seen) & {
            "DOCKER_OF_THE_HOST",
            "USER",
            "LOGNAME",
            "SHELL",
            "DOCKER_HOST",
            "PYTHONPATH",
            "VIRTUAL_ENV",
            "WEFT_HOME",
        }
        assert not foreign

    def test_a_file_is_read_from_standard_input(self, place: RuntimePlace) -> None:
        assert self.good(place, "cat", inputs={"inputs/x": b"through\n"}, stdin="inputs/x") == "through\n"
        assert self.good(place, "cat") == ""

    def test_it_runs_in_the_work_folder_of_the_fixed_path(self, place: RuntimePlace) -> None:
        assert self.good(place, "sh", "-c", "pwd; ls /weft").split() == ["/weft/work", "home", "inputs", "tmp", "work"]

    def test_many_inputs(self, place: RuntimePlace) -> None:
        inputs = {f"inputs/many/{number}": b"%d" % number for number in range(2000)}
        assert self.good(place, "sh", "-c", "ls ../inputs/many | wc -l", inputs=inputs).strip() == "2000"

    def test_inputs_and_the_image_cannot_be_written_to(self, place: RuntimePlace) -> None:
        script = "echo a > ../inputs/x; echo b > ../inputs/new; rm -f ../inputs/x; echo c > /opt/new; echo d > /bin/sh; ls /opt"
        _, job = self.run(place, "sh", "-c", script, inputs={"inputs/x": b"as it was"})
        assert job.text("inputs/x") == "as it was"
        assert os.listdir(job.folder / "inputs") == ["x"]
        # Where files are copied, the container has an image of its own to write to: the next one is as before.
        assert (self.good(place, "sh", "-c", "ls /opt") if not place.shares else job.text("stdout")) == ""

    def test_one_folder_under_several_paths_is_one(self, place: RuntimePlace) -> None:
        paths = "/weft/tmp/a /var/tmp/a $TMPDIR/a" if place.shares else "/weft/tmp/a $TMPDIR/a $TMPDIR/a"
        out = self.good(place, "sh", "-c", f"echo x > {'/tmp/a' if place.shares else '$TMPDIR/a'}; cat {paths}")
        assert out == "x\nx\nx\n"

    def test_nothing_of_the_host_is_there_but_the_job(self, place: RuntimePlace, tmp_path: Path) -> None:
        secret = Path("/tmp") / f"weft-secret-{os.getpid()}"
        secret.write_text("secret")
        try:
            seen = self.good(
                place,
                "sh",
                "-c",
                'for p; do [ -e "$p" ] && echo "$p"; done; true',
                "sh",
                str(secret),
                str(tmp_path),
                __file__,
            )
        finally:
            secret.unlink()
        assert seen == ""

    def test_devices_and_processes_are_those_of_a_system(self, place: RuntimePlace) -> None:
        script = "echo x > /dev/null && head -c 4 /dev/urandom | wc -c && cat /proc/self/comm"
        assert self.good(place, "sh", "-c", script).split() == ["4", "cat"]

    def test_a_program_has_no_rights_beyond_the_users(self, place: RuntimePlace) -> None:
        script = "while read -r name value; do [ $name = CapEff: ] && echo $value; done < /proc/self/status; true"
        assert not place.confines or int(self.good(place, "sh", "-c", script), 16) == 0

    def test_no_network_unless_it_is_asked_for(self, place: RuntimePlace) -> None:
        with _listening() as port:
            script = f"echo | nc -w 3 127.0.0.1 {port} && echo reached; true"
            assert self.good(place, "sh", "-c", script) == ""
            assert "reached" in self.good(place, "sh", "-c", script, network=True)

    # Images

    def test_an_entry_point_swallows_nothing(self, place: RuntimePlace) -> None:
        assert self.good(place, "sh", "-c", "echo here; pwd", image="swallow") == "here\n/weft/work\n"

    def test_an_image_needs_no_shell(self, place: RuntimePlace) -> None:
        out = self.good(place, "/busybox", "cat", "../inputs/x", image="bare", inputs={"inputs/x": b"seen\n"})
        assert out == "seen\n"

    def test_a_program_that_is_not_in_the_image_is_named(self, place: RuntimePlace) -> None:
        for image, word in (
            ("bare", "sh"),
            ("plain", "not-there"),
            ("plain", "/opt/not-there"),
            ("plain", "./not-there"),
        ):
            error = self.bad(place, ExitCode, word, "-c", "true", image=image)
            assert error.details["exit_code"] == 127
            assert repr(word) in error.message
            assert "the image has no program" in error.message

    def test_the_words_say_nothing_that_the_job_does_not(self, place: RuntimePlace) -> None:
        first, second = (self.prepare(place, "true") for _ in range(2))
        jobs = [read_job(str(each.folder)) for each in (first, second)]
        documents = [str(job.container.document() if job.container else None).replace(job.id, "ID") for job in jobs]
        assert documents[0] == documents[1]


def _running(words: str) -> list[int]:
    """Processes whose command line begins so (NUL between words), after a moment in which they may end."""
    found: list[int] = []
    for _ in range(50):
        found = []
        for name in os.listdir("/proc"):
            with contextlib.suppress(OSError):
                if name.isdigit() and Path(f"/proc/{name}/cmdline").read_bytes().decode("utf-8", "replace").startswith(
                    words
                ):
                    found.append(int(name))
        if not found:
            break
        time.sleep(0.1)
    return found


@contextlib.contextmanager
def _listening() -> Iterator[int]:
    """A server on loopback that says hello to whoever comes."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = server.accept()
                    with connection:
                        connection.sendall(b"hello\n")

        threading.Thread(target=serve, daemon=True).start()
        yield server.getsockname()[1]
