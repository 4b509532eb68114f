"""redun: the local executor as it is by default (threads), with two workers, and a SQLite backend: durable."""

from __future__ import annotations

import logging
import sys
from typing import Any

from redun import Scheduler, task
from redun.config import Config

from benchmarks import work
from benchmarks.sides.common import (
    WORKERS,
    Clock,
    Sample,
    Task,
    at_once,
    each,
    latencies,
    main,
    of_latencies,
    whole_processes,
)

affine = task(name="affine", namespace="benchmarks", version="1")(work.affine)
combine = task(name="combine", namespace="benchmarks", version="1")(work.combine)


@task(namespace="benchmarks", version="1")
def mapped(count: int) -> list[int]:
    return [affine(number) for number in range(count)]


@task(namespace="benchmarks", version="1")
def layered(width: int) -> list[int]:
    return below([affine(number) for number in range(width)], work.LAYERS - 1)


@task(namespace="benchmarks", version="1")
def below(row: list[int], depth: int) -> list[int]:
    """A layer is an argument of the next one. As one nested expression redun follows each path through it, 2^100."""
    if not depth:
        return row
    width = len(row)
    return below([combine(row[number], row[(number + 1) % width]) for number in range(width)], depth - 1)


@task(namespace="benchmarks", version="1", script=True)
def echo(number: int) -> str:
    return f"printf %s {number}"


@task(namespace="benchmarks", version="1")
def echoed(count: int) -> list[Any]:
    return [echo(number) for number in range(count)]


def scheduler(task: Task) -> Scheduler:
    """A scheduler over the folder's database, which has run something."""
    logging.getLogger("redun").setLevel(logging.ERROR)
    backend = {"db_uri": f"sqlite:///{task.folder}/redun.db"}
    found = Scheduler(
        config=Config({"backend": backend, "executors.default": {"type": "local", "max_workers": str(WORKERS)}})
    )
    found.load()
    for number in work.warm_up()[:8]:
        found.run(affine(number))
    return found


def map_cold(task: Task) -> Sample:
    found = scheduler(task)
    with Clock() as clock:
        results = found.run(mapped(task.count))
    return each(clock, task.count, work.digest(results))


def one_cold(task: Task) -> Sample:
    found = scheduler(task)
    seconds, results = latencies(lambda number: found.run(affine(number)), range(task.count))
    return of_latencies(seconds, work.digest(results))


def command_many(task: Task) -> Sample:
    found = scheduler(task)
    with Clock() as clock:
        results = found.run(echoed(task.count))
    return each(clock, task.count, work.digest(map(_text, results)))


def command_alone(task: Task) -> Sample:
    found = scheduler(task)
    seconds, results = latencies(lambda number: found.run(echo(number)), range(task.count))
    return of_latencies(seconds, work.digest(map(_text, results)))


def _text(result: Any) -> str:
    return result.decode() if isinstance(result, bytes) else str(result)


def workflow_cold(task: Task) -> Sample:
    width = work.width_of(task.count)
    found = scheduler(task)
    with Clock() as clock:
        results = found.run(layered(width))
    return each(clock, width * work.LAYERS, work.digest(results))


def cli_version(task: Task) -> Sample:
    return whole_processes(["redun", "--version"], task.count)


SORT = """\
from redun import File, task

redun_namespace = "benchmarks"

@task()
def sort(path: File) -> File:
    numbers = sorted(map(int, path.read().split()))
    out = File("sorted.txt")
    out.write("".join(f"{number}\\n" for number in numbers))
    return out

@task()
def say(text: str) -> str:
    return text
"""


def cli_do(task: Task) -> Sample:
    """``redun run`` of a task that sorts a file in Python: the first run is not counted."""
    lines = [str(number * 7919 % 10_007) for number in range(10_007)]
    (task.folder / "numbers.txt").write_text("\n".join(lines) + "\n")
    (task.folder / "tasks.py").write_text(SORT)
    words = ["redun", "run", "tasks.py", "sort", "--path", "numbers.txt"]
    whole_processes(words, 1, cwd=task.folder)
    sample = whole_processes(words, task.count, cwd=task.folder)
    found = (task.folder / "sorted.txt").read_text().split()
    return Sample(sample.value, work.digest(found), sample.extra)


def fifty_distinct(task: Task) -> Sample:
    (task.folder / "tasks.py").write_text(SORT)
    commands = [["redun", "run", "tasks.py", "say", "--text", str(number)] for number in range(task.count)]
    seconds, printed = at_once(commands, cwd=task.folder)
    return Sample(seconds / task.count, work.digest(text.strip().strip("'") for text in printed))


PHASES = {
    "map_cold": map_cold,
    "map_cached": map_cold,
    "one_cold": one_cold,
    "one_cached": one_cold,
    "command_many": command_many,
    "command_alone": command_alone,
    "workflow_cold": workflow_cold,
    "workflow_cached": workflow_cold,
    "cli_version": cli_version,
    "cli_do": cli_do,
    "fifty_distinct": fifty_distinct,
}

if __name__ == "__main__":
    sys.setrecursionlimit(100_000)
    main(PHASES)
