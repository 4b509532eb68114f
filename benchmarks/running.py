"""Runs rows: each measurement a process, sides taking turns, several rounds, everything checked.

Each round of a side has a fresh folder on one file system. The first round is small and not counted: it fills the
file caches and shows what cannot work. A side that fails is told with its reason, and its other rounds go on.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from benchmarks.peers import SIDES, is_installed, python_of
from benchmarks.rows import Line, Row
from benchmarks.sides.common import WORKERS

ROOT = Path(__file__).parent.parent
TIMEOUT = 900.0
"""Seconds after which a process is ended, and told as a failure."""

Say = Any


@dataclass
class Measured:
    """What one side gave for one line."""

    count: int
    values: list[float] = field(default_factory=list)
    extras: list[dict[str, Any]] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)


class Failed(Exception):
    """A measurement that did not come to its end, or gave what is wrong."""


def run_row(row: Row, rounds: int, scale: float, scratch: Path, say: Say) -> list[dict[str, Measured]]:
    """All rounds of a row: for each line, what each side gave."""
    shared = scratch / "shared"
    shared.mkdir()
    if row.prepare is not None:
        row.prepare(row.count_of("ours", scale), shared)
    out: list[dict[str, Measured]] = [
        {side: Measured(row.count_of(side, scale)) for side in line.sides} for line in row.lines
    ]
    sides = row.sides()
    for number in range(rounds + 1):
        turn = number % len(sides)
        for side in sides[turn:] + sides[:turn]:
            count = row.count_of(side, scale) if number else warming(row, side, scale)
            _one_round(row, side, count, scratch / "side", shared, out if number else None, say)
    shutil.rmtree(shared)
    return out


def warming(row: Row, side: str, scale: float) -> int:
    """Items of the round that is not counted."""
    if row.prepare is not None:
        return row.count_of(side, scale)
    return max(row.least, min(row.count_of(side, scale), max(row.count_of(side, scale) // 100, 4)))


def _one_round(
    row: Row, side: str, count: int, folder: Path, shared: Path, out: list[dict[str, Measured]] | None, say: Say
) -> None:
    """All lines of a row that a side can do, in one fresh folder. A failure ends the round of the side."""
    folder.mkdir()
    try:
        for index, line in enumerate(row.lines):
            if side not in line.sides:
                continue
            try:
                sample = measure(line, side, count, folder, shared)
            except Failed as error:
                say(f"  {line.phase} {side}: failed: {error}")
                if out is not None:
                    out[index][side].failures.append(str(error))
                return
            say(f"  {line.phase} {side}: {sample['value']:.3g} {'' if out else '(not counted)'}")
            if out is not None:
                out[index][side].values.append(sample["value"])
                out[index][side].extras.append(sample["extra"])
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        end_of(folder)


def measure(line: Line, side: str, count: int, folder: Path, shared: Path) -> dict[str, Any]:
    """One process of one side, and for ours a second one that reads everything back."""
    known = SIDES[side]
    if not is_installed(known):
        raise Failed(f"its environment is missing: python -m benchmarks peers {known.environment}")
    out = folder / "sample.json"
    out.unlink(missing_ok=True)
    work = [line.phase, str(count), str(folder), str(shared), known.variant, str(out)]
    process([str(python_of(known)), "-m", f"benchmarks.sides.{known.module}", *work], folder, python_of(known))
    sample: dict[str, Any] = json.loads(out.read_text())
    expected = line.expected(count, shared)
    if sample["digest"] != expected:
        raise Failed("the results are not those of the work")
    if side == "ours" and (folder / "home").exists():
        sample["extra"]["read back"] = read_back(line, count, folder)
    return sample


def read_back(line: Line, count: int, folder: Path) -> dict[str, Any]:
    """What the second process found. Raises Failed for anything that is wrong."""
    out = folder / "found.json"
    process([sys.executable, "-m", "benchmarks.verify", str(folder / "home"), str(out)], folder, Path(sys.executable))
    found: dict[str, Any] = json.loads(out.read_text())
    if found["wrong"] or found["corrupt"]:
        raise Failed(f"read back: {(found['wrong'] or found['corrupt'])[0]}")
    if line.records is not None:
        expected = dict(line.records(count))
        for what in ("records", "ran"):
            if found[what] != expected:
                raise Failed(f"read back: {what} {found[what]} where {expected} are expected")
    return found


def process(words: list[str], folder: Path, python: Path) -> None:
    """Run one process in a session of its own. Raises Failed with the end of what it wrote."""
    log = folder / "log"
    with log.open("wb") as stream:
        started = subprocess.Popen(
            words,
            cwd=ROOT,
            env=environment(folder, python),
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            code = started.wait(TIMEOUT)
        except subprocess.TimeoutExpired:
            raise Failed(f"did not end within {TIMEOUT:.0f} s") from None
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(started.pid, signal.SIGKILL)
            started.wait()
    if code:
        lines = log.read_text(errors="replace").strip().splitlines()
        raise Failed(f"exit code {code}: {' | '.join(lines[-3:])[-600:]}")


def environment(folder: Path, python: Path) -> dict[str, str]:
    """The same for all sides: nothing of the user's settings, and a home and temporary folder of the round."""
    home = folder / "user"
    home.mkdir(exist_ok=True)
    # Beside the bench's interpreter: its own commands come first, as in an activated environment.
    return {
        "PATH": f"{python.parent}{os.pathsep}{os.defpath}{os.pathsep}/usr/local/bin",
        "HOME": str(home),
        "XDG_CACHE_HOME": str(home / "cache"),
        "TMPDIR": str(home),
        "LANG": "C.UTF-8",
        "PYTHONPATH": str(ROOT),
        "WEFT_CPUS": str(WORKERS),
        "OMP_NUM_THREADS": "1",
    }


def end_of(folder: Path) -> None:
    """Wait until no process of the round is left, so that none disturbs the next; end those that stay."""
    until = time.monotonic() + 5.0
    while left := [found for found in psutil.process_iter(["cmdline"]) if _of(found, folder)]:
        if time.monotonic() > until:
            for found in left:
                with contextlib.suppress(psutil.Error):
                    found.kill()
        time.sleep(0.05)


def _of(found: psutil.Process, folder: Path) -> bool:
    words = found.info["cmdline"] or []
    return found.pid != os.getpid() and any(str(folder) in word for word in words)
