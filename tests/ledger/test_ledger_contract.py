"""The contract of every ledger, on each database."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from databases import Sqlite

from weftwork.ledger import SqliteLedger
from weftwork.testing.ledger import LedgerContract
from weftwork.testing.ledger_batches import BatchesContract
from weftwork.testing.ledger_owners import OwnersContract
from weftwork.testing.ledger_runs import RunsContract, SlotsContract


class Databases:
    @pytest.fixture
    def ledger(self, database: Sqlite) -> Iterator[Any]:
        with database.open() as ledger:
            yield ledger

    @pytest.fixture
    def other(self, database: Sqlite, ledger: SqliteLedger) -> Iterator[Any]:
        with database.open() as other:
            yield other

    @pytest.fixture
    def truth(self, database: Sqlite, ledger: SqliteLedger) -> Sqlite:
        return database


class TestClaims(Databases, LedgerContract): ...


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
class TestOwners(Databases, OwnersContract):
    """Not on a network file system, where only one host may own jobs."""


class TestBatches(Databases, BatchesContract): ...


class TestSlots(Databases, SlotsContract): ...


class TestRuns(Databases, RunsContract): ...
