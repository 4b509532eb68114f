"""Ids of jobs: each says its row, and short beginnings tell the jobs of one map apart."""

from __future__ import annotations

import itertools

import pytest
from databases import Sqlite
from hypothesis import given
from hypothesis import strategies as st

from weftwork.errors import Invalid, NotFound
from weftwork.ledger import names, owners
from weftwork.testing.ledger_samples import LEASE, claims

LARGEST = (1 << 35) - 1


@given(st.integers(1, LARGEST))
def test_an_id_says_its_row(number: int) -> None:
    (name,) = names.new(number, 1)
    assert len(name) == 15
    assert names.row(name) == number
    for length in range(len(name) + 1):
        assert number in itertools.islice(names.rows(name[:length], number), 1)


@given(st.integers(1, LARGEST - 1024))
def test_any_thousand_jobs_that_follow_each_other_differ_in_two_digits(first: int) -> None:
    assert len({name[:3] for name in names.new(first, 1024)}) == 1024


def test_a_million_jobs_differ_in_four_digits() -> None:
    assert len({name[:5] for name in names.new(123_456, 1 << 20)}) == 1 << 20


def test_ledgers_do_not_give_out_the_same_ids() -> None:
    assert names.new(1, 1) != names.new(1, 1)


@pytest.mark.parametrize("text", ["", "j", "jx", "J2345672", "k2345672", "j234567!", "o0000000000", "ü", "j23456 7"])
def test_what_is_no_id_names_no_row(text: str) -> None:
    assert names.row(text) == 0 or len(text) >= 8
    assert all(number > 0 for number in names.rows(text, 100))


def test_a_beginning_is_looked_up_among_all_and_the_rest_of_an_id_counts(database: Sqlite) -> None:
    me = owners.this()
    with database.open() as ledger:
        ledger.register(me, LEASE)
        jobs = [answer.job for answer in ledger.claim(me.id, claims(*range(3000)))]
        for job in jobs[::500]:
            assert ledger.job(job[:5]).job.id == ledger.job(job[:9]).job.id == ledger.job(job).job.id == job
            other = job[:-1] + ("2" if job[-1] != "2" else "3")
            for wrong in (other, job + "2", job[:9] + "!"):
                with pytest.raises(NotFound):
                    ledger.job(wrong)
            with pytest.raises(NotFound):
                ledger.events(other)
            assert ledger.withdraw(me.id, [other]) == set()
        newest = [job for job in reversed(jobs) if job.startswith(jobs[7][:2])]
        with pytest.raises(Invalid, match=", ".join(newest[:5]) + ", …"):
            ledger.job(jobs[7][:2])
        with pytest.raises(NotFound):
            ledger.job("x")
