"""Each suite runs on each database."""

from __future__ import annotations

from pathlib import Path

import pytest
from databases import Sqlite


@pytest.fixture(params=["sqlite", "sqlite on a network"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Sqlite:
    return Sqlite(tmp_path, network=request.param != "sqlite")
