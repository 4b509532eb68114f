"""joblib: ``Memory`` in the calling process, and within ``Parallel`` of two loky workers for a map.

A result is a pickle and a folder a call; nothing is synced.
"""

from __future__ import annotations

import sys
from typing import Any

import joblib

from benchmarks import work
from benchmarks.sides.common import WORKERS, Clock, Sample, Task, at_once, each, latencies, main, of_latencies


def cached(task: Task, function: Any) -> Any:
    return joblib.Memory(task.folder / "cache", verbose=0).cache(function)


def map_cold(task: Task) -> Sample:
    function = cached(task, work.affine)
    with joblib.Parallel(n_jobs=WORKERS) as parallel:
        parallel(joblib.delayed(function)(number) for number in work.warm_up())
        with Clock() as clock:
            results = parallel(joblib.delayed(function)(number) for number in range(task.count))
    return each(clock, task.count, work.digest(results))


def one_cold(task: Task) -> Sample:
    function = cached(task, work.affine)
    for number in work.warm_up():
        function(number)
    seconds, results = latencies(function, range(task.count))
    return of_latencies(seconds, work.digest(results))


def workflow_cold(task: Task) -> Sample:
    """One call after the other, in order: there is no graph."""
    width = work.width_of(task.count)
    first, join = cached(task, work.affine), cached(task, work.combine)
    first(-1)
    with Clock() as clock:
        results = work.layers(width, first, join)
    return each(clock, width * work.LAYERS, work.digest(results))


SAY = """\
import sys

import joblib


def say(text):
    return text


if __name__ == "__main__":
    print(joblib.Memory("cache", verbose=0).cache(say)(sys.argv[1]), end="")
"""


def fifty_distinct(task: Task) -> Sample:
    (task.folder / "say.py").write_text(SAY)
    commands = [[sys.executable, "say.py", str(number)] for number in range(task.count)]
    seconds, printed = at_once(commands, cwd=task.folder)
    return Sample(seconds / task.count, work.digest(printed))


PHASES = {
    "map_cold": map_cold,
    "map_cached": map_cold,
    "one_cold": one_cold,
    "one_cached": one_cold,
    "workflow_cold": workflow_cold,
    "workflow_cached": workflow_cold,
    "fifty_distinct": fifty_distinct,
}

if __name__ == "__main__":
    main(PHASES)
