"""Floor 4: the ledger. Facts in SQL: who has which job, what happened, what came out.

:class:`~weftwork.ledger.sqlite.SqliteLedger` keeps them in one file of the home.
"""

from weftwork.ledger.sqlite import SqliteLedger

__all__ = ["SqliteLedger"]
