"""Claims, ends and deaths of several owners, against the model."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from databases import Sqlite
from hypothesis import HealthCheck, settings

from weftwork.ledger.owners import Alive
from weftwork.ports import Ledger
from weftwork.testing.ledger import GroundTruth
from weftwork.testing.ledger_machine import LedgerMachine


class SqliteMachine(LedgerMachine):
    def open(self, alive: Alive) -> tuple[Ledger, Ledger, GroundTruth]:
        self.folder = Path(tempfile.mkdtemp(prefix="weft-ledger-"))
        database = Sqlite(self.folder)
        return database.open(alive=alive), database.open(alive=alive), database

    def teardown(self) -> None:
        try:
            super().teardown()
        finally:
            if hasattr(self, "folder"):
                shutil.rmtree(self.folder)


TestSqliteMachine = SqliteMachine.TestCase
TestSqliteMachine.settings = settings(
    max_examples=25, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
)
