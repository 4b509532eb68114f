"""The pool of workers: real processes, a real store."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

import weftwork
from weftwork.core import codecs
from weftwork.core.calculation import Calculation, Frame
from weftwork.core.checksum import Checksum, canonical
from weftwork.core.module import Function, Module
from weftwork.core.placement import Resources
from weftwork.core.values import Ref, convert
from weftwork.errors import SiteFailed, WeftError
from weftwork.ports import Call, CallOutcome, Report
from weftwork.python.bundling import bundle
from weftwork.python.environment import python_environment
from weftwork.python.signature import signature
from weftwork.sites.schedulers.workers import Workers
from weftwork.stores.directory import DirectoryStore

pytestmark = pytest.mark.slow  # many short ones: together too long for a quick look

ROOT = str(Path(weftwork.__file__).parent.parent)


class Bench:
    """A pool, its store, and what was reported."""

    def __init__(self, folder: Path, cpus: int = 2, store: DirectoryStore | None = None, **options: Any) -> None:
        self.folder = folder
        self.store = store or DirectoryStore(folder / "store")
        self.slots = Slots(cpus)
        self.runner = asyncio.Runner()
        self.workers = Workers(folder / "workers", self.store, self.slots, **options)
        self.reports: dict[str, list[Report]] = {}
        self.count = 0

    def calls(
        self,
        function: Callable[..., Any],
        rows: Sequence[dict[str, Any]],
        changes: dict[str, Any] | None = None,
        **resources: Any,
    ) -> list[Call]:
        bundled = bundle(function)
        checksum = self.store.put(canonical(bundled.document))
        self.store.put_many(list(bundled.blobs.values()))
        inputs, outputs, returns = signature(function)
        module = Module(function.__name__, inputs, outputs, Function(checksum, bundled.identity, returns))
        environment = {**python_environment(bundled.packages), **(changes or {})}
        frame = Frame(module.checksum, module.name, module.counted_program(), environment, module.counted_outputs())
        types = {each.name: each.type for each in module.inputs}
        buffers: list[bytes] = []
        calls = []
        for row in rows:
            refs = {}
            for name, value in row.items():
                kind, data = codecs.encode(types[name], convert(types[name], value), self.store.put)
                buffers.append(data)
                refs[name] = Ref(kind, Checksum.of(data), len(data))
            self.count += 1
            calculation = Calculation.of(frame, refs)
            calls.append(Call(f"t{self.count}", f"j{self.count}", calculation, module, Resources(**resources)))
        self.store.put_many(buffers)
        return calls

    def report(self, report: Report) -> None:
        self.reports.setdefault(report.task, []).append(report)

    def do(self, work: Awaitable[Any]) -> Any:
        async def inner() -> Any:
            return await work

        return self.runner.run(inner())

    def run(self, calls: Sequence[Call]) -> list[CallOutcome]:
        self.do(self.workers.run(calls, self.report))
        return [self.outcome(call) for call in calls]

    def outcome(self, call: Call) -> CallOutcome:
        """How a call ended: told exactly once."""
        ends = [report for report in self.reports[call.name] if report.state != "started"]
        assert len(ends) == 1, ends
        assert ends[0].outcome is not None, ends
        return ends[0].outcome

    def value(self, call: Call) -> Any:
        outcome = self.outcome(call)
        assert outcome.error is None, outcome.error
        kind, data = outcome.outputs["result"]
        return codecs.decode_bytes(kind, data if isinstance(data, bytes) else data.read_bytes())

    def pids(self) -> list[int]:
        return [seat.process.pid for seat in self.workers.staff.seats]

    def gone(self, pids: Sequence[int], within: float = 15.0) -> bool:
        """Whether processes end while the pool's loop goes on."""

        async def wait() -> None:
            deadline = time.monotonic() + within
            while any(map(alive, pids)) and time.monotonic() < deadline:
                await asyncio.sleep(0.01)

        self.do(wait())
        return not any(map(alive, pids))

    def close(self) -> None:
        pids = self.pids()
        self.do(self.workers.close())
        self.runner.close()
        assert not [pid for pid in pids if alive(pid)]
        assert not list((self.folder / "workers").glob("*"))


class Slots:
    """Slots of a machine: who holds some, and the most that were ever held at once."""

    def __init__(self, cpus: int) -> None:
        self.capacity = Resources(cpus=cpus)
        self.held: dict[str, int] = {}
        self.most = 0
        self.gate = asyncio.Event()
        self.gate.set()

    async def acquire(self, holder: str, resources: Resources) -> None:
        await self.gate.wait()
        assert holder not in self.held
        self.held[holder] = resources.cpus
        self.most = max(self.most, sum(self.held.values()))

    def release(self, holder: str) -> None:
        del self.held[holder]


def alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[0] != b"Z"
    except OSError:
        return False


def gone(pids: Sequence[int], within: float = 5.0) -> bool:
    deadline = time.monotonic() + within
    while any(map(alive, pids)) and time.monotonic() < deadline:
        time.sleep(0.01)
    return not any(map(alive, pids))


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path)
    yield bench
    bench.close()


def add(x: float, y: float) -> float:
    return x + y


def nap(seconds: float, tag: int = 0) -> int:
    time.sleep(seconds)
    return os.getpid()


# Speed and order


def test_two_thousand_calls_come_back_right(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    bench.run(bench.calls(add, [{"x": 0.0, "y": 0.0}]))
    for _ in range(2):
        calls = bench.calls(add, [{"x": i, "y": 0.5} for i in range(2000)])
        begun = time.perf_counter()
        bench.run(calls)
        each = (time.perf_counter() - begun) / len(calls)
    assert [bench.value(call) for call in calls] == [i + 0.5 for i in range(2000)]
    with capsys.disabled():
        print(f"\n  {each * 1e6:.0f} µs a call through warm workers")
    # Slots are freed soon after.
    bench.do(asyncio.sleep(0.4))
    assert not bench.slots.held
    assert bench.slots.most <= 2


@pytest.mark.slow
def test_calls_of_some_length_are_not_held_up_by_batches(bench: Bench) -> None:
    bench.run(bench.calls(nap, [{"seconds": 0.0, "tag": -i} for i in range(300)]))
    calls = bench.calls(nap, [{"seconds": 0.2, "tag": i} for i in range(40)])
    begun = time.perf_counter()
    bench.run(calls)
    assert time.perf_counter() - begun < 40 * 0.2 / 2 + 1.0
    assert len({bench.value(call) for call in calls}) == 2


@pytest.mark.slow
def test_short_calls_do_not_wait_behind_a_long_one(bench: Bench) -> None:
    bench.run(bench.calls(nap, [{"seconds": 0.0, "tag": -i} for i in range(600)]))
    calls = bench.calls(nap, [{"seconds": 1.0 if i == 100 else 0.0, "tag": i} for i in range(400)])
    ends: dict[str, float] = {}
    begun = time.perf_counter()
    bench.do(bench.workers.run(calls, lambda report: ends.update({report.task: time.perf_counter() - begun})))
    late = [call.name for call in calls if ends[call.name] > 0.8]
    assert late == [calls[100].name]


def test_a_second_worker_is_started_for_what_waits_behind_a_long_call(bench: Bench) -> None:
    bench.run(bench.calls(nap, [{"seconds": 0.0, "tag": -1}]))
    assert len(bench.pids()) == 1
    calls = bench.calls(nap, [{"seconds": 20.0 if i == 0 else 0.0, "tag": i} for i in range(10)])
    others = asyncio.Event()

    def report(each: Report) -> None:
        bench.report(each)
        if sum(reports[-1].state == "ended" for reports in bench.reports.values()) == 1 + 9:
            others.set()

    async def work() -> None:
        run = asyncio.ensure_future(bench.workers.run(calls, report))
        await asyncio.wait_for(others.wait(), 5)
        await bench.workers.cancel([calls[0].name])
        await run

    bench.do(work())
    assert {bench.outcome(call).error for call in calls[1:]} == {None}


def test_a_call_that_runs_is_told_of_with_its_live_log(bench: Bench) -> None:
    (call,) = bench.calls(chatty, [{"seconds": 0.3}])
    seen: list[str] = []

    def report(each: Report) -> None:
        bench.report(each)
        if each.state == "started":
            path, offset = each.detail.rsplit(":", 1)
            asyncio.get_running_loop().call_later(0.15, lambda: seen.append(Path(path).read_text()[int(offset) :]))

    bench.do(bench.workers.run([call], report))
    assert [each.state for each in bench.reports[call.name]] == ["started", "ended"]
    assert seen == ["begun\n"]
    assert bench.outcome(call).log == b"begun\nover\n"
    assert bench.outcome(call).observed["seconds"] >= 0.3
    assert bench.outcome(call).observed["memory"] > 1 << 20


def chatty(seconds: float) -> None:
    print("begun")
    time.sleep(seconds)
    print("over")


# Deaths


def fragile(x: int) -> int:
    if x % 7 == 3:
        os._exit(5)
    if x % 7 == 5:
        ctypes.string_at(0)
    return x


def test_a_call_that_ends_its_worker_is_blamed_alone(bench: Bench) -> None:
    calls = bench.calls(fragile, [{"x": x} for x in range(20)])
    bench.run(calls)
    for x, call in enumerate(calls):
        error = bench.outcome(call).error
        if x % 7 == 3:
            assert type(error).__name__ == "ExitCode"
            assert "exit code 5" in str(error)
        elif x % 7 == 5:
            assert type(error).__name__ == "Signalled"
            assert "signal 11" in str(error)
        else:
            assert bench.value(call) == x


def counted(folder: str, x: int) -> int:
    with open(f"{folder}/{x}", "a") as file:
        file.write("x")
    time.sleep(0.004)
    return x * x


@pytest.mark.slow
def test_workers_killed_from_outside_cost_one_call_each(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "ran").mkdir()
    calls = bench.calls(counted, [{"folder": str(tmp_path / "ran"), "x": x} for x in range(200)])
    kills, over = [0], threading.Event()
    chance = random.Random(1)

    def killer() -> None:
        while not over.wait(chance.uniform(0.02, 0.25)):
            seats = bench.workers.staff.seats
            # Now and then one that is being set up; always, and none would ever be ready on a busy machine.
            ready = [seat for seat in seats if seat.process.ready or chance.random() < 0.2]
            for seat in chance.sample(ready, min(1, len(ready))):
                kills[0] += 1
                with contextlib.suppress(ProcessLookupError):
                    os.kill(seat.process.pid, signal.SIGKILL)

    thread = threading.Thread(target=killer)
    thread.start()
    bench.run(calls)
    over.set()
    thread.join()
    blamed = 0
    for x, call in enumerate(calls):
        outcome = bench.outcome(call)
        times = len((tmp_path / "ran" / str(x)).read_text()) if (tmp_path / "ran" / str(x)).exists() else 0
        assert times <= 1, "a call began twice"
        if outcome.error is None:
            assert bench.value(call) == x * x
            assert times == 1
        else:
            assert type(outcome.error).__name__ == "Signalled"
            assert "signal 9" in str(outcome.error)
            blamed += 1
    assert 0 < blamed <= kills[0]


def test_a_worker_that_left_something_is_replaced_and_what_it_left_is_killed(bench: Bench) -> None:
    calls = bench.calls(leave, [{"x": x} for x in range(4)])
    bench.run(calls)
    left = [bench.value(call) for call in calls]
    assert len(set(left)) == 4
    assert bench.gone(left)


def leave(x: int) -> int:
    return subprocess.Popen(["setsid", "sleep", "60"]).pid


# Limits


def test_a_time_limit_ends_the_call_with_its_children_and_nothing_else(bench: Bench, tmp_path: Path) -> None:
    late = bench.calls(linger, [{"file": str(tmp_path / "pid"), "seconds": 30.0}], time=0.3)
    well = bench.calls(linger, [{"file": str(tmp_path / f"w{x}"), "seconds": 0.05} for x in range(6)], time=20.0)
    begun = time.perf_counter()
    bench.run([*late, *well])
    assert time.perf_counter() - begun < 3
    error = bench.outcome(late[0]).error
    assert type(error).__name__ == "TimeLimit"
    assert "0.3 s" in str(error)
    assert [bench.value(call) for call in well] == [0.05] * 6
    assert gone([int((tmp_path / "pid").read_text())])


def linger(file: str, seconds: float) -> float:
    child = subprocess.Popen(["sleep", "60"])
    Path(file).write_text(str(child.pid))
    time.sleep(seconds)
    child.kill()
    child.wait()
    return seconds


def test_a_memory_limit_is_told_with_what_was_used(bench: Bench) -> None:
    greedy = bench.calls(allocate, [{"megabytes": 400}], memory=200_000_000)
    modest = bench.calls(allocate, [{"megabytes": 10}], memory=200_000_000)
    bench.run([*greedy, *modest])
    error = bench.outcome(greedy[0]).error
    assert type(error).__name__ == "MemoryLimit"
    assert isinstance(error, WeftError)
    assert error.details["used"] > error.details["limit"] == 200_000_000
    assert bench.value(modest[0]) == 10


def allocate(megabytes: int) -> int:
    held = bytearray(megabytes << 20)
    held[::4096] = b"x" * len(held[::4096])
    time.sleep(0.02 * megabytes)
    return len(held) >> 20


# Cancelling


def test_a_cancelled_call_ends_and_the_others_run(bench: Bench) -> None:
    calls = bench.calls(nap, [{"seconds": 20.0, "tag": 1}, {"seconds": 0.0, "tag": 2}, {"seconds": 0.1, "tag": 3}])

    async def work() -> None:
        run = asyncio.ensure_future(bench.workers.run(calls, bench.report))
        await asyncio.sleep(0.6)
        await bench.workers.cancel([calls[0].name, "unknown"])
        await run

    begun = time.perf_counter()
    bench.do(work())
    assert time.perf_counter() - begun < 5
    assert type(bench.outcome(calls[0]).error).__name__ == "Cancelled"
    assert all(bench.value(call) for call in calls[1:])


def test_cancelling_a_run_leaves_no_process_of_its_calls(bench: Bench) -> None:
    calls = bench.calls(nap, [{"seconds": 20.0, "tag": i} for i in range(10)])
    pids: list[int] = []

    async def work() -> None:
        run = asyncio.ensure_future(bench.workers.run(calls, bench.report))
        await asyncio.sleep(0.5)
        pids.extend(bench.pids())
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run
        assert not [pid for pid in pids if alive(pid)]

    bench.do(work())
    assert len(pids) == 2
    bench.run(bench.calls(add, [{"x": 1, "y": 1}]))


# Keeping and giving up workers


def test_another_program_takes_the_place_of_idle_workers(tmp_path: Path) -> None:
    bench = Bench(tmp_path, cpus=1)
    bench.run(bench.calls(add, [{"x": 1, "y": 1}]))
    (first,) = bench.pids()
    bench.run(bench.calls(fragile, [{"x": 1}]))
    assert len(bench.pids()) == 1
    assert gone([first])
    bench.close()


@pytest.mark.slow
def test_a_program_does_not_wait_for_all_calls_of_another(tmp_path: Path) -> None:
    bench = Bench(tmp_path, cpus=1)
    many = bench.calls(nap, [{"seconds": 0.05, "tag": i} for i in range(60)])
    one = bench.calls(add, [{"x": 1, "y": 1}])
    order: list[str] = []

    def report(each: Report) -> None:
        if each.state == "ended":
            order.append(each.task)

    bench.do(bench.workers.run([*many, *one], report))
    assert order.index(one[0].name) < 40
    bench.close()


def test_idle_workers_end(tmp_path: Path) -> None:
    bench = Bench(tmp_path, idle=0.3)
    bench.run(bench.calls(add, [{"x": 1, "y": 1}]))
    (pid,) = bench.pids()
    bench.do(asyncio.sleep(1.0))
    assert not bench.pids()
    assert not alive(pid)
    bench.close()


def test_a_warm_worker_is_used_again(bench: Bench) -> None:
    (one,) = bench.calls(nap, [{"seconds": 0.0, "tag": 1}])
    (two,) = bench.calls(nap, [{"seconds": 0.0, "tag": 2}])
    bench.run([one])
    bench.run([two])
    assert bench.value(one) == bench.value(two)


def test_nothing_begins_before_the_machine_has_slots(bench: Bench, tmp_path: Path) -> None:
    calls = bench.calls(counted, [{"folder": str(tmp_path), "x": 1}])

    async def work() -> None:
        bench.slots.gate.clear()
        run = asyncio.ensure_future(bench.workers.run(calls, bench.report))
        await asyncio.sleep(0.4)
        assert not (tmp_path / "1").exists()
        bench.slots.gate.set()
        await run

    bench.do(work())
    assert bench.value(calls[0]) == 1


# Set-up


def test_an_environment_that_differs_fails_the_calls_and_runs_nothing(bench: Bench, tmp_path: Path) -> None:
    calls = bench.calls(counted, [{"folder": str(tmp_path), "x": x} for x in range(3)], {"packages": {"numpy": "0.1"}})
    bench.run(calls)
    for x, call in enumerate(calls):
        assert type(bench.outcome(call).error).__name__ == "EnvironmentDiffers"
        assert not (tmp_path / str(x)).exists()


class Faulty(DirectoryStore):
    """A store with a fault that nobody foresaw: it breaks when it is asked for one buffer."""

    bad: Checksum | None = None

    def at_hand(self, checksums: Iterable[Checksum]) -> dict[Checksum, bytes]:
        wanted = list(checksums)
        if self.bad in wanted:
            raise RuntimeError("a fault while calls are handed out")
        return super().at_hand(wanted)


def test_a_fault_while_calls_are_handed_out_ends_them_and_other_calls_go_on(tmp_path: Path) -> None:
    store = Faulty(tmp_path / "store")
    bench = Bench(tmp_path, store=store)
    try:
        bad = bench.calls(add, [{"x": 1.0, "y": 2.0}, {"x": 3.0, "y": 4.0}])
        good = bench.calls(nap, [{"seconds": 0.0, "tag": tag} for tag in range(5)])
        store.bad = bad[0].calculation.inputs[0][1].checksum
        bench.do(asyncio.wait_for(bench.workers.run([*bad, *good], bench.report), 20))
        assert all(bench.outcome(call).error is None for call in good)
        (first, *_) = [bench.outcome(call).error for call in bad]
        assert isinstance(first, SiteFailed)
        assert "a fault while calls are handed out" in str(first)
        store.bad = None
        again = bench.calls(add, [{"x": 1.0, "y": 2.0}])
        bench.do(asyncio.wait_for(bench.workers.run(again, bench.report), 20))
        assert bench.value(again[0]) == 3.0
    finally:
        bench.close()


def test_missing_inputs_are_named(bench: Bench) -> None:
    calls = bench.calls(add, [{"x": 3.25, "y": 1}, {"x": 1, "y": 1}])
    checksum = dict(calls[0].calculation.inputs)["x"].checksum
    bench.store.remove([checksum])
    bench.run(calls)
    error = bench.outcome(calls[0]).error
    assert type(error).__name__ == "MissingInputs"
    assert checksum in str(error)
    assert bench.value(calls[1]) == 2.0


def test_a_program_whose_workers_die_at_set_up_is_unavailable(tmp_path: Path) -> None:
    package = tmp_path / "site"
    package.mkdir()
    bench = Bench(tmp_path, cpus=1)
    # An interpreter that dies while it starts, whatever it is to run.
    (package / "sitecustomize.py").write_text("import os; os.write(2, b'no such device\\n'); os._exit(3)\n")
    (call,) = bench.calls(add, [{"x": 1, "y": 1}], {"variables": {"PYTHONPATH": str(package)}})
    bench.do(bench.workers.run([call], bench.report))
    (report,) = bench.reports[call.name]
    assert report.state == "unavailable"
    assert "no such device" in report.detail
    bench.close()


# The engine's death

ENGINE = """
import sys, time, asyncio
from pathlib import Path
sys.path[:0] = sys.argv[1:3]
import test_workers as t
bench = t.Bench(Path(sys.argv[3]))
calls = bench.calls(t.spin, [{"x": x, "file": sys.argv[4]} for x in range(4)])
print("up", flush=True)
bench.run(calls)
"""


def spin(x: int, file: str) -> None:
    child = subprocess.Popen(["setsid", "sleep", "60"])
    with open(file, "a") as out:
        out.write(f"{os.getpid()} {child.pid}\n")
    # PyDLL keeps the interpreter's lock: no thread of the worker could do anything about it.
    ctypes.PyDLL(None).sleep(30)


@pytest.mark.slow
def test_an_engine_killed_in_a_long_call_leaves_no_process_and_no_folder(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    pids.touch()
    words = [sys.executable, "-c", ENGINE, ROOT, str(Path(__file__).parent), str(tmp_path), str(pids)]
    with subprocess.Popen(words, stdout=subprocess.DEVNULL) as engine:
        deadline = time.monotonic() + 20
        while len(pids.read_text().split()) < 4 and time.monotonic() < deadline:
            time.sleep(0.02)
        engine.kill()
    found = [int(pid) for pid in pids.read_text().split()]
    assert len(found) == 4
    assert gone(found)
    deadline = time.monotonic() + 5
    while list((tmp_path / "workers").iterdir()) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not list((tmp_path / "workers").iterdir())


def test_every_call_is_told_of_once_when_the_pool_closes(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    calls = bench.calls(nap, [{"seconds": 20.0, "tag": i} for i in range(5)])

    async def work() -> None:
        run = asyncio.ensure_future(bench.workers.run(calls, bench.report))
        await asyncio.sleep(0.4)
        await bench.workers.close()
        await run

    bench.do(work())
    kinds = Counter(type(bench.outcome(call).error).__name__ for call in calls)
    assert kinds == {"Cancelled": 5}
    bench.runner.close()
