"""``weft why`` and ``weft explain``."""

from __future__ import annotations

import os

import click

from weftwork.cli.text import as_json as json_text
from weftwork.cli.text import out
from weftwork.config import open_home
from weftwork.ports import JobRow


@click.command(short_help="Say why a job or step ran, or did not.")
@click.argument("what", metavar="JOB|STEP")
@click.pass_obj
def why(home: str | None, what: str) -> None:
    """Say why a job or step ran, was answered from the cache, or did not run.

    A STEP is one of the latest run, or RUN:STEP; the name of a job by itself stands for the latest one. What is told
    comes from the records that made the key.
    """
    from weftwork.cli.finding import job_or_step
    from weftwork.engine.why import why as told
    from weftwork.engine.why import why_step as told_of_step

    opened = open_home(home)
    found = job_or_step(opened, what)
    if isinstance(found, JobRow):
        lines = told(opened.ledger, opened.store, found.job.id)
    else:
        run, step = found
        lines = told_of_step(opened.ledger, opened.store, run.id, step.step)
    _tell(lines)


def _tell(lines: list[str]) -> None:
    """Print the lines, files below this folder as a person here names them."""
    out("\n".join(lines).replace(f"({os.getcwd()}{os.sep}", "("))


@click.command(short_help="Say what the key of a calculation is made of.")
@click.argument("module", metavar="MODULE")
@click.option("-i", "--input", "pairs", multiple=True, metavar="NAME=VALUE", help="An input, as for `weft run`.")
@click.option(
    "--inputs",
    "file",
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False),
    help="A YAML or JSON file of inputs.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def explain(home: str | None, module: str, pairs: tuple[str, ...], file: str | None, as_json: bool) -> None:
    """Say what the key of a module with these inputs is made of, and what was noticed. Nothing runs."""
    from weftwork.cli.inputs import given_inputs
    from weftwork.embedded import Embedded

    with Embedded(home) as session:
        prepared = session.prepare(module)
        explanation = session.explain(prepared, given_inputs(prepared.inputs, pairs, file))
    if as_json:
        out(json_text({"key": explanation.key, "parts": explanation.parts, "warnings": list(explanation.warnings)}))
    else:
        out(str(explanation))
