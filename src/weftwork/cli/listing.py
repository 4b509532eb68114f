"""``weft jobs`` and ``weft runs``."""

from __future__ import annotations

from typing import Any

import click

from weftwork.cli.text import as_json as json_text
from weftwork.cli.text import duration, out, table, when
from weftwork.config import open_home
from weftwork.ports import JobRow, RunRow

_STATES = ["queued", "running", "succeeded", "failed", "cancelled"]


@click.command(short_help="List jobs, newest first.")
@click.option("--all", "everything", is_flag=True, help="All jobs, not the latest ones only.")
@click.option("--state", "states", multiple=True, type=click.Choice(_STATES), help="Only jobs in this state.")
@click.option("--run", "run", metavar="RUN", help="Only jobs of this run.")
@click.option("-n", "limit", type=click.IntRange(1), default=20, show_default=True, metavar="N", help="How many.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def jobs(
    home: str | None, everything: bool, states: tuple[str, ...], run: str | None, limit: int, as_json: bool
) -> None:
    """List jobs, newest first: live ones and those that ended, and what answered from the cache."""
    opened = open_home(home)
    name = None if run is None else opened.ledger.run(run).id
    rows = opened.ledger.jobs(run=name, states=states, limit=10**9 if everything else limit)
    if as_json:
        out(json_text([job_document(row) for row in rows]))
    elif rows:
        out(table(("JOB", "STATE", "TIME", "QUEUED", "NAME"), (_job(row) for row in rows)))
    else:
        out("there are no such jobs")


def _job(row: JobRow) -> tuple[str, ...]:
    job = row.job
    state = f"{job.state} (cached)" if job.cached else job.state
    if job.live and row.waiters == 0:
        state = f"{job.state} (left)"  # its owner is dead, and nobody has asked for it since
    took = duration(job.ended - job.started) if job.ended and job.started else ""
    name = f"{job.name} ({row.run}:{row.step})" if row.step else job.name
    return job.id, state, took, when(job.queued), name


def job_document(row: JobRow) -> dict[str, Any]:
    """A job as JSON."""
    job = row.job
    return {
        "job": job.id,
        "name": job.name,
        "state": job.state,
        "cached": job.cached,
        "key": str(job.key),
        "run": row.run,
        "step": row.step,
        "attempt": job.attempt,
        "queued": job.queued,
        "started": job.started,
        "ended": job.ended,
        "error": None if job.error is None else dict(job.error),
    }


@click.command(short_help="List runs of workflows, newest first.")
@click.option("-n", "limit", type=click.IntRange(1), default=20, show_default=True, metavar="N", help="How many.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def runs(home: str | None, limit: int, as_json: bool) -> None:
    """List runs of workflows, newest first."""
    rows = open_home(home).ledger.runs(limit)
    if as_json:
        out(json_text([run_document(row) for row in rows]))
    elif rows:
        lines = (
            (row.id, row.state, duration(row.ended - row.created) if row.ended else "", when(row.created), row.name)
            for row in rows
        )
        out(table(("RUN", "STATE", "TIME", "STARTED", "NAME"), lines))
    else:
        out("there are no runs")


def run_document(row: RunRow) -> dict[str, Any]:
    """A run as JSON."""
    return {
        "run": row.id,
        "name": row.name,
        "state": row.state,
        "created": row.created,
        "ended": row.ended,
        "why": (row.outcome or {}).get("why", ""),
    }
