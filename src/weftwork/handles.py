"""What a submission answers: a job or a run, to be waited for, watched, cancelled and asked why."""

from __future__ import annotations

import asyncio
import concurrent.futures
from collections.abc import Callable, Generator, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from weftwork.core.job import Event, Record
from weftwork.core.values import Ref
from weftwork.errors import CalculationFailed, Cancelled, NotFound, WeftError

if TYPE_CHECKING:
    from weftwork.embedded import Embedded
    from weftwork.engine.conflicts import Told
    from weftwork.engine.driver import StepEvent
    from weftwork.engine.jobs import Waiter


class Outputs(Mapping[str, Any]):
    """Several outputs by name: ``outputs.mass`` or ``outputs["mass"]``."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = dict(values)

    def __getitem__(self, name: str) -> Any:
        return self._values[name]

    def __getattr__(self, name: str) -> Any:
        try:
            return self.__dict__["_values"][name]
        except KeyError:
            raise AttributeError(
                f"there is no output {name!r}; the outputs are {', '.join(self.__dict__['_values'])} (that of a skipped "
                "step is left out)"
            ) from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"Outputs({', '.join(f'{name}={value!r}' for name, value in self._values.items())})"


def shaped(values: Mapping[str, Any]) -> Any:
    """What a caller gets: the one output ``result`` itself, else all outputs by name."""
    return values["result"] if len(values) == 1 and "result" in values else Outputs(values)


def _as_the_caller_sees_it(error: CalculationFailed) -> CalculationFailed:
    """With the traceback of the function that raised as a note, and without the way through the engine."""
    trace = str(error.details.get("traceback") or "").rstrip()
    if trace and trace not in getattr(error, "__notes__", ()):
        error.add_note(trace)
    return error.with_traceback(None)


class Handle:
    """A job or a run that was submitted: what the two have in common."""

    id: str
    name: str

    def __init__(self, session: Embedded, future: concurrent.futures.Future[Any], decode: Callable[[Any], Any]) -> None:
        self._session = session
        self._future = future
        self._decode = decode

    def result(self, timeout: float | None = None) -> Any:
        """Wait for the end, and return the outputs: the value of ``result``, or all by name.

        Raises what it ended with, :class:`~weftwork.errors.CalculationFailed` first of all; ``TimeoutError`` after
        ``timeout`` seconds, and it goes on.
        """
        if not self.wait(timeout):
            raise TimeoutError(f"{self.name} ({self.id}) has not ended after {timeout} s; it goes on")
        return self._decode(self._ended())

    def _ended(self) -> Any:
        """What the future ended with."""
        try:
            return self._future.result()
        except CalculationFailed as error:
            raise _as_the_caller_sees_it(error) from None
        except concurrent.futures.CancelledError:
            raise Cancelled(f"{self.name} ({self.id}) was withdrawn by its caller", by="its caller") from None

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for the end, however it is; whether it has come within ``timeout`` seconds."""
        if self._future.done():
            return True
        self._session.check()
        done, _ = concurrent.futures.wait([self._future], timeout)
        return bool(done)

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Wait for the end, and return what it ended with, or ``None`` when it succeeded."""
        try:
            self.result(timeout)
        except WeftError as error:
            return error
        return None

    def __await__(self) -> Generator[Any, None, Any]:
        ended = yield from asyncio.wrap_future(self._future).__await__()
        return self._decode(ended)

    def cancel(self) -> None:
        """Withdraw it. Its job is cancelled, unless somebody else waits for the same calculation."""
        raise NotImplementedError

    def kill(self) -> None:
        """End the commands of this process at once, without waiting for anything; for a process that is about to die."""
        self._session.kill()

    def conflicts(self) -> list[Told]:
        """Results of it that differ from those that were known, once it has ended; as texts they say how."""
        raise NotImplementedError

    @property
    def status(self) -> str:
        """``queued``, ``running``, ``succeeded``, ``failed`` or ``cancelled``."""
        raise NotImplementedError

    def __repr__(self) -> str:
        return f"<{type(self).__name__.lower()} {self.name} {self.id}: {self.status}>"


class Job(Handle):
    """The getting of one calculation's result."""

    def __init__(
        self, session: Embedded, waiter: Waiter, future: concurrent.futures.Future[Any], decode: Callable[[Any], Any]
    ) -> None:
        super().__init__(session, future, decode)
        self._waiter = waiter
        self.key = str(waiter.live.key)
        self.name = waiter.live.request.calculation.frame.name

    @property
    def id(self) -> str:  # type: ignore[override]
        """The job's name. It may become another one when somebody else cancelled the first at the same moment."""
        live = self._waiter.live
        if not live.id and live.noted is not None:
            if not live.noted.done():
                self._session.check()
            (live.id,) = live.noted.result()
            if not live.id:
                raise NotFound(
                    f"the record of {live.key.short} has vanished, and no job of this call was written; call it again"
                )
        return live.id

    @property
    def status(self) -> str:
        if self._waiter.record is not None:
            return "succeeded"
        return self._session.home.ledger.job(self.id).job.state

    @property
    def cached(self) -> bool:
        """Whether the result was known before."""
        return self._waiter.live.cached

    def events(self) -> list[Event]:
        """What has happened to it so far, in order."""
        return [event for _, event in self._session.home.ledger.events(self.id)]

    def outputs(self) -> dict[str, Ref]:
        """The outputs by name as references, which may be inputs of other submissions. Waits for the end."""
        return dict(self.record().outputs)

    def record(self) -> Record:
        """The evidence: outputs, when, where, with what observed. Waits for the end."""
        self.wait()
        record: Record = self._ended()
        return record

    def conflicts(self) -> list[Told]:
        return self._session.conflicts(jobs=[self.id])

    def why(self) -> str:
        """Why it ran, or was answered from the cache."""
        return self._session.why(self.id)

    def logs(self) -> str:
        """What it wrote to its streams, with its ``logging`` records and warnings."""
        return self._session.logs(self.id)

    def cancel(self) -> None:
        self._session.withdraw(self._waiter)


class Run(Handle):
    """One evaluation of a workflow."""

    def __init__(
        self,
        session: Embedded,
        run: str,
        name: str,
        future: concurrent.futures.Future[Any],
        decode: Callable[[Any], Any],
        cancel: Callable[[str], None],
        seen: list[StepEvent],
    ) -> None:
        super().__init__(session, future, decode)
        self.id = run
        self.name = name
        self._cancel = cancel
        self._seen = seen

    @property
    def status(self) -> str:
        return self._session.home.ledger.run(self.id).state

    def events(self) -> list[StepEvent]:
        """What has happened to its steps so far, in order."""
        return list(self._seen)

    def outcome(self) -> Any:
        """How each step ended, and why: waits for the end of the run, and does not raise for its failures."""
        self.wait()
        return self._ended()

    def conflicts(self) -> list[Told]:
        return self._session.conflicts(run=self.id)

    def why(self, step: str) -> str:
        """Why a step ran, was answered from the cache, or did not run at all."""
        return self._session.why_step(self.id, step)

    def cancel(self) -> None:
        self._cancel("user")
