"""Pins: what is never freed. And all calculations and records, page by page, for who looks at a home as a whole."""

from __future__ import annotations

from weftwork.core.calculation import Calculation
from weftwork.core.checksum import Checksum, from_canonical
from weftwork.core.job import Record
from weftwork.core.values import Ref
from weftwork.ledger import documents
from weftwork.ledger.database import Transaction, next_id
from weftwork.ports import PinRow


def pin(tx: Transaction, row: PinRow) -> None:
    """The latest note counts."""
    tx.run(
        "INSERT INTO pin (id, target, kind, note, created) VALUES (?, ?, ?, ?, ?) "
        "ON CONFLICT (target) DO UPDATE SET note = excluded.note",
        (next_id(tx, "pin"), row.target, row.kind, row.note, repr(float(row.created))),
    )


def unpin(tx: Transaction, target: str) -> bool:
    return tx.run("DELETE FROM pin WHERE target = ?", (target,)) > 0


def pins(tx: Transaction) -> list[PinRow]:
    rows = tx.all("SELECT target, kind, note, created FROM pin ORDER BY id")
    return [PinRow(target, kind, note, float(created)) for target, kind, note, created in rows]


def calculations(tx: Transaction, after: int, limit: int) -> list[tuple[int, Calculation]]:
    rows = tx.all(
        "SELECT c.id, f.document, c.inputs FROM calculation c JOIN frame f ON f.id = c.frame WHERE c.id > ? "
        "ORDER BY c.id LIMIT ?",
        (after, limit),
    )
    frames: dict[str, Calculation] = {}
    found = []
    for number, frame, inputs in rows:
        model = frames.get(frame)
        if model is None:
            model = frames[frame] = Calculation.from_document(from_canonical(documents.calculation_bytes(frame, "{}")))
        refs = {name: Ref.of(each) for name, each in documents.parsed(inputs).items()}
        found.append((number, Calculation.of(model.frame, refs)))
    return found


def history(tx: Transaction, after: int, limit: int) -> list[tuple[int, str, Record]]:
    rows = tx.all(
        "SELECT r.id, r.rank, c.key, r.body FROM record r JOIN calculation c ON c.id = r.calculation WHERE r.id > ? "
        "ORDER BY r.id LIMIT ?",
        (after, limit),
    )
    return [
        (number, rank, documents.record_of(Checksum(key), documents.parsed(body))) for number, rank, key, body in rows
    ]
