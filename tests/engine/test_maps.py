"""Maps: lazy, in order, errors in their place, closed early, large, several at once; and the calls for coroutines."""

from __future__ import annotations

import asyncio
import itertools
import threading
import time
from collections.abc import Iterator

import engine_faults as faults
import engine_values as values
import engine_work as work
import pytest
from engine_place import Place

import weftwork as weft
from weftwork.embedded import Embedded


def test_a_generator_is_read_only_as_far_as_results_are_taken(place: Place, session: Embedded) -> None:
    read = 0

    def numbers() -> Iterator[int]:
        nonlocal read
        for number in itertools.count():
            read += 1
            yield number

    results = values.remembering.map(numbers())
    assert read == 0
    assert [next(results) for _ in range(3)] == [1, 1, 1]
    ahead = read
    assert ahead <= 64
    time.sleep(0.2)
    assert read == ahead, "nothing is read while nothing is taken"
    results.close()


def test_results_come_in_order_with_constants_and_several_columns(place: Place, session: Embedded) -> None:
    assert list(work.slow.map([0, 1, 2, 3], [0.2, 0.0, 0.1, 0.0], log=place.log)) == [0, 1, 2, 3]
    assert list(work.slow.map([0, 1], seconds=0.0, log=place.log)) == [0, 1]
    assert list(work.double.map([], log=place.log)) == []
    assert list(weft.map(work.double, [5], log=place.log)) == [10]


def test_what_has_ended_is_given_while_a_later_call_of_its_chunk_runs(place: Place, session: Embedded) -> None:
    list(work.slow.map(range(100, 104), itertools.repeat(0.0), log=place.log))
    results = work.slow.map(range(4), [0.0, 0.0, 0.0, 60.0], log=place.log)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    results.close()


def test_a_long_call_at_the_head_keeps_no_worker_idle(place: Place, session: Embedded) -> None:
    assert list(work.herd.map(range(200), behind=100, log=place.log)) == list(range(200))


def test_an_error_is_raised_where_its_result_would_have_come(place: Place, session: Embedded) -> None:
    ways = ["well"] * 5 + ["raise"] + ["well"] * 5
    results = faults.flawed.map(ways, range(11), log=place.log)
    assert [next(results) for _ in range(5)] == [0, 1, 2, 3, 4]
    with pytest.raises(weft.CalculationFailed, match="no 5"):
        next(results)
    with pytest.raises(StopIteration):
        next(results)


@pytest.mark.parametrize("kind", ["a wrong row", "a generator that raises"])
def test_what_is_wrong_with_the_input_comes_after_the_results_before_it(
    place: Place, session: Embedded, kind: str
) -> None:
    def rows() -> Iterator[object]:
        yield from range(5)
        if kind == "a wrong row":
            yield "five"
            yield 6
        raise KeyError("the end of the data")

    results = work.double.map(rows(), log=place.log)
    assert [next(results) for _ in range(5)] == [0, 2, 4, 6, 8]
    with pytest.raises(weft.Invalid if kind == "a wrong row" else KeyError):
        next(results)
    assert "double 6" not in place.lines()


def test_what_cannot_be_mapped_is_refused_at_the_call(place: Place, session: Embedded) -> None:
    with pytest.raises(weft.Invalid, match="columns"):
        work.double.map([1], [2], [3], log=place.log)
    with pytest.raises(weft.Invalid, match="no input 'lag'"):
        work.double.map([1], lag=place.log)
    with pytest.raises(weft.Invalid, match="its columns have 2 and 1 items"):
        work.slow.map([0, 1], [0.0], log=place.log)
    assert list(work.slow.map([0, 1], (0.0 for _ in iter(int, 1)), log=place.log)) == [0, 1], "one may be endless"


def test_closing_a_map_cancels_what_is_in_flight(place: Place, session: Embedded) -> None:
    results = work.slow.map(range(12), itertools.chain([0.0] * 4, itertools.repeat(60.0)), log=place.log)
    assert next(results) == 0
    place.has("slow 4")
    results.close()
    place.until(lambda: not session.home.ledger.jobs(states=("running", "queued")))
    assert weft.run(work.double, log=place.log, value=1) == 2


@pytest.mark.slow
def test_twenty_thousand_calls(place: Place, session: Embedded) -> None:
    assert sum(values.remembering.map(range(20_000))) == 20_000
    assert sum(values.remembering.map(range(20_000))) == 20_000
    assert session.engine.lives() == []


def test_maps_in_threads_and_two_at_once(place: Place, session: Embedded) -> None:
    found: dict[int, list[int]] = {}

    def ask(start: int) -> None:
        found[start] = list(work.double.map(range(start, start + 100), log=place.log))

    threads = [threading.Thread(target=ask, args=(start,)) for start in (0, 50, 50, 100)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {start: [2 * n for n in range(start, start + 100)] for start in (0, 50, 100)}
    assert set(place.executions().values()) == {1}
    one, two = (work.double.map(range(300, 310), log=place.log) for _ in range(2))
    assert list(zip(one, two, strict=True)) == [(2 * n, 2 * n) for n in range(300, 310)]


def test_coroutines(place: Place, session: Embedded) -> None:
    async def main() -> None:
        job = await weft.submit_async(work.slow, log=place.log, value=1, seconds=0.2)
        assert await job == 1
        assert await weft.run_async(work.chain, log=place.log, value=1) == 4
        several = [weft.run_async(work.double, log=place.log, value=n) for n in range(20)]
        assert await asyncio.gather(*several) == [2 * n for n in range(20)]
        with pytest.raises(weft.CalculationFailed):
            await weft.run_async(faults.flawed, log=place.log, how="raise", value=1)

    asyncio.run(main())


def test_cancelling_the_task_withdraws(place: Place, session: Embedded) -> None:
    async def main() -> None:
        task = asyncio.create_task(weft.run_async(work.slow, log=place.log, value=1, seconds=60))
        await asyncio.to_thread(place.has, "slow 1")
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        job = weft.submit(work.command, log=place.log, value=2, seconds=60)
        await asyncio.to_thread(place.has, "nap 2")
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(job, 0.05)
        with pytest.raises(weft.Cancelled):
            job.result()

    asyncio.run(main())
    place.until(lambda: not session.home.ledger.jobs(states=("running", "queued")))
    assert {row.job.state for row in session.home.ledger.jobs()} == {"cancelled"}
