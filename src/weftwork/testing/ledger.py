"""What every :class:`~weftwork.ports.Ledger` must do. A backend subclasses :class:`LedgerContract` in its own tests.

The ground truth asks the database itself, without the ledger under test. Owners on this host are real processes, which
the tests kill; owners of another host are known by their lease alone.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, Protocol

import pytest

from weftwork.core.calculation import Calculation
from weftwork.core.checksum import Checksum, canonical
from weftwork.core.job import Event
from weftwork.core.placement import Placement, Resources
from weftwork.errors import Conflict, Invalid, NotFound
from weftwork.ledger import owners
from weftwork.ports import Claim, Claimed, Ending, Evidence, Ledger, PinRow
from weftwork.testing.ledger_samples import FRESH, LEASE, Living, calculation, claims, failed, record, ref, succeeded


class GroundTruth(Protocol):
    """The facts of a ledger, reached without it."""

    def live(self, key: Checksum) -> list[tuple[str, int]]:
        """The live jobs of a key that answer it to all: name and epoch."""
        ...

    def events(self, job: str) -> list[str]:
        """The kinds of a job's events, in order."""
        ...

    def records(self, key: Checksum) -> list[str]:
        """The rank of each record of a key, in the order of writing: answer, conflict, own."""
        ...

    def held(self, host: str) -> tuple[int, int, int]:
        """CPUs, bytes of memory and GPUs that are held."""
        ...

    def count(self, table: str) -> int: ...


class LedgerFixtures:
    """Subclasses define ``ledger``, ``other`` (a second connection to the same facts) and ``truth``."""

    @pytest.fixture
    def ledger(self) -> Iterator[Ledger]:
        raise NotImplementedError

    @pytest.fixture
    def other(self, ledger: Ledger) -> Iterator[Ledger]:
        raise NotImplementedError

    @pytest.fixture
    def truth(self, ledger: Ledger) -> GroundTruth:
        raise NotImplementedError

    @pytest.fixture
    def me(self, ledger: Ledger) -> str:
        """This process, registered."""
        owner = owners.this()
        ledger.register(owner, LEASE)
        return owner.id

    @pytest.fixture
    def you(self, other: Ledger) -> Iterator[Living]:
        """Another process of this host, registered."""
        living = Living()
        other.register(living.owner, LEASE)
        yield living
        living.kill()


