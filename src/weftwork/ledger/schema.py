"""The tables, as numbered migrations; what to do with a ledger that an older or a newer Weftwork wrote.

A migration is a file of plain statements beside this one, and is never changed after a release: the next change is
the next number. Each is applied in one transaction with its row in ``migration``.
"""

from __future__ import annotations

from importlib import resources

from weftwork.errors import Conflict
from weftwork.ledger.database import Transaction

MIGRATIONS = (("0001_start.sql", "0.1.0"), ("0002_cancel_run.sql", "0.1.0"))
"""Each with the first release of Weftwork that understands it."""

VERSION = len(MIGRATIONS)


def statements(number: int) -> list[str]:
    """The statements of a migration, counted from 1."""
    text = (resources.files(__package__) / "migrations" / MIGRATIONS[number - 1][0]).read_text("utf-8")
    code = "\n".join(line.partition("--")[0] for line in text.splitlines())
    return [each.strip() for each in code.split(";") if each.strip()]


def check(found: int, needs: str, place: str) -> None:
    """Raises :class:`~weftwork.errors.Conflict` for a ledger that a newer Weftwork wrote."""
    if found > VERSION:
        raise Conflict(
            f"{place} was written by a newer Weftwork (its schema has number {found}, this Weftwork knows up to "
            f"{VERSION}): install weftwork {needs} or later, or use another home; nothing was changed",
            found=found,
            known=VERSION,
            needs=needs,
        )


def migrate(tx: Transaction, found: int) -> None:
    """Apply what is missing after version ``found``, in the transaction that is open."""
    for number in range(found + 1, VERSION + 1):
        for statement in statements(number):
            tx.run(statement)
        tx.run("INSERT INTO migration (version, needs) VALUES (?, ?)", (number, MIGRATIONS[number - 1][1]))
