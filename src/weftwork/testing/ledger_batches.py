"""What a ledger must do with a batch: everything at once, and each part as if it stood alone."""

from __future__ import annotations

from dataclasses import replace

import pytest

from weftwork.core.job import Event, task_name
from weftwork.core.placement import Resources
from weftwork.errors import Conflict, Invalid, NotFound, Refused
from weftwork.ports import Answers, Batch, First, Ledger, Machine, RunRow, StepRow, Wants
from weftwork.testing.ledger import GroundTruth, LedgerFixtures
from weftwork.testing.ledger_samples import Living, calculation, claims, failed, record, succeeded

HOST = "here"
MACHINE = Resources(cpus=2)
NOTED = Event("noted", 1.0, {"text": "…"})


def wants(*holders: str, cpus: int = 1) -> Wants:
    return Wants(HOST, MACHINE, [(holder, Resources(cpus=cpus)) for holder in holders])


class BatchesContract(LedgerFixtures):
    """Batches of an owner."""

    def test_all_parts_of_a_batch_are_answered_as_each_would_be_alone(
        self, ledger: Ledger, other: Ledger, truth: GroundTruth, me: str
    ) -> None:
        ends, goes_on = ledger.claim(me, claims(1, 2))
        ledger.take_slots(me, HOST, MACHINE, [("first", Resources(cpus=2))])
        ledger.start_run(me, RunRow("r1", "a run", "running", 1.0, {}))
        answers = ledger.write(
            me,
            Batch(
                events=[(ends.job, 1, NOTED), (goes_on.job, 1, NOTED), (goes_on.job, 7, NOTED)],
                endings=[succeeded(ends, calculation(1))],
                freed=["first"],
                slots=wants("second", "third", "fourth"),
                claims=claims(1, 2, 3),
                steps=[StepRow("r1", "a", "running")],
                answered=claims(1, answered=True),
            ),
        )
        assert answers.errors == {}
        assert answers.events == {ends.job, goes_on.job}
        assert answers.endings == {ends.job: record(calculation(1))}
        assert answers.slots == {"second", "third"}
        assert [each.answer for each in answers.claims] == ["hit", "waiting", "mine"]
        assert [each.answer for each in answers.answered] == ["hit"]
        assert truth.events(ends.job) == ["queued", "noted", "succeeded"]
        assert truth.events(goes_on.job) == ["queued", "noted"]
        assert truth.held(HOST) == (2, 0, 0)
        assert other.steps("r1") == [StepRow("r1", "a", "running")]
        assert truth.count("job") == 5

    def test_what_is_wrong_with_one_part_neither_undoes_nor_fails_the_others(
        self, ledger: Ledger, other: Ledger, truth: GroundTruth, me: str, you: Living
    ) -> None:
        ends, goes_on = ledger.claim(me, claims(1, 2))
        for name, owner in (("mine", me), ("yours", you.id)):
            other.start_run(owner, RunRow(name, name, "running", 1.0, {}))
        answers = ledger.write(
            me,
            Batch(
                events=[(goes_on.job, 1, NOTED), (goes_on.job, 1, Event("succeeded", 1.0))],
                endings=[failed(ends)],
                freed=[],
                slots=wants("never", cpus=3),
                claims=claims(3),
                steps=[StepRow("yours", "a", "running"), StepRow("mine", "b", "running")],
                answered=claims(8, 9, answered=True),
            ),
        )
        kinds = {name: type(error) for name, error in answers.errors.items()}
        assert kinds == {"events": Invalid, "slots": Refused, "steps": Conflict}
        assert [(each.answer, each.job) for each in answers.answered] == [("gone", "")] * 2
        assert answers.endings == {ends.job: None}
        assert truth.events(ends.job) == ["queued", "failed"]
        assert truth.events(goes_on.job) == ["queued"]
        assert [step.step for run in ("mine", "yours") for step in other.steps(run)] == ["b"]
        assert truth.count("slot") == 0
        assert truth.count("job") == 3
        # What an undone part looked up by the way is looked up again.
        (told,) = answers.claims
        assert ledger.end(me, [succeeded(told, calculation(3))]) == {told.job: record(calculation(3))}
        assert [each.answer for each in ledger.claim(me, claims(8, 3))] == ["mine", "hit"]
        with pytest.raises((Invalid, Refused, Conflict, NotFound)):
            answers.good()

    def test_what_a_part_looked_up_that_wrote_no_job_still_holds(
        self, ledger: Ledger, truth: GroundTruth, me: str
    ) -> None:
        asked = [replace(claim, run="a run of its own", answered=True) for claim in claims(1)]
        assert [each.answer for each in ledger.write(me, Batch(answered=asked)).answered] == ["gone"]
        (mine,) = ledger.claim(me, [replace(claim, answered=False) for claim in asked])
        assert ledger.job(mine.job).run == "a run of its own"
        assert truth.count("request") == truth.count("frame") == 1

    def test_a_first_attempt_is_submitted_with_the_claim_that_makes_its_job(
        self, ledger: Ledger, other: Ledger, truth: GroundTruth, me: str, you: Living
    ) -> None:
        ends, theirs = other.claim(you.id, claims(1, 2))
        other.end(you.id, [succeeded(ends, calculation(1))])
        first = First("a site", Machine(HOST, MACHINE))
        hit, waits, one, same, two, three = ledger.claim(me, claims(1, 2, 3, 3, 4, 5, first=first))
        assert [(each.submitted, each.held) for each in (hit, waits, same)] == [(False, False)] * 3
        assert [(each.submitted, each.held) for each in (one, two, three)] == [(True, True)] * 2 + [(True, False)]
        assert (waits.job, same.job) == (theirs.job, one.job)
        assert truth.held(HOST) == (2, 0, 0)
        for each in (one, two, three):
            assert truth.events(each.job) == ["queued", "submitted"]
            assert each.attempt == 0
            (_, event) = ledger.events(each.job)[1]
            assert dict(event.data) == {"attempt": 1, "site": "a site"}
        # What is held has the attempt's name; what is not stands in no queue.
        ledger.free_slots(me, [task_name(one.job, 1)])
        assert truth.held(HOST) == (1, 0, 0)
        assert ledger.take_slots(me, HOST, MACHINE, [("later", Resources())]) == {"later"}

    def test_a_first_attempt_overtakes_nobody_who_waits_for_slots(
        self, ledger: Ledger, truth: GroundTruth, me: str
    ) -> None:
        ledger.take_slots(me, HOST, MACHINE, [("small", Resources()), ("large", Resources(cpus=2))])
        (mine,) = ledger.claim(me, claims(1, first=First("a site", Machine(HOST, MACHINE))))
        assert (mine.submitted, mine.held) == (True, False)
        (freed,) = ledger.write(me, Batch(freed=["small"], claims=claims(2, first=First("elsewhere")))).claims
        assert (freed.submitted, freed.held) == (True, False)
        assert truth.held(HOST) == (0, 0, 0)

    def test_who_takes_over_a_submitted_job_knows_of_its_attempt(
        self, ledger: Ledger, other: Ledger, me: str, you: Living
    ) -> None:
        other.claim(you.id, claims(1, first=First("a site")))
        you.kill()
        (mine,) = ledger.claim(me, claims(1, first=First("a site")))
        assert (mine.answer, mine.attempt, mine.submitted) == ("mine", 1, False)

    def test_an_empty_batch_is_none(self, ledger: Ledger, other: Ledger, me: str) -> None:
        before = other.version()
        assert ledger.write(me, Batch()) == Answers()
        assert other.version() == before

    def test_only_a_registered_owner_writes_a_batch(self, ledger: Ledger, truth: GroundTruth, me: str) -> None:
        with pytest.raises(Conflict, match="nobody"):
            ledger.write("nobody", Batch(claims=claims(1)))
        assert truth.count("job") == 0