class LedgerContract(LedgerFixtures):
    """Claims, events, ends and records."""

    def test_a_new_calculation_is_mine_and_waits_for_others(
        self, ledger: Ledger, other: Ledger, truth: GroundTruth, me: str, you: Living
    ) -> None:
        (mine,) = ledger.claim(me, claims(1))
        (waiting,) = other.claim(you.id, claims(1))
        assert (mine.answer, mine.epoch, mine.attempt) == ("mine", 1, 0)
        assert (waiting.answer, waiting.job) == ("waiting", mine.job)
        assert truth.live(calculation(1).key) == [(mine.job, 1)]
        assert truth.events(mine.job) == ["queued"]
        assert ledger.job(mine.job).waiters == 2

    def test_a_record_answers_every_later_claim(
        self, ledger: Ledger, other: Ledger, truth: GroundTruth, me: str, you: Living
    ) -> None:
        made = calculation(1)
        (mine,) = ledger.claim(me, claims(1))
        given = record(made, observed={"seconds": 0.1, "warnings": ["überlauf"], "bad": float("inf")})
        ending = Ending(mine.job, mine.epoch, Event("succeeded", 5.0), given)
        assert ledger.end(me, [ending]) == {mine.job: given}
        (hit,) = other.claim(you.id, claims(1, run="r", step="s"))
        assert (hit.answer, hit.record) == ("hit", given)
        assert hit.job != mine.job
        row = ledger.job(hit.job)
        assert (row.job.state, row.job.cached, row.job.key, row.run, row.step) == (
            "succeeded",
            True,
            made.key,
            "r",
            "s",
        )
        assert [(number, event.kind) for number, event in ledger.events(hit.job)] == [(1, "queued"), (2, "succeeded")]
        assert ledger.record_of(hit.job) == ledger.record_of(mine.job) == given
        assert ledger.records([made.key, calculation(2).key]) == {made.key: given}
        assert truth.live(made.key) == []
        assert truth.records(made.key) == ["answer"]

    def test_what_a_record_answered_without_a_claim_is_written_down_like_a_hit(
        self, ledger: Ledger, other: Ledger, truth: GroundTruth, me: str, you: Living
    ) -> None:
        made = calculation(1)
        (mine,) = ledger.claim(me, claims(1))
        ledger.end(me, [succeeded(mine, made)])
        told = other.claim(you.id, claims(1, 1, run="r", step="s", answered=True))
        assert [(each.answer, each.record) for each in told] == [("hit", None)] * 2
        one, two = (each.job for each in told)
        for name in (one, two):
            row = ledger.job(name)
            assert (row.job.state, row.job.cached, row.job.key, row.run, row.step, row.owner) == (
                "succeeded",
                True,
                made.key,
                "r",
                "s",
                you.id,
            )
            assert truth.events(name) == ["queued", "succeeded"]
            assert ledger.record_of(name) == record(made)
        assert [row.job.id for row in ledger.jobs()] == [two, one, mine.job]
        assert (truth.live(made.key), truth.records(made.key)) == ([], ["answer"])

    def test_what_no_record_answers_is_not_written_down_as_answered_and_concerns_no_other_claim(
        self, ledger: Ledger, truth: GroundTruth, me: str
    ) -> None:
        (known, live, private) = (*ledger.claim(me, claims(1, 2)), *ledger.claim(me, claims(3, placement=FRESH)))
        ledger.end(me, [succeeded(known, calculation(1)), succeeded(private, calculation(3))])
        for number in (2, 3, 4):
            told = ledger.claim(me, claims(number, 1, number, answered=True))
            assert [each.answer for each in told] == ["gone", "hit", "gone"]
            assert [each.job for each in told if each.answer == "gone"] == ["", ""]
        assert truth.count("job") == 6
        assert truth.live(calculation(2).key) == [(live.job, 1)]

    def test_the_second_claim_of_a_key_in_one_call_waits_for_the_first(
        self, ledger: Ledger, truth: GroundTruth, me: str
    ) -> None:
        answers = ledger.claim(me, claims(1, 2, 1))
        assert [answer.answer for answer in answers] == ["mine", "mine", "waiting"]
        assert answers[2].job == answers[0].job
        assert len(truth.live(calculation(1).key)) == 1
        assert ledger.follow(me, [answers[0].job])[answers[0].job].answer == "waiting"  # type: ignore[union-attr]

    def test_without_the_cache_every_claim_is_a_job_of_its_own(
        self, ledger: Ledger, truth: GroundTruth, me: str
    ) -> None:
        made = calculation(1)
        (first,) = ledger.claim(me, claims(1))
        ledger.end(me, [succeeded(first, made)])
        private = ledger.claim(me, claims(1, 1, placement=FRESH))
        assert [answer.answer for answer in private] == ["mine", "mine"]
        assert len({first.job, *(answer.job for answer in private)}) == 3
        same = record(made, observed={"seconds": 2})
        assert ledger.end(me, [Ending(private[0].job, 1, Event("succeeded", 3.0), same)]) == {private[0].job: same}
        assert ledger.record_of(private[0].job) == same
        assert ledger.records([made.key])[made.key] == record(made)
        assert ledger.conflicts() == []
        assert truth.records(made.key) == ["answer", "own"]

    def test_a_private_result_answers_nobody_else(self, ledger: Ledger, truth: GroundTruth, me: str) -> None:
        made = calculation(1)
        (private,) = ledger.claim(me, claims(1, placement=FRESH))
        ledger.end(me, [succeeded(private, made)])
        (next_one,) = ledger.claim(me, claims(1))
        assert next_one.answer == "mine"
        assert truth.records(made.key) == ["own"]

    def test_a_different_result_is_kept_as_a_conflict_and_the_first_answers(
        self, ledger: Ledger, truth: GroundTruth, me: str
    ) -> None:
        made = calculation(1)
        (first,) = ledger.claim(me, claims(1))
        ledger.end(me, [succeeded(first, made, 1)])
        (second,) = ledger.claim(me, claims(1, placement=FRESH))
        assert ledger.end(me, [succeeded(second, made, 2)]) == {second.job: record(made, 2)}
        (row,) = ledger.conflicts()
        assert (row.key, row.name, row.module) == (made.key, "double", made.frame.module)
        assert row.stands == Evidence(record(made, 1), first.job)
        assert row.differs == Evidence(record(made, 2), second.job)
        assert ledger.claim(me, claims(1))[0].record == record(made, 1)
        assert truth.records(made.key) == ["answer", "conflict"]

    def test_what_is_lost_is_made_again_by_one_job_while_its_record_answers_others(
        self, ledger: Ledger, other: Ledger, truth: GroundTruth, me: str, you: Living
    ) -> None:
        made = calculation(1)
        (first,) = ledger.claim(me, claims(1))
        ledger.end(me, [succeeded(first, made)])
        (again, twice) = ledger.claim(me, claims(1, 1, lost=True))
        (elsewhere,) = other.claim(you.id, claims(1, lost=True))
        assert (again.answer, again.epoch, twice.answer, elsewhere.answer) == ("mine", 1, "waiting", "waiting")
        assert {again.job, twice.job, elsewhere.job} == {again.job}
        assert ledger.claim(me, claims(1))[0].record == record(made)
        same = record(made, observed={"seconds": 3.0})
        assert ledger.end(me, [Ending(again.job, 1, Event("succeeded", 3.0), same, lost=True)]) == {
            again.job: record(made)
        }
        assert ledger.record_of(again.job) == record(made)
        assert truth.records(made.key) == ["answer"]
        assert ledger.claim(me, claims(1))[0].answer == "hit"
        assert ledger.claim(me, claims(1, lost=True))[0].answer == "mine", "it may be lost once more"

    def test_what_is_made_again_and_differs_becomes_the_answer(
        self, ledger: Ledger, truth: GroundTruth, me: str
    ) -> None:
        made = calculation(1)
        (first,) = ledger.claim(me, claims(1))
        ledger.end(me, [succeeded(first, made, 1)])
        (again,) = ledger.claim(me, claims(1, lost=True))
        ending = Ending(again.job, again.epoch, Event("succeeded", 2.0), record(made, 2), lost=True)
        assert ledger.end(me, [ending]) == {again.job: record(made, 2)}
        assert ledger.claim(me, claims(1))[0].record == record(made, 2)
        assert ledger.record_of(first.job) == record(made, 1)
        (row,) = ledger.conflicts()
        assert (row.stands, row.differs) == (Evidence(record(made, 2), again.job), Evidence(record(made, 1), first.job))
        assert ledger.conflicts(jobs=[again.job]) == [row]
        assert ledger.conflicts(jobs=[first.job]) == [], "it was there before: the other brought it up"
        assert truth.records(made.key) == ["conflict", "answer"]

    def test_who_made_an_output_is_known(self, ledger: Ledger, other: Ledger, me: str) -> None:
        jobs = ledger.claim(me, claims(*range(300)))
        endings = [succeeded(job, calculation(at), at % 100) for at, job in enumerate(jobs[:250])]
        ledger.end(me, endings)
        expected = [calculation(at).key for at in (7, 107, 207)]
        assert other.makers([ref(7).checksum, ref(7).checksum]) == {ref(7).checksum: expected}
        ledger.end(me, [succeeded(jobs[250], calculation(250), 7)])
        unusable = record(calculation(251), 7, reusable=False)
        ledger.end(me, [Ending(jobs[251].job, 1, Event("succeeded", 1.0), unusable)])
        assert other.makers([ref(7).checksum]) == {ref(7).checksum: [*expected, calculation(250).key]}
        assert other.makers([ref(1000).checksum]) == {}
        (private,) = ledger.claim(me, claims(299, placement=FRESH))
        ledger.end(me, [succeeded(private, calculation(299), 1000)])
        assert ledger.makers([ref(1000).checksum]) == {ref(1000).checksum: [calculation(299).key]}

    def test_conflicts_are_found_by_what_they_belong_to(self, ledger: Ledger, other: Ledger, me: str) -> None:
        made = {number: calculation(number) for number in (1, 2, 3)}
        firsts = ledger.claim(me, claims(1, 2, 3, run="r1", step="s"))
        ledger.end(me, [succeeded(job, made[at]) for at, job in enumerate(firsts, 1)])
        seconds = ledger.claim(me, claims(1, 2, run="r2", step="t", placement=FRESH))
        ledger.end(me, [succeeded(job, made[at], at + 1) for at, job in enumerate(seconds, 1)])
        rows = other.conflicts()
        assert [row.key for row in rows] == [made[2].key, made[1].key]
        assert (rows[0].stands.run, rows[0].stands.step) == ("r1", "s")
        assert (rows[0].differs.run, rows[0].differs.step, rows[0].differs.job) == ("r2", "t", seconds[1].job)
        assert other.conflicts(key=made[1].key) == rows[1:]
        assert other.conflicts(run="r2") == other.conflicts(name="double") == rows
        assert other.conflicts(jobs=[firsts[0].job, seconds[0].job]) == rows[1:]
        assert other.conflicts(limit=1) == rows[:1]
        assert other.conflicts(key=made[3].key) == other.conflicts(run="r1") == other.conflicts(name="other") == []
        assert other.conflicts(jobs=[firsts[0].job]) == other.conflicts(jobs=[]) == []

    def test_a_conflict_names_the_module_as_it_was_declared_last(self, ledger: Ledger, me: str) -> None:
        made = calculation(1)
        (first,) = ledger.claim(me, claims(1))
        ledger.end(me, [succeeded(first, made)])
        later = replace(made.frame, module=Checksum.of(b"with a tolerance"))
        (second,) = ledger.claim(me, [Claim(Calculation.of(later, dict(made.inputs)), FRESH)])
        ledger.end(me, [succeeded(second, made, 2)])
        assert ledger.conflicts()[0].module == later.module
        assert ledger.declared(made.key) == later.module
        assert ledger.declared(calculation(2).key) is None

    def test_a_sample_is_drawn_of_what_succeeded_by_its_seed(self, ledger: Ledger, other: Ledger, me: str) -> None:
        jobs = ledger.claim(me, claims(*range(40), run="r1"))
        ledger.end(me, [succeeded(job, calculation(at)) for at, job in enumerate(jobs[:30])])
        ledger.end(me, [failed(jobs[30])])
        assert other.sampled(100, 1, run="r1") == ([job.job for job in jobs[:30]], 30)
        drawn, among = other.sampled(5, 1, name="double")
        assert (len(drawn), among) == (5, 30)
        assert set(drawn) < {job.job for job in jobs[:30]}
        again = ledger.claim(me, claims(*range(30), placement=FRESH))
        ledger.end(me, [succeeded(job, calculation(at)) for at, job in enumerate(again)])
        assert other.sampled(5, 1, name="double") == (drawn, 30), "running them again changes nothing"
        assert len({tuple(other.sampled(5, seed, name="double")[0]) for seed in range(5)}) > 1
        assert other.sampled(5, 1, name="double", program={"function": "double"}) == (drawn, 30)
        assert other.sampled(5, 1, name="double", program={"function": "other"}) == ([], 0)
        assert other.sampled(5, 1, name="other") == other.sampled(5, 1, run="r2") == ([], 0)

    def test_all_calculations_and_records_are_read_page_by_page(self, ledger: Ledger, other: Ledger, me: str) -> None:
        jobs = ledger.claim(me, claims(*range(7)))
        ledger.end(me, [succeeded(job, calculation(at), at) for at, job in enumerate(jobs[:5])])
        (private,) = ledger.claim(me, claims(0, placement=FRESH))
        ledger.end(me, [succeeded(private, calculation(0), 99)])
        found, after = [], 0
        while page := other.calculations(after, 3):
            assert len(page) <= 3
            after = page[-1][0]
            found += [each for _, each in page]
        assert [each.key for each in found] == [calculation(at).key for at in range(7)]
        assert [each.document() for each in found] == [calculation(at).document() for at in range(7)]
        records, after = [], 0
        while history := other.history(after, 4):
            after = history[-1][0]
            records += [(rank, each) for _, rank, each in history]
        answers = [("answer", record(calculation(at), at)) for at in range(5)]
        assert records == [*answers, ("conflict", record(calculation(0), 99))]

    def test_what_is_pinned_is_listed_until_it_is_unpinned(self, ledger: Ledger, other: Ledger) -> None:
        rows = [PinRow("jabc", "job", "für später", 1790000000.25), PinRow("f" * 64, "checksum")]
        for row in rows:
            ledger.pin(row)
        assert other.pins() == rows
        other.pin(PinRow("jabc", "job", "for good", 5.0))
        assert ledger.pins() == [PinRow("jabc", "job", "for good", 1790000000.25), rows[1]]
        assert (ledger.unpin("jabc"), ledger.unpin("jabc")) == (True, False)
        assert other.pins() == [rows[1]]

    def test_two_results_that_end_together_are_held_against_each_other(
        self, ledger: Ledger, truth: GroundTruth, me: str
    ) -> None:
        made = calculation(1)
        (shared,) = ledger.claim(me, claims(1))
        private = ledger.claim(me, claims(1, 1, placement=FRESH))
        endings = [succeeded(job, made, output) for job, output in zip([shared, *private], [1, 2, 1], strict=True)]
        answers = ledger.end(me, endings)
        assert [answers[job.job] for job in (shared, *private)] == [record(made, 1), record(made, 2), record(made, 1)]
        assert truth.records(made.key) == ["answer", "conflict", "own"]

    def test_a_result_that_is_not_reusable_belongs_to_its_job(self, ledger: Ledger, me: str) -> None:
        made = calculation(1)
        (job,) = ledger.claim(me, claims(1))
        given = record(made, reusable=False, observed={"outside": ["/etc/hosts"]})
        assert ledger.end(me, [Ending(job.job, job.epoch, Event("succeeded", 1.0), given)]) == {job.job: given}
        assert ledger.record_of(job.job) == given
        assert ledger.records([made.key]) == {}
        assert ledger.claim(me, claims(1))[0].answer == "mine"

    @pytest.mark.parametrize("kind", ["failed", "cancelled"])
    def test_what_did_not_succeed_is_never_an_answer(self, ledger: Ledger, me: str, kind: Any) -> None:
        (job,) = ledger.claim(me, claims(1))
        error = {"type": "ExitCode", "message": "it ended with 3", "details": {"exit_code": 3}}
        assert ledger.end(me, [Ending(job.job, 1, Event(kind, 4.5, {"error": error}))]) == {job.job: None}
        row = ledger.job(job.job).job
        assert (row.state, row.ended, row.error) == (kind, 4.5, error)
        assert ledger.record_of(job.job) is None
        (again,) = ledger.claim(me, claims(1))
        assert again.answer == "mine"
        assert again.job != job.job

    def test_events_are_numbered_from_one_and_come_back_as_they_were(self, ledger: Ledger, me: str) -> None:
        one, two = ledger.claim(me, claims(1, 2))
        written = [
            Event("submitted", 0.1 + 0.2, {"attempt": 1, "site": "local"}),
            Event("started", 1790000000.1234567, {"attempt": 1, "log": "a/ü \u0000 'x' \"y\" ,]"}),
            Event("retried", 1e-300, {"attempt": 1, "error": {"list": [1, 1.0, None, True]}, "delay": 1e22}),
            Event("noted", 3.0, {"text": "\ud800"}),
        ]
        events = [(job.job, 1, event) for event in written for job in (one, two)]
        assert ledger.append(me, events) == {one.job, two.job}
        for job in (one, two):
            assert [number for number, _ in ledger.events(job.job)] == [1, 2, 3, 4, 5]
            assert ledger.events(job.job, 1) == list(enumerate(written, 2))
            assert ledger.events(job.job, 5) == []
            row = ledger.job(job.job).job
            assert (row.state, row.attempt, row.started) == ("queued", 1, 1790000000.1234567)

    def test_an_end_is_not_an_event_and_an_event_is_not_an_end(
        self, ledger: Ledger, truth: GroundTruth, me: str
    ) -> None:
        (job,) = ledger.claim(me, claims(1))
        good = Event("started", 1.0, {"attempt": 1})
        for event in (Event("failed", 1.0), Event("succeeded", 1.0)):
            with pytest.raises(Invalid, match=job.job):
                ledger.append(me, [(job.job, 1, good), (job.job, 1, event)])
        for ending in (
            Ending(job.job, 1, good),
            Ending(job.job, 1, Event("succeeded", 1.0)),
            Ending(job.job, 1, Event("failed", 1.0), record(calculation(1))),
        ):
            with pytest.raises(Invalid, match=job.job):
                ledger.end(me, [ending])
        assert truth.events(job.job) == ["queued"]

    def test_an_ended_job_takes_nothing_more(self, ledger: Ledger, truth: GroundTruth, me: str) -> None:
        made = calculation(1)
        (job,) = ledger.claim(me, claims(1))
        assert list(ledger.end(me, [succeeded(job, made, 1), succeeded(job, made, 2)]).values()) == [record(made, 1)]
        assert ledger.end(me, [failed(job)]) == {}
        assert ledger.append(me, [(job.job, 1, Event("started", 9.0))]) == set()
        assert truth.events(job.job) == ["queued", "succeeded"]
        assert truth.records(made.key) == ["answer"]

    def test_thousands_at_once_are_each_answered_in_order(self, ledger: Ledger, truth: GroundTruth, me: str) -> None:
        first = ledger.claim(me, claims(*range(0, 3000, 2)))
        ledger.end(me, [succeeded(answer, calculation(2 * at), at) for at, answer in enumerate(first)])
        answers = ledger.claim(me, claims(*range(3000)))
        assert [answer.answer for answer in answers] == ["hit", "mine"] * 1500
        for at, answer in enumerate(answers[::2]):
            assert answer.record == record(calculation(2 * at), at)
        mine = [answer.job for answer in answers[1::2]]
        assert ledger.append(me, [(job, 1, Event("started", 1.0)) for job in mine]) == set(mine)
        assert len(ledger.end(me, [failed(answer) for answer in answers[1::2]])) == 1500
        assert truth.count("job") == 4500
        assert len(ledger.records([claim.calculation.key for claim in claims(*range(3000))])) == 1500

    def test_many_threads_share_one_live_job(self, ledger: Ledger, other: Ledger, truth: GroundTruth, me: str) -> None:
        barrier = threading.Barrier(16)

        def ask(number: int) -> Claimed:
            barrier.wait()
            return (ledger, other)[number % 2].claim(me, claims(1))[0]

        with ThreadPoolExecutor(16) as pool:
            answers = list(pool.map(ask, range(16)))
        assert sorted(answer.answer for answer in answers) == ["mine", *["waiting"] * 15]
        assert len({answer.job for answer in answers}) == 1
        assert truth.count("job") == 1

    def test_a_calculation_is_kept_whole_and_what_many_share_once(
        self, ledger: Ledger, truth: GroundTruth, me: str
    ) -> None:
        ledger.claim(me, claims(*range(50)))
        ledger.claim(me, claims(*range(50, 60), placement=Placement(priority=1)))
        assert ledger.calculation(calculation(3).key) == canonical(calculation(3).document())
        assert Calculation.from_document(calculation(3).document()).key == calculation(3).key
        assert ledger.calculation(calculation(99).key) is None
        assert (truth.count("frame"), truth.count("calculation"), truth.count("request")) == (1, 60, 2)

    def test_a_job_is_found_by_the_beginning_of_its_id(self, ledger: Ledger, me: str) -> None:
        jobs = [answer.job for answer in ledger.claim(me, claims(*range(40)))]
        assert ledger.job(jobs[3]).job.id == jobs[3]
        with pytest.raises(NotFound, match="zzz"):
            ledger.job("zzz")
        with pytest.raises(Invalid, match="several"):
            ledger.job("j")
        for read in (ledger.events, ledger.record_of):
            with pytest.raises(NotFound):
                read("jnone")

    def test_jobs_are_listed_newest_first(self, ledger: Ledger, me: str) -> None:
        placed = Placement(site="hpc", resources=Resources(cpus=4, memory=10**10), retries=1)
        a, b = ledger.claim(me, claims(1, 2, run="one", placement=placed))
        (c,) = ledger.claim(me, claims(3, run="two", step="fit"))
        ledger.end(me, [failed(b)])

        def listed(**chosen: Any) -> Sequence[str]:
            return [row.job.id for row in ledger.jobs(**chosen)]

        assert listed() == [c.job, b.job, a.job]
        assert listed(limit=1) == [c.job]
        assert listed(run="one") == [b.job, a.job]
        assert listed(states=["queued", "running"]) == [c.job, a.job]
        assert listed(states=["failed"]) == [b.job]
        assert listed(run="two", states=["failed"]) == []
        row = ledger.job(a.job)
        assert (row.placement, row.run, row.step, row.owner, row.epoch) == (placed, "one", None, me, 1)

    def test_only_a_registered_owner_may_claim(self, ledger: Ledger, truth: GroundTruth, me: str) -> None:
        with pytest.raises(Conflict, match="nobody"):
            ledger.claim("nobody", claims(1))
        ledger.release(me)
        ledger.release(me)
        for call in (lambda: ledger.claim(me, claims(1)), lambda: ledger.renew(me, 1.0)):
            with pytest.raises(Conflict, match="released"):
                call()
        assert truth.count("job") == 0

    def test_the_version_changes_when_another_has_written(self, ledger: Ledger, other: Ledger, you: Living) -> None:
        before = ledger.version()
        assert ledger.version() == before
        other.claim(you.id, claims(1))
        after = ledger.version()
        assert after != before
        other.records([calculation(1).key])
        assert ledger.version() == after

    def test_closing_twice_is_once_and_use_after_it_is_an_error(self, ledger: Ledger, me: str) -> None:
        ledger.jobs()
        ledger.close()
        ledger.close()
        for call in (ledger.jobs, ledger.version, lambda: ledger.renew(me, 1.0)):
            with pytest.raises(Exception, match="closed"):
                call()
