"""``weft graph``: a workflow drawn as text or SVG."""

from __future__ import annotations

from pathlib import Path

import click

from weftwork.cli.text import out
from weftwork.config import open_home
from weftwork.errors import Invalid


@click.command(short_help="Draw a workflow.")
@click.argument("reference", metavar="WORKFLOW")
@click.option(
    "--svg", "target", metavar="FILE", type=click.Path(dir_okay=False, path_type=Path), help="Write an SVG picture."
)
@click.pass_obj
def graph(home: str | None, reference: str, target: Path | None) -> None:
    """Draw a workflow in layers: what may run side by side stands in one. Nothing runs.

    Maps (×), races (≷), conditions and what each step takes are marked; a step that is only waited for by a
    condition stands in brackets, and has a dashed arrow in the picture.
    """
    from weftwork.cli import drawing
    from weftwork.modules.loading import prepare

    opened = open_home(home)
    prepared = prepare(reference, opened.binder.put)
    if prepared.workflow is None:
        raise Invalid(f"{reference} is a module: there is one box to draw; give a workflow")
    found = drawing.boxes(prepared.workflow, prepared.modules)
    if target is None:
        out(drawing.text(prepared.workflow, found))
    else:
        target.write_text(drawing.svg(prepared.workflow, found), encoding="utf-8")
