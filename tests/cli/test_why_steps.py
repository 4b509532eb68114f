"""``weft why`` of a step that is many jobs: a map, a race."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

SCRIPT = """
import weftwork as weft

FACTOR = {factor}

@weft.module
def scaled(x: int) -> int:
    return FACTOR * x

@weft.module
def low(x: int) -> int:
    return x

@weft.workflow
def study(numbers: list[int] = [1, 2, 3]):
    first = low(1)
    won = weft.race(name="won", a=low.bind(10), b=low.bind(20), accept=lambda each: each.result > 5)
    never = low.options(name="never", when=first > 5)(7)
    del never
    return {{"scaled": scaled.map(numbers), "won": won}}
"""


def _weft(folder: Path, *words: str) -> str:
    weft = Path(sys.executable).parent / "weft"
    environment = {**os.environ, "WEFT_HOME": str(folder / "home")}
    done = subprocess.run([weft, *words], cwd=folder, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_map_tells_how_many_items_ran_and_why_the_first_did(tmp_path: Path) -> None:
    (tmp_path / "study.py").write_text(SCRIPT.format(factor=2))
    _weft(tmp_path, "run", "study.py:study")
    (tmp_path / "study.py").write_text(SCRIPT.format(factor=3))
    _weft(tmp_path, "run", "study.py:study")
    told = _weft(tmp_path, "why", "scaled")
    assert "scaled: 3 of 3 items ran, and 0 came from the cache" in told
    assert "FACTOR" in told
    assert "2 → 3" in told
    _weft(tmp_path, "run", "study.py:study")
    assert "all 3 items came from the cache" in _weft(tmp_path, "why", "scaled")
    assert "won{" in _weft(tmp_path, "why", "won")
    assert "never is skipped" in _weft(tmp_path, "why", "never")
