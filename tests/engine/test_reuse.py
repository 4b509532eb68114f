"""When a result is used again and when it is not; and what happens when its bytes are gone or damaged."""

from __future__ import annotations

import itertools
import sqlite3

import engine_values as values
import engine_work as work
import pytest
from engine_place import Place

import weftwork as weft
from weftwork.core.checksum import Checksum
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


@pytest.mark.parametrize("kind", ["small", "large", "directory"])
def test_a_hit_whose_bytes_are_gone_is_no_hit(place: Place, session: Embedded, kind: str) -> None:
    module, inputs, line = {
        "small": (work.double, {"value": 2}, "double 2"),
        "large": (values.big, {"value": 2}, "big"),
        "directory": (values.spread, {"count": 2}, "spread"),
    }[kind]
    job = weft.submit(module, log=place.log, **inputs)
    before = job.result()
    checksum = job.outputs()["result"].checksum
    if kind == "directory":
        checksum = Checksum.of(b"1" * 40000)
    session.home.store.remove([checksum])
    again = weft.submit(module, log=place.log, **inputs)
    after = again.result()
    assert kind == "directory" or after == before
    assert place.lines() == [line, line]
    weft.run(module, log=place.log, **inputs)
    assert place.lines() == [line, line], "what it made again is there for the next"


def test_results_of_a_map_whose_bytes_are_gone_are_made_again(place: Place, session: Embedded) -> None:
    assert list(work.double.map(range(6), log=place.log)) == [0, 2, 4, 6, 8, 10]
    session.home.store.remove([Checksum.of(b"4"), Checksum.of(b"10")])
    assert list(work.double.map(range(6), log=place.log)) == [0, 2, 4, 6, 8, 10]
    assert place.executions() == {f"double {n}": 2 if n in (2, 5) else 1 for n in range(6)}


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


def test_a_step_runs_again_when_its_results_bytes_are_gone(place: Place, session: Embedded) -> None:
    assert weft.run(work.chain, log=place.log, value=2) == 8
    session.home.store.remove([Checksum.of(b"4"), Checksum.of(b"8")])
    assert weft.run(work.chain, log=place.log, value=2) == 8
    counts = place.executions()
    assert counts["double 2"] == 2
    assert counts["total 8"] == 2


def test_an_input_whose_bytes_are_gone_is_named(place: Place, session: Embedded) -> None:
    job = weft.submit(values.big, log=place.log, value=1)
    job.result()
    ref = job.outputs()["result"]
    session.home.store.remove([ref.checksum])
    with pytest.raises(weft.MissingInputs, match=ref.checksum[:8]) as caught:
        weft.run(values.kinds, value=ref)
    assert caught.value.details["checksums"] == [ref.checksum]
    weft.run(values.big, log=place.log, value=1)
    assert weft.run(values.kinds, value=ref).startswith("bytes")


@pytest.mark.parametrize("size", ["small", "large"])
def test_damaged_bytes_are_told_and_running_again_heals(place: Place, session: Embedded, size: str) -> None:
    module, inputs = (values.big, {"value": 7}) if size == "large" else (values.upper, {"text": "precious" * 20})
    job = weft.submit(module, log=place.log, **inputs)
    expected = job.result()
    ref = job.outputs()["result"]
    _damage(place, session, ref.checksum)
    with pytest.raises(weft.Corrupt, match=ref.checksum[:8]) as caught:
        weft.run(module, log=place.log, **inputs)
    assert "running again" in str(caught.value)
    assert weft.run(module, log=place.log, **inputs) == expected
    assert len(place.lines()) == 2


@pytest.mark.parametrize("size", ["small", "large"])
def test_a_damaged_input_is_told_and_running_again_heals(place: Place, session: Embedded, size: str) -> None:
    @weft.workflow
    def flow(log: str) -> str:
        made = values.big(log, 7) if size == "large" else values.upper(log, "precious" * 20)
        return values.kinds(made)

    weft.run(values.big, log=place.log, value=7)
    made = weft.submit(values.upper, log=place.log, text="precious" * 20)
    made.result()
    ref = (
        weft.submit(values.big, log=place.log, value=7).outputs()["result"]
        if size == "large"
        else made.outputs()["result"]
    )
    _damage(place, session, ref.checksum)
    weft.close()
    weft.use(place.home)
    run = weft.submit(flow, log=place.log)
    error = run.exception()
    assert error is not None
    assert "the bytes of its input 'value'" in str(error)
    assert "are damaged, and were removed" in str(error)
    assert weft.run(flow, log=place.log).startswith("bytes" if size == "large" else "str")


def _damage(place: Place, session: Embedded, checksum: Checksum) -> None:
    path = place.home / "store" / "files" / checksum[:2] / checksum
    if path.exists():
        path.chmod(0o644)
        path.write_bytes(b"!" + path.read_bytes()[1:])
        return
    with sqlite3.connect(place.home / "store" / "buffers.sqlite", timeout=30) as database:
        changed = database.execute(
            "UPDATE buffer SET data = ? || substr(data, 2) WHERE digest = ?", (b"!", checksum.digest)
        )
        assert changed.rowcount == 1


def test_a_hit_is_found_by_another_process_and_tells_when_it_was_made(place: Place, session: Embedded) -> None:
    weft.run(work.double, log=place.log, value=2)
    assert place.run(
        "job = weft.submit(work.double, log=LOG, value=2)\nprint(job.result(), job.cached, job.status)"
    ) == ("4 True succeeded")
    assert place.lines() == ["double 2"]
