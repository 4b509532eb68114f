"""``weft pin``, ``weft unpin``, ``weft pins``: what ``weft gc`` never frees."""

from __future__ import annotations

import re

import click

from weftwork.cli.text import as_json as json_text
from weftwork.cli.text import out, table, when
from weftwork.config import Home, open_home

_CHECKSUM = re.compile(r"[0-9a-f]{64}\Z")


@click.command(short_help="Keep a result, or all of a run's, from being freed.")
@click.argument("target", metavar="JOB|RUN|CHECKSUM|KEY")
@click.option("--note", default="", metavar="TEXT", help="Why, for who reads the list.")
@click.pass_obj
def pin(home: str | None, target: str, note: str) -> None:
    """Keep the outputs of a job, of a run with all its steps, of a calculation by its key, or a value by its checksum."""
    from weftwork import keeping

    opened = open_home(home)
    row = keeping.pin(opened, _named(opened, target), note)
    out(f"pinned: {row.kind} {row.target}")


@click.command(short_help="Let what was pinned be freed again.")
@click.argument("target", metavar="JOB|RUN|CHECKSUM|KEY")
@click.pass_obj
def unpin(home: str | None, target: str) -> None:
    """Let what was pinned be freed again. TARGET is as the list has it, or its beginning."""
    from weftwork import keeping

    out(f"unpinned: {keeping.unpin(open_home(home), target)}")


@click.command(short_help="List what is pinned.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def pins(home: str | None, as_json: bool) -> None:
    """List what is pinned: what it is, since when, why."""
    rows = open_home(home).ledger.pins()
    if as_json:
        out(
            json_text(
                [{"target": row.target, "kind": row.kind, "note": row.note, "created": row.created} for row in rows]
            )
        )
    elif rows:
        lines = ((row.kind, row.target[:16], when(row.created), row.note) for row in rows)
        out(table(("KIND", "TARGET", "PINNED", "NOTE"), lines))
    else:
        out("nothing is pinned")


def _named(home: Home, target: str) -> str:
    """The whole id of a job or run, which may be named in any way that other commands take."""
    if _CHECKSUM.match(target):
        return target
    from weftwork.cli.finding import job_or_run
    from weftwork.ports import JobRow

    row = job_or_run(home, target)
    return row.job.id if isinstance(row, JobRow) else row.id
