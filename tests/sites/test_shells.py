"""A shell runs words as they are, here or on a host behind a real sshd, and says when it could not."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest

from services import Service, running
from weftwork.errors import Unavailable
from weftwork.ports import Shell
from weftwork.sites.shells.here import Here
from weftwork.sites.shells.ssh import Ssh

pytestmark = pytest.mark.slow

T = TypeVar("T")


@pytest.fixture(scope="module")
def sshd() -> Iterator[Service]:
    with running("sshd", "OF_THE_SITE=yes") as service:
        yield service


@pytest.fixture(params=["here", "ssh"])
def shell(request: pytest.FixtureRequest) -> Callable[[], Shell]:
    if request.param == "here":
        return lambda: Here({"OF_THE_SITE": "yes"})
    service: Service = request.getfixturevalue("sshd")
    return lambda: Ssh("there", program=str(service.folder / "ssh"))


def _with(shell: Callable[[], Shell], story: Callable[[Shell], Awaitable[T]]) -> T:
    async def whole() -> T:
        made = shell()
        try:
            return await story(made)
        finally:
            await made.close()

    return asyncio.run(whole())


WORDS = ["a b", "$HOME", "'", '"', "*", "", "-n", "\\", "é", "a\nb", ";", "&"]


def test_words_arrive_as_they_are(shell: Callable[[], Shell]) -> None:
    ran = _with(shell, lambda it: it.run(["printf", "%s|", *WORDS]))
    assert (ran.exit_code, ran.stdout, ran.stderr) == (0, "|".join(WORDS) + "|", "")


def test_exit_code_streams_input_and_variables_are_those_of_the_command(shell: Callable[[], Shell]) -> None:
    ran = _with(shell, lambda it: it.run(["sh", "-c", 'cat; echo "$OF_THE_SITE"; echo no >&2; exit 5'], b"some \xff"))
    assert (ran.exit_code, ran.stdout, ran.stderr) == (5, "some \\xffyes\n", "no\n")


def test_both_streams_are_read_at_once(shell: Callable[[], Shell]) -> None:
    script = "head -c 3000000 /dev/zero >&2 & head -c 3000000 /dev/zero; wait"
    ran = _with(shell, lambda it: it.run(["sh", "-c", script]))
    assert (len(ran.stdout), len(ran.stderr)) == (3_000_000, 3_000_000)


def test_a_program_that_is_not_there_is_unavailable(shell: Callable[[], Shell]) -> None:
    with pytest.raises(Unavailable, match="no-such-program"):
        _with(shell, lambda it: it.run(["no-such-program-here", "x"]))


def test_no_answer_in_time_is_unavailable_and_the_next_command_runs(shell: Callable[[], Shell]) -> None:
    async def story(it: Shell) -> str:
        with pytest.raises(Unavailable, match=r"within 0\.5 s"):
            await it.run(["sleep", "20"], seconds=0.5)
        return (await it.run(["echo", "again"])).stdout

    assert _with(shell, story) == "again\n"


def test_many_commands_at_once(shell: Callable[[], Shell]) -> None:
    async def story(it: Shell) -> list[str]:
        return [ran.stdout for ran in await asyncio.gather(*(it.run(["echo", str(number)]) for number in range(20)))]

    assert _with(shell, story) == [f"{number}\n" for number in range(20)]


def test_small_files_are_put_whole_and_got(shell: Callable[[], Shell], tmp_path: Path) -> None:
    data = bytes(range(256)) * 300
    path = tmp_path / "a folder" / "it's $here"

    async def story(it: Shell) -> tuple[bytes | None, bytes | None]:
        await it.put(str(path), b"before")
        await it.put(str(path), data)
        return await it.get(str(path)), await it.get(str(path) + ".not")

    assert _with(shell, story) == (data, None)
    assert path.read_bytes() == data
    assert [each.name for each in path.parent.iterdir()] == [path.name]


def _logins(sshd: Service) -> int:
    return (sshd.folder / "log").read_text().count("Accepted publickey")


def test_ssh_logs_in_once_for_many_commands_and_again_when_the_connection_broke(sshd: Service) -> None:
    before = _logins(sshd)

    async def story(it: Shell) -> tuple[int, int, str]:
        await asyncio.gather(*(it.run(["true"]) for _ in range(10)))
        one = _logins(sshd) - before
        # The server's end of the connection dies: the process that is the parent of a command over there.
        with pytest.raises(Unavailable):
            await it.run(["sh", "-c", "kill -9 $(ps -o ppid= -p $PPID) $PPID; sleep 5"])
        said = (await it.run(["echo", "back"])).stdout
        return one, _logins(sshd) - before, said

    assert _with(lambda: Ssh("there", program=str(sshd.folder / "ssh")), story) == (1, 2, "back\n")


def test_ssh_leaves_no_connection_when_it_is_closed(sshd: Service) -> None:
    made = Ssh("there", program=str(sshd.folder / "ssh"))
    _with(lambda: made, lambda it: it.run(["true"]))
    assert subprocess.run(["pgrep", "-f", made._socket], capture_output=True, text=True).stdout == ""


def test_ssh_tolerates_what_the_login_prints(sshd: Service, tmp_path: Path) -> None:
    """A site's start-up files print lines of their own: simulated by a client that prints before the connection's output."""
    noisy = tmp_path / "ssh"
    noisy.write_text(
        f'#!/bin/sh\ncase "$*" in *exec*) echo "Welcome to the cluster";; esac\nexec {sshd.folder}/ssh "$@"\n'
    )
    noisy.chmod(0o755)
    ran = _with(lambda: Ssh("there", program=str(noisy)), lambda it: it.run(["echo", "it"]))
    assert ran.stdout == "it\n"


def test_a_host_that_cannot_be_reached_is_named_with_what_must_work() -> None:
    with pytest.raises(Unavailable, match=r"`ssh nowhere\.invalid` must work without asking"):
        _with(lambda: Ssh("nowhere.invalid"), lambda it: it.run(["true"]))
