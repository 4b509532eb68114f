"""Equal calculations that are asked for at once run once: in one process, in many, and when their owner dies."""

from __future__ import annotations

import collections
import concurrent.futures

import engine_work as work
import pytest
from engine_place import Place

import weftwork as weft
from weftwork.embedded import Embedded

AFTER = """
weft.session()
print("ready", flush=True)
while not os.path.exists(LOG) or {line!r} not in open(LOG).read(): time.sleep(0.01)
"""
"""A process that is ready, and goes on when something is executed."""


def test_fifty_submitters_of_ten_calculations_in_one_process(place: Place, session: Embedded) -> None:
    def ask(number: int) -> int:
        module = work.double if number % 2 else work.command
        inputs = {"log": place.log, "value": number % 10} | ({} if number % 2 else {"seconds": 0.0})
        out = weft.run(module, **inputs)
        return out if number % 2 else out.out // 1

    with concurrent.futures.ThreadPoolExecutor(50) as threads:
        results = list(threads.map(ask, range(50)))
    assert results == [2 * (n % 10) if n % 2 else n % 10 for n in range(50)]
    begun = collections.Counter(line for line in place.lines() if not line.endswith("ended"))
    assert set(begun.values()) == {1}
    assert len(begun) == 10


@pytest.mark.slow
def test_submitters_of_the_same_in_many_processes(place: Place) -> None:
    script = """
job = weft.submit(work.slow, log=LOG, value=int(sys.argv[2]), seconds=0.5)
print(job.result(), weft.run(work.chain, log=LOG, value=int(sys.argv[2]), seconds=0.3))
"""
    others = [place.start(script, number % 2) for number in range(6)]
    assert sorted(place.out(each) for each in others) == ["0 0"] * 3 + ["1 4"] * 3
    assert set(place.executions().values()) == {1}


def test_a_waiter_in_another_process_gets_the_result(place: Place, session: Embedded) -> None:
    job = weft.submit(work.slow, log=place.log, value=7, seconds=0.8)
    place.has("slow 7")
    other = place.start("print(weft.run(work.slow, log=LOG, value=7, seconds=0.8))")
    assert place.out(other) == "7"
    assert job.result() == 7
    assert place.lines() == ["slow 7", "slow 7 ended"]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["function", "command"])
def test_when_the_owner_is_killed_one_of_those_who_wait_takes_over(place: Place, kind: str) -> None:
    what = "work.slow" if kind == "function" else "work.command"
    line = "slow 3" if kind == "function" else "nap 3"
    submit = f"print(weft.submit({what}, log=LOG, value=3, seconds=2.0).result())"
    waiting = [place.start(AFTER.format(line=line) + submit) for _ in range(3)]
    for each in waiting:
        assert each.stdout is not None
        assert each.stdout.readline() == "ready\n"
    owner = place.start(submit)
    for each in waiting:
        place.until(lambda each=each: _waits(place, each.pid))  # type: ignore[misc]
    owner.kill()
    results = {place.out(each) for each in waiting}
    assert results == {"3" if kind == "function" else "Outputs(out=3)"}
    # A command runs on under the supervisor, and is found there; a function dies with its process, and runs once more.
    assert place.executions()[line] == (1 if kind == "command" else 2)
    assert place.executions()[line + " ended"] == 1


def _waits(place: Place, pid: int) -> bool:
    import sqlite3

    with sqlite3.connect(f"file:{place.home}/ledger.sqlite?mode=ro", uri=True, timeout=30) as database:
        return bool(
            database.execute("SELECT 1 FROM waiter w JOIN owner o ON o.id = w.owner WHERE o.pid = ?", (pid,)).fetchone()
        )


@pytest.mark.slow
def test_the_owner_that_ends_leaves_a_command_to_those_who_wait(place: Place) -> None:
    waiter = place.start(
        AFTER.format(line="nap 5") + "print(weft.run(work.command, log=LOG, value=5, seconds=2.0).out)"
    )
    assert waiter.stdout is not None
    assert waiter.stdout.readline() == "ready\n"
    owner = place.start(
        "job = weft.submit(work.command, log=LOG, value=5, seconds=2.0)\n"
        "while weft.session().home.ledger.job(job.id).waiters < 2: time.sleep(0.02)"
    )
    place.out(owner)
    assert place.out(waiter) == "5"
    assert place.lines() == ["nap 5", "nap 5 ended"]
