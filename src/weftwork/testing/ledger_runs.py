"""What every :class:`~weftwork.ports.Ledger` must do with slots, runs, steps and choices."""

from __future__ import annotations

from dataclasses import replace

import pytest

from weftwork.core.checksum import Checksum
from weftwork.core.placement import Resources
from weftwork.errors import Conflict, Invalid, NotFound, Refused
from weftwork.ports import Ledger, RunRow, StepRow
from weftwork.testing.ledger import GroundTruth, LedgerFixtures
from weftwork.testing.ledger_samples import Living, calculation, claims, failed, succeeded

HOST = "here"
ALL = Resources(cpus=4, memory=1000, gpus=1)


def run(identity: str = "r1", name: str = "fit") -> RunRow:
    return RunRow(identity, name, "running", 1790000000.1234567, {"workflow": "w", "inputs": {"x": [1, 1.5, "ü"]}})


class SlotsContract(LedgerFixtures):
    """Local CPUs, memory and GPUs."""

    def test_never_more_than_the_capacity(
        self, ledger: Ledger, other: Ledger, truth: GroundTruth, me: str, you: Living
    ) -> None:
        wants = [(f"a{number}", Resources(cpus=1, memory=300)) for number in range(5)]
        assert ledger.take_slots(me, HOST, ALL, wants) == {"a0", "a1", "a2"}
        assert other.take_slots(you.id, HOST, ALL, [("b", Resources(cpus=1))]) == set()
        assert truth.held(HOST) == (3, 900, 0)
        assert ledger.take_slots(me, HOST, ALL, wants) == {"a0", "a1", "a2"}
        ledger.free_slots(me, ["a0", "a1"])
        assert ledger.take_slots(me, HOST, ALL, wants[3:]) == {"a3", "a4"}
        assert other.take_slots(you.id, HOST, ALL, [("b", Resources(cpus=1))]) == {"b"}
        assert truth.held(HOST) == (4, 900, 0)
        assert ledger.take_slots(me, "another host", ALL, [("c", ALL)]) == {"c"}

    def test_a_large_want_is_not_starved_by_small_ones(
        self, ledger: Ledger, other: Ledger, me: str, you: Living
    ) -> None:
        assert ledger.take_slots(me, HOST, ALL, [("small", Resources(cpus=1))]) == {"small"}
        assert other.take_slots(you.id, HOST, ALL, [("large", Resources(cpus=4))]) == set()
        assert ledger.take_slots(me, HOST, ALL, [("later", Resources(cpus=1))]) == set()
        ledger.free_slots(me, ["small"])
        assert ledger.take_slots(me, HOST, ALL, [("later", Resources(cpus=1))]) == set()
        assert other.take_slots(you.id, HOST, ALL, [("large", Resources(cpus=4))]) == {"large"}
        other.free_slots(you.id, ["large"])
        assert ledger.take_slots(me, HOST, ALL, [("later", Resources(cpus=1))]) == {"later"}

    def test_what_is_freed_with_a_want_is_there_for_those_who_came_before(
        self, ledger: Ledger, other: Ledger, truth: GroundTruth, me: str, you: Living
    ) -> None:
        assert ledger.take_slots(me, HOST, ALL, [("one", Resources(cpus=3)), ("two", Resources(cpus=1))]) == {
            "one",
            "two",
        }
        assert other.take_slots(you.id, HOST, ALL, [("three", Resources(cpus=2))]) == set()
        assert ledger.take_slots(me, HOST, ALL, [("four", Resources(cpus=1))], freed=["one"]) == {"four"}
        assert other.take_slots(you.id, HOST, ALL, [("three", Resources(cpus=2))]) == {"three"}
        with pytest.raises(Refused):
            ledger.take_slots(me, HOST, ALL, [("never", Resources(memory=2000))], freed=["two"])
        assert truth.held(HOST) == (4, 0, 0)

    def test_a_want_can_be_withdrawn(self, ledger: Ledger, me: str) -> None:
        ledger.take_slots(me, HOST, ALL, [("one", Resources(cpus=3))])
        assert ledger.take_slots(me, HOST, ALL, [("two", Resources(cpus=4)), ("three", Resources(cpus=1))]) == set()
        ledger.free_slots(me, ["two"])
        assert ledger.take_slots(me, HOST, ALL, [("three", Resources(cpus=1))]) == {"three"}

    def test_what_the_dead_held_and_waited_for_is_free(
        self, ledger: Ledger, other: Ledger, truth: GroundTruth, me: str, you: Living
    ) -> None:
        assert other.take_slots(you.id, HOST, ALL, [("held", ALL), ("wanted", ALL)]) == {"held"}
        assert ledger.take_slots(me, HOST, ALL, [("mine", Resources(gpus=1))]) == set()
        you.kill()
        assert ledger.take_slots(me, HOST, ALL, [("mine", Resources(gpus=1))]) == {"mine"}
        assert truth.held(HOST) == (1, 0, 1)
        assert truth.count("slot") == 1

    def test_what_goes_on_after_its_owner_keeps_its_slots_and_is_inherited(
        self, ledger: Ledger, other: Ledger, truth: GroundTruth, me: str, you: Living
    ) -> None:
        runs = {"goes on"}
        wants = [("goes on", Resources(cpus=3)), ("over", Resources(cpus=1))]
        assert other.take_slots(you.id, HOST, ALL, wants) == {"goes on", "over"}
        you.kill()
        small = [("mine", Resources(cpus=1)), ("late", Resources(cpus=1))]
        assert ledger.take_slots(me, HOST, ALL, small, runs.__contains__) == {"mine"}
        assert truth.held(HOST) == (4, 0, 0)
        assert ledger.take_slots(me, HOST, ALL, wants[:1], runs.__contains__) == {"goes on"}
        assert truth.held(HOST) == (4, 0, 0)
        ledger.free_slots(me, ["goes on"])
        assert ledger.take_slots(me, HOST, ALL, small, runs.__contains__) == {"mine", "late"}

    def test_release_and_the_end_of_a_job_free_its_slots(
        self, ledger: Ledger, truth: GroundTruth, me: str, you: Living
    ) -> None:
        (job,) = ledger.claim(me, claims(1))
        ledger.take_slots(me, HOST, ALL, [(job.job, Resources(cpus=2)), ("more", Resources(cpus=1))])
        ledger.end(me, [failed(job)])
        assert truth.held(HOST) == (1, 0, 0)
        ledger.release(me)
        assert truth.held(HOST) == (0, 0, 0)

    def test_what_can_never_be_had_is_refused_with_both_numbers(
        self, ledger: Ledger, truth: GroundTruth, me: str
    ) -> None:
        with pytest.raises(Refused, match=r"2000 bytes.*1000"):
            ledger.take_slots(me, HOST, ALL, [("fits", Resources()), ("never", Resources(memory=2000))])
        assert truth.count("slot") == 0
        unlimited = Resources(cpus=4)
        assert ledger.take_slots(me, HOST, unlimited, [("much", Resources(memory=10**12))]) == {"much"}


