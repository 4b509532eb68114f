"""The tables, as numbered migrations.

A migration is a file of plain statements beside this one, and is never changed after a release: the next change is
the next number. Each is applied in one transaction with its row in ``migration``.
"""

from __future__ import annotations

from weftwork.ledger.database import Transaction

MIGRATIONS = (
    ("0001_start.sql", "0.1.0"),
    ("0002_cancel_run.sql", "0.1.0"),
    ("0003_output.sql", "0.1.0"),
    ("0004_record_job.sql", "0.1.0"),
    ("0005_pin.sql", "0.1.0"),
)
"""Each with the first release of Weftwork that understands it."""

VERSION = len(MIGRATIONS)


def statements(number: int) -> list[str]:
    """The statements of a migration, counted from 1."""
    # Imported here: opening a ledger that is there needs no migration.
    from importlib import resources

    text = (resources.files(__package__) / "migrations" / MIGRATIONS[number - 1][0]).read_text("utf-8")
    code = "\n".join(line.partition("--")[0] for line in text.splitlines())
    return [each.strip() for each in code.split(";") if each.strip()]


def migrate(tx: Transaction, found: int) -> None:
    """Apply what is missing after version ``found``, in the transaction that is open."""
    for number in range(found + 1, VERSION + 1):
        for statement in statements(number):
            tx.run(statement)
        tx.run("INSERT INTO migration (version, needs) VALUES (?, ?)", (number, MIGRATIONS[number - 1][1]))
