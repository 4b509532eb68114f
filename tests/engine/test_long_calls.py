"""Calls that take long are not held up by those that do not, nor by how they were sent."""

from __future__ import annotations

from collections import defaultdict
from itertools import pairwise

import engine_work as work
import pytest
from engine_place import Place

import weftwork as weft
from weftwork.embedded import Embedded


@pytest.mark.slow
def test_long_calls_behind_thousands_of_quick_ones_fill_both_workers(place: Place, session: Embedded) -> None:
    count, long, seconds = 4000, 8, 0.8
    times = [0.0] * count + [seconds] * long + [0.0] * 400
    spans = list(work.span.map(range(len(times)), times))[count : count + long]
    # Sent to one worker in one large batch, as the quick ones were: the other takes half. One too many would be seen.
    assert max(end for _, _, end in spans) - min(begin for _, begin, _ in spans) < (long / 2 + 0.9) * seconds
    assert len({pid for pid, _, _ in spans}) == 2


@pytest.mark.slow
def test_no_worker_is_idle_while_calls_wait_for_another(place: Place, session: Embedded) -> None:
    list(work.span.map(range(-500, 0), [0.0] * 500))
    jobs = [weft.submit(work.span, value=number, seconds=0.6 if number % 25 == 3 else 0.0) for number in range(150)]
    spans = [job.result() for job in jobs]
    by_worker = defaultdict(list)
    for pid, begin, end in spans:
        by_worker[pid].append((begin, end))
    assert len(by_worker) == 2
    for own in by_worker.values():
        own.sort()
        for (_, free), (busy, _) in pairwise(own):
            # Begun by another worker while this one had nothing to do.
            others = [begin for _, begin, _ in spans if free + 0.4 < begin < busy]
            assert not others, f"idle for {busy - free:.3f} s, while {len(others)} calls began elsewhere"
