"""How a command ends: errors become one line and an exit code, a bug a saved traceback, a closed pipe nothing at all."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Callable
from types import FrameType
from typing import TYPE_CHECKING, Any, NoReturn

from weftwork.errors import WeftError

if TYPE_CHECKING:
    import click

INTERRUPTED = 130
TERMINATED = 143
CLOSED_PIPE = 141
INTERNAL = 70


class Terminated(KeyboardInterrupt):
    """SIGTERM came: all that Ctrl-C does, with another exit code."""


def guarded(command: Callable[[], Any]) -> int:
    """Run a command to its exit code, whatever it raises."""
    with contextlib.suppress(ValueError):
        signal.signal(signal.SIGTERM, _terminate)
    try:
        code = command()
        sys.stdout.flush()
    except KeyboardInterrupt as error:
        told("interrupted")
        return TERMINATED if isinstance(error, Terminated) else INTERRUPTED
    except WeftError as error:
        told(str(error))
        return error.exit_code
    except BrokenPipeError:
        _let_go_of_stdout()
        return CLOSED_PIPE
    except Exception as error:
        return _of_click(error) if "click" in sys.modules else _bug(error)
    return code if isinstance(code, int) else 0


def _terminate(number: int, frame: FrameType | None) -> NoReturn:
    raise Terminated


def told(message: str) -> None:
    """One message on standard error, without ever failing."""
    with contextlib.suppress(OSError, ValueError):
        print(f"weft: {message}", file=sys.stderr, flush=True)


def _of_click(error: Exception) -> int:
    import click

    if isinstance(error, click.exceptions.Exit):
        return error.exit_code
    if isinstance(error, click.Abort):
        told("interrupted")
        return INTERRUPTED
    if isinstance(error, click.ClickException):
        _show(error)
        return error.exit_code
    return _bug(error)


def _show(error: click.ClickException) -> None:
    import click

    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        error.show()
    elif isinstance(error, click.UsageError) and error.ctx is not None:
        told(f"{error.format_message()}\n{error.ctx.get_usage()}\nTry '{error.ctx.command_path} --help'.")
    else:
        told(error.format_message())


def _let_go_of_stdout() -> None:
    """Nobody reads any more: what is still buffered must not fail at the end of the process."""
    with contextlib.suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _bug(error: Exception) -> int:
    import traceback

    text = "".join(traceback.format_exception(error))
    if os.environ.get("WEFT_DEBUG") == "1":
        print(text, file=sys.stderr, end="")
    place = _saved(text)
    where = f"the traceback is in {place}" if place else "set WEFT_DEBUG=1 to see the traceback"
    told(f"internal error: {type(error).__name__}: {error}; this is a fault of Weftwork: {where}")
    return INTERNAL


def _saved(text: str) -> str | None:
    """Keep a traceback in the home, for a report."""
    import platform
    import time

    from weftwork import __version__
    from weftwork.config import home_folder

    try:
        folder = home_folder(_home) / "crash"
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.txt"
        system = f"weftwork {__version__}, Python {platform.python_version()}, {platform.platform()}"
        path.write_text(f"{system}\n{' '.join(sys.argv)}\n\n{text}")
    except (WeftError, OSError):
        return None
    return str(path)


_home: str | None = None
"""The home that the command line named, once it was read."""


def remember_home(home: str | None) -> None:
    """Tracebacks of bugs go to this home."""
    global _home
    _home = home
