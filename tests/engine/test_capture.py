"""What a calculation writes belongs to it alone, and can be followed while it runs."""

from __future__ import annotations

import engine_faults as faults
import engine_talk as talk
import engine_work as work
from engine_place import Place

import weftwork as weft
from weftwork.embedded import Embedded


def test_everything_that_a_call_writes_is_in_its_own_log(place: Place, session: Embedded) -> None:
    jobs = [weft.submit(talk.chatter, value=n) for n in range(20)]
    for number, job in enumerate(jobs):
        assert job.result() == number
        text = job.logs()
        for said in ("print", "stderr", "descriptor", "logging", "warning"):
            assert text.count(f"{said} {number}.") == 1, text
        assert text.count(".") <= 20
        for other in range(20):
            assert other == number or f"print {other}." not in text


def test_a_failed_call_has_its_log(place: Place, session: Embedded) -> None:
    job = weft.submit(talk.last_words)
    assert isinstance(job.exception(), weft.CalculationFailed)
    assert "so far so good" in job.logs()


def test_a_running_calls_log_can_be_followed(place: Place, session: Embedded) -> None:
    job = weft.submit(talk.slowly, log=place.log)
    place.until(lambda: "first words" in job.logs())
    assert "last words" not in job.logs()
    work.note(place.log, "go")
    job.result()
    assert "last words" in job.logs()


def test_a_running_commands_log_can_be_followed(place: Place, session: Embedded) -> None:
    job = weft.submit(work.command, log=place.log, value=1, seconds=1.0)
    place.until(lambda: "nap is" in job.logs())
    assert job.status == "running"
    assert job.result().out == 1
    assert "nap is" in job.logs()


def test_a_cached_job_has_no_log_of_its_own_and_says_where_it_came_from(place: Place, session: Embedded) -> None:
    weft.run(talk.chatter, value=1)
    job = weft.submit(talk.chatter, value=1)
    assert job.result() == 1
    assert job.logs() == ""
    assert "came from the cache" in job.why()


def test_a_killed_call_has_what_it_wrote(place: Place, session: Embedded) -> None:
    job = weft.submit(faults.flawed, log=place.log, how="segfault", value=1)
    assert isinstance(job.exception(), weft.CalculationFailed)
    assert "Segmentation" in job.logs() or job.logs() == "" or "Fatal" in job.logs()
