"""What surrounds a call in a warm worker: the same for each, whatever the one before it did.

Owns the scratch folder, variables, streams, logging, warnings, signals, seeds. Guarantees: before a call all of these
are as they were when the worker was ready; after it, :meth:`Surroundings.leave` puts back what can be put back and
says, as a reason for the worker to be replaced, what cannot (threads, child processes).
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import logging
import os
import random
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Collection
from typing import Any, Final, TextIO

from weftwork.node.handover import remove

LOG_LIMIT: Final = 16 << 20
"""Bytes of both streams that are kept of one call."""

_KEEP_LOG: Final = 1 << 20
_MARK: Final = (1 << 40) + 4242
_MOST_WARNINGS: Final = 20
_SIGNALS: Final = tuple(
    getattr(signal, name)
    for name in ("SIGINT", "SIGTERM", "SIGALRM", "SIGCHLD", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGPIPE")
)
# signal.getsignal without the conversion to an enum, which costs ten times as much.
_getsignal: Callable[[int], Any] = importlib.import_module("_signal").getsignal


class Surroundings:
    """The surroundings of the calls of one worker. ``log`` is the descriptor of the file that 1 and 2 append to."""

    def __init__(self, scratch: str, log: int) -> None:
        self._scratch = scratch
        self._log = log
        self._log_id = _file_id(log)
        self.log_end = os.lseek(log, 0, os.SEEK_END)
        self.warnings: list[str] = []
        self._numpy_random: Any = None
        self._tidied: tuple[int, ...] = ()
        self._fflush = _c_flush()
        self._subreaper = _become_subreaper()
        # By lines, so that a follower sees them as they come and the two streams keep their order.
        self._streams = sys.stdout, sys.stderr = _open_stream(1), _open_stream(2)
        self._logging = _Logging()

    def ready(self, packages: Collection[str]) -> None:
        """The worker is set up: how things are now is how every call finds them. ``packages`` are the program's."""
        if "numpy" in packages or "numpy" in sys.modules:
            # Now, so that no call is the one that imports it: its generator is seeded before each.
            self._numpy_random = importlib.import_module("numpy.random")
        self._flush()
        self._threads = set(threading.enumerate())
        self._environ = dict(os.environ._data)  # type: ignore[attr-defined]
        self._filters = list(warnings.filters)
        self._showwarning = warnings.showwarning = self._show_warning
        self._handlers = [*map(_getsignal, _SIGNALS)]
        self._recursion = sys.getrecursionlimit()
        self._tracing = (sys.gettrace(), sys.getprofile())
        self._logging.remember()
        self._tidy()
        self._set_log_end(os.lseek(self._log, 0, os.SEEK_END))

    def enter(self, key: str) -> None:
        """Before a call: seeds, and warnings that were shown to an earlier call are news again."""
        seed = int(key[:16], 16)
        random.seed(seed)
        if self._numpy_random is not None:
            self._numpy_random.seed([int(key[at : at + 8], 16) for at in (0, 8, 16, 24)])
        _forget_shown()
        if self.warnings:
            self.warnings = []

    def leave(self) -> str | None:
        """After a call, when its files have been handed over. A reason to replace this worker, or ``None``."""
        self._put_back()
        return self._left_over()

    def take_log(self) -> bytes:
        """What the call at hand wrote to descriptors 1 and 2, by Python and by others; capped."""
        self._flush()
        if self._is_untouched():
            return b""
        start = self.log_end
        end = self._log_size()
        text = b"" if end == start else os.pread(self._log, min(end - start, LOG_LIMIT), start)
        if end - start >= LOG_LIMIT:
            text += b"\n[more than %d MiB were written: the rest is not kept]\n" % (LOG_LIMIT >> 20)
        if end > _KEEP_LOG:
            os.ftruncate(self._log, 0)
            end = 0
        self._set_log_end(end)
        return text

    def _set_log_end(self, end: int) -> None:
        # A place where no write ends, in the one description that 1, 2 and the log have in common: who appends moves it.
        os.lseek(self._log, _MARK, os.SEEK_SET)
        self.log_end = end

    def _is_untouched(self) -> bool:
        """Whether 1 and 2 still lead to the log, and nothing was written to it, in a few calls that cost next to nothing."""
        try:
            if os.lseek(1, 0, os.SEEK_CUR) != _MARK or os.lseek(2, 0, os.SEEK_CUR) != _MARK:
                return False
        except OSError:
            return False
        # Somebody may have opened it anew.
        if os.lseek(self._log, 0, os.SEEK_END) != self.log_end:
            return False
        os.lseek(self._log, _MARK, os.SEEK_SET)
        return True

    def _show_warning(
        self, message: Any, category: Any, filename: str, lineno: int, file: Any = None, line: Any = None
    ) -> None:
        text = warnings.formatwarning(message, category, filename, lineno, line)
        if len(self.warnings) < _MOST_WARNINGS:
            self.warnings.append(f"{category.__name__}: {message}")
        with contextlib.suppress(OSError, ValueError):
            (sys.stderr if file is None else file).write(text)

    def _flush(self) -> None:
        for stream in self._streams:
            try:
                stream.flush()
            except (OSError, ValueError):
                continue
        if self._fflush is not None:
            self._fflush(None)

    def _log_size(self) -> int:
        """The size of the log; 1 and 2 are made to lead there if they no longer do."""
        for descriptor in (2, 1):
            try:
                status = os.fstat(descriptor)
                astray = (status.st_dev, status.st_ino) != self._log_id
            except OSError:
                astray = True
            if astray:
                os.dup2(self._log, descriptor)
                status = os.fstat(self._log)
        return status.st_size

    def _put_back(self) -> None:
        if os.environ._data != self._environ:  # type: ignore[attr-defined]
            os.environ.clear()
            os.environ.update({os.fsdecode(name): os.fsdecode(value) for name, value in self._environ.items()})
        if warnings.showwarning is not self._showwarning:
            warnings.showwarning = self._showwarning
        if warnings.filters != self._filters:
            filters: Any = warnings.filters
            filters[:] = self._filters
        if [*map(_getsignal, _SIGNALS)] != self._handlers:
            for number, handler in zip(_SIGNALS, self._handlers, strict=True):
                signal.signal(number, handler)
        if signal.getitimer(signal.ITIMER_REAL)[0]:
            signal.setitimer(signal.ITIMER_REAL, 0)
        if sys.getrecursionlimit() != self._recursion:
            sys.setrecursionlimit(self._recursion)
        if (sys.gettrace(), sys.getprofile()) != self._tracing:
            sys.settrace(self._tracing[0])
            sys.setprofile(self._tracing[1])
        self._logging.put_back()
        if sys.stdout is not self._streams[0] or sys.stderr is not self._streams[1]:
            sys.stdout, sys.stderr = self._streams
        if sys.stdout.closed or sys.stderr.closed:
            self._streams = sys.stdout, sys.stderr = _open_stream(1), _open_stream(2)
        self._tidy()

    def _tidy(self) -> None:
        """Stand in the scratch folder, and have it empty. One look tells whether it is both already."""
        try:
            if _folder_state(".") == self._tidied:
                return
            os.chdir(self._scratch)
            names = os.listdir(".")
        except OSError:
            remove(self._scratch)
            os.makedirs(self._scratch)
            os.chdir(self._scratch)
            names = []
        for name in names:
            remove(os.path.join(self._scratch, name))
        # A time long ago: whatever is made in the folder moves it, also within the clock's resolution.
        os.utime(".", (0, 0))
        self._tidied = _folder_state(".")

    def _left_over(self) -> str | None:
        try:
            # WNOWAIT: only whether there is any child, dead or alive.
            os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            return "the function left child processes"
        except ChildProcessError:
            pass
        if threading.active_count() != len(self._threads):
            left = [each for each in threading.enumerate() if each not in self._threads and not each.daemon]
            if left:
                return f"the function left the thread {left[0].name}"
        return None


