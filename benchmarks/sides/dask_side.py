"""dask.distributed: two worker processes of one thread each. Nothing is durable, and nothing is known to the next process.

The variant ``inf`` sets ``worker-saturation`` to infinity: no task waits at the scheduler.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import dask
from dask.distributed import Client, LocalCluster

from benchmarks import work
from benchmarks.sides.common import (
    WORKERS,
    Clock,
    Sample,
    Task,
    each,
    latencies,
    main,
    of_latencies,
    peak_memory,
    spinning,
    whole_processes,
)


@contextlib.contextmanager
def client(task: Task) -> Iterator[Client]:
    """A client of a cluster on this machine, its workers up."""
    if task.variant == "inf":
        dask.config.set({"distributed.scheduler.worker-saturation": float("inf")})
    options = {"processes": True, "dashboard_address": None, "local_directory": str(task.folder)}
    with LocalCluster(n_workers=WORKERS, threads_per_worker=1, **options) as cluster, Client(cluster) as found:
        found.wait_for_workers(WORKERS)
        found.gather(found.map(work.affine, work.warm_up()))
        yield found


def map_cold(task: Task) -> Sample:
    with client(task) as found:
        with Clock() as clock:
            results = found.gather(found.map(work.affine, range(task.count)))
        return each(clock, task.count, work.digest(results))


def map_busy(task: Task) -> Sample:
    with client(task) as found:
        with spinning(), Clock() as clock:
            results = found.gather(found.map(work.affine, range(task.count)))
        return each(clock, task.count, work.digest(results))


def one_cold(task: Task) -> Sample:
    with client(task) as found:
        seconds, results = latencies(lambda number: found.submit(work.affine, number).result(), range(task.count))
        return of_latencies(seconds, work.digest(results))


def workflow_cold(task: Task) -> Sample:
    """A graph of ``dask.delayed``, as its documentation has it; making the graph is within the clock."""
    with client(task):
        width = work.width_of(task.count)
        with Clock() as clock:
            last = work.layers(width, dask.delayed(work.affine), dask.delayed(work.combine))
            results = dask.compute(*last)
        return each(clock, width * work.LAYERS, work.digest(results))


def memory_workflow(task: Task) -> Sample:
    """The peak of the process with client and scheduler."""
    sample = workflow_cold(task)
    return Sample(peak_memory(), sample.digest, {"seconds a step": sample.value})


def cli_version(task: Task) -> Sample:
    return whole_processes(["dask", "--version"], task.count)


PHASES = {
    "map_cold": map_cold,
    "map_busy": map_busy,
    "one_cold": one_cold,
    "workflow_cold": workflow_cold,
    "memory_workflow": memory_workflow,
    "cli_version": cli_version,
}

if __name__ == "__main__":
    main(PHASES)
