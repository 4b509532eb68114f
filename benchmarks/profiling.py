"""Where ours spends its time in a row: the processor time of each function, in all threads of the process.

cProfile is switched on in every thread, with the thread's own processor clock: waiting, for the disk or for another
thread, does not count. It makes small functions look dearer than they are; compare with ``--rate``, a sampler that
costs little and sees what each thread is in, waiting included.
"""

from __future__ import annotations

import cProfile
import pstats
import resource
import shutil
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

from benchmarks.rows import Line, Row
from benchmarks.running import measure
from benchmarks.sides.common import Sample, Task

IDLE = ("_worker", "select", "_look")
"""Functions in which a thread has nothing to do: a pool's thread without work, a loop without events."""


def profile(row: Row, line: Line, scale: float, top: int, rate: float) -> None:
    """Do the lines before this one as they are measured, then this one in this process under the profiler."""
    count = row.count_of("ours", scale)
    folder = Path(tempfile.mkdtemp(prefix="weft-bench-"))
    shared = folder / "shared"
    shared.mkdir()
    try:
        if row.prepare is not None:
            row.prepare(count, shared)
        for before in row.lines[: row.lines.index(line)]:
            measure(before, "ours", count, folder, shared)
        if line.item == "process":
            _profile_process(line, folder, top)
        else:
            _profile_phase(line, Task(count, folder, shared), top, rate)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _profile_phase(line: Line, task: Task, top: int, rate: float) -> None:
    import weftwork as weft
    from benchmarks.sides import ours

    phase: Callable[[Task], Sample] = ours.PHASES[line.phase]
    start, before = time.perf_counter(), time.process_time()
    threads = _Sampled(rate) if rate else _Traced()
    with threads:
        sample = phase(task)
    print(f"{line.phase}, N = {task.count:,}: {sample.value * 1e6:.1f} µs an item while profiled")
    print(
        f"wall {time.perf_counter() - start:.2f} s, this process {time.process_time() - before:.2f} s of processor",
        end="",
    )
    weft.close()
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(f", its workers {children.ru_utime + children.ru_stime:.2f} s (warm-up and their start included)")
    threads.tell(top)


class _Traced:
    """cProfile in every thread that starts within."""

    def __init__(self) -> None:
        self._profiles: dict[str, cProfile.Profile] = {}

    def __enter__(self) -> Self:
        threading.setprofile(self._begin)
        self._enable()
        return self

    def _begin(self, *_: Any) -> None:
        sys.setprofile(None)
        self._enable()

    def _enable(self) -> None:
        name = f"{threading.current_thread().name} ({len(self._profiles)})"
        self._profiles[name] = cProfile.Profile(time.thread_time)
        self._profiles[name].enable()

    def __exit__(self, *_: object) -> None:
        threading.setprofile(None)
        sys.setprofile(None)

    def tell(self, top: int) -> None:
        """Threads, dearest first, each with its dearest functions."""
        found = []
        for name, each in self._profiles.items():
            each.create_stats()
            if each.stats:  # type: ignore[attr-defined]
                stats = pstats.Stats(each)
                found.append((stats.total_tt, name, stats))  # type: ignore[attr-defined]
        merged = None
        for total, name, stats in sorted(found, key=lambda one: -one[0]):
            print(f"  thread {name}: {total:.2f} s")
            merged = stats if merged is None else merged.add(stats)
        if merged is not None:
            for order in ("tottime", "cumulative"):
                print(f"\nby {'own' if order == 'tottime' else 'whole'} time, all threads")
                merged.sort_stats(order).print_stats(top)


class _Sampled:
    """A thread that looks every so often at what the others are in."""

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._stop = threading.Event()
        self._own: Counter[str] = Counter()
        self._whole: Counter[str] = Counter()
        self._looks = 0
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Self:
        sys.setswitchinterval(1e-4)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _look(self) -> None:
        own = threading.get_ident()
        while not self._stop.wait(1 / self._rate):
            self._looks += 1
            for number, frame in sys._current_frames().items():
                if number != own:
                    self._count(frame)

    def _count(self, frame: Any) -> None:
        if frame.f_code.co_name in IDLE:
            return
        self._own[_place(frame)] += 1
        seen = set()
        while frame is not None:
            seen.add(_place(frame))
            frame = frame.f_back
        self._whole.update(seen)

    def tell(self, top: int) -> None:
        """Shares of the looks; several threads, so that they may be more than all."""
        for what, counts in (("in", self._own), ("in or below", self._whole)):
            print(f"\n{what}, share of {self._looks:,} looks (waiting for the disk or a lock included)")
            for place, number in counts.most_common(top):
                print(f"  {100 * number / max(self._looks, 1):5.1f} %  {place}")


def _place(frame: Any) -> str:
    code = frame.f_code
    return (
        f"{code.co_qualname if sys.version_info >= (3, 11) else code.co_name}  {code.co_filename}:{code.co_firstlineno}"
    )


def _profile_process(line: Line, folder: Path, top: int) -> None:
    """A whole process: what it imports, and its functions. It is done twice, the second time under the profiler."""
    import os
    import subprocess

    from benchmarks.sides import ours

    (folder / "numbers.txt").write_text("2\n1\n")
    words = ours.do_words() if line.phase == "cli_do" else [ours.weft_command(), "--version"]
    environment = {**os.environ, "WEFT_HOME": str(folder / "home")}
    subprocess.run(words, cwd=folder, env=environment, check=True, capture_output=True)
    out = folder / "profile"
    profiled = [sys.executable, "-m", "cProfile", "-o", str(out), *words]
    subprocess.run(profiled, cwd=folder, env=environment, check=True, capture_output=True)
    stats = pstats.Stats(str(out))
    for order in ("tottime", "cumulative"):
        stats.sort_stats(order).print_stats(top)
    importing = [sys.executable, "-X", "importtime", *words]
    ended = subprocess.run(importing, cwd=folder, env=environment, check=True, capture_output=True, text=True)
    rows = [text.partition(":")[2].split("|") for text in ended.stderr.splitlines() if text.startswith("import time:")]
    timed = sorted(((int(row[1]), row[2].rstrip()) for row in rows if row[1].strip().isdigit()), reverse=True)
    print("imports, with what they import, in µs")
    for microseconds, name in timed[:top]:
        print(f"  {microseconds:8,}  {name.strip()}")
