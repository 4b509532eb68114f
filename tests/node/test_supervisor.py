"""The supervisor with real processes: races to start it, its death at any moment, its end, what it keeps doing alone."""

from __future__ import annotations

import asyncio
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from node_lanes import (
    NAP,
    PROGRAM,
    Alone,
    Resident,
    command_pid,
    eventually,
    file,
    forked_by,
    held_back,
    limits,
    napping,
    running,
    stop_supervisor,
    supervisor_pid,
)

from weftwork.errors import Cancelled, Conflict, Lost, NotFound, Refused, TimeLimit
from weftwork.node import claim, processes
from weftwork.node import home as homes
from weftwork.node.outcome import read_outcome
from weftwork.node.request import request_cancel
from weftwork.node.supervised import Supervised, connect_or_start

pytestmark = pytest.mark.slow  # many short ones: together too long for a quick look


def test_a_job_goes_through_and_its_documents_agree(resident: Resident) -> None:
    seen: list[int] = []

    async def one() -> str:
        async with Supervised(str(resident.home)) as supervised:
            return await supervised.run(folder, seen.append)

    folder = resident.folder(script="cat; echo made > 'a b'", outputs=(file("it", "a b"), file("said", "stdout")))
    assert asyncio.run(one()) == "succeeded"
    outcome = read_outcome(folder)
    assert outcome is not None
    assert outcome.id == f"attempt-{os.path.basename(folder)}"
    assert outcome.exit_code == 0
    assert outcome.ended >= outcome.started > time.time() - 60
    assert outcome.usage["memory"] > 0
    assert seen == [command_pid(folder)]
    assert not claim.is_alive(folder)


def test_many_at_once(resident: Resident) -> None:
    folders = [resident.folder(script=f"echo {n} > n", outputs=(file("n"),)) for n in range(200)]

    async def all_of_them() -> list[str]:
        async with Supervised(str(resident.home)) as supervised:
            return await asyncio.gather(*(supervised.run(folder) for folder in folders))

    assert set(asyncio.run(all_of_them())) == {"succeeded"}
    for n, folder in enumerate(folders):
        assert Path(folder, "work/n").read_text() == f"{n}\n"


def test_many_engines_at_once_start_one_supervisor(home: Path) -> None:
    script = (
        "import sys; from weftwork.node.supervised import connect_or_start; import json\n"
        's = connect_or_start(sys.argv[1], 3); s.sendall(b\'{"do": "ping", "id": 1}\\n\'); print(json.loads(s.recv(4096))[\'pid\'])'
    )
    words = [sys.executable, "-c", script, str(home)]
    engines = [subprocess.Popen(words, stdout=subprocess.PIPE, text=True) for _ in range(8)]
    pids = {engine.communicate(timeout=60)[0] for engine in engines}
    assert len(pids) == 1
    assert int(pids.pop()) == supervisor_pid(home)
    assert len(running(str(home))) == 1


def test_a_folder_runs_once_whoever_asks(resident: Resident) -> None:
    folder = resident.folder(script="echo ran >> ran; sleep 0.2")

    async def both() -> list[str]:
        async with Supervised(str(resident.home)) as one, Supervised(str(resident.home)) as other:
            states = await asyncio.gather(one.run(folder), one.run(folder), other.run(folder))
            return [*states, await other.run(folder)]

    assert asyncio.run(both()) == ["succeeded"] * 4
    assert Path(folder, "work/ran").read_text() == "ran\n"
    with pytest.raises(Conflict):
        claim.claim(folder)


def test_who_joins_is_told_of_the_start_and_the_end_by_the_path_it_knows(resident: Resident, tmp_path: Path) -> None:
    folder = resident.folder("sleep", "0.5")
    (tmp_path / "link").symlink_to(folder)
    told: list[int] = []

    async def both() -> list[str]:
        async with Supervised(str(resident.home)) as one, Supervised(str(resident.home)) as other:
            first = asyncio.ensure_future(one.run(folder))
            await asyncio.to_thread(eventually, lambda: command_pid(folder) > 0)
            return [await asyncio.wait_for(other.run(str(tmp_path / "link"), told.append), 20), await first]

    assert asyncio.run(both()) == ["succeeded"] * 2
    assert told == [command_pid(folder)]


