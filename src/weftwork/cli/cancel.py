"""``weft cancel``: from any terminal, whichever process owns the job or run."""

from __future__ import annotations

import click

from weftwork.cli.finding import job_or_run
from weftwork.cli.text import out


@click.command(short_help="Cancel a job or run, whichever process owns it.")
@click.argument("what", metavar="JOB|RUN")
@click.pass_obj
def cancel(home: str | None, what: str) -> None:
    """Cancel a job or run, whichever process owns it: what runs is ended, what waits never starts.

    A job is cancelled for all who wait for it. A run withdraws: a job that somebody else waits for goes on.
    """
    from weftwork.embedded import Embedded
    from weftwork.ports import JobRow

    with Embedded(home) as session:
        row = job_or_run(session.home, what)
        if isinstance(row, JobRow):
            session.cancel(row.job.id)
            out(f"job {row.job.id} is being cancelled")
        else:
            session.cancel_run(row.id)
            out(f"run {row.id} is being cancelled")
