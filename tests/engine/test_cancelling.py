"""Who withdraws, who cancels for everybody, and that nothing runs on afterwards."""

from __future__ import annotations

import signal
import threading
import time

import engine_work as work
import psutil
import pytest
from engine_place import Place

import weftwork as weft
from weftwork.embedded import Embedded


def test_cancelling_a_running_call_leaves_no_process_of_it(place: Place, session: Embedded) -> None:
    job = weft.submit(work.spawning, log=place.log, seconds=60)
    child, own = place.pid_of("child"), place.pid_of("self")
    job.cancel()
    with pytest.raises(weft.Cancelled, match="cancelled by user"):
        job.result(5)
    assert job.status == "cancelled"
    assert not psutil.pid_exists(child) or psutil.Process(child).status() == psutil.STATUS_ZOMBIE
    assert not psutil.pid_exists(own)


def test_cancelling_a_running_command_leaves_no_process_of_it(place: Place, session: Embedded) -> None:
    job = weft.submit(work.command, log=place.log, value=1, seconds=60)
    place.has("nap 1")
    job.cancel()
    with pytest.raises(weft.Cancelled, match="cancelled by user"):
        job.result(10)
    place.nothing_left()
    place.until(lambda: not list((place.home / "jobs").iterdir()))


@pytest.mark.slow
def test_a_command_that_ignores_sigterm_is_cancelled_once_it_is_dead(place: Place, session: Embedded) -> None:
    job = weft.submit(work.stubborn, log=place.log, seconds=60)
    pid = place.pid_of("stubborn")
    job.cancel()
    with pytest.raises(weft.Cancelled):
        job.result(20)
    assert not psutil.pid_exists(pid)


def test_cancelling_what_is_queued_is_at_once_and_it_never_runs(place: Place, session: Embedded) -> None:
    running = [weft.submit(work.command, log=place.log, value=n, seconds=60) for n in range(2)]
    place.has("nap 0")
    place.has("nap 1")
    queued = weft.submit(work.command, log=place.log, value=2, seconds=0.0)
    call = weft.submit(work.double, log=place.log, value=9)
    time.sleep(0.1)
    since = time.monotonic()
    for job in (queued, call):
        job.cancel()
        with pytest.raises(weft.Cancelled):
            job.result(5)
    assert time.monotonic() - since < 2
    for job in running:
        job.cancel()
        job.exception(10)
    assert weft.run(work.command, log=place.log, value=3, seconds=0.0).out == 3
    assert "nap 2" not in place.lines()
    assert "double 9" not in place.lines()


def test_withdrawing_cancels_only_when_nobody_else_waits(place: Place, session: Embedded) -> None:
    first = weft.submit(work.slow, log=place.log, value=1, seconds=0.6)
    second = weft.submit(work.slow, log=place.log, value=1, seconds=0.6)
    place.has("slow 1")
    first.cancel()
    first.cancel()
    with pytest.raises(weft.Cancelled, match="withdrawn by user"):
        first.result(1)
    assert second.result(5) == 1
    assert place.lines() == ["slow 1", "slow 1 ended"]


@pytest.mark.slow
def test_a_job_that_another_process_waits_for_goes_on_in_its_owner(place: Place, session: Embedded) -> None:
    job = weft.submit(work.slow, log=place.log, value=2, seconds=8.0)
    other = place.start(
        "job = weft.submit(work.slow, log=LOG, value=2, seconds=8.0)\nprint('waits', flush=True)\nprint(job.result())"
    )
    assert other.stdout is not None
    assert other.stdout.readline() == "waits\n"
    job.cancel()
    with pytest.raises(weft.Cancelled):
        job.result(5)
    assert place.out(other) == "2"
    assert place.lines() == ["slow 2", "slow 2 ended"]