def test_a_folder_that_is_not_there(resident: Resident) -> None:
    async def one() -> None:
        async with Supervised(str(resident.home)) as supervised:
            await supervised.run(str(resident.home / "nowhere"))

    with pytest.raises(NotFound, match="nowhere"):
        asyncio.run(one())


def test_a_wrong_document_is_an_outcome(resident: Resident) -> None:
    folder = resident.folder("true")
    Path(folder, "job.json").write_text(json.dumps({"version": 1, "id": "x", "command": ["true"], "comand": []}))
    assert resident.start(folder) == "failed"
    assert "'comand' is not a known key" in read_outcome(folder).error.message


@pytest.mark.parametrize("by_file", [False, True])
@pytest.mark.parametrize("script", ["sleep NAP", "trap '' TERM; while :; do sleep 0.05; done"])
def test_cancelling_says_by_whom(resident: Resident, script: str, by_file: bool) -> None:
    folder = resident.folder(script=script, limits=limits(grace=0.2))

    async def one() -> str:
        async with Supervised(str(resident.home)) as supervised:
            running_job = asyncio.ensure_future(supervised.run(folder))
            await asyncio.to_thread(eventually, lambda: command_pid(folder) > 0)
            assert supervised.alive(folder)
            assert folder in await supervised.jobs()
            if by_file:
                request_cancel(folder, "ada")
            else:
                await supervised.cancel(folder, by="ada")
            return await running_job

    assert asyncio.run(one()) == "failed"
    error = read_outcome(folder).error
    assert isinstance(error, Cancelled)
    assert error.details["by"] == "ada"
    assert napping() == []


def test_a_second_cancel_hastens_the_end(resident: Resident) -> None:
    folder = resident.folder(script="trap '' TERM; : > ready; while :; do sleep 0.05; done", limits=limits(grace=60))

    async def one() -> str:
        async with Supervised(str(resident.home)) as supervised:
            running_job = asyncio.ensure_future(supervised.run(folder))
            await asyncio.to_thread(eventually, lambda: os.path.exists(f"{folder}/work/ready"))
            await supervised.cancel(folder)
            await asyncio.sleep(0.1)
            assert not running_job.done()
            await supervised.cancel(folder, grace=0)
            return await asyncio.wait_for(running_job, 10)

    assert asyncio.run(one()) == "failed"


def test_jobs_outlive_their_engine_and_the_next_one_finds_them(home: Path) -> None:
    folder = Resident(home).folder(script="sleep 1; echo x > x", outputs=(file("x"),))
    engine = (
        "import asyncio, sys; from weftwork.node.supervised import Supervised\n"
        "async def go():\n    async with Supervised(sys.argv[1]) as s: await s.run(sys.argv[2])\n"
        "asyncio.run(go())"
    )
    first = subprocess.Popen([sys.executable, "-c", engine, str(home), folder])
    eventually(lambda: command_pid(folder) > 0)
    first.kill()
    first.wait()
    assert claim.is_alive(folder)
    assert Resident(home).start(folder) == "succeeded"


def test_it_ends_when_idle_and_the_next_job_starts_another(home: Path) -> None:
    connect_or_start(str(home), idle=0.2).close()
    first = supervisor_pid(home)
    eventually(lambda: not processes.is_running(first, processes.identity(first)))
    assert homes.Place.of(str(home)).info() is None
    assert Resident(home).start(Resident(home).folder("true")) == "succeeded"


def test_it_ends_soon_when_its_home_is_removed_or_made_anew(tmp_path: Path) -> None:
    home = tmp_path / "home"
    connect_or_start(str(home), idle=600).close()
    first = supervisor_pid(home)
    began = processes.identity(first)
    shutil.rmtree(home)
    try:
        with connect_or_start(str(home), idle=600):
            second = supervisor_pid(home)
            assert second != first
            eventually(lambda: not processes.is_running(first, began))
            assert supervisor_pid(home) == second
            connect_or_start(str(home)).close()
    finally:
        stop_supervisor(home)


