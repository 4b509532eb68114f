"""``weft logs``: what a job wrote, and what it still writes."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import click

from weftwork.cli.finding import job as found_job
from weftwork.config import Home, open_home
from weftwork.engine import logs as files

_LOOK = 0.2


@click.command(short_help="Print what a job wrote.")
@click.argument("job", metavar="JOB|STEP")
@click.option("-f", "--follow", is_flag=True, help="Go on printing until the job ends.")
@click.pass_obj
def logs(home: str | None, job: str, follow: bool) -> None:
    """Print what a job wrote to its streams, over all of its attempts; a STEP as for `weft why`."""
    opened = open_home(home)
    row = found_job(opened, job)
    reader = _Reader(opened, row.job.id)
    while True:
        live = follow and opened.ledger.job(row.job.id).job.live
        reader.print()
        if not live:
            return
        time.sleep(_LOOK)


class _Reader:
    """Prints each byte once. A live attempt's files are kept under other names when it ends: known by their ends."""

    def __init__(self, home: Home, job: str) -> None:
        self._home = home
        self._job = job
        self._told: dict[str, int] = {}

    def print(self) -> None:
        for path, offset in files.files(self._home.folder, self._home.ledger, self._job):
            name = self._name(path)
            self._copy(path, offset, name)
        sys.stdout.flush()

    def _name(self, path: Path) -> str:
        """``<attempt>.stdout``: the same for a job folder's stream and for the file in which it is kept."""
        if path.name in ("stdout", "stderr"):
            return f"{path.parent.name}.{path.name}"
        return (
            path.name
            if path.name.startswith(self._job)
            else f"{self._job}-{self._home.ledger.job(self._job).job.attempt}.stderr"
        )

    def _copy(self, path: Path, offset: int, name: str) -> None:
        told = self._told.get(name, 0)
        try:
            with open(path, "rb") as stream:
                stream.seek(offset + told)
                while chunk := stream.read(1 << 20):
                    sys.stdout.buffer.write(chunk)
                    told += len(chunk)
        except OSError:
            return
        self._told[name] = told
