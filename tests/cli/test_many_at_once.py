"""Many ``weft do`` at once over one home: each distinct command runs once, within the machine's slots, whoever dies."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path

import pytest
from weft_command import Weft, until

DISTINCT, EACH, SLOTS = 10, 5, 2


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_fifty_at_once_of_ten_distinct_with_one_killed_give_ten_results(weft: Weft) -> None:
    log = weft.folder.parent / "log"
    environment = weft.environment | {"WEFT_CPUS": str(SLOTS)}

    def line(number: int) -> str:
        # Appended by absolute path: a file that the engine does not know.
        return f"echo begin {number} >> {log}; sleep 0.4; echo {number} > out.txt; echo end {number} >> {log}; echo {number}"

    def start(number: int, copy: int) -> tuple[int, Path, object]:
        folder = weft.folder / f"{number}-{copy}"
        folder.mkdir()
        words = ("do", "-o", "out.txt", "--", line(number))
        return number, folder, weft.start(*words, cwd=folder, env=environment)

    started = [start(number, copy) for copy in range(EACH) for number in range(DISTINCT)]
    until(lambda: log.exists() and "begin" in log.read_text(), 60)
    killed = started[0][2]
    killed.kill()  # type: ignore[attr-defined]
    for number, folder, process in started[1:]:
        out, told = process.communicate(timeout=400)  # type: ignore[attr-defined]
        assert (process.returncode, out) == (0, f"{number}\n".encode()), told  # type: ignore[attr-defined]
        assert (folder / "out.txt").read_text() == f"{number}\n"
    words = log.read_text().split("\n")[:-1]
    ended = Counter(word for word in words if word.startswith("end"))
    assert set(ended) == {f"end {number}" for number in range(DISTINCT)}
    again = {word: count for word, count in ended.items() if count > 1}
    assert set(again) <= {f"end {started[0][0]}"}
    running = most = 0
    for word in words:
        running += 1 if word.startswith("begin") else -1
        most = max(most, running)
    assert most <= SLOTS + (1 if again else 0)


@pytest.mark.slow
def test_two_equal_runs_at_once_run_each_step_once(weft: Weft) -> None:
    first = weft.start("run", "mods.py:long", "-i", "x=2", "--json")
    second = weft.start("run", "mods.py:long", "-i", "x=2", "--json")
    assert first.wait(timeout=60) == second.wait(timeout=60) == 0
    time.sleep(0.1)
    ran = Counter(each["name"] for each in weft.json("jobs", "--json") if not each["cached"])
    assert ran == {"slow": 1, "add": 1}
