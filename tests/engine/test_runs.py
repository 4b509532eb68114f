"""Runs of workflows: what a failure stops and what it does not, skips, maps, races, and going on where one was."""

from __future__ import annotations

import sqlite3
from typing import Any

import engine_flows as flows
import engine_work as work
import pytest
from engine_place import Place

import weftwork as weft
from weftwork.embedded import Embedded
from weftwork.handles import Run


def _states(run: Any) -> dict[str, str]:
    return {name: each.state for name, each in run.outcome().steps.items()}


def test_a_failed_step_stops_what_needs_it_and_nothing_else(place: Place, session: Embedded) -> None:
    run = weft.submit(flows.partly, log=place.log)
    assert isinstance(run, Run)
    with pytest.raises(weft.CalculationFailed, match="no 1"):
        run.result()
    assert _states(run) == {
        "bad": "failed",
        "after": "cancelled",
        "good": "succeeded",
        "either": "succeeded",
        "rescue": "succeeded",
    }
    assert "bad" in run.outcome().steps["after"].why
    assert sorted(line for line in place.lines() if line.startswith("add")) == ["add 1 100", "add 2 100", "add 3 100"]
    assert "no 1" in run.why("bad")
    assert "bad" in run.why("after")
    row = session.home.ledger.run(run.id)
    assert row.state == "failed"
    assert row.outcome is not None
    assert row.outcome["steps"]["after"]["state"] == "cancelled"
    steps = {step.step: step.state for step in session.home.ledger.steps(run.id)}
    assert steps == _states(run)


def test_a_failure_that_was_provided_for_is_none_of_the_run(place: Place, session: Embedded) -> None:
    assert weft.run(flows.tolerant, log=place.log).rescue == 103


def test_a_skipped_steps_consumers(place: Place, session: Embedded) -> None:
    run = weft.submit(flows.skipping, log=place.log, value=3)
    assert _states(run) == {"even": "succeeded", "half": "skipped", "needs": "skipped", "default": "succeeded"}
    assert run.result().default == 105
    assert "even" in run.why("half")
    even = weft.run(flows.skipping, log=place.log, value=4)
    assert (even.default, even.needs) == (7, 102)


@pytest.mark.parametrize("count", [0, 1, 5])
def test_maps_over_what_steps_made(place: Place, session: Embedded, count: int) -> None:
    assert weft.run(flows.mapped, log=place.log, count=count) == sum(range(count)) + count
    assert weft.run(flows.over_directory, log=place.log, count=count) == 40000 * count
    before = place.lines()
    assert weft.run(flows.mapped, log=place.log, count=count) == sum(range(count)) + count
    assert weft.run(flows.over_directory, log=place.log, count=count) == 40000 * count
    assert place.lines() == before


def test_a_race_cancels_its_losers_and_keeps_its_choice(place: Place, session: Embedded) -> None:
    assert weft.run(flows.racing, log=place.log, wanted=1) == 1
    place.until(lambda: not session.home.ledger.jobs(states=("running", "queued")))
    before = place.lines()
    assert "slow 50 ended" not in before
    assert weft.run(flows.racing, log=place.log, wanted=1) == 1
    assert place.lines() == before


def test_the_first_acceptable_one_wins(place: Place, session: Embedded) -> None:
    run = weft.submit(flows.second_wins, log=place.log)
    assert run.result() == 50
    assert "slow 3 ended" not in place.lines()
    place.until(lambda: not session.home.ledger.jobs(states=("running", "queued")))
    states = {event.step: event.state for event in run.events()}
    assert states["won{high}"] == "succeeded"
    assert states["won{stuck}"] in ("cancelled", "running")


def test_a_race_that_nobody_wins_names_each_value(place: Place, session: Embedded) -> None:
    with pytest.raises(weft.CalculationFailed, match=r"low.*1.*lower.*0"):
        weft.run(flows.nobody, log=place.log)


def test_a_run_is_cancelled_by_its_handle(place: Place, session: Embedded) -> None:
    run = weft.submit(work.chain, log=place.log, value=1, seconds=60)
    place.has("nap 2")
    run.cancel()
    with pytest.raises(weft.Cancelled, match="user"):
        run.result(10)
    assert run.status == "cancelled"
    assert _states(run) == {"double": "succeeded", "nap": "cancelled", "total": "cancelled"}


def test_two_runs_that_share_a_step_are_cancelled_apart(place: Place, session: Embedded) -> None:
    one = weft.submit(work.chain, log=place.log, value=1, seconds=1.0)
    two = weft.submit(work.chain, log=place.log, value=1, seconds=1.0)
    place.has("nap 2")
    one.cancel()
    with pytest.raises(weft.Cancelled):
        one.result(0.9)
    assert two.result() == 4
    assert place.executions()["nap 2"] == 1


