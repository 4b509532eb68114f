"""``weft`` as a person has it: the real command, in a home and folder of the test's own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

WEFT = os.path.join(os.path.dirname(sys.executable), "weft")

MODULES = """
import os
import time
import weftwork as weft


@weft.module
def add(x: float, y: float = 1.0) -> float:
    print("adding", x, y)
    return x + y


@weft.module
def bad(x: float) -> float:
    print("about to fail")
    raise ValueError(f"no: {x}")


@weft.module
def slow(x: float) -> float:
    print("going to sleep", flush=True)
    time.sleep(x)
    return x


@weft.module
def sizes(files: list[weft.File]) -> list[int]:
    return [os.path.getsize(each.path) for each in files]


@weft.workflow
def flow(x: float):
    first = add(x=x)
    return add(x=first, y=2.0)


@weft.workflow
def mixed(x: float):
    first = add(x=x)
    second = bad(x=first)
    return {"last": add(x=second, y=1.0), "first": first}


@weft.workflow
def long(x: float):
    return add(x=slow(x=x), y=0.0)
"""


@dataclass(frozen=True)
class Weft:
    """Runs ``weft`` in a folder, with a home."""

    folder: Path
    home: Path

    @property
    def environment(self) -> dict[str, str]:
        out = {name: value for name, value in os.environ.items() if not name.startswith("WEFT_")}
        return out | {"WEFT_HOME": str(self.home), "NO_COLOR": "1"}

    def __call__(self, *words: str, code: int | None = 0, **more: Any) -> subprocess.CompletedProcess[bytes]:
        settings = {"cwd": self.folder, "env": self.environment, "timeout": 120, "capture_output": True} | more
        done = subprocess.run([WEFT, *words], **settings)
        assert code is None or done.returncode == code, (words, done.returncode, done.stdout, done.stderr)
        return done

    def out(self, *words: str, **more: Any) -> str:
        return self(*words, **more).stdout.decode()

    def json(self, *words: str, **more: Any) -> Any:
        return json.loads(self.out(*words, **more))

    def start(self, *words: str, **more: Any) -> subprocess.Popen[bytes]:
        settings = {"cwd": self.folder, "env": self.environment, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return subprocess.Popen([WEFT, *words], **(settings | more))

    def write(self, name: str, text: str, mode: int = 0o644) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(mode)
        return path


def end_supervisor(home: Path) -> None:
    """End the supervisor that a home's commands were run by: it would idle on for minutes."""
    import psutil

    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or []
        if ("supervise-detached" in words or "supervise" in words) and str(home) in words:
            process.terminate()


def until(holds: Callable[[], Any], seconds: float = 30.0) -> Any:
    """What ``holds`` gives, once it is true."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = holds()
        if found:
            return found
        time.sleep(0.02)
    raise AssertionError(f"did not come to hold within {seconds} s")


def sleepers(mark: str) -> list[int]:
    """The processes whose command line has a mark in it, ``weft`` itself apart."""
    import psutil

    out = []
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or []
        if any(mark in word for word in words) and not any(word.endswith("weft") for word in words):
            out.append(process.pid)
    return out