def test_a_client_or_a_job_keeps_it(home: Path) -> None:
    connection = connect_or_start(str(home), idle=0.1)
    pid = supervisor_pid(home)
    time.sleep(0.4)
    assert processes.identity(pid) is not None
    folder = Resident(home).folder("sleep", "0.8")
    connection.sendall(json.dumps({"do": "run", "folder": folder}).encode() + b"\n")
    eventually(lambda: command_pid(folder) > 0)
    connection.close()
    time.sleep(0.3)
    assert processes.identity(pid) is not None
    eventually(lambda: read_outcome(folder) is not None and processes.identity(pid) is None)


def test_a_home_whose_path_is_too_long_for_a_socket(tmp_path: Path) -> None:
    home = tmp_path / ("long " * 25) / "home"
    home.mkdir(parents=True)
    try:
        assert Resident(home).start(Resident(home).folder("true")) == "succeeded"
        where = homes.Place.of(str(home)).info()["socket"]
        assert len(where) < 100
        assert os.stat(os.path.dirname(where)).st_mode & 0o077 == 0
    finally:
        stop_supervisor(home)


def test_a_runtime_directory_of_another_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    (tmp_path / "weft").mkdir(mode=0o700)
    (tmp_path / "weft").chmod(0o755)
    if len(str(tmp_path)) < 60:
        with pytest.raises(Refused, match="not a private directory"):
            homes.runtime_directory()


def test_nonsense_on_the_line_harms_nobody(home: Path) -> None:
    connection = connect_or_start(str(home))
    for line in (b"{", b"[]", b'{"do": "dance"}', b'{"do": "run"}', b'"x"', b"\xff\xfe"):
        connection.sendall(line + b"\n")
        assert b'"event": "error"' in connection.recv(4096)
    connection.sendall(b'{"do": "ping", "id": 7}\n')
    assert json.loads(connection.recv(4096))["id"] == 7
    connection.close()


def test_stopping_it_abandons_its_jobs(home: Path) -> None:
    folder = Resident(home).folder(script="trap '' TERM; while :; do sleep NAP & wait; done")

    async def one() -> None:
        async with Supervised(str(home)) as supervised:
            running_job = asyncio.ensure_future(supervised.run(folder))
            await asyncio.to_thread(eventually, lambda: command_pid(folder) > 0)
            os.kill(supervisor_pid(home), signal.SIGTERM)
            with pytest.raises(Lost):
                await running_job

    asyncio.run(one())
    assert read_outcome(folder) is None
    assert napping() == []


def test_stopping_the_node_program_abandons_its_job(tmp_path: Path) -> None:
    folder = Alone(tmp_path).folder("sleep", "NAP")
    program = subprocess.Popen([*PROGRAM, "run", folder])
    eventually(lambda: command_pid(folder) > 0)
    assert claim.is_alive(folder)
    with pytest.raises(Conflict):
        claim.cleanup(folder)
    program.terminate()
    assert program.wait(timeout=20) == 75
    assert napping() == []
    assert read_outcome(folder) is None
    assert not claim.is_alive(folder)


def test_what_a_killed_node_program_left_is_cleaned(tmp_path: Path) -> None:
    folder = Alone(tmp_path).folder(script="setsid sleep NAP & sleep NAP")
    program = subprocess.Popen([*PROGRAM, "run", folder])
    eventually(lambda: len(napping()) == 2)
    program.kill()
    program.wait()
    assert not claim.is_alive(folder)
    assert len(napping()) == 2
    assert claim.cleanup(folder)
    assert napping() == []


def test_a_killed_supervisor_is_a_lost_job_and_no_process(home: Path) -> None:
    folder = Resident(home).folder(script="(setsid sleep NAP &); sleep NAP")

    async def one() -> None:
        async with Supervised(str(home)) as supervised:
            running_job = asyncio.ensure_future(supervised.run(folder))
            await asyncio.to_thread(eventually, lambda: len(napping()) == 2)
            os.kill(supervisor_pid(home), signal.SIGKILL)
            with pytest.raises(Lost):
                await running_job
            assert napping() == []
            assert await supervised.run(Resident(home).folder("true")) == "succeeded"

    asyncio.run(one())
    assert read_outcome(folder) is None


