"""``weft get``: an output of a job or run, or anything in the store by its checksum."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import click

from weftwork.cli import outputs
from weftwork.cli.finding import job_or_run
from weftwork.cli.text import out
from weftwork.config import Home, open_home
from weftwork.core.binding import binding_of
from weftwork.core.checksum import Checksum
from weftwork.core.messages import Binding
from weftwork.core.module import nearest
from weftwork.core.values import Ref
from weftwork.errors import Corrupt, Invalid, NotFound
from weftwork.ports import JobRow

_CHECKSUM = re.compile(r"[0-9a-f]{64}\Z")


@click.command(short_help="Print or save an output, or anything in the store.")
@click.argument("what", metavar="JOB|RUN|CHECKSUM")
@click.argument("output", required=False, metavar="[OUTPUT]")
@click.option("-o", "--output", "target", metavar="PATH", type=click.Path(path_type=Path), help="Save it to a path.")
@click.pass_obj
def get(home: str | None, what: str, output: str | None, target: Path | None) -> None:
    """Print an output to standard output, byte for byte, or save it to a path.

    Without OUTPUT: the only output there is, else a list of them. A folder or a list of files needs -o.
    """
    opened = open_home(home)
    if _CHECKSUM.match(what):
        _give(opened, Ref(outputs.FILE, Checksum(what), 0), what, target)
        return
    found = outputs_of(opened, what)
    if output is None:
        chosen = [name for name in found if name not in ("stdout", "stderr")] or list(found)
        if len(chosen) != 1 or (target is None and len(found) != 1):
            for name, binding in found.items():
                out(f"{name} = {_line(opened, binding)}")
            if target is not None:
                raise Invalid(f"{what} has several outputs: name the one to save: {', '.join(found)}")
            return
        output = chosen[0]
    if output not in found:
        raise NotFound(
            f"{what} has no output {output!r}{nearest(output, found)}; its outputs are {', '.join(found) or 'none'}"
        )
    _give(opened, found[output], output, target)


def outputs_of(home: Home, what: str) -> dict[str, Binding]:
    """The outputs of a job or run by name. Raises NotFound where it has none."""
    row = job_or_run(home, what)
    if isinstance(row, JobRow):
        record = home.ledger.record_of(row.job.id)
        if record is None:
            raise NotFound(f"job {row.job.id} is {row.job.state}, and has no outputs")
        return dict(record.outputs)
    found = (row.outcome or {}).get("outputs") or {}
    if not found:
        raise NotFound(f"run {row.id} is {row.state}, and has no outputs")
    return {name: binding_of(each) for name, each in found.items()}


def _give(home: Home, binding: Binding, name: str, target: Path | None) -> None:
    if target is not None:
        outputs.reading(home, binding, lambda: outputs.save(home, binding, target))
    elif isinstance(binding, Ref) and not outputs.is_many(binding):
        _copy(home, binding)
        if binding.type.inline and sys.stdout.isatty():
            out("")
    elif isinstance(binding, Ref):
        raise Invalid(f"{name} is a {binding.type}, which is several files: save it with -o FOLDER")
    else:
        out(_line(home, binding))


def _line(home: Home, binding: Binding) -> str:
    return outputs.reading(home, binding, lambda: outputs.line(home, binding))


def _copy(home: Home, ref: Ref) -> None:
    """To standard output, byte for byte."""
    written = False

    def copy() -> None:
        nonlocal written
        if written:
            raise Corrupt(
                f"{ref.checksum.short} was damaged, and what was written of it is wrong: give the same command once more, now "
                "that it is made again"
            )
        with home.store.open(ref.checksum) as stream:
            while chunk := stream.read(1 << 20):
                sys.stdout.buffer.write(chunk)
                written = True

    outputs.reading(home, ref, copy)
    sys.stdout.buffer.flush()
