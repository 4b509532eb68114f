"""The real systems behind the adapters: started by the scripts of ``tests/services``, ended with the tests."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parent.parent / "services"


@dataclass(frozen=True, slots=True)
class Service:
    """A system that runs: its folder, the variables that its commands need, its version."""

    folder: Path
    environment: dict[str, str]
    version: str


@contextlib.contextmanager
def running(name: str, *words: str) -> Iterator[Service]:
    """A service while the block runs. Where it cannot be had the test is skipped, with what is missing; in CI it fails."""
    script = str(SCRIPTS / f"{name}.sh")
    with tempfile.TemporaryDirectory(prefix=f"weft-{name}-") as top:
        Path(top).chmod(0o755)  # some of them give up being root
        folder = Path(top) / "it"
        begun = subprocess.run([script, "start", str(folder), *words], capture_output=True, text=True, timeout=280)
        try:
            if begun.returncode != 0:
                told = f"{name} could not be started: {begun.stderr.strip() or begun.stdout.strip()}"
                if os.environ.get("WEFT_CI") == "1":
                    pytest.fail(told)
                pytest.skip(told)
            variables = dict(line.split("=", 1) for line in (folder / "env").read_text().splitlines())
            version = (folder / "version").read_text().strip()
            _note(name, version)
            yield Service(folder, variables, version)
        finally:
            subprocess.run([script, "stop", str(folder)], capture_output=True, timeout=120)


def _note(name: str, version: str) -> None:
    """For the end of the report: which real system the tests met."""
    with open(os.environ["WEFT_TEST_VERSIONS"], "a", encoding="utf-8") as file:
        file.write(json.dumps([name, version]) + "\n")
