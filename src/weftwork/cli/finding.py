"""From what a person types to a job, a run or a step: ids by an unambiguous beginning, steps of the latest run."""

from __future__ import annotations

from weftwork.config import Home
from weftwork.errors import NotFound
from weftwork.ports import JobRow, RunRow


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
    if text.startswith("j") and ":" not in text:
        try:
            return home.ledger.job(text)
        except NotFound:
            if not home.ledger.runs(1):
                raise
    run, step = step_of(home, text)
    for row in home.ledger.steps(run.id):
        if row.step == step and row.job is not None:
            return home.ledger.job(row.job)
    raise NotFound(f"the step {step} of {run.name} ({run.id}) got no job: `weft why {run.id}:{step}` says why")


def step_of(home: Home, text: str) -> tuple[RunRow, str]:
    """``RUN:STEP``, or a step of the latest run. Raises NotFound, naming the steps that there are."""
    before, colon, step = text.partition(":")
    if colon:
        run = home.ledger.run(before)
    else:
        step = text
        latest = home.ledger.runs(1)
        if not latest:
            raise NotFound(f"no job's id begins with {text!r}, and there is no run of which it could be a step")
        run = latest[0]
    known = [row.step for row in home.ledger.steps(run.id)]
    if step not in known:
        from weftwork.core.module import nearest

        some = ", ".join([each for each in known if "[" not in each][:12]) or "none"
        what = "" if colon else f"no job's id begins with {text!r}, and "
        raise NotFound(
            f"{what}the run {run.id} of {run.name} has no step {step!r}{nearest(step, known)}; its steps are {some}"
        )
    return run, step