def test_a_run_that_is_asked_for_again_comes_from_the_cache(place: Place, session: Embedded) -> None:
    assert weft.run(work.chain, log=place.log, value=5) == 20
    before = place.lines()
    run = weft.submit(work.chain, log=place.log, value=5)
    assert run.result() == 20
    assert place.lines() == before
    ended = [event for event in run.events() if event.state == "succeeded"]
    assert all(event.cached for event in ended)


def test_a_record_that_vanishes_after_it_answered_concerns_its_own_step_alone(
    place: Place, session: Embedded, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is made again, so that there is a job that shows it; the steps beside it are noted as ever."""
    assert weft.run(work.chain, log=place.log, value=5) == 20
    before, ledger, vanished = place.executions(), session.home.ledger, []
    look_up = ledger.records

    def then_vanish(keys: Any) -> Any:
        found = look_up(keys)
        if found and not vanished:
            with sqlite3.connect(place.home / "ledger.sqlite", timeout=30) as database:
                vanished.append(next(iter(found)))
                here = "SELECT id FROM calculation WHERE key = ?"
                database.execute("PRAGMA foreign_keys = OFF")
                database.execute(f"DELETE FROM record WHERE calculation = ({here})", [str(vanished[0])])
        return found

    monkeypatch.setattr(ledger, "records", then_vanish)
    run = weft.submit(work.chain, log=place.log, value=5)
    assert run.result() == 20
    again = {what: count - before.get(what, 0) for what, count in place.executions().items()}
    assert max(again.values()) == sum(again.values()) == 1
    rows = session.home.ledger.jobs(run=run.id)
    assert {row.step for row in rows} == set(_states(run))
    assert [row.job.cached for row in rows].count(False) == 1
    assert {row.job.state for row in rows} == {"succeeded"}


def test_steps_that_share_a_calculation_are_all_told_of(place: Place, session: Embedded) -> None:
    """One job for equal steps, whichever run it is of: the others have no job of their own to tell of them."""
    one = weft.submit(flows.alike, log=place.log, seconds=0.3)
    two = weft.submit(flows.alike, log=place.log, seconds=0.3)
    assert one.result() == two.result() == 10
    assert set(place.executions().values()) == {1}
    rows = [row for run in (one, two) for row in session.home.ledger.steps(run.id)]
    assert [(row.step, row.state) for row in rows] == 2 * [
        ("nap", "succeeded"),
        ("nap_2", "succeeded"),
        ("sum", "succeeded"),
    ]
    assert len({row.job for row in rows if row.step != "sum"}) == 1


@pytest.mark.slow
@pytest.mark.parametrize("how", ["resume", "again"])
def test_a_killed_run_goes_on_in_another_process(place: Place, how: str) -> None:
    script = (
        "run = weft.submit(work.chain, log=LOG, value=1, seconds=1.0)\nprint(run.id, flush=True)\nprint(run.result())"
    )
    process = place.start(script)
    assert process.stdout is not None
    run = process.stdout.readline().strip()
    place.has("nap 2")
    process.kill()
    process.communicate()
    again = "print(weft.session().resume(sys.argv[2]).result())" if how == "resume" else script
    assert place.run(again, run).splitlines()[-1] == "4"
    assert set(place.executions().values()) == {1}


@pytest.mark.slow
def test_a_step_that_keeps_its_result_to_itself_keeps_it_when_its_run_goes_on(place: Place) -> None:
    script = """
sys.path.insert(0, os.path.dirname(work.__file__))
import engine_flows as flows
run = weft.submit(flows.private, log=LOG, seconds=float(sys.argv[2]))
print(run.id, flush=True)
print(run.result())
"""
    process = place.start(script, 30.0)
    assert process.stdout is not None
    run = process.stdout.readline().strip()
    place.has("slow 1")
    process.kill()
    process.communicate()
    resumed = place.start("run = weft.session().resume(sys.argv[2])\nprint(run.outcome().state)", run)
    place.until(lambda: place.lines().count("slow 1") == 2)
    assert place.lines().count("chance") == 1
    resumed.kill()
    place.run(script, 0.0)
    assert place.lines().count("chance") == 2


def test_a_run_that_another_process_drives_is_not_taken_from_it(place: Place, session: Embedded) -> None:
    process = place.start(
        "run = weft.submit(work.chain, log=LOG, value=1, seconds=60)\nprint(run.id, flush=True)\nrun.exception()"
    )
    assert process.stdout is not None
    run = process.stdout.readline().strip()
    with pytest.raises(weft.Conflict, match="another process"):
        session.resume(run)
