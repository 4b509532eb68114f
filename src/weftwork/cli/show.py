"""``weft show``: all that is known of a job or run."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from weftwork.cli import outputs
from weftwork.cli.finding import job_or_run
from weftwork.cli.listing import job_document, run_document
from weftwork.cli.text import as_json as json_text
from weftwork.cli.text import duration, headline, out, size, table, when, written
from weftwork.config import Home, open_home
from weftwork.core.binding import binding_of
from weftwork.core.calculation import Calculation
from weftwork.core.checksum import from_canonical
from weftwork.core.messages import Binding
from weftwork.core.values import Ref
from weftwork.errors import WeftError
from weftwork.ports import JobRow, RunRow, StepRow

if TYPE_CHECKING:
    from weftwork.engine.conflicts import Told


@click.command(short_help="Show all that is known of a job or run.")
@click.argument("what", metavar="JOB|RUN")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def show(home: str | None, what: str, as_json: bool) -> None:
    """Show all that is known of a job or run: state, events, key, inputs and outputs with checksums, why it failed."""
    opened = open_home(home)
    row = job_or_run(opened, what)
    if as_json:
        out(json_text(_job_document(opened, row) if isinstance(row, JobRow) else _run_document(opened, row)))
    else:
        out("\n".join(_job(opened, row) if isinstance(row, JobRow) else _run(opened, row)))


def _job(home: Home, row: JobRow) -> Iterator[str]:
    job = row.job
    cached = " (from the cache)" if job.cached else ""
    yield f"job {job.id}: {job.name} {job.state}{cached}"
    yield f"  key      {job.key}"
    if row.run:
        yield f"  step     {row.step} of the run {row.run}"
    chosen = f": {row.placement.chosen}" if row.placement.chosen else ""
    yield f"  site     {row.placement.site or 'local'}{chosen}"
    if job.started and job.ended:
        yield f"  time     {duration(job.ended - job.started)}"
    failure = job.failure()
    if failure is not None:
        yield f"  why      {type(failure).__name__}: {failure}"
    yield from _values(home, "inputs", inputs_of(home, row))
    record = home.ledger.record_of(job.id)
    if record is not None:
        yield from _values(home, "outputs", dict(record.outputs))
        yield "  observed"
        yield from (f"    {name}: {_observed(name, value)}" for name, value in sorted(record.observed.items()))
    yield from _conflicts(home, row)
    yield "  events"
    for number, event in home.ledger.events(job.id):
        data = {name: value for name, value in event.data.items() if value not in (None, "", False)}
        said = ", ".join(f"{name} {_short(value)}" for name, value in data.items())
        yield f"    {number}  {when(event.time)}  {event.kind}{'  ' + said if said else ''}"


def _conflicts(home: Home, row: JobRow) -> Iterator[str]:
    """The other results that the job's calculation gave."""
    for each in conflicts_of(home, row):
        first, *rest = each.lines()
        yield f"  conflict {first}"
        yield from (f"    {line}" for line in rest)


def conflicts_of(home: Home, row: JobRow) -> list[Told]:
    """The conflicts of a job's key."""
    from weftwork.engine.conflicts import told

    return [told(home.store, each) for each in home.ledger.conflicts(key=row.job.key)]


def _observed(name: str, value: Any) -> str:
    if name in ("started", "ended"):
        return when(value)
    if name == "seconds":
        return duration(value)
    return size(value) if name == "memory" and isinstance(value, int) else written(value)


def _short(value: Any) -> str:
    text = str(value.get("message") if isinstance(value, dict) and "message" in value else value)
    return headline(text)[:160]


def _values(home: Home, title: str, refs: dict[str, Ref]) -> Iterator[str]:
    yield f"  {title}"
    for name, ref in refs.items():
        yield f"    {name}: {ref.type} {ref.checksum}  {_value(home, ref)}".rstrip()


def _value(home: Home, ref: Ref) -> str:
    if not ref.type.inline or ref.size > 200:
        return ""
    return _line(home, ref)


def _line(home: Home, binding: Binding) -> str:
    """An output on one line. To show it is no reason to make it again."""
    try:
        return outputs.line(home, binding)
    except WeftError:
        return "(its bytes are gone; `weft get` makes them again)"


def _document(home: Home, binding: Binding) -> dict[str, Any]:
    """An output as JSON, without its value where the bytes are gone."""
    try:
        return outputs.document(home, binding)
    except WeftError:
        if isinstance(binding, tuple):
            return {"items": [_document(home, each) for each in binding]}
        return binding.document() if isinstance(binding, Ref) else {}


def inputs_of(home: Home, row: JobRow) -> dict[str, Ref]:
    """The inputs of a job, from the document of its calculation."""
    data = home.ledger.calculation(row.job.key)
    return {} if data is None else dict(Calculation.from_document(from_canonical(data)).inputs)


def _run(home: Home, row: RunRow) -> Iterator[str]:
    yield f"run {row.id}: {row.name} {row.state}"
    if row.state == "interrupted":
        yield f"  nobody drives it any more: `weft run --resume {row.id}` goes on where it was"
    yield f"  started  {when(row.created)}"
    if row.ended:
        yield f"  ended    {when(row.ended)} ({duration(row.ended - row.created)})"
    outcome = row.outcome or {}
    if outcome.get("why"):
        yield f"  why      {outcome['why']}"
    steps = home.ledger.steps(row.id)
    if steps:
        head = ("STEP", "STATE", "TIME", "JOB", "WHY")
        yield from ("  " + line for line in table(head, (_step(each) for each in steps)).splitlines())
    found = outcome.get("outputs") or {}
    if found:
        yield "  outputs"
        for name, each in found.items():
            yield f"    {name} = {_line(home, binding_of(each))}"


def _step(row: StepRow) -> tuple[str, ...]:
    detail = row.detail
    state = f"{row.state} (cached)" if detail.get("cached") else row.state
    why = headline(str(detail.get("why") or ""))
    return row.step, state, duration(detail.get("seconds")), row.job or "", why


def _job_document(home: Home, row: JobRow) -> dict[str, Any]:
    record = home.ledger.record_of(row.job.id)
    return job_document(row) | {
        "site": row.placement.site or "local",
        "chosen": row.placement.chosen,
        "inputs": {name: ref.document() for name, ref in inputs_of(home, row).items()},
        "outputs": {} if record is None else {name: _document(home, ref) for name, ref in record.outputs},
        "observed": {} if record is None else dict(record.observed),
        "conflicts": [each.document() for each in conflicts_of(home, row)],
        "events": [
            {"kind": event.kind, "time": event.time, "data": dict(event.data)}
            for _, event in home.ledger.events(row.job.id)
        ],
    }


def _run_document(home: Home, row: RunRow) -> dict[str, Any]:
    found = (row.outcome or {}).get("outputs") or {}
    return run_document(row) | {
        "document": dict(row.document),
        "steps": [
            {"step": each.step, "state": each.state, "job": each.job, **each.detail}
            for each in home.ledger.steps(row.id)
        ],
        "outputs": {name: _document(home, binding_of(each)) for name, each in found.items()},
    }
