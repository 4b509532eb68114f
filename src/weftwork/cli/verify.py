"""``weft verify``: read the whole store back."""

from __future__ import annotations

import sys
import time

import click

from weftwork.cli.text import as_json as json_text
from weftwork.cli.text import out, size
from weftwork.config import open_home


@click.command(short_help="Read the whole store back, and name what is damaged.")
@click.option("--jobs", type=click.IntRange(1), metavar="N", help="How many threads read; by default all cores.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def verify(home: str | None, jobs: int | None, as_json: bool) -> int:
    """Read the whole store back. What is damaged is named and set aside; the exit code is then 1.

    What is set aside is made again when it is needed, or given again where it was an input. Says also what is gone, freed
    by `weft gc` or lost, and whether it can be made again.
    """
    from weftwork.data.verifying import Trouble
    from weftwork.keeping import verify as verified

    found = verified(open_home(home), jobs, _Progress())
    if as_json:

        def shown(troubles: list[Trouble]) -> list[dict[str, object]]:
            return [{"checksum": str(each.checksum), "what": each.what, "again": each.again} for each in troubles]

        document = {
            "buffers": found.count,
            "bytes": found.size,
            "damaged": shown(found.damaged),
            "aside": [str(each) for each in found.aside],
            "freed": found.freed,
            "lost": shown(found.lost),
        }
        out(json_text(document))
        return 1 if found.damaged else 0
    for title, troubles in (("damaged", found.damaged), ("gone", found.lost)):
        for each in troubles:
            then = "it is made again when it is needed" if each.again else "it cannot be made again: give it once more"
            out(f"{title}: {each.checksum}\n  {each.what}\n  {then}")
    if found.aside:
        out(f"set aside in {found.aside[0].parent}")
    sound = "sound" if not found.damaged else f"{len(found.damaged)} damaged"
    out(f"{found.count:,} buffers, {size(found.size)}: {sound}")
    if found.freed:
        results = "1 result has" if found.freed == 1 else f"{found.freed:,} results have"
        out(f"{results} been freed and can be made again")
    return 1 if found.damaged else 0


class _Progress:
    """How far it is, on a terminal, twice a second."""

    def __init__(self) -> None:
        self._told = time.monotonic()
        self._shows = sys.stderr.isatty()

    def __call__(self, count: int, size_: int) -> None:
        if self._shows and time.monotonic() - self._told > 0.5:
            self._told = time.monotonic()
            sys.stderr.write(f"\r{count:,} buffers, {size(size_)} read\x1b[K\r")
            sys.stderr.flush()
