"""Lost results that come out different when they are made again, as their module allows: a run goes on from the new ones."""

from __future__ import annotations

import engine_jitter as jitter
import pytest
from engine_place import Place

import weftwork as weft
from weftwork.embedded import Embedded


def lose_results(session: Embedded, *names: str) -> None:
    """Free what modules gave, as a collection does."""
    home = session.home
    lost = []
    for name in names:
        jobs, _ = home.ledger.sampled(1000, 0, name=name)
        for job in jobs:
            record = home.ledger.record_of(job)
            assert record is not None
            for _, ref in record.outputs:
                lost += [ref.checksum]
    home.store.remove(lost)


def test_a_run_goes_on_from_what_was_made_again_within_what_its_module_allows(place: Place, session: Embedded) -> None:
    weft.run(jitter.flow, log=place.log, extra=1)
    lose_results(session, "noisy", "scaled")
    run = weft.submit(jitter.flow, log=place.log, extra=2)
    found = run.result()
    assert run.status == "succeeded"
    assert place.lines().count("noisy 0") == 2
    varies = weft.run(jitter.noisy, log=place.log, count=10)
    assert found["direct"] == sum(varies) + 2, "it follows from the new result"
    assert found["further"] == sum([2 * each for each in varies]) + 2, "and so does what is further down"
    lines = place.lines()
    assert weft.run(jitter.flow, log=place.log, extra=2)["direct"] == found["direct"]
    assert place.lines() == lines, "and it is known"
    (conflict,) = session.conflicts(name="noisy")
    assert conflict.row.name == "noisy"


def test_a_map_over_what_came_out_different_goes_through_the_new_items(place: Place, session: Embedded) -> None:
    weft.run(jitter.mapped, log=place.log, extra=1)
    lose_results(session, "noisy")
    found = weft.run(jitter.mapped, log=place.log, extra=2)
    assert list(found) == [each + 2 for each in weft.run(jitter.noisy, log=place.log, count=5)]
    assert place.lines().count("noisy 0") == 2


def test_with_strict_what_came_out_different_is_an_error_all_the_same(place: Place, session: Embedded) -> None:
    weft.run(jitter.flow, log=place.log, extra=1)
    lose_results(session, "noisy", "scaled")
    with pytest.raises(weft.WeftError, match="made again, it gave"):
        weft.run(jitter.flow, log=place.log, extra=2, strict=True)


def test_a_module_that_allows_no_difference_fails_its_run_once_and_says_how_to_go_on(
    place: Place, session: Embedded
) -> None:
    weft.run(jitter.unsaid, log=place.log, extra=1)
    lose_results(session, "silent")
    with pytest.raises(weft.CalculationFailed, match="run again"):
        weft.run(jitter.unsaid, log=place.log, extra=2)
    again = weft.run(jitter.unsaid, log=place.log, extra=2)
    assert again == sum(weft.run(jitter.silent, log=place.log, count=10)) + 2


def test_many_that_come_out_different_are_all_read(place: Place, session: Embedded) -> None:
    logs, counts, nonces = [place.log] * 20, [3] * 20, list(range(20))
    before = list(jitter.noisy.map(logs, counts, nonces))
    lose_results(session, "noisy")
    after = list(jitter.noisy.map(logs, counts, nonces))
    assert len(after) == 20
    assert all(one != other for one, other in zip(before, after, strict=True))
    assert len(place.lines()) == 40