class _Logging:
    """The configuration of :mod:`logging`, and a handler that sends every record to the call's stderr."""

    def __init__(self) -> None:
        handler = logging.StreamHandler(_Stderr())
        handler.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
        logging.root.addHandler(handler)
        logging.root.setLevel(logging.INFO)
        logging.raiseExceptions = False
        self._dirty = False

    def remember(self) -> None:
        root = logging.root
        self._clear = root.manager._clear_cache  # type: ignore[attr-defined]
        # Every change of a level ends in this method: a cheap way to learn that one was made.
        root.manager._clear_cache = self._note  # type: ignore[attr-defined]
        self._state = {each: _state(each) for each in self._loggers()}
        self._root = (list(root.handlers), root.level)
        self._handlers = len(logging._handlerList)  # type: ignore[attr-defined]
        self._disable = root.manager.disable
        self._dirty = False

    def _note(self) -> None:
        self._dirty = True
        self._clear()

    def put_back(self) -> None:
        root = logging.root
        unchanged = (root.handlers, root.level) == self._root and len(logging._handlerList) == self._handlers  # type: ignore[attr-defined]
        if unchanged and not self._dirty and root.manager.disable == self._disable:
            return
        logging.disable(self._disable)
        for each in self._loggers():
            handlers, level, propagate, disabled = self._state.get(each, ([], logging.NOTSET, True, False))
            each.handlers[:] = handlers
            each.propagate, each.disabled = propagate, disabled
            if each.level != level:
                each.setLevel(level)
        self._handlers = len(logging._handlerList)  # type: ignore[attr-defined]
        self._dirty = False

    @staticmethod
    def _loggers() -> list[logging.Logger]:
        known = logging.root.manager.loggerDict.values()
        return [logging.root, *(each for each in known if isinstance(each, logging.Logger))]


