"""``weft run``: a workflow or module, from a document or Python."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from weftwork.errors import Invalid

if TYPE_CHECKING:
    from weftwork.cli.progress import Board
    from weftwork.core.step import Overrides
    from weftwork.embedded import Embedded
    from weftwork.handles import Job, Run
    from weftwork.modules.prepared import Prepared


@click.command(short_help="Run a workflow or module.")
@click.argument("reference", required=False, metavar="WORKFLOW|MODULE")
@click.option(
    "-i", "--input", "pairs", multiple=True, metavar="NAME=VALUE", help="An input; repeat it for the items of a list."
)
@click.option(
    "--inputs",
    "file",
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False),
    help="A YAML or JSON file of inputs.",
)
@click.option("-o", "--output", "targets", multiple=True, metavar="NAME=PATH", help="Save an output to a path.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document: outputs, steps, run, state.")
@click.option("--at", "site", metavar="SITE", help="Where to run, such as `local` or `docker`.")
@click.option("--no-cache", is_flag=True, help="Run although results are known.")
@click.option("--strict", is_flag=True, help="Fail where a result differs from the one that is known.")
@click.option(
    "--resume", "earlier", metavar="RUN", help="Go on with an earlier run, or start it again with its inputs."
)
@click.option("-q", "--quiet", is_flag=True, help="Show no progress.")
@click.pass_obj
def run(
    home: str | None,
    reference: str | None,
    pairs: tuple[str, ...],
    file: str | None,
    targets: tuple[str, ...],
    as_json: bool,
    site: str | None,
    no_cache: bool,
    strict: bool,
    earlier: str | None,
    quiet: bool,
) -> int:
    """Run a workflow or module and print its outputs.

    WORKFLOW|MODULE is a YAML or JSON document, file.py:name, or package.module:name. The text of an input is
    converted to its declared type; for a file or directory it is a path. What was calculated before is not
    calculated again. Progress goes to standard error, outputs to standard output.
    """
    if (reference is None) == (earlier is None):
        raise click.UsageError("give either a workflow or module, or --resume RUN")
    from weftwork.cli.report import Finish
    from weftwork.core.step import Overrides
    from weftwork.embedded import Embedded

    wanted = _targets(targets)
    handle: Job | Run
    with Embedded(home) as session:
        if earlier is not None:
            board, handle = _resumed(session, earlier, (*pairs, *([file] if file else [])))
        else:
            assert reference is not None
            said = Overrides(site, cache=False if no_cache else None, strict=strict or None)
            board, handle = _started(session, reference, pairs, file, said, wanted)
        return Finish(session, handle, board, wanted, as_json=as_json).wait(quiet=quiet)


def _started(
    session: Embedded,
    reference: str,
    pairs: tuple[str, ...],
    file: str | None,
    said: Overrides,
    wanted: Mapping[str, Path],
) -> tuple[Board, Job | Run]:
    from weftwork.cli.inputs import given_inputs
    from weftwork.cli.progress import Board

    prepared = session.prepare(reference)
    _check_targets(prepared, wanted)
    values = given_inputs(prepared.inputs, pairs, file)
    names = [prepared.name] if prepared.workflow is None else [each.name for each in prepared.workflow.steps]
    board = Board(names)
    if said.site is not None:
        session.engine.sites.named(said.site)  # one that does not exist is refused before anything runs
    return board, session.submit(prepared, values, said, board.watch)


def _resumed(session: Embedded, earlier: str, given: tuple[str, ...]) -> tuple[Board, Run]:
    from weftwork.cli.progress import Board

    if given:
        raise click.UsageError("a run that is resumed has its inputs already: leave -i and --inputs away")
    row = session.home.ledger.run(earlier)
    board = Board([each.step for each in session.home.ledger.steps(row.id) if not set("[{") & set(each.step)])
    return board, session.resume(row.id, board.watch)


def _targets(given: tuple[str, ...]) -> dict[str, Path]:
    out = {}
    for each in given:
        name, equals, path = each.partition("=")
        if not equals or not path:
            raise Invalid(f"-o {each}: write it as name=path, as in -o plot=plot.png")
        out[name] = Path(path)
    return out


def _check_targets(prepared: Prepared, wanted: Mapping[str, Path]) -> None:
    """Before anything runs: an output that is to be saved must be one."""
    from weftwork.core.module import nearest

    if prepared.workflow is not None:
        known = list(prepared.workflow.outputs)
    else:
        assert prepared.module is not None
        known = [each.name for each in prepared.module.outputs]
    for name in wanted:
        if name not in known:
            raise Invalid(
                f"-o {name}: there is no output {name!r}{nearest(name, known)}; the outputs are {', '.join(known)}"
            )
