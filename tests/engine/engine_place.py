"""A home, other processes of it, and what was really executed there."""

from __future__ import annotations

import collections
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

PROJECT = Path(__file__).parent / "project"

PRELUDE = f"""
import os, signal, sys, threading, time
sys.path.insert(0, {str(PROJECT)!r})
import weftwork as weft
import engine_work as work
LOG = sys.argv[1]
"""


@dataclass
class Place:
    """A home with two CPUs, and a log of executions."""

    folder: Path
    started: list[subprocess.Popen[str]] = field(default_factory=list)

    @property
    def home(self) -> Path:
        return self.folder / "home"

    @property
    def log(self) -> str:
        return str(self.folder / "executions")

    def lines(self) -> list[str]:
        path = Path(self.log)
        return path.read_text().splitlines() if path.exists() else []

    def executions(self) -> collections.Counter[str]:
        return collections.Counter(self.lines())

    def start(self, script: str, *arguments: object) -> subprocess.Popen[str]:
        """Another process of this home, with the project's modules as ``work`` and the log as ``LOG``."""
        words = [sys.executable, "-c", PRELUDE + script, self.log, *map(str, arguments)]
        environment = {**os.environ, "WEFT_HOME": str(self.home), "WEFT_CPUS": "2"}
        process = subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.started.append(process)
        return process

    def out(self, process: subprocess.Popen[str], code: int = 0, timeout: float = 60) -> str:
        out, err = process.communicate(timeout=timeout)
        assert process.returncode == code, (process.returncode, out, err)
        return out.strip()

    def run(self, script: str, *arguments: object, code: int = 0, timeout: float = 60) -> str:
        return self.out(self.start(script, *arguments), code, timeout)

    def processes(self, *, supervisor: bool = False) -> list[psutil.Process]:
        """What works for this home and is neither a started script nor this process; the supervisor may idle on."""
        found = []
        known = {os.getpid(), *(process.pid for process in self.started)}
        for process in psutil.process_iter():
            try:
                text = " ".join([*process.cmdline(), process.environ().get("HOME", "")])
                ours = str(self.home) in text and process.pid not in known
                if ours and (supervisor or "supervise" not in text):
                    found.append(process)
            except (psutil.Error, OSError):
                continue
        return found

    def until(self, holds: Callable[[], Any], seconds: float = 20.0) -> Any:
        """What ``holds`` gives once it is true."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            found = holds()
            if found:
                return found
            time.sleep(0.01)
        raise AssertionError(f"did not come to hold within {seconds} s; executed: {self.lines()}")

    def has(self, line: str) -> None:
        self.until(lambda: line in self.lines())

    def pid_of(self, name: str) -> int:
        """The pid that a command noted of itself."""
        return int(self.until(lambda: [line for line in self.lines() if line.startswith(name + " ")])[0].split()[1])

    def nothing_left(self, seconds: float = 5.0) -> None:
        """Every process that worked for this home is gone, the resident supervisor apart."""
        self.until(lambda: not self.processes(), seconds)