def test_the_last_waiter_cancels_from_another_process(place: Place, session: Embedded) -> None:
    script = """
job = weft.submit(work.command, log=LOG, value=2, seconds=60)
while "go" not in open(LOG).read().splitlines(): time.sleep(0.02)
job.cancel()
try: job.result(10)
except weft.Cancelled as error: print("cancelled")
"""
    job = weft.submit(work.command, log=place.log, value=2, seconds=60)
    place.has("nap 2")
    other = place.start(script)
    place.until(lambda: session.home.ledger.job(job.id).waiters == 2)
    job.cancel()
    with pytest.raises(weft.Cancelled):
        job.result(5)
    assert session.home.ledger.job(job.id).job.live
    work.note(place.log, "go")
    assert place.out(other) == "cancelled"
    place.nothing_left()
    assert session.home.ledger.job(job.id).job.state == "cancelled"


def test_asking_again_while_it_is_being_cancelled_runs_it_again(place: Place, session: Embedded) -> None:
    for value in range(3):
        job = weft.submit(work.command, log=place.log, value=value, seconds=0.5)
        place.has(f"nap {value}")
        cancelling = threading.Thread(target=job.cancel)
        cancelling.start()
        again = weft.submit(work.command, log=place.log, value=value, seconds=0.5)
        assert again.result(20).out == value
        cancelling.join()
        assert isinstance(job.exception(5), weft.Cancelled | None)


def test_withdrawing_at_once_leaves_nothing_behind(place: Place, session: Embedded) -> None:
    for value in range(20):
        job = weft.submit(work.slow, log=place.log, value=value, seconds=60)
        job.cancel()
    for row in session.home.ledger.jobs():
        place.until(lambda row=row: not session.home.ledger.job(row.job.id).job.live)  # type: ignore[misc]
    assert weft.run(work.double, log=place.log, value=1) == 2


@pytest.mark.parametrize("kind", ["function", "command"])
def test_cancelling_for_everybody_from_another_process(place: Place, session: Embedded, kind: str) -> None:
    module = work.slow if kind == "function" else work.command
    job = weft.submit(module, log=place.log, value=4, seconds=60)
    place.has("slow 4" if kind == "function" else "nap 4")
    place.run("weft.session().cancel(sys.argv[2], 'somebody')", job.id)
    with pytest.raises(weft.Cancelled, match="somebody"):
        job.result(10)
    weft.close()
    place.nothing_left()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["function", "command"])
def test_cancelling_the_job_of_a_dead_owner(place: Place, session: Embedded, kind: str) -> None:
    what = "work.slow" if kind == "function" else "work.command"
    owner = place.start(
        f"job = weft.submit({what}, log=LOG, value=4, seconds=60)\nprint(job.id, flush=True)\ntime.sleep(60)"
    )
    assert owner.stdout is not None
    name = owner.stdout.readline().strip()
    place.has("slow 4" if kind == "function" else "nap 4")
    owner.kill()
    owner.wait()
    session.cancel(name, "somebody")
    assert session.home.ledger.job(name).job.state == "cancelled"
    place.nothing_left(10)
    with pytest.raises(weft.Conflict, match="has ended already"):
        session.cancel(name)


@pytest.mark.slow
@pytest.mark.parametrize("what", ["slow", "command", "chain"])
def test_ctrl_c_in_a_run_withdraws_and_ends(place: Place, what: str) -> None:
    script = f"""
try: weft.run(work.{what}, log=LOG, value=1, seconds=60)
except KeyboardInterrupt: print("interrupted")
"""
    process = place.start(script)
    place.has("slow 1" if what == "slow" else "nap 1" if what == "command" else "nap 2")
    since = time.monotonic()
    process.send_signal(signal.SIGINT)
    assert place.out(process) == "interrupted"
    assert time.monotonic() - since < 4
    place.nothing_left()
    states = place.run("for row in weft.session().home.ledger.jobs(): print(row.job.state)")
    assert set(states.split()) <= {"cancelled", "succeeded"}
