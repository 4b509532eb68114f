"""When a result is used again and when it is not."""

from __future__ import annotations

import itertools
import sqlite3

import engine_values as values
import engine_work as work
from engine_place import Place

import weftwork as weft
from weftwork.embedded import Embedded


def test_without_the_cache_it_runs_each_time_and_changes_nothing_for_others(place: Place, session: Embedded) -> None:
    first = weft.run(values.chance, log=place.log)
    assert weft.run(values.chance, log=place.log) == first
    others = {weft.run(values.chance, log=place.log, cache=False) for _ in range(3)}
    assert len(others | {first}) == 4
    assert weft.run(values.chance, log=place.log) == first
    assert len(place.lines()) == 4


def test_a_module_that_is_not_deterministic_runs_each_time(place: Place, session: Embedded) -> None:
    first = weft.run(values.chance, log=place.log)
    assert len({weft.run(values.varying, log=place.log) for _ in range(3)} | {first}) == 4
    assert len(set(values.varying.map([place.log, place.log]))) == 2
    assert "deterministic: false" in weft.submit(values.varying, log=place.log).why()


def test_a_result_that_used_an_undeclared_file_is_given_to_its_caller_alone(place: Place, session: Embedded) -> None:
    project = place.folder / "project"
    project.mkdir()
    data = project / "constants.txt"
    data.write_text("3")
    (project / "reading.py").write_text(
        "import os\nimport weftwork as weft\nPATH = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'constants.txt')\n"
        "@weft.module\ndef read() -> str:\n    with open(PATH) as file:\n        return file.read()\n"
        "@weft.module(uses=[PATH])\ndef declared() -> str:\n    with open(os.path.join(os.path.dirname(__file__), 'constants.txt')) as file:\n        return file.read()\n"
    )
    module = weft.load(f"{project}/reading.py:read")
    job = weft.submit(module)
    assert job.result() == "3"
    data.write_text("4")
    again = weft.submit(module)
    assert again.result() == "4"
    assert not again.cached
    assert "constants.txt" in again.why()
    declared = weft.load(f"{project}/reading.py:declared")
    assert weft.run(declared) == "4"
    assert weft.submit(declared).cached
    data.write_text("5")
    assert weft.run(declared) == "5"


def test_a_known_result_waits_for_no_writer(place: Place, session: Embedded) -> None:
    """Whoever writes, here another program in the middle of its transaction: what is known is told, and noted after."""
    assert list(work.double.map(range(5), log=place.log)) == [0, 2, 4, 6, 8]
    busy = sqlite3.connect(session.home.ledger.path, isolation_level=None)
    busy.execute("BEGIN IMMEDIATE")
    results = work.double.map(range(5), log=place.log)
    job = weft.submit(work.double, log=place.log, value=3)
    assert [next(results) for _ in range(5)] == [0, 2, 4, 6, 8]
    assert (job.result(), job.cached, job.status) == (6, True, "succeeded")
    assert len(session.home.ledger.jobs()) == 5
    busy.execute("ROLLBACK")
    busy.close()
    assert list(results) == []
    assert [event.kind for event in job.events()] == ["queued", "succeeded"]
    jobs = session.home.ledger.jobs()
    assert sum(row.job.cached for row in jobs) == 6
    assert job.id in {row.job.id for row in jobs}


def test_a_known_result_is_told_while_long_calls_fill_every_place(place: Place, session: Embedded) -> None:
    weft.run(work.double, log=place.log, value=1)
    results = work.slow.map(range(8), itertools.chain([0.0] * 4, itertools.repeat(60.0)), log=place.log)
    assert next(results) == 0
    place.has("slow 4")
    assert weft.run(work.double, log=place.log, value=1) == 2
    assert list(work.double.map([1, 1], log=place.log)) == [2, 2]
    assert "slow 4 ended" not in place.lines()
    results.close()
    assert place.executions()["double 1"] == 1


def test_a_hit_is_found_by_another_process_and_tells_when_it_was_made(place: Place, session: Embedded) -> None:
    weft.run(work.double, log=place.log, value=2)
    assert place.run(
        "job = weft.submit(work.double, log=LOG, value=2)\nprint(job.result(), job.cached, job.status)"
    ) == ("4 True succeeded")
    assert place.lines() == ["double 2"]
