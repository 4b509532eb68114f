"""Which calculations made what: from an output's checksum to the keys that gave it.

The index is brought up to date by who asks: few ever do, and writing a million records pays nothing for it.
"""

from __future__ import annotations

from collections.abc import Sequence

from weftwork.core.checksum import Checksum
from weftwork.ledger import documents
from weftwork.ledger.database import Database, Transaction, insert, next_id

_BATCH = 5000
"""Records a transaction: others write in between."""

_LIMIT = 64
"""Records looked at for one checksum: a million calculations may have given ``true``."""


def index(database: Database) -> None:
    """Enter the outputs of all records that are not entered yet."""
    while True:
        with database.read() as tx:
            if not _left(tx, 1):
                return
        with database.write() as tx:
            _enter(tx)


def _left(tx: Transaction, limit: int) -> list[tuple[int, str]]:
    """Records that came after the last one entered. Every record has an output, hence a row."""
    sql = (
        "SELECT id, body FROM record WHERE id > coalesce((SELECT record FROM output ORDER BY id DESC LIMIT 1), 0) "
        "ORDER BY id LIMIT ?"
    )
    return tx.all(sql, (limit,))


def _enter(tx: Transaction) -> None:
    number = next_id(tx, "output")
    rows: list[tuple[int, int, int]] = []
    for record, body in _left(tx, _BATCH):
        _, _, outputs, _ = documents.parsed(body)
        for prefix in {documents.prefix(checksum) for _, _, checksum, _ in outputs}:
            rows.append((number + len(rows), prefix, record))
    insert(tx, "output (id, prefix, record)", rows)


def makers(tx: Transaction, checksums: Sequence[Checksum]) -> dict[Checksum, list[Checksum]]:
    """Keys by the outputs that they gave, the earliest record first."""
    found: dict[Checksum, list[Checksum]] = {}
    for checksum in dict.fromkeys(checksums):
        rows = tx.all(
            "SELECT c.key, r.body FROM output o JOIN record r ON r.id = o.record "
            "JOIN calculation c ON c.id = r.calculation WHERE o.prefix = ? ORDER BY o.id LIMIT ?",
            (documents.prefix(checksum), _LIMIT),
        )
        keys = [Checksum(key) for key, body in rows if _gave(documents.parsed(body), checksum)]
        if keys:
            found[checksum] = list(dict.fromkeys(keys))
    return found


def _gave(body: Sequence[object], checksum: Checksum) -> bool:
    _, reusable, outputs, _ = body
    return bool(reusable) and any(each[2] == checksum for each in outputs)  # type: ignore[attr-defined]
