"""Real processes on one ledger, on each database."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from databases import Sqlite

from weftwork.testing.ledger_processes import ProcessesContract


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
class TestProcesses(ProcessesContract):
    @pytest.fixture
    def ledger(self, database: Sqlite) -> Iterator[Any]:
        with database.open() as ledger:
            yield ledger

    @pytest.fixture
    def truth(self, database: Sqlite) -> Sqlite:
        return database

    @pytest.fixture
    def opening(self, database: Sqlite) -> str:
        return database.opening
