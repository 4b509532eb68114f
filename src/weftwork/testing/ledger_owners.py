"""What every :class:`~weftwork.ports.Ledger` must do when owners die, wait, withdraw and ask for an end."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from weftwork.core.job import Event
from weftwork.errors import NotFound
from weftwork.ledger import owners
from weftwork.ports import Claimed, JobRow, Ledger
from weftwork.testing.ledger import GroundTruth, LedgerFixtures
from weftwork.testing.ledger_samples import LEASE, Living, calculation, claims, elsewhere, failed, record, succeeded


def waiting(ledger: Ledger, owner: str, *jobs: str) -> list[str]:
    return [
        job for job, row in ledger.follow(owner, jobs).items() if isinstance(row, Claimed) and row.answer == "waiting"
    ]


class OwnersContract(LedgerFixtures):
    """Leases, epochs, waiters and requests to cancel."""

    def test_a_job_of_a_killed_process_is_taken_over_at_once(
        self, ledger: Ledger, other: Ledger, truth: GroundTruth, me: str, you: Living
    ) -> None:
        key = calculation(1).key
        (theirs,) = other.claim(you.id, claims(1))
        other.append(you.id, [(theirs.job, 1, Event("submitted", 1.0, {"attempt": 2, "site": "local"}))])
        assert ledger.claim(me, claims(1))[0].answer == "waiting"
        you.kill()
        (mine,) = ledger.claim(me, claims(1))
        assert mine == Claimed("mine", theirs.job, 2, 2)
        assert truth.live(key) == [(theirs.job, 2)]
        assert truth.events(theirs.job) == ["queued", "submitted", "taken over"]
        row = ledger.job(theirs.job)
        assert (row.owner, row.epoch, row.job.state, row.waiters) == (me, 2, "queued", 1)

    def test_a_stale_epoch_changes_nothing(
        self, ledger: Ledger, other: Ledger, truth: GroundTruth, me: str, you: Living
    ) -> None:
        old = other.claim(you.id, claims(1, 2))
        other.end(you.id, [])
        you.kill()
        (mine,) = ledger.claim(me, claims(1))
        # The process was only thought dead, and writes: to a job that it lost and to one that it still has.
        events = [(job.job, 1, Event("started", 2.0, {"attempt": 1})) for job in old]
        assert other.append(you.id, events) == {old[1].job}
        endings = [succeeded(job, calculation(number), 9) for number, job in enumerate(old, 1)]
        assert set(other.end(you.id, endings)) == {old[1].job}
        assert truth.events(mine.job) == ["queued", "taken over"]
        assert truth.records(calculation(1).key) == []
        assert ledger.append(me, [(mine.job, 1, Event("started", 3.0))]) == set()
        assert ledger.append(me, [(mine.job, 3, Event("started", 3.0))]) == set()
        assert ledger.append(me, [(mine.job, 2, Event("started", 3.0))]) == {mine.job}
        assert ledger.end(me, [replace(succeeded(mine, calculation(1)), epoch=1)]) == {}
        assert ledger.end(me, [succeeded(mine, calculation(1))]) == {mine.job: record(calculation(1))}

    def test_an_owner_of_an_earlier_boot_is_dead(self, ledger: Ledger, me: str) -> None:
        before = replace(owners.this(), id="before", boot="an earlier boot")
        ledger.register(before, LEASE)
        (job,) = ledger.claim(before.id, claims(1))
        assert ledger.claim(me, claims(1))[0] == Claimed("mine", job.job, 2, 0)

    def test_a_pid_that_was_given_out_again_is_another_process(self, ledger: Ledger, me: str) -> None:
        earlier = replace(owners.this(), id="earlier", started=owners.this().started - 1000)
        ledger.register(earlier, LEASE)
        (job,) = ledger.claim(earlier.id, claims(1))
        assert ledger.claim(me, claims(1))[0] == Claimed("mine", job.job, 2, 0)

    def test_an_owner_of_another_host_lives_until_its_lease_ends(self, ledger: Ledger, other: Ledger, me: str) -> None:
        far = elsewhere()
        other.register(far, 0.3)
        (job,) = other.claim(far.id, claims(1))
        assert ledger.claim(me, claims(1))[0].answer == "waiting"
        other.renew(far.id, 0.6)
        time.sleep(0.4)
        assert waiting(ledger, me, job.job) == [job.job]
        time.sleep(0.3)
        assert ledger.follow(me, [job.job]) == {job.job: Claimed("mine", job.job, 2, 0)}

    def test_a_living_process_of_this_host_outlives_its_lease(self, ledger: Ledger, me: str) -> None:
        living = Living()
        try:
            ledger.register(living.owner, 0.0)
            ledger.claim(living.id, claims(1))
            assert ledger.claim(me, claims(1))[0].answer == "waiting"
        finally:
            living.kill()

    def test_what_a_released_owner_left_goes_on(self, ledger: Ledger, other: Ledger, me: str, you: Living) -> None:
        (job,) = other.claim(you.id, claims(1))
        other.release(you.id)
        assert ledger.claim(me, claims(1))[0] == Claimed("mine", job.job, 2, 0)

    def test_following_tells_of_waiting_end_and_taking_over(
        self, ledger: Ledger, other: Ledger, truth: GroundTruth, me: str, you: Living
    ) -> None:
        one, two, three = other.claim(you.id, claims(1, 2, 3))
        jobs = [one.job, two.job, three.job]
        assert {answer.answer for answer in ledger.claim(me, claims(1, 2, 3))} == {"waiting"}
        assert waiting(ledger, me, *jobs) == jobs
        other.end(you.id, [succeeded(one, calculation(1)), failed(two)])
        rows = ledger.follow(me, jobs)
        assert [row.job.state for row in rows.values() if isinstance(row, JobRow)] == ["failed", "succeeded"]
        assert ledger.record_of(one.job) == record(calculation(1))
        assert rows[three.job] == Claimed("waiting", three.job, 1)
        you.kill()
        assert ledger.follow(me, [three.job]) == {three.job: Claimed("mine", three.job, 2, 0)}
        # Told once: who has it waits for itself from then on.
        assert waiting(ledger, me, three.job) == [three.job]
        with pytest.raises(NotFound, match="jnone"):
            ledger.follow(me, ["jnone"])

    def test_a_withdrawal_names_what_nobody_waits_for(
        self, ledger: Ledger, other: Ledger, me: str, you: Living
    ) -> None:
        shared, mine = ledger.claim(me, claims(1, 2))
        other.claim(you.id, claims(1))
        assert ledger.withdraw(me, [shared.job, mine.job]) == {mine.job}
        assert ledger.job(shared.job).waiters == 1
        assert other.withdraw(you.id, [shared.job]) == {shared.job}
        ledger.claim(me, claims(1))
        assert ledger.job(shared.job).waiters == 1
        assert other.withdraw(you.id, [shared.job]) == set()

    def test_who_takes_over_what_its_owner_no_longer_wanted_waits_for_it(
        self, ledger: Ledger, other: Ledger, me: str, you: Living
    ) -> None:
        (job,) = other.claim(you.id, claims(1))
        ledger.claim(me, claims(1))
        assert other.withdraw(you.id, [job.job]) == set()
        you.kill()
        assert ledger.follow(me, [job.job]) == {job.job: Claimed("mine", job.job, 2, 0)}
        assert ledger.job(job.job).waiters == 1

    def test_a_waiter_whose_process_is_dead_does_not_wait(
        self, ledger: Ledger, other: Ledger, me: str, you: Living
    ) -> None:
        (job,) = ledger.claim(me, claims(1))
        other.claim(you.id, claims(1))
        assert ledger.job(job.job).waiters == 2
        you.kill()
        assert ledger.job(job.job).waiters == 1
        assert ledger.withdraw(me, [job.job]) == {job.job}

    def test_the_last_to_withdraw_may_cancel_in_the_same_breath(
        self, ledger: Ledger, other: Ledger, me: str, you: Living
    ) -> None:
        (job,) = ledger.claim(me, claims(1))
        other.claim(you.id, claims(1))
        assert ledger.withdraw(me, [job.job], cancel="ann") == set()
        assert ledger.cancels(me) == {}
        assert other.withdraw(you.id, [job.job], cancel="bob") == {job.job}
        assert ledger.cancels(me) == {job.job: "bob"}

    def test_a_request_to_cancel_reaches_the_owner_until_the_end(
        self, ledger: Ledger, other: Ledger, me: str, you: Living
    ) -> None:
        one, two = ledger.claim(me, claims(1, 2))
        other.request_cancel([one.job, "jnone"], "ann")
        other.request_cancel([one.job], "bob")
        assert ledger.cancels(me) == {one.job: "ann"}
        assert ledger.cancels(you.id) == {}
        assert (ledger.job(one.job).cancel, ledger.job(two.job).cancel) == ("ann", None)
        ledger.end(me, [failed(one)])
        assert ledger.cancels(me) == {}

    def test_a_request_to_a_dead_owner_binds_the_one_who_follows_not_the_one_who_asks_anew(
        self, ledger: Ledger, other: Ledger, me: str, you: Living
    ) -> None:
        one, two = other.claim(you.id, claims(1, 2))
        ledger.claim(me, claims(1))
        ledger.request_cancel([one.job, two.job], "ann")
        you.kill()
        ledger.follow(me, [one.job])
        ledger.claim(me, claims(2))
        assert ledger.cancels(me) == {one.job: "ann"}
