"""What a :class:`~weftwork.ports.Store` that outlives its process must do: many processes at once, and ``kill -9``."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from weftwork.core.checksum import Checksum
from weftwork.ports import Store
from weftwork.testing.store import GroundTruth, named

_PUT = """
for number in range(25):
    batch = [b"shared %d" % number, b"%s %d" % (sys.argv[1].encode(), number), (b"large %d" % number) * 12_000]
    names = store.put_many(batch)
    assert store.get_many(names) == dict(zip(names, batch))
"""

_LOOP = """
for number in range(1_000_000):
    group = b"%s-%d" % (sys.argv[1].encode(), number)
    names = store.put_many([group + b"/%d" % each for each in range(20)] + [group * 20_000])
    names.append(store.put_stream(iter([group] * 20_000))[0])
    print(number, *names, flush=True)
"""


class ProcessesContract:
    """Subclasses define the fixtures ``store``, ``ground_truth`` and ``opening``: Python text that binds ``store`` to
    the same store in another process."""

    @pytest.fixture
    def store(self) -> Iterator[Store]:
        raise NotImplementedError

    @pytest.fixture
    def ground_truth(self) -> GroundTruth:
        raise NotImplementedError

    @pytest.fixture
    def opening(self) -> str:
        raise NotImplementedError

    @pytest.mark.slow
    def test_processes_put_at_once(self, store: Store, ground_truth: GroundTruth, opening: str) -> None:
        working = [_start(opening + _PUT, f"p{number}") for number in range(10)]
        for process in working:
            _, errors = process.communicate(timeout=120)
            assert process.returncode == 0, errors
        found = dict(store.checksums())
        assert len(found) == 25 + 10 * 25 + 25
        assert set(found) == ground_truth.names()

    @pytest.mark.slow
    def test_a_process_sees_what_another_put(self, store: Store, opening: str) -> None:
        name = store.put(b"from here")
        process = _start(opening + "print(store.get(sys.argv[1]).decode(), store.put(b'from there'))", name)
        out, errors = process.communicate(timeout=60)
        assert out.split() == ["from", "here", named(b"from there")], errors
        assert store.get(named(b"from there")) == b"from there"

    @pytest.mark.slow
    @pytest.mark.parametrize("turn", range(4))
    def test_killed_puts_leave_whole_buffers_or_none(
        self, store: Store, ground_truth: GroundTruth, opening: str, turn: int
    ) -> None:
        rng = random.Random(turn)
        putting = [_start(opening + _LOOP, f"{turn}-{number}") for number in range(3)]
        told: list[list[Checksum]] = []
        for process in putting:
            assert process.stdout is not None
            # The first line says that it is at work: the moment after that is random.
            first = process.stdout.readline()
            time.sleep(rng.uniform(0.0, 0.15))
            process.send_signal(signal.SIGKILL)
            rest, _ = process.communicate(timeout=60)
            lines = [line.split() for line in (first + rest).splitlines(keepends=True) if line.endswith("\n")]
            told += [[Checksum(name) for name in words[1:]] for words in lines]
        assert told
        # What was told is there.
        assert store.missing([name for names in told for name in names]) == set()
        # What is there is whole, small buffers of one batch all or none.
        found = dict(store.checksums())
        assert set(found) == ground_truth.names()
        for name in found:
            assert named(store.get(name)) == name
        assert _whole_batches(set(found), turn)
        assert store.get(store.put(b"goes on")) == b"goes on"


def _whole_batches(found: set[Checksum], turn: int) -> bool:
    for process in range(3):
        for number in range(1000):
            batch = {named(b"%d-%d-%d/%d" % (turn, process, number, each)) for each in range(20)}
            if not (batch & found):
                break
            if batch - found:
                return False
    return True


def _start(code: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", "import sys\n" + code, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
