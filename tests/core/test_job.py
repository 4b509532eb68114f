"""A job is the fold of its events; an ended one does not change."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weftwork.core.checksum import Checksum
from weftwork.core.job import ENDED, Event, Job, Record, advance, fold
from weftwork.core.values import Ref, Type
from weftwork.errors import Conflict, ExitCode, Invalid

JOB = Job("j1", Checksum.of(b"key"), "name")
live = st.builds(
    Event, st.sampled_from(["queued", "started", "retried", "taken over", "noted"]), st.floats(0, 1e9)
) | st.builds(
    lambda time, attempt: Event("submitted", time, {"attempt": attempt}), st.floats(0, 1e9), st.integers(1, 9)
)
endings = st.builds(Event, st.sampled_from(["succeeded", "failed", "cancelled"]), st.floats(0, 1e9))


@given(st.lists(live), endings, st.lists(live | endings))
def test_an_ended_job_does_not_change(before: list[Event], ending: Event, late: list[Event]) -> None:
    job = fold(JOB, before)
    assert job.live
    tries = [event.data["attempt"] for event in before if event.kind == "submitted"]
    begun = any(event.kind == "started" for event in before)
    assert job.attempt == (tries[-1] if tries else int(begun))
    job = advance(job, ending)
    assert job.state == ending.kind
    assert job.state in ENDED
    assert job.ended == ending.time
    for event in late:
        if event.kind == "noted":
            assert advance(job, event) == job
        else:
            with pytest.raises(Conflict, match="nothing can follow"):
                advance(job, event)


@given(st.lists(live), st.lists(live))
def test_folding_in_two_parts_is_folding_at_once(one: list[Event], other: list[Event]) -> None:
    assert fold(fold(JOB, one), other) == fold(JOB, [*one, *other])


def test_a_failure_comes_back_as_the_error_that_it_was() -> None:
    error = ExitCode("the program ended with 3", exit_code=3)
    job = advance(JOB, Event("failed", 1.0, {"error": error.document()}))
    again = job.failure()
    assert type(again) is ExitCode
    assert (again.message, again.details) == (error.message, error.details)
    assert JOB.failure() is None


def test_an_event_of_an_unknown_kind_is_refused() -> None:
    with pytest.raises(Invalid, match="'teleported' is not a kind"):
        advance(JOB, Event("teleported", 1.0))  # type: ignore[arg-type]


def test_the_first_start_is_kept_and_a_record_names_its_outputs() -> None:
    second = Event("submitted", 3.5, {"attempt": 2})
    job = fold(JOB, [Event("queued", 1.0), Event("started", 2.0), Event("retried", 3.0), second, Event("started", 4.0)])
    assert (job.queued, job.started, job.attempt, job.state) == (1.0, 2.0, 2, "running")
    ref = Ref(Type("int"), Checksum.of(b"1"), 1)
    record = Record(JOB.key, (("result", ref),), 5.0)
    assert record.output("result") == ref
    assert record.outputs_document() == {"result": ref.document()}
