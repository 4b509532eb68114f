"""``weft`` in a home and a folder of the test's own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from weft_command import MODULES, Weft, end_supervisor


@pytest.fixture
def weft(tmp_path: Path) -> Iterator[Weft]:
    folder = tmp_path / "a project"
    folder.mkdir()
    made = Weft(folder, tmp_path / "home")
    made.write("mods.py", MODULES)
    yield made
    end_supervisor(made.home)
