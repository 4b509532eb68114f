"""``weft conflicts``."""

from __future__ import annotations

import click

from weftwork.cli.text import as_json as json_text
from weftwork.cli.text import out, table, when
from weftwork.config import open_home
from weftwork.ports import Evidence


@click.command(short_help="List calculations that gave two different results.")
@click.argument("module", required=False, metavar="MODULE")
@click.option("-n", "--limit", type=click.IntRange(1), default=20, show_default=True, metavar="N", help="How many.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def conflicts(home: str | None, module: str | None, limit: int, as_json: bool) -> None:
    """List calculations that gave two different results, the latest first: of all modules, or of one by its name.

    The first result stays the answer. Told are what differs and where, how far numbers are apart, and when and where
    both were made.
    """
    from weftwork.engine.conflicts import told

    opened = open_home(home)
    found = [told(opened.store, row) for row in opened.ledger.conflicts(name=module, limit=limit)]
    if as_json:
        out(json_text([each.document() for each in found]))
    elif found:
        head = ("KEY", "MODULE", "STEP", "STANDS", "DIFFERS", "WHAT")
        out(
            table(
                head,
                (
                    (
                        each.row.key.short,
                        each.row.name,
                        _step(each.row.later),
                        _made(each.row.stands),
                        _made(each.row.differs),
                        each.what,
                    )
                    for each in found
                ),
            )
        )
    else:
        out("there are no conflicts" + (f" of {module}" if module else ""))


def _step(evidence: Evidence) -> str:
    return f"{evidence.run}:{evidence.step}" if evidence.run else evidence.job or ""


def _made(evidence: Evidence) -> str:
    observed = evidence.record.observed
    return f"{when(evidence.record.created)} {observed.get('host', '?')}/{observed.get('site', 'local')}"
