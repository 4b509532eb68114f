"""Reading conflicts: keys that gave two results, with where each came from. Nothing here writes; ``jobs.end`` does."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from weftwork.core.checksum import Checksum, from_canonical
from weftwork.ledger import documents, names
from weftwork.ledger.database import Transaction, chunks, marks
from weftwork.ports import ConflictRow, Evidence

_SELECT = """
SELECT c.key, c.frame, f.document,
    a.body, aj.name, aq.run, aj.step,
    r.body, j.name, q.run, j.step
FROM record r JOIN calculation c ON c.id = r.calculation JOIN frame f ON f.id = c.frame
    JOIN record a ON a.calculation = c.id AND a.rank = 'answer'
    LEFT JOIN job j ON j.id = r.job LEFT JOIN request q ON q.id = j.request
    LEFT JOIN job aj ON aj.id = a.job LEFT JOIN request aq ON aq.id = aj.request
WHERE r.rank = 'conflict'
"""
# The later of the two brought it up: mostly the one that differs, and the one that stands where the first was lost.
_LATER = "CASE WHEN a.id > r.id THEN {} ELSE {} END"

_PAGE = 500
"""Rows that are read at a time."""


@dataclass(frozen=True, slots=True)
class Asked:
    """Which conflicts are meant; what is ``None`` does not matter."""

    key: Checksum | None = None
    name: str | None = None
    run: str | None = None
    jobs: Sequence[str] | None = None


def find(tx: Transaction, asked: Asked, limit: int) -> list[ConflictRow]:
    """Those that were asked for, the latest first."""
    known: dict[int, tuple[str, Checksum]] = {}
    if asked.jobs is None:
        return _distinct(tx, asked, limit, known)
    rows = []
    for chunk in chunks(names.of(asked.jobs)):
        numbers = [number for number, _ in chunk]
        rows += _rows(tx, asked, f"AND {_LATER.format('a.job', 'r.job')} IN ({marks(len(chunk))})", numbers, limit)
    return [_conflict(tx, row, known) for row in rows if {row[4], row[8]} & set(asked.jobs)]


def _distinct(tx: Transaction, asked: Asked, limit: int, known: dict[int, tuple[str, Checksum]]) -> list[ConflictRow]:
    """Each second result once, by whom it came up last: a calculation that was run again often gives few different ones."""
    found: dict[Any, ConflictRow] = {}
    after = 0
    while rows := _rows(tx, asked, "", (), _PAGE, after):
        after += len(rows)
        for row in rows:
            conflict = _conflict(tx, row, known)
            both = conflict.stands.record, conflict.differs.record
            found.setdefault((conflict.key, *(frozenset(each.outputs) for each in both)), conflict)
            if len(found) == limit:
                return list(found.values())
    return list(found.values())


def _rows(tx: Transaction, asked: Asked, also: str, parameters: Sequence[Any], limit: int, after: int = 0) -> list[Any]:
    conditions, values = [also], [*parameters]
    if asked.key is not None:
        conditions.append("AND c.prefix = ? AND c.key = ?")
        values += [documents.prefix(asked.key), asked.key]
    if asked.name is not None:
        conditions.append(f"AND {_LATER.format('aq.label', 'q.label')} = ?")
        values.append(asked.name)
    if asked.run is not None:
        conditions.append(f"AND {_LATER.format('aq.run', 'q.run')} = ?")
        values.append(asked.run)
    return tx.all(
        f"{_SELECT} {' '.join(conditions)} ORDER BY {_LATER.format('a.id', 'r.id')} DESC LIMIT ? OFFSET ?",
        [*values, limit, after],
    )


def _conflict(tx: Transaction, row: Any, known: dict[int, tuple[str, Checksum]]) -> ConflictRow:
    key, frame = Checksum(row[0]), row[1]
    if frame not in known:
        known[frame] = _declared(tx, frame, row[2])
    stands, differs = (_evidence(key, *part) for part in (row[3:7], row[7:11]))
    return ConflictRow(key, *known[frame], stands, differs)


def _evidence(key: Checksum, body: str, job: str | None, run: str | None, step: str | None) -> Evidence:
    return Evidence(documents.record_of(key, documents.parsed(body)), job, run or None, step)


def declared(tx: Transaction, key: Checksum) -> Checksum | None:
    """The document of the module that a key's calculation was asked for with last."""
    row = tx.one(
        "SELECT f.id, f.document FROM calculation c JOIN frame f ON f.id = c.frame WHERE c.prefix = ? AND c.key = ?",
        (documents.prefix(key), key),
    )
    return None if row is None else _declared(tx, *row)[1]


def _declared(tx: Transaction, frame: int, document: str) -> tuple[str, Checksum]:
    """The name of a frame's module, and the document of it that was declared last: with another tolerance, for one."""
    first = from_canonical(document.encode())
    module = first.pop("module")
    for later, checksum in _frames(tx, frame):
        if later == first:
            return str(first["name"]), checksum
    return str(first["name"]), Checksum(module)


def _frames(tx: Transaction, after: int) -> Iterator[tuple[dict[str, Any], Checksum]]:
    """Later frames, the latest first, each without its module and with it."""
    for (document,) in tx.all("SELECT document FROM frame WHERE id > ? ORDER BY id DESC", (after,)):
        found = from_canonical(document.encode())
        checksum = Checksum(found.pop("module"))
        yield found, checksum
