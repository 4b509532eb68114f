"""The databases that the ledger's suites run on: how to open one, and how to ask it without the ledger."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

from weftwork.core.checksum import Checksum
from weftwork.ledger import SqliteLedger


class Sqlite:
    """A file; the facts by sqlite3 alone."""

    def __init__(self, folder: Path, *, network: bool = False) -> None:
        self.path = folder / "ledger.sqlite"
        self.network = network

    def open(self, **options: Any) -> SqliteLedger:
        return SqliteLedger(self.path, network=self.network, **options)

    @property
    def opening(self) -> str:
        """Python text that binds ``ledger`` to it in another process."""
        return (
            "from pathlib import Path; from weftwork.ledger import SqliteLedger; "
            f"ledger = SqliteLedger(Path({str(self.path)!r}), network={self.network})"
        )

    def ask(self, sql: str, *parameters: Any) -> list[Any]:
        connection = sqlite3.connect(self.path, timeout=30)
        try:
            return connection.execute(sql, parameters).fetchall()
        finally:
            connection.close()

    def sound(self) -> bool:
        return self.ask("PRAGMA integrity_check") == [("ok",)]

    def live(self, key: Checksum) -> list[tuple[str, int]]:
        return self.ask(
            "SELECT name, epoch FROM job WHERE live = 1 AND private = 0 "
            "AND calculation IN (SELECT id FROM calculation WHERE key = ?)",
            key,
        )

    def events(self, job: str) -> list[str]:
        ((texts,),) = self.ask("SELECT events FROM job WHERE name = ?", job)
        return [event[0] for event in json.loads(f"[{texts}]")]

    def records(self, key: Checksum) -> list[str]:
        rows = self.ask(
            "SELECT rank FROM record WHERE calculation IN (SELECT id FROM calculation WHERE key = ?) ORDER BY id", key
        )
        return [rank for (rank,) in rows]

    def held(self, host: str) -> tuple[int, int, int]:
        sql = "SELECT total(cpus), total(memory), total(gpus) FROM slot WHERE held = 1 AND host = ?"
        cpus, memory, gpus = self.ask(sql, host)[0]
        return int(cpus), int(memory), int(gpus)

    def count(self, table: str) -> int:
        return int(self.ask(f"SELECT count(*) FROM {table}")[0][0])
