"""What all sides share: the task that the harness gives, the clock, and the sample that is written. Standard library only."""

from __future__ import annotations

import contextlib
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

WORKERS = 2
"""Workers of each side that has any."""

GIB = 1 << 30


@dataclass(frozen=True)
class Task:
    """``count`` items of work in ``folder``, which is fresh at the first phase of a round; ``shared`` is all sides'."""

    count: int
    folder: Path
    shared: Path
    variant: str = ""


@dataclass(frozen=True)
class Sample:
    """``value`` is what is compared: seconds an item, or bytes. ``digest`` is of the results; ``extra`` is told beside."""

    value: float
    digest: str = ""
    extra: dict[str, Any] = field(default_factory=dict)


class Clock:
    """Seconds between entering and leaving."""

    seconds = 0.0

    def __enter__(self) -> Self:
        self._start = time.perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds = time.perf_counter() - self._start


def each(clock: Clock, count: int, digest: str, **extra: Any) -> Sample:
    """The sample of so many items: seconds for one."""
    return Sample(clock.seconds / count, digest, extra)


def latencies(call: Callable[[int], Any], inputs: Sequence[int]) -> tuple[list[float], list[Any]]:
    """Seconds of each call, one after the other, and the results."""
    seconds, results = [], []
    for number in inputs:
        start = time.perf_counter()
        results.append(call(number))
        seconds.append(time.perf_counter() - start)
    return seconds, results


def of_latencies(seconds: list[float], digest: str) -> Sample:
    """The mean is compared; the median and the slow ones are told beside it."""
    ordered = sorted(seconds)
    extra = {
        "median": ordered[len(ordered) // 2],
        "p99": ordered[min(len(ordered) - 1, int(0.99 * len(ordered)))],
        "max": ordered[-1],
    }
    return Sample(sum(ordered) / len(ordered), digest, extra)


def whole_processes(words: Sequence[str], count: int, **options: Any) -> Sample:
    """Seconds of a command, from spawning to its end."""
    seconds = []
    for _ in range(count):
        with Clock() as clock:
            ended = subprocess.run(words, capture_output=True, check=False, **options)
        if ended.returncode:
            raise RuntimeError(f"{words[0]} ended with {ended.returncode}: {ended.stderr.decode()[-2000:]}")
        seconds.append(clock.seconds)
    return of_latencies(seconds, "")


def at_once(commands: Sequence[Sequence[str]], **options: Any) -> tuple[float, list[str]]:
    """All commands started together: seconds until the last has ended, and what each printed. Raises if one failed."""
    with Clock() as clock:
        running = [
            subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)
            for words in commands
        ]
        ended = [process.communicate() for process in running]
    failed = [text[1] for process, text in zip(running, ended, strict=True) if process.returncode]
    if failed:
        raise RuntimeError(f"{len(failed)} of {len(commands)} processes failed; the first: {failed[0][-1500:]}")
    return clock.seconds, [out for out, _ in ended]


@contextlib.contextmanager
def spinning() -> Iterator[None]:
    """A Python thread that computes all the while, as a notebook's does."""
    import threading

    stop = False

    def spin() -> None:
        number = 0
        while not stop:
            number = (number * 31 + 7) % 1_000_003

    thread = threading.Thread(target=spin, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop = True
        thread.join()


def peak_memory() -> int:
    """The most bytes that this process has had in memory."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(peak if sys.platform == "darwin" else peak * 1024)


def main(phases: Mapping[str, Callable[[Task], Sample]]) -> None:
    """Do the phase that the command line names, and write its sample."""
    phase, count, folder, shared, variant, out = sys.argv[1:]
    sample = phases[phase](Task(int(count), Path(folder), Path(shared), variant))
    Path(out).write_text(json.dumps(asdict(sample)))
