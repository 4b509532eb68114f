"""Weftwork, through its public calls, with everything on. The home is the folder's ``home``."""

from __future__ import annotations

import itertools
import json
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import weftwork as weft
from benchmarks import work
from benchmarks.sides.common import (
    GIB,
    Clock,
    Sample,
    Task,
    at_once,
    each,
    latencies,
    main,
    of_latencies,
    peak_memory,
    spinning,
    whole_processes,
)

affine = weft.module(work.affine)

ECHO = """\
name: print_number
inputs: {x: int}
outputs: {result: {type: text, from: stdout}}
command: [printf, "%s", "{x}"]
"""
"""The command of the rows with commands."""


def opened(task: Task) -> None:
    """The session of the task's home, its workers up."""
    weft.use(task.folder / "home")
    list(affine.map(work.warm_up()))


# Function calls


def map_cold(task: Task) -> Sample:
    opened(task)
    with Clock() as clock:
        results = list(affine.map(range(task.count)))
    return each(clock, task.count, work.digest(results))


def map_cached(task: Task) -> Sample:
    """A new process over the home that has all results."""
    return map_cold(task)


def map_busy(task: Task) -> Sample:
    opened(task)
    with spinning(), Clock() as clock:
        results = list(affine.map(range(task.count)))
    return each(clock, task.count, work.digest(results))


def one_cold(task: Task) -> Sample:
    opened(task)
    seconds, results = latencies(lambda number: weft.run(affine, x=number), range(task.count))
    return of_latencies(seconds, work.digest(results))


def one_cached(task: Task) -> Sample:
    return one_cold(task)


def one_beside(task: Task) -> Sample:
    """Cached calls while a map of others runs in the same session; it is still running after the last."""
    opened(task)
    stop, begun = threading.Event(), threading.Event()

    def numbers() -> Iterator[int]:
        for number in itertools.count(10_000_000):
            if stop.is_set():
                return
            yield number

    def mapping() -> None:
        for count, _ in enumerate(affine.map(numbers())):
            if count > 500:
                begun.set()

    thread = threading.Thread(target=mapping)
    thread.start()
    begun.wait()
    seconds, results = latencies(lambda number: weft.run(affine, x=number), range(task.count))
    running = thread.is_alive()
    stop.set()
    thread.join()
    if not running:
        raise RuntimeError("the map ended before the last call")
    return of_latencies(seconds, work.digest(results))


# Commands


def echo(task: Task) -> Any:
    path = task.folder / "echo.module.yaml"
    path.write_text(ECHO)
    weft.use(task.folder / "home")
    module = weft.load(path)
    list(weft.map(module, range(-4, 0)))
    return module


def command_alone(task: Task) -> Sample:
    module = echo(task)
    seconds, results = latencies(lambda number: weft.run(module, x=number), range(task.count))
    return of_latencies(seconds, work.digest(results))


def command_many(task: Task) -> Sample:
    module = echo(task)
    with Clock() as clock:
        results = list(weft.map(module, range(task.count)))
    return each(clock, task.count, work.digest(results))


# Workflows


def workflow_cold(task: Task) -> Sample:
    """From the document in a file to its outputs: reading, checking and preparing it are within the clock."""
    width = work.width_of(task.count)
    document = task.folder / "layers.workflow.json"
    document.write_text(json.dumps(work.workflow_document(width, work.__file__)))
    opened(task)
    with Clock() as clock:
        outputs = weft.run(document)
    results = [outputs[f"o{number}"] for number in range(width)]
    return each(clock, width * work.LAYERS, work.digest(results))


def workflow_cached(task: Task) -> Sample:
    return workflow_cold(task)


def workflow_process(task: Task) -> Sample:
    """``weft run`` of the same workflow from the cache: a whole process, its JSON read."""
    width = work.width_of(task.count)
    words = [weft_command(), "run", "--json", "--quiet", str(task.folder / "layers.workflow.json")]
    seconds, printed = at_once([words], env=environment(task))
    outputs = {name: each["value"] for name, each in json.loads(printed[0])["outputs"].items()}
    results = [outputs[f"o{number}"] for number in range(width)]
    return Sample(seconds / (width * work.LAYERS), work.digest(results))


# Whole processes


def weft_command() -> str:
    return str(Path(sys.executable).with_name("weft"))


def environment(task: Task) -> dict[str, str]:
    return {**os.environ, "WEFT_HOME": str(task.folder / "home")}


def cli_version(task: Task) -> Sample:
    return whole_processes([weft_command(), "--version"], task.count)


