"""The end of ``weft run``: outputs on standard output, and on standard error what succeeded, failed, was skipped, and why."""

from __future__ import annotations

import contextlib
import sys
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weftwork.cli import outputs
from weftwork.cli.ending import INTERRUPTED, TERMINATED, Terminated, told
from weftwork.cli.progress import Board, display
from weftwork.cli.text import as_json, duration, error_document, headline, out
from weftwork.cli.waiting import conflicts_told, job_ended
from weftwork.core.messages import Binding, Outcome
from weftwork.errors import Cancelled, WeftError
from weftwork.handles import Job, Run

if TYPE_CHECKING:
    from weftwork.embedded import Embedded

_TAIL = 10
"""Lines of a failed job's log that are shown."""


class Finish:
    """Waits for a job or run, shows it meanwhile, and tells how it ended."""

    def __init__(
        self, session: Embedded, handle: Job | Run, board: Board, targets: Mapping[str, Path], *, as_json: bool
    ) -> None:
        self._session = session
        self._handle = handle
        self._board = board
        self._targets = targets
        self._json = as_json

    def wait(self, *, quiet: bool) -> int:
        """To the end; the exit code."""
        shown = display(self._board, quiet=quiet)
        if isinstance(self._handle, Job):
            self._tell_job(self._handle, "running")
        try:
            job_ended(self._handle, shown.show)
        except KeyboardInterrupt as interrupt:
            shown.close()
            self._interrupted()
            return TERMINATED if isinstance(interrupt, Terminated) else INTERRUPTED
        except BaseException:
            shown.close()
            raise
        error = self._handle.exception()
        if isinstance(self._handle, Job):
            self._tell_job(self._handle, "succeeded" if error is None else "failed", error)
        shown.close()
        return self._ended(error)

    def _tell_job(self, job: Job, state: str, error: BaseException | None = None) -> None:
        """A module by itself is shown like a workflow of one step."""
        from weftwork.engine.driver import StepEvent

        seconds = job.record().observed.get("seconds") if state == "succeeded" else None
        if isinstance(error, Cancelled):
            state = "cancelled"
        cached = state == "succeeded" and job.cached
        self._board.watch(StepEvent(job.name, state, time.time(), job.id, cached, seconds, str(error or "")))

    def _interrupted(self) -> None:
        what = "the run" if isinstance(self._handle, Run) else "the job"
        told(
            f"{what} {self._handle.id} was cancelled. To go on, give the same command again: what had finished "
            "is not run again."
        )

    def _ended(self, error: BaseException | None) -> int:
        if error is not None and not isinstance(error, WeftError):
            raise error
        outcome: Outcome | None = None
        if isinstance(self._handle, Run):
            outcome = self._handle.outcome()
            found: Mapping[str, Binding] = outcome.outputs
        else:
            found = {} if error is not None else dict(self._handle.record().outputs)
        for name, target in self._targets.items():
            if name in found:
                self._save(found[name], target)
            else:
                told(f"the output {name} was not made, and is not saved")
        sys.stderr.flush()
        if self._json:
            out(as_json(self._document(found, outcome, error)))
        elif found:
            self._print(found)
        sys.stdout.flush()
        return self._summary(outcome, error)

    def _print(self, found: Mapping[str, Binding]) -> None:
        for name, binding in found.items():
            saved = self._targets.get(name)
            text = f"saved in {saved}" if saved else self._line(binding)
            text = text.rstrip("\n")
            out(f"{name} =\n{text}" if "\n" in text else f"{name} = {text}")

    def _save(self, binding: Binding, target: Path) -> None:
        home = self._session.home
        outputs.reading(home, binding, lambda: outputs.save(home, binding, target), self._session)

    def _line(self, binding: Binding) -> str:
        home = self._session.home
        return outputs.reading(home, binding, lambda: outputs.line(home, binding), self._session)

    def _value(self, binding: Binding) -> dict[str, Any]:
        home = self._session.home
        return outputs.reading(home, binding, lambda: outputs.document(home, binding), self._session)

    def _document(
        self, found: Mapping[str, Binding], outcome: Outcome | None, error: BaseException | None
    ) -> dict[str, Any]:
        document: dict[str, Any] = {
            ("run" if outcome is not None else "job"): self._handle.id,
            "name": self._handle.name,
            "state": outcome.state if outcome is not None else self._state(error),
            "outputs": {name: self._value(each) for name, each in found.items()},
        }
        if error is not None:
            document["error"] = error_document(error)
        if outcome is not None:
            document["why"] = outcome.why
            document["steps"] = {name: self._step(name, each) for name, each in outcome.steps.items()}
        elif isinstance(self._handle, Job):
            document["cached"] = self._handle.cached
        return document

    def _step(self, name: str, result: Any) -> dict[str, Any]:
        line = self._board.lines.get(name)
        out: dict[str, Any] = {"state": result.state}
        if result.why:
            out["why"] = result.why
        if name in self._board.jobs:
            out["job"] = self._board.jobs[name]
        if line is not None and line.total:
            out["cached"] = line.cached == line.total
        if line is not None and line.many:
            out["items"] = line.total
        if name in self._board.seconds:
            out["seconds"] = self._board.seconds[name]
        return out

    @staticmethod
    def _state(error: BaseException | None) -> str:
        return "succeeded" if error is None else "cancelled" if isinstance(error, Cancelled) else "failed"

    # What it says at the end

    def _summary(self, outcome: Outcome | None, error: BaseException | None) -> int:
        if outcome is not None:
            self._steps_told(outcome)
        if error is None:
            conflicts_told(self._handle)
            return 0
        assert isinstance(error, WeftError)
        job = error.details.get("job")
        first: WeftError = error
        if outcome is not None:
            told(f"{self._handle.name} ({self._handle.id}) {outcome.state}")
            for name, result in outcome.steps.items():
                if result.state == "failed":
                    first = self._failure(name, result.why) or first
        else:
            told(str(error))
            if job:
                self._log_told(str(job), str(error))
        return first.exit_code if outcome is None or outcome.state == "failed" else Cancelled.exit_code

    def _steps_told(self, outcome: Outcome) -> None:
        counts = Counter(result.state for result in outcome.steps.values())
        cached = sum(line.cached == line.total > 0 for line in self._board.lines.values())
        took = duration(time.time() - self._board.started)
        parts = [f"{count:,} {state}" for state, count in sorted(counts.items())]
        from_cache = f" ({cached:,} from the cache)" if cached else ""
        sys.stderr.write(
            f"{self._handle.name} ({self._handle.id}) {outcome.state}: {', '.join(parts)}{from_cache} in {took}\n"
        )
        for name, result in outcome.steps.items():
            if result.state in ("skipped", "cancelled"):
                sys.stderr.write(f"  {name} {result.state}: {headline(result.why)}\n")
        sys.stderr.flush()

    def _failure(self, step: str, why: str) -> WeftError | None:
        """Tell a failed step with its log and how to look further; the error of its job."""
        sys.stderr.write(f"  {step} failed: {why}\n")
        jobs = [job for task, job in self._board.jobs.items() if task.partition("[")[0].partition("{")[0] == step]
        for job in jobs:
            with contextlib.suppress(WeftError):
                failure = self._session.home.ledger.job(job).job.failure()
                if failure is not None and not isinstance(failure, Cancelled):
                    self._log_told(job, why)
                    return failure
        return None

    def _log_told(self, job: str, already: str) -> None:
        """The last lines of a log, unless the error has them, and the commands that tell more."""
        with contextlib.suppress(WeftError):
            failure = self._session.home.ledger.job(job).job.failure()
            trace = "" if failure is None else str(failure.details.get("traceback") or "")
            sys.stderr.write("".join(f"    {line}\n" for line in trace.rstrip().splitlines()))
        lines = [line for line in self._session.logs(job).rstrip().splitlines() if line.strip()][-_TAIL:]
        if lines and not all(line.strip() in already for line in lines):
            sys.stderr.write("    the last lines of its log:\n" + "".join(f"      {line}\n" for line in lines))
        sys.stderr.write(f"    more: weft logs {job}; weft why {job}\n")
        sys.stderr.flush()
