"""``weft check``."""

from __future__ import annotations

import click

from weftwork.cli.text import as_json as json_text
from weftwork.cli.text import out, table


@click.command(short_help="Run a sample of calculations again and compare the results.")
@click.argument("target", metavar="MODULE|RUN|JOB")
@click.option(
    "--repeat", type=click.IntRange(1), default=2, show_default=True, metavar="N", help="How often each is run."
)
@click.option("--sample", type=click.IntRange(1), default=10, show_default=True, metavar="K", help="How many of them.")
@click.option("--seed", type=int, metavar="S", help="What the sample is drawn by; it is told, to draw the same again.")
@click.option("--at", "site", metavar="SITE", help="Where to run, as for `weft run`.")
@click.option("--strict", is_flag=True, help="Fail also where numbers are within the tolerance.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def check(
    home: str | None,
    target: str,
    repeat: int,
    sample: int,
    seed: int | None,
    site: str | None,
    strict: bool,
    as_json: bool,
) -> int:
    """Run a sample of calculations again, and compare what comes out with the results that are known.

    MODULE is a document, file.py:name, or the name of a module that has run here; a RUN stands for the calculations of
    its steps. Results are the same in their bytes, or in numbers within the tolerance that the module declares; else
    the exit code is 1, unless the module says that it is not deterministic.
    """
    from weftwork.checking import check as checked
    from weftwork.core.step import Overrides
    from weftwork.embedded import Embedded

    with Embedded(home) as session:
        if site is not None:
            session.engine.sites.named(site)
        report = checked(
            session, target, repeat=repeat, sample=sample, seed=seed, strict=strict, said=Overrides(site=site)
        )
    if as_json:
        out(json_text(report.document()))
    else:
        out(
            table(
                ("CALCULATION", "KEY", "RESULT"),
                ((each.step or each.name, each.key[:12], str(each)) for each in report.checked),
            )
        )
        out(str(report))
    return 0 if report.ok else 1
