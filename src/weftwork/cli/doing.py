"""What ``weft do`` does, without what reads its words: a result that is known is given back before anything else is imported."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from weftwork import config
from weftwork.cli.streams import Streams
from weftwork.core.placement import Resources
from weftwork.errors import Corrupt, ExitCode, Invalid, MissingInputs, NoOutput, NotFound, Signalled, WeftError
from weftwork.modules.wrapping import Wrapped, wrap

if TYPE_CHECKING:
    from weftwork.core.job import Record


def do_command(
    home: str | None,
    command: Sequence[str],
    *,
    inputs: Sequence[str] = (),
    outputs: Sequence[str] = (),
    variables: Sequence[str] = (),
    name: str | None = None,
    trace: bool = False,
    no_cache: bool = False,
    strict: bool = False,
    limits: dict[str, Any] | None = None,
) -> int:
    """Run a command, or give back what it gave before; the exit code."""
    folder = Path.cwd()
    resources = _resources(limits or {})
    tracer = _tracer() if trace else None
    wrapped = wrap(
        folder,
        command,
        inputs,
        outputs,
        name=name,
        variables=_variables(variables),
        resources=resources,
        before=() if tracer is None else tracer.words,
    )
    if wrapped.undeclared and not (no_cache or trace):
        no_cache = True
        _doubt(wrapped.undeclared)
    opened = config.open_home(home)
    try:
        if not (no_cache or trace):
            from weftwork.lookup import recorded

            record = recorded(opened, wrapped.module, wrapped.values)
            if record is not None:
                # Bytes that turn out to be gone or damaged are an engine's business.
                with contextlib.suppress(MissingInputs, NotFound, Corrupt):
                    _give(opened, wrapped, record, Streams())
                    return 0
        return _run(opened, folder, command, wrapped, resources, cache=not (no_cache or trace), strict=strict)
    finally:
        opened.close()
        if tracer is not None:
            tracer.tell(folder, wrapped.declared, config.home_folder(home))


def _run(
    home: config.Home,
    folder: Path,
    command: Sequence[str],
    wrapped: Wrapped,
    resources: Resources,
    *,
    cache: bool,
    strict: bool,
) -> int:
    """Run it with an engine of this process, or wait for whoever runs it already."""
    from weftwork.cli.waiting import conflicts_told, job_ended
    from weftwork.core.step import Overrides
    from weftwork.embedded import Embedded

    with Embedded(home) as session:
        said = Overrides(resources=tuple(sorted(resources.document().items())), cache=cache, strict=strict)
        job = session.submit(wrapped, wrapped.values, said)
        streams = Streams(home.folder / "jobs", job.id)
        job_ended(job, streams.grow)
        error = job.exception()
        if error is None:
            _give(home, wrapped, session.whole([job.record()])[0], streams)  # type: ignore[union-attr]
            conflicts_told(job)
            return 0
        streams.finish(lambda name: _kept(home, str(error.details.get("job") or job.id), name))  # type: ignore[attr-defined]
        if isinstance(error, (ExitCode, Signalled)):
            return _passed_through(error, folder, command, wrapped)
        if isinstance(error, NoOutput):
            from weftwork.cli.hints import no_output

            raise no_output(error, folder, wrapped) from None
        raise error


def _doubt(files: Sequence[str]) -> None:
    """What a command reads where it lies may have changed: it runs, and says what would make it replay."""
    from weftwork.cli.ending import told

    told(
        f"{', '.join(files)}: read where it lies and not declared, so that the command runs each time; add -i {' -i '.join(files)}"
    )


def _give(home: config.Home, wrapped: Wrapped, record: Record, streams: Streams) -> None:
    """Outputs to where the command would have written them, then its streams, byte for byte."""
    found = dict(record.outputs)
    executable = record.observed.get("executable") or ()
    for name, target in wrapped.outputs.items():
        home.binder.export(found[name], target)
        if name in executable:
            target.chmod(target.stat().st_mode | 0o111 & ~_umask())
    streams.finish(lambda name: home.store.open(found[name].checksum) if found[name].size else None)


def _kept(home: config.Home, job: str, name: str) -> BinaryIO | None:
    """What the last attempt of a failed job wrote to a stream: kept among the logs, or still in the folder where it ran."""
    task = f"{job}-{home.ledger.job(job).job.attempt}"
    kept = home.folder / "logs" / job[:3] / f"{task}.{name}"
    for path in (kept, home.folder / "jobs" / task / name, kept):
        try:
            return open(path, "rb")
        except OSError:
            continue
    return None


def _passed_through(error: WeftError, folder: Path, command: Sequence[str], wrapped: Wrapped) -> int:
    """The exit code of a failed command, as a shell would tell it; and a hint where a file seems to be missing."""
    from weftwork.cli.ending import told
    from weftwork.cli.hints import undeclared

    hint = undeclared(error, folder, command, wrapped)
    if hint:
        told(hint)
    if isinstance(error, Signalled):
        return 128 + int(error.details.get("signal") or 0)
    return int(error.details.get("exit_code") or 1)


def _resources(limits: dict[str, Any]) -> Resources:
    return Resources.of({name: value for name, value in limits.items() if value is not None})


def _variables(given: Sequence[str]) -> dict[str, str]:
    out = {}
    for each in given:
        name, equals, value = each.partition("=")
        if not equals and name not in os.environ:
            raise Invalid(f"--env {name}: there is no such variable here; give its value as in --env {name}=VALUE")
        out[name] = value if equals else os.environ[name]
    return out


def _tracer() -> Any:
    from weftwork.cli.tracing import Tracer

    return Tracer()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
