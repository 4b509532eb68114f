"""From what a person types to a job, a run or a step: ids by an unambiguous beginning, steps of the latest run, names of jobs."""

from __future__ import annotations

import contextlib

from weftwork.config import Home
from weftwork.errors import NotFound
from weftwork.ports import JobRow, RunRow, StepRow

_NAMED = 1000
"""How many of the latest jobs are looked through for one of a name."""


def job_or_run(home: Home, text: str) -> JobRow | RunRow:
    """The job or run that a text names: the beginning of an id, or a step as :func:`step_of` takes it."""
    if text.startswith("r"):
        try:
            return home.ledger.run(text)
        except NotFound:
            return job(home, text)
    return job(home, text)


def job(home: Home, text: str) -> JobRow:
    """The job that a text names. Raises NotFound with what was looked for."""
    found = job_or_step(home, text)
    if isinstance(found, JobRow):
        return found
    run, step = found
    if step.job is not None:
        return home.ledger.job(step.job)
    parts = parts_of(home, run, step.step)
    if parts:
        raise NotFound(
            f"the step {step.step} of {run.name} ({run.id}) has {len(parts):,} jobs: name one, as in {parts[0].step!r}"
        )
    raise NotFound(
        f"the step {step.step} of {run.name} ({run.id}) got no job: `weft why {run.id}:{step.step}` says why"
    )


def job_or_step(home: Home, text: str) -> JobRow | tuple[RunRow, StepRow]:
    """A job by the beginning of its id, a step as :func:`step_of` takes it, or the latest job of that name."""
    if text.startswith("j") and ":" not in text:
        with contextlib.suppress(NotFound):
            return home.ledger.job(text)
    try:
        run, name = step_of(home, text)
    except NotFound:
        for row in home.ledger.jobs(limit=_NAMED):
            if row.job.name == text:
                return row
        raise
    return run, next(row for row in home.ledger.steps(run.id, name) if row.step == name)


def parts_of(home: Home, run: RunRow, step: str) -> list[StepRow]:
    """The items of a map, or the candidates of a race, that have jobs."""
    return [row for row in home.ledger.steps(run.id, step) if row.step != step and row.job]


def step_of(home: Home, text: str) -> tuple[RunRow, str]:
    """``RUN:STEP``, or a step of the latest run. Raises NotFound, naming the steps that there are."""
    before, colon, step = text.partition(":")
    if colon:
        run = home.ledger.run(before)
    else:
        step = text
        latest = home.ledger.runs(1)
        if not latest:
            raise NotFound(
                f"no job has the name {text!r} or an id that begins so, and there is no run of which it could be a step"
            )
        run = latest[0]
    if not any(row.step == step for row in home.ledger.steps(run.id, step)):
        from weftwork.core.module import nearest

        known = [row.step for row in home.ledger.steps(run.id)]
        some = ", ".join([each for each in known if "[" not in each][:12]) or "none"
        what = "" if colon else f"no job has the name {text!r} or an id that begins so, and "
        raise NotFound(
            f"{what}the run {run.id} of {run.name} has no step {step!r}{nearest(step, known)}; its steps are {some}"
        )
    return run, step