def test_the_next_supervisor_kills_what_is_left_before_it_answers(home: Path) -> None:
    folder = Resident(home).folder(script="(setsid sleep NAP &); sleep NAP")
    with connect_or_start(str(home)) as connection:
        connection.sendall(json.dumps({"do": "run", "folder": folder}).encode() + b"\n")
        eventually(lambda: len(napping()) == 2)
        os.kill(supervisor_pid(home), signal.SIGKILL)
    connect_or_start(str(home)).close()
    assert napping() == []
    assert not claim.is_alive(folder)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux tells")
def test_a_process_that_is_about_to_become_the_command_is_found_when_its_supervisor_dies(home: Path) -> None:
    program, ran = home / "program", home / "ran"
    program.write_text(f"#!/bin/sh\ntouch {ran}\n")
    program.chmod(0o755)
    folder = Resident(home).folder(str(program))

    async def one() -> int:
        async with Supervised(str(home)) as supervised:
            job = asyncio.ensure_future(supervised.run(folder))
            await asyncio.to_thread(eventually, lambda: forked_by(folder) != 0)
            child = forked_by(folder)
            os.kill(supervisor_pid(home), signal.SIGKILL)
            with pytest.raises(Lost):
                await job
            return child

    with held_back(program):
        child = asyncio.run(one())
        eventually(lambda: processes.identity(child) is None)
    assert not ran.exists()


@pytest.mark.slow
def test_killed_at_many_moments_nothing_runs_twice_and_nothing_stays(home: Path) -> None:
    """Steps append their name to a file that the node does not know: who appended once is never run again."""
    chance = random.Random(20260118)
    counted = home / "counted"
    lane = Resident(home)

    async def finish(supervised: Supervised, name: str) -> None:
        for _ in range(30):
            script = f"echo begin {name} >> {counted}; sleep 0.02; (setsid sleep NAP &); echo end {name} >> {counted}"
            folder = lane.folder(script=script)
            try:
                assert await supervised.run(folder) == "succeeded"
                return
            except Lost:
                assert read_outcome(folder) is None
        raise AssertionError(f"{name} never came through")

    async def everything() -> None:
        async with Supervised(str(home)) as supervised:
            steps = [asyncio.ensure_future(finish(supervised, f"s{n}")) for n in range(60)]
            for _ in range(8):
                await asyncio.sleep(chance.uniform(0, 0.25))
                info = homes.Place.of(str(home)).info()
                if info is not None and processes.is_running(info["pid"], info["started"]):
                    os.kill(info["pid"], signal.SIGKILL)
            await asyncio.wait_for(asyncio.gather(*steps), 60)

    asyncio.run(everything())
    assert napping() == []
    lines = counted.read_text().splitlines()
    assert {line.split()[1] for line in lines if line.startswith("end")} == {f"s{n}" for n in range(60)}
    finished = [Path(folder).name for folder in map(str, (home / "jobs").iterdir()) if read_outcome(folder) is not None]
    assert len(finished) == 60


def test_a_time_limit_holds_without_an_engine(home: Path) -> None:
    folder = Resident(home).folder("sleep", "NAP", limits=limits(seconds=0.4))
    with connect_or_start(str(home)) as connection:
        connection.sendall(json.dumps({"do": "run", "folder": folder}).encode() + b"\n")
        eventually(lambda: command_pid(folder) > 0)
    eventually(lambda: read_outcome(folder) is not None)
    assert isinstance(read_outcome(folder).error, TimeLimit)
    assert napping() == []


def test_a_program_that_starts_before_it_is_written_down_is_found(home: Path) -> None:
    """The moment between the claim and the line that names the process."""
    folder = os.path.realpath(Alone(home).folder("true"))
    os.close(claim.claim(folder))
    lines = Path(folder, claim.STARTED).read_text().replace(str(os.getpid()), "999999")
    Path(folder, claim.STARTED).write_text(lines)
    orphan = subprocess.Popen(["sleep", NAP], env={"WEFT_JOB": folder}, start_new_session=True)
    stranger = subprocess.Popen(["sleep", NAP], env={"PWD": folder}, cwd=folder, start_new_session=True)
    try:
        reaper = asyncio.run(_cleaned_and_reaped(folder, orphan))
        assert reaper == -signal.SIGKILL
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


async def _cleaned_and_reaped(folder: str, orphan: subprocess.Popen[bytes]) -> int:
    assert await asyncio.to_thread(claim.cleanup, folder)
    return await asyncio.to_thread(orphan.wait)