def _state(logger: logging.Logger) -> tuple[list[logging.Handler], int, bool, bool]:
    return list(logger.handlers), logger.level, logger.propagate, logger.disabled


class _Stderr:
    """Whatever ``sys.stderr`` is at the moment."""

    def write(self, text: str) -> None:
        sys.stderr.write(text)

    def flush(self) -> None:
        sys.stderr.flush()


def _folder_state(path: str) -> tuple[int, ...]:
    status = os.stat(path)
    return status.st_dev, status.st_ino, status.st_nlink, status.st_mtime_ns, status.st_mode


def _open_stream(descriptor: int) -> TextIO:
    # Not closed with the object: the descriptor outlives what a function does to the stream.
    return open(descriptor, "w", encoding="utf-8", errors="backslashreplace", buffering=1, closefd=False)


def _file_id(descriptor: int) -> tuple[int, int] | None:
    try:
        status = os.fstat(descriptor)
    except OSError:
        return None
    return status.st_dev, status.st_ino


# Has every warning shown again: the registries of shown ones carry the version of the filters.
_forget_shown: Callable[[], None] = next(
    (getattr(warnings, name) for name in ("_filters_mutated", "_filters_mutated_lock_held") if hasattr(warnings, name)),
    lambda: None,
)


def _c_flush() -> Callable[[None], Any] | None:
    """``fflush(NULL)``: what C code printed must be in the log before the next call prints."""
    try:
        return ctypes.PyDLL(None).fflush
    except (OSError, AttributeError):
        return None


def _become_subreaper() -> bool:
    """Have orphaned descendants handed to this process, so that none is overlooked (Linux: ``prctl(36)``)."""
    if not sys.platform.startswith("linux"):
        return False
    try:
        return bool(ctypes.CDLL(None).prctl(36, 1, 0, 0, 0) == 0)
    except (OSError, AttributeError):
        return False
