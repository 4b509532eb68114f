"""Who owns jobs and sessions: forks, other hosts, leases."""

from __future__ import annotations

import sqlite3
import time
from dataclasses import replace

import engine_work as work
import pytest
from engine_place import Place

import weftwork as weft
from weftwork.embedded import Embedded
from weftwork.ledger import owners

FORK = """
weft.run(work.double, log=LOG, value=1)
job = weft.submit(work.slow, log=LOG, value=1, seconds=1.0)
session = weft.session()
child = os.fork()
if child == 0:
    try:
        job.result()
    except weft.Refused as error:
        print("fork" in str(error), flush=True)
    try:
        session.submit(work.double, {"log": LOG, "value": 5})
    except weft.Refused as error:
        print("fork" in str(error), flush=True)
    print(weft.run(work.double, log=LOG, value=2), flush=True)
    sys.exit(0)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), job.result(), flush=True)
"""


@pytest.mark.slow
def test_a_forked_child_has_a_session_of_its_own_and_is_refused_its_parents(place: Place) -> None:
    assert place.run(FORK).split() == ["True", "True", "4", "0", "1"]
    place.nothing_left()


@pytest.mark.slow
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_multiprocessing_in_a_users_script_works(place: Place, method: str) -> None:
    path = place.folder / "script.py"
    path.write_text(f"""
import multiprocessing, sys
sys.path.insert(0, {str(work.HERE)!r})
import engine_work as work
import weftwork as weft

def ask(value):
    return weft.run(work.double, log=sys.argv[1], value=value)

if __name__ == "__main__":
    print(ask(0))
    with multiprocessing.get_context({method!r}).Pool(2) as pool:
        print(pool.map(ask, [1, 2, 1, 2]))
    print(ask(3))
""")
    assert place.run(
        "import runpy; sys.argv = [sys.argv[2], LOG]; import subprocess; "
        "sys.exit(subprocess.run([sys.executable, *sys.argv]).returncode)",
        path,
    ).splitlines() == ["0", "[2, 4, 2, 4]", "6"]
    assert set(place.executions().values()) == {1}


def test_a_job_of_another_host_is_taken_over_when_its_lease_has_run_out_and_not_before(
    place: Place, session: Embedded
) -> None:
    job = weft.submit(work.slow, log=place.log, value=1, seconds=60)
    place.has("slow 1")
    key, name = job.key, job.id
    weft.close()
    elsewhere = replace(owners.this(), id="o-elsewhere", host="another-host")
    session = weft.use(place.home)
    session.home.ledger.register(elsewhere, 600.0)
    _give(place, name, elsewhere.id)
    waiting = weft.submit(work.slow, log=place.log, value=1, seconds=60)
    assert (waiting.key, waiting.id) == (key, name)
    time.sleep(1.5)
    assert place.lines() == ["slow 1"], "its owner's lease has not run out"
    with _database(place) as database:
        database.execute("UPDATE owner SET expires = expires - 10000 WHERE name = ?", (elsewhere.id,))
    place.until(lambda: place.lines() == ["slow 1", "slow 1"])
    assert [event.kind for event in waiting.events()].count("taken over") == 1
    waiting.cancel()


def _database(place: Place) -> sqlite3.Connection:
    return sqlite3.connect(place.home / "ledger.sqlite", timeout=30)


def _give(place: Place, job: str, owner: str) -> None:
    """Make a job that has been cancelled one that an owner has live, behind the ledger's back."""
    with _database(place) as database:
        database.execute(
            "UPDATE job SET live = 1, wanted = 1, state = 'running', cancel = NULL, "
            "events = substr(events, 1, instr(events, ?) - 1), owner = (SELECT id FROM owner WHERE name = ?) "
            "WHERE name = ?",
            (',["cancelled"', owner, job),
        )


def test_a_silent_lease_is_renewed_while_its_process_lives(place: Place, session: Embedded) -> None:
    from weftwork.engine import engine

    with _database(place) as database:
        database.execute("UPDATE owner SET expires = expires - 100000")
    weft.submit(work.double, log=place.log, value=1).result()
    session.engine._watch._renewed -= engine.LEASE  # time passes

    def renewed() -> bool:
        with _database(place) as database:
            clock = "((julianday('now') - 2440587.5) * 86400.0)"
            return bool(database.execute(f"SELECT max(expires) > {clock} FROM owner").fetchone()[0])

    place.until(renewed)
