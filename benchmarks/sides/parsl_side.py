"""Parsl: the high-throughput executor with one block of two workers on this machine.

Nothing is durable by default. The variant ``checkpoint`` memoizes calls and writes each to a checkpoint file when it
ends; a later process loads that.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import parsl
from parsl.config import Config
from parsl.dataflow.memoization import BasicMemoizer
from parsl.executors import HighThroughputExecutor
from parsl.providers import LocalProvider
from parsl.utils import get_all_checkpoints

from benchmarks import work
from benchmarks.sides.common import WORKERS, Clock, Sample, Task, each, latencies, main, of_latencies, spinning


@contextlib.contextmanager
def loaded(task: Task) -> Iterator[bool]:
    """Parsl with its workers up; whether it memoizes."""
    executor = HighThroughputExecutor(
        label="local",
        max_workers_per_node=WORKERS,
        cores_per_worker=1,
        address="127.0.0.1",
        encrypted=False,
        provider=LocalProvider(init_blocks=1, min_blocks=1, max_blocks=1),
    )
    runs, memoizer = str(task.folder / "runs"), None
    if task.variant == "checkpoint":
        memoizer = BasicMemoizer(checkpoint_mode="task_exit", checkpoint_files=get_all_checkpoints(runs))
    config = Config([executor], memoizer=memoizer, run_dir=runs, strategy="none", initialize_logging=False)
    with parsl.load(config):
        memoizes = memoizer is not None
        app = parsl.python_app(work.affine, cache=False)
        for future in [app(number) for number in work.warm_up()]:
            future.result()
        yield memoizes


def map_cold(task: Task) -> Sample:
    with loaded(task) as memoizes:
        app = parsl.python_app(work.affine, cache=memoizes)
        with Clock() as clock:
            results = [future.result() for future in [app(number) for number in range(task.count)]]
        return each(clock, task.count, work.digest(results))


def map_busy(task: Task) -> Sample:
    with loaded(task) as memoizes, spinning():
        app = parsl.python_app(work.affine, cache=memoizes)
        with Clock() as clock:
            results = [future.result() for future in [app(number) for number in range(task.count)]]
        return each(clock, task.count, work.digest(results))


def one_cold(task: Task) -> Sample:
    with loaded(task) as memoizes:
        app = parsl.python_app(work.affine, cache=memoizes)
        seconds, results = latencies(lambda number: app(number).result(), range(task.count))
        return of_latencies(seconds, work.digest(results))


def printed(number: int, stdout: str = "") -> str:
    """The command of a bash app: its output goes to a file."""
    return f"printf %s {number}"


def command_many(task: Task) -> Sample:
    (task.folder / "out").mkdir()
    paths = [task.folder / "out" / str(number) for number in range(task.count)]
    with loaded(task):
        app = parsl.bash_app(printed)
        with Clock() as clock:
            for future in [app(number, stdout=str(path)) for number, path in enumerate(paths)]:
                future.result()
            results = [path.read_text() for path in paths]
        return each(clock, task.count, work.digest(results))


def command_alone(task: Task) -> Sample:
    (task.folder / "out").mkdir()

    def run(number: int) -> str:
        path = task.folder / "out" / str(number)
        app(number, stdout=str(path)).result()
        return path.read_text()

    with loaded(task):
        app = parsl.bash_app(printed)
        seconds, results = latencies(run, range(task.count))
        return of_latencies(seconds, work.digest(results))


def workflow_cold(task: Task) -> Sample:
    width = work.width_of(task.count)
    with loaded(task) as memoizes:
        first = parsl.python_app(work.affine, cache=memoizes)
        join = parsl.python_app(work.combine, cache=memoizes)
        with Clock() as clock:
            results = [future.result() for future in work.layers(width, first, join)]
        return each(clock, width * work.LAYERS, work.digest(results))


PHASES = {
    "map_cold": map_cold,
    "map_cached": map_cold,
    "map_busy": map_busy,
    "one_cold": one_cold,
    "one_cached": one_cold,
    "command_many": command_many,
    "command_alone": command_alone,
    "workflow_cold": workflow_cold,
    "workflow_cached": workflow_cold,
}

if __name__ == "__main__":
    main(PHASES)