def do_words() -> list[str]:
    """``weft do`` with an input and an output."""
    return [
        weft_command(),
        "do",
        "-i",
        "numbers.txt",
        "-o",
        "sorted.txt",
        "--",
        *("sort", "-n", "numbers.txt", "-o", "sorted.txt"),
    ]


def cli_do(task: Task) -> Sample:
    """The first run is not counted: it is the one that runs. The output file is deleted before each."""
    lines = [str(number * 7919 % 10_007) for number in range(10_007)]
    (task.folder / "numbers.txt").write_text("\n".join(lines) + "\n")
    options = {"cwd": task.folder, "env": environment(task)}
    whole_processes(do_words(), 1, **options)
    values = []
    for _ in range(task.count):
        (task.folder / "sorted.txt").unlink()
        values.append(whole_processes(do_words(), 1, **options).value)
    found = (task.folder / "sorted.txt").read_text().split()
    return of_latencies(values, work.digest(found))


def fifty_distinct(task: Task) -> Sample:
    """So many processes at once on one home, each with a command of its own."""
    (task.folder / "home").mkdir(exist_ok=True)
    commands = [[weft_command(), "do", "--", "printf", "%s", str(number)] for number in range(task.count)]
    seconds, printed = at_once(commands, env=environment(task), cwd=task.folder)
    return Sample(seconds / task.count, work.digest(printed))


def fifty_same(task: Task) -> Sample:
    """So many processes at once that ask for the same: it must run once."""
    log = task.folder / "ran"
    line = f"echo ran >> {log}; sleep 0.2; echo done"
    seconds, printed = at_once(
        [[weft_command(), "do", "--", line]] * task.count, env=environment(task), cwd=task.folder
    )
    times = len(log.read_text().split())
    if times != 1:
        raise RuntimeError(f"the command ran {times} times")
    return Sample(seconds / task.count, work.digest(text.strip() for text in printed))


# Bytes


def _size(data: weft.File) -> int:
    return 0


def _files(data: weft.Directory) -> int:
    return 0


def hashing_large(task: Task) -> Sample:
    """The file is in the store and has been touched since: it is hashed again, and nothing is copied."""
    weft.use(task.folder / "home")
    path, module = task.shared / "large", weft.module(_size)
    weft.explain(module, data=weft.File(path))
    os.utime(path)
    with Clock() as clock:
        explained = weft.explain(module, data=weft.File(path))
    return Sample(clock.seconds / path.stat().st_size * GIB, str(checksum_of(explained)))


def hashing_small(task: Task) -> Sample:
    """The same for a directory of files."""
    weft.use(task.folder / "home")
    folder, module = task.shared / "small", weft.module(_files)
    weft.explain(module, data=weft.Directory(folder))
    names = sorted(os.listdir(folder))
    for name in names:
        os.utime(folder / name)
    with Clock() as clock:
        explained = weft.explain(module, data=weft.Directory(folder))
    entries = json.loads(weft.session().home.store.get(checksum_of(explained)))
    return each(clock, len(names), work.digest(checksums_in(entries)))


def checksum_of(explained: weft.Explanation) -> Any:
    return explained.parts["inputs"]["data"][1]


def checksums_in(entries: Any) -> list[str]:
    """The checksums that a stored directory names, in the order of its files."""
    return [checksum for _, _, checksum in entries]


def buffers_store(task: Task) -> Sample:
    weft.use(task.folder / "home")
    data = work.buffers(task.count)
    store = weft.session().home.store
    with Clock() as clock:
        names = [name for start in range(0, len(data), 1000) for name in store.put_many(data[start : start + 1000])]
    return each(clock, task.count, work.digest(str(name) for name in names))


# Memory


def memory_streamed(task: Task) -> Sample:
    """The peak of the process that maps over a generator and keeps nothing; workers are processes of their own."""
    opened(task)
    total = 0
    with Clock() as clock:
        for result in affine.map(number for number in range(task.count)):
            total += result
    live = len(weft.session().engine.lives())
    return Sample(peak_memory(), work.digest([total]), {"seconds": clock.seconds, "live jobs left": live})


def memory_workflow(task: Task) -> Sample:
    sample = workflow_cold(task)
    return Sample(peak_memory(), sample.digest, {"seconds a step": sample.value})


PHASES = {
    phase.__name__: phase
    for phase in (
        *(map_cold, map_cached, map_busy, one_cold, one_cached, one_beside),
        *(command_alone, command_many, workflow_cold, workflow_cached, workflow_process),
        *(cli_version, cli_do, fifty_distinct, fifty_same),
        *(hashing_large, hashing_small, buffers_store),
        *(memory_streamed, memory_workflow),
    )
}

if __name__ == "__main__":
    main(PHASES)
