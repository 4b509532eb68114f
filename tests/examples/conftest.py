"""The real ``weft`` command over a home of its own, on a copy of the examples."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
WEFT = Path(sys.executable).parent / "weft"


class Bench:
    """A folder with a copy of the examples, and a home."""

    def __init__(self, folder: Path, home: Path) -> None:
        self.examples = folder / "the examples"
        shutil.copytree(EXAMPLES, self.examples, ignore=shutil.ignore_patterns("__pycache__", "test_*.py"))
        self.environment = {**os.environ, "WEFT_HOME": str(home)}

    def edited(self, folder: Path, file: str, old: str, new: str) -> Bench:
        """Another copy, in which a file reads otherwise, and the same home."""
        bench = Bench(folder, Path(self.environment["WEFT_HOME"]))
        path = bench.examples / file
        text = path.read_text()
        assert text.count(old) == 1
        path.write_text(text.replace(old, new))
        return bench

    def weft(self, *words: str, fails: bool = False) -> subprocess.CompletedProcess[str]:
        """A command that succeeds, run where the examples are; with ``fails`` one that does not."""
        return self._run([str(WEFT), *words], self.examples, fails)

    def python(self, folder: str, *words: str) -> str:
        """What a Python of its own prints, in the folder of an example."""
        return self._run([sys.executable, *words], self.examples / folder, False).stdout

    def _run(self, words: list[str], folder: Path, fails: bool) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(words, cwd=folder, env=self.environment, capture_output=True, text=True)
        assert (done.returncode != 0) == fails, done.stdout + done.stderr
        return done

    def run(self, workflow: str, *words: str, fails: bool = False) -> Ran:
        """``weft run --json`` of a workflow."""
        done = self.weft("run", "--quiet", "--json", workflow, *words, fails=fails)
        return Ran(self, json.loads(done.stdout))


class Ran:
    """A run that has ended."""

    def __init__(self, bench: Bench, document: dict[str, Any]) -> None:
        self.id: str = document["run"]
        self.state: str = document["state"]
        self.why: str = document["why"]
        self.steps: dict[str, Any] = document["steps"]
        self.outputs = {name: each.get("value", each.get("checksum")) for name, each in document["outputs"].items()}
        self._bench = bench

    def executed(self) -> set[str]:
        """The tasks that were not answered from the cache, as ``step``, ``step[index]`` or ``step{candidate}``."""
        jobs = json.loads(self._bench.weft("jobs", "--all", "--run", self.id, "--json").stdout)
        assert jobs
        return {each["step"] for each in jobs if not each["cached"]}


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    folder = tmp_path_factory.mktemp("bench")
    return Bench(folder, folder / "home")