class RunsContract(LedgerFixtures):
    """Runs, steps, choices, and earlier jobs to compare with."""

    def test_a_run_is_shown_as_it_was_written(self, ledger: Ledger, other: Ledger, me: str) -> None:
        ledger.start_run(me, run())
        assert other.run("r1") == replace(run(), owner=me)
        ledger.end_run(me, "r1", "failed", {"failed": ["b"]}, 1790000009.7654321)
        ended = other.run("r")
        assert (ended.state, ended.ended, ended.outcome) == ("failed", 1790000009.7654321, {"failed": ["b"]})
        ledger.start_run(me, run("r2"))
        assert [row.id for row in other.runs()] == ["r2", "r1"]
        assert [row.id for row in other.runs(1)] == ["r2"]
        with pytest.raises(Conflict, match="r1"):
            ledger.start_run(me, run("r1"))
        with pytest.raises(NotFound, match="x9"):
            ledger.run("x9")
        with pytest.raises(Invalid, match="r1, r2"):
            ledger.run("r")

    def test_steps_stand_as_they_were_last_written(self, ledger: Ledger, other: Ledger, me: str) -> None:
        ledger.start_run(me, run())
        names = [f"step {number}" for number in range(1200, 0, -1)]
        ledger.set_steps(me, [StepRow("r1", name, "waiting") for name in names])
        told = StepRow("r1", names[7], "failed", "j1", {"why": "upstream"})
        ledger.set_steps(me, [StepRow("r1", names[7], "running", "j1"), told, StepRow("r1", "new", "skipped")])
        rows = other.steps("r1")
        assert [row.step for row in rows] == [*names, "new"]
        assert rows[7] == told
        assert rows[8] == StepRow("r1", names[8], "waiting")

    def test_a_steps_own_job_tells_of_it_unless_something_was_written(
        self, ledger: Ledger, other: Ledger, me: str
    ) -> None:
        ledger.start_run(me, run())
        (fits,) = ledger.claim(me, claims(1, run="r1", step="fits"))
        (fails,) = ledger.claim(me, claims(2, run="r1", step="fails"))
        (runs,) = ledger.claim(me, claims(3, run="r1", step="runs"))
        ledger.claim(me, claims(4, run="r2", step="of another run"))
        ledger.claim(me, claims(5))
        ledger.end(me, [succeeded(fits, calculation(1), observed={"seconds": 1.5}), failed(fails)])
        (hit,) = ledger.claim(me, claims(1, run="r1", step="known"))
        written = StepRow("r1", "runs", "cancelled", runs.job, {"time": 0.0, "why": "nobody wants it"})
        ledger.set_steps(me, [written])
        rows = {row.step: row for row in other.steps("r1")}
        assert {name: (row.state, row.job) for name, row in rows.items()} == {
            "fits": ("succeeded", fits.job),
            "fails": ("failed", fails.job),
            "runs": ("cancelled", runs.job),
            "known": ("succeeded", hit.job),
        }
        assert rows["runs"] == written
        assert rows["fits"].detail == {"time": 1790000001.5, "cached": False, "why": "", "seconds": 1.5}
        assert rows["known"].detail["cached"] is True
        assert rows["fails"].detail["why"] == "no"
        ledger.claim(me, claims(6, 7, run="r1", step="fits[10]") + claims(8, run="r1", step="fits{a}"))
        assert [row.step for row in other.steps("r1", "fits")] == ["fits", "fits[10]", "fits{a}"]
        assert other.steps("r1", "fit") == []
        assert other.steps("r1", "runs") == [written]
        (again,) = ledger.claim(me, claims(2, run="r1", step="fails"))
        assert [(row.state, row.job) for row in other.steps("r1") if row.step == "fails"] == [("running", again.job)]

    def test_a_run_goes_on_in_another_process_when_its_own_is_dead(
        self, ledger: Ledger, other: Ledger, me: str, you: Living
    ) -> None:
        other.start_run(you.id, run())
        with pytest.raises(Conflict, match=you.id):
            ledger.take_run(me, "r1")
        assert ledger.run("r1").state == "running"
        you.kill()
        assert ledger.run("r1").state == ledger.runs()[0].state == "interrupted"
        assert ledger.take_run(me, "r1") == replace(run(), owner=me)
        with pytest.raises(Conflict, match="taken over"):
            other.set_steps(you.id, [StepRow("r1", "s", "failed")])
        with pytest.raises(Conflict, match="taken over"):
            other.end_run(you.id, "r1", "failed", {}, 1.0)
        ledger.end_run(me, "r1", "succeeded", {}, 2.0)
        assert ledger.steps("r1") == []
        with pytest.raises(Conflict, match="ended"):
            ledger.take_run(me, "r1")

    def test_the_first_choice_stands(self, ledger: Ledger, other: Ledger) -> None:
        key = Checksum.of(b"race")
        assert ledger.choice(key) is None
        assert ledger.choose(key, {"winner": "a", "candidates": [1]}) == {"winner": "a", "candidates": [1]}
        assert other.choose(key, {"winner": "b"}) == other.choice(key) == {"winner": "a", "candidates": [1]}

    def test_earlier_jobs_are_found_by_step_then_by_module(self, ledger: Ledger, me: str) -> None:
        for identity in ("r1", "r2", "r3"):
            ledger.start_run(me, run(identity))
        (first,) = ledger.claim(me, claims(1, run="r1", step="fit"))
        (loose,) = ledger.claim(me, claims(2))
        (second,) = ledger.claim(me, claims(3, run="r2", step="fit"))
        (beside,) = ledger.claim(me, claims(4, run="r2", step="other"))
        ledger.end(me, [succeeded(first, calculation(1))])
        (hit,) = ledger.claim(me, claims(1, run="r3", step="fit"))
        later = ledger.claim(me, claims(5, run="r3", step="fit"))
        assert ledger.previous("double", hit.job, "fit", "fit") == [second.job, first.job, beside.job, loose.job]
        assert ledger.previous("double", hit.job) == [beside.job, second.job, loose.job, first.job]
        assert ledger.previous("nothing", later[0].job) == []
