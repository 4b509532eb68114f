"""Every error that Weftwork raises, ordered by who must act.

::

    WeftError
    ├─ Invalid              the request is wrong: fix it                  (the caller)   4xx
    ├─ NotFound             nothing has that name
    ├─ MissingInputs        bytes that a calculation needs are not here
    ├─ Refused              understood, and not done: policy, key rules, no site
    ├─ Forbidden            the caller lacks the right
    ├─ Conflict             it clashes with what is already there
    ├─ CalculationFailed    the program itself failed                     (the scientist)
    │  └─ ExitCode  Signalled  TimeLimit  MemoryLimit  DiskLimit  NoOutput  Raised
    ├─ SiteFailed           the place failed, not the program             (the operator) 503
    │  └─ Unavailable  Lost  Evicted  StagingFailed  ImageFailed  EnvironmentDiffers
    ├─ Cancelled            somebody withdrew it                          (by whom)
    └─ Corrupt              bytes do not match their checksum             (everybody)

``Invalid`` and its five siblings are never retried; a ``CalculationFailed`` is never
cached; a ``SiteFailed`` alone is retried. A message shows the offending value and the
next step. An error crosses a process as the document of :meth:`WeftError.document`.
"""

from __future__ import annotations

from typing import Any, ClassVar


class WeftError(Exception):
    """Base of the tree. ``status`` is its HTTP status, ``exit_code`` that of the command line.

    Details are JSON values that a program may want (``input``, ``exit_code``, ...); the
    message is for people and is complete without them.
    """

    status: ClassVar[int] = 500
    exit_code: ClassVar[int] = 70

    def __init__(self, message: str, /, **details: Any) -> None:
        super().__init__(message)
        self.message = message
        self.details = details

    def __str__(self) -> str:
        return self.message

    def document(self) -> dict[str, Any]:
        """The error as a JSON document: ``{type, message, details}``."""
        return {"type": type(self).__name__, "message": self.message, "details": self.details}


class Invalid(WeftError, ValueError):
    """The request is wrong: a value, a name, a document. The message says what would be right."""

    status = 422
    exit_code = 2


class NotFound(WeftError, LookupError):
    """Nothing has the name that was given."""

    status = 404
    exit_code = 3


class MissingInputs(WeftError):
    """Bytes that a calculation needs are not in the store. ``details['checksums']`` names each."""

    status = 409
    exit_code = 3


class Refused(WeftError):
    """The request is understood and is not carried out: the key rules, a policy, no site that accepts."""

    status = 422
    exit_code = 4


class Forbidden(WeftError):
    """The caller lacks the right."""

    status = 403
    exit_code = 4


class Conflict(WeftError):
    """The request clashes with what is already there."""

    status = 409
    exit_code = 5


class CalculationFailed(WeftError):
    """The program itself failed; running it again would fail again. Never cached.

    ``details`` may hold ``job``, ``exit_code``, ``signal``, ``stderr`` (its last lines).
    """

    status = 422
    exit_code = 1


class ExitCode(CalculationFailed):
    """The program ended with an exit code other than zero."""


class Signalled(CalculationFailed):
    """The program was ended by a signal that Weftwork did not send."""


class TimeLimit(CalculationFailed):
    """The program ran longer than its time limit."""


class MemoryLimit(CalculationFailed):
    """The program used more memory than its limit, on the word of what enforced it."""


class DiskLimit(CalculationFailed):
    """The program wrote more than its disk limit, or the disk was full."""


class NoOutput(CalculationFailed):
    """The program ended well, and a declared output is missing or is not what was declared."""


class Raised(CalculationFailed):
    """A Python function raised. ``details['traceback']`` is its text."""


class SiteFailed(WeftError):
    """The place failed, not the program: tried again, elsewhere where there is an elsewhere."""

    status = 503
    exit_code = 6


class Unavailable(SiteFailed):
    """The site does not answer."""


class Lost(SiteFailed):
    """The job is gone without a word: its process died and left no outcome."""


class Evicted(SiteFailed):
    """The place took back what the job ran on, or never began it: a node failed, a queue made room. Not counted as a try."""


class StagingFailed(SiteFailed):
    """Bytes did not reach the job, or its outputs did not come back."""


class ImageFailed(SiteFailed):
    """The container image could not be had."""


class EnvironmentDiffers(SiteFailed):
    """What the node has is not what the key says. Both versions are named; nothing is recorded."""


class Cancelled(WeftError):
    """Somebody withdrew the job. ``details['by']`` says who: a user, ``upstream``, ``race``."""

    status = 409
    exit_code = 130


class Corrupt(WeftError):
    """Bytes do not match the checksum that names them."""

    status = 500
    exit_code = 7


def _tree() -> dict[str, type[WeftError]]:
    found: dict[str, type[WeftError]] = {}
    stack: list[type[WeftError]] = [WeftError]
    while stack:
        error = stack.pop()
        found[error.__name__] = error
        stack.extend(error.__subclasses__())
    return found


def from_document(document: dict[str, Any]) -> WeftError:
    """The error that :meth:`WeftError.document` described; an unknown type is a plain ``WeftError``."""
    error = _tree().get(str(document.get("type")), WeftError)
    return error(str(document.get("message", "")), **dict(document.get("details") or {}))
