"""One call: inputs decoded, the function called, what it returned encoded, or why there is nothing.

Owns how a returned value becomes outputs. Guarantees: a value that the function gets was decoded from canonical bytes
for this call alone; nothing of a call that failed is handed over; a failure is always that of one call.
"""

from __future__ import annotations

import contextvars
import os
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from weftwork.core import codecs
from weftwork.core.checksum import Checksum, canonical, from_canonical
from weftwork.core.module import Function, Module
from weftwork.core.values import DIRECTORY, FILE, Directory, File, Ref, Type, convert, infer
from weftwork.errors import Invalid, NoOutput, Raised, WeftError
from weftwork.node.audit import Watch
from weftwork.node.handover import Inputs, Spool, hash_file

LARGE: Final = 1 << 20
"""Bytes above which an output travels as a file."""

_OURS: Final = str(Path(__file__).resolve().parent.parent) + os.sep


@dataclass(slots=True)
class Result:
    """What came out of a call: outputs as (name, type, bytes or path), what they hold, or the error."""

    outputs: list[tuple[str, Type, bytes | str]] = field(default_factory=list)
    buffers: list[bytes | str] = field(default_factory=list)
    error: WeftError | None = None
    outside: list[str] = field(default_factory=list)
    began: float = 0.0
    seconds: float = 0.0


class Caller:
    """Calls one function with inputs that are given by checksum."""

    def __init__(self, function: Callable[..., Any], watch: Watch, inputs: Inputs, spool: Spool) -> None:
        self._function = function
        self._watch = watch
        self._inputs = inputs
        self._spool = spool

    def call(self, module: Module, inputs: Sequence[tuple[str, Type, bytes | Checksum]]) -> Result:
        """Run the function. An input that is JSON may come as its bytes, all others by checksum.

        Never raises: whatever goes wrong is the result's error.
        """
        result = Result(began=time.time())
        try:
            values = {name: self._value(actual, source) for name, actual, source in inputs}
            begun = time.perf_counter()
            try:
                with self._watch as seen:
                    # A context of its own: what is set in context variables (decimal, numpy.errstate) ends with it.
                    returned = contextvars.copy_context().run(self._function, **values)
            finally:
                result.seconds = time.perf_counter() - begun
            if seen:
                result.outside = seen.messages()
            del values
            self._hand_over(module, returned, result)
        except WeftError as error:
            result.error = error if not _from_function(error) else _raised(module, error)
        except BaseException as error:
            # Also KeyboardInterrupt and SystemExit: inside a function they are failures of that call.
            result.error = _raised(module, error)
        if result.error is not None:
            result.outputs, result.buffers = [], []
        return result

    def _value(self, actual: Type, source: bytes | Checksum) -> Any:
        if isinstance(source, bytes):
            return from_canonical(source)
        if actual.inline:
            return from_canonical(self._inputs.get(source))
        return codecs.read(actual, source, self._inputs.get, self._inputs.local)

    def _hand_over(self, module: Module, returned: Any, result: Result) -> None:
        values = _fields(module, returned)
        for each in module.outputs:
            where = f"{module.name}: output {each.name!r}"
            value = values.get(each.name)
            if value is None and not (each.type.optional or each.type.name in ("null", "any", "json")):
                raise NoOutput(f"{where}: the function returned None where {each.type} is expected", output=each.name)
            try:
                converted = convert(each.type, value, where)
                kind, data = self._encoded(each.type, converted, where, result)
            except Invalid as error:
                raise NoOutput(error.message, output=each.name) from None
            result.outputs.append((each.name, kind, data))

    def _encoded(self, declared: Type, value: Any, where: str, result: Result) -> tuple[Type, bytes | str]:
        if declared.inline:
            kind, data = (declared.concrete, canonical(value)) if value is not None else (Type("null"), b"null")
            return kind, self._sent(data)
        if isinstance(value, Directory):
            data, paths = self._spool.take_directory(_path(value, where), where)
            result.buffers.extend(paths)
            return DIRECTORY, self._sent(data)
        if isinstance(value, File):
            return FILE, self._spool.take(_path(value, where), where)
        actual = infer(value) if declared.name == "any" else declared
        if actual.name in ("list", "record", "collection"):
            value = self._landed(value, where, result)

        def put(data: bytes) -> Checksum:
            result.buffers.append(self._sent(data))
            return Checksum.of(data)

        kind, data = codecs.encode(actual, value, put)
        return kind, self._sent(data)

    def _landed(self, value: Any, where: str, result: Result) -> Any:
        """The value with every file in it, at any depth, taken in and replaced by its reference."""
        if isinstance(value, list):
            return [self._landed(each, f"{where}[{index}]", result) for index, each in enumerate(value)]
        if isinstance(value, dict):
            return {name: self._landed(each, f"{where}[{name!r}]", result) for name, each in value.items()}
        if isinstance(value, Directory):
            data, paths = self._spool.take_directory(_path(value, where), where)
            result.buffers.extend([*paths, data])
            return Ref(DIRECTORY, Checksum.of(data), len(data))
        if isinstance(value, File):
            path = self._spool.take(_path(value, where), where)
            result.buffers.append(path)
            return Ref(FILE, *hash_file(path))
        return value

    def _sent(self, data: bytes) -> bytes | str:
        return data if len(data) <= LARGE else self._spool.write(data)


def _path(value: File, where: str) -> str:
    if value.remote:
        raise NoOutput(f"{where}: {value.source} is an address; return a file that the function wrote")
    return value.source


def _fields(module: Module, returned: Any) -> Mapping[str, Any]:
    """The outputs in what the function returned, by name."""
    names = [each.name for each in module.outputs]
    if not isinstance(module.program, Function) or module.program.returns == "value":
        return {names[0]: returned}
    if isinstance(returned, Mapping):
        for name in returned:
            if name not in names:
                raise NoOutput(
                    f"{module.name}: the function returned {name!r}, which is no output; its outputs are {', '.join(names)}"
                )
        return returned
    if not any(hasattr(returned, name) for name in names):
        raise NoOutput(
            f"{module.name}: the function returned {_shown(returned)}; an object with {', '.join(names)} is expected"
        )
    return {name: getattr(returned, name, None) for name in names}


def _from_function(error: WeftError) -> bool:
    """Whether the user's own code raised it: then it is an exception like any other."""
    frame = error.__traceback__
    return any(not summary.filename.startswith(_OURS) for summary in traceback.extract_tb(frame)) if frame else False


def _raised(module: Module, error: BaseException) -> Raised:
    """The error of a call whose function raised, with the frames of its own code alone."""
    told = traceback.TracebackException(type(error), error, error.__traceback__, limit=-200, compact=True)
    _strip(told, 0)
    text = _text(error)
    message = f"{module.name}: {type(error).__qualname__}" + (f": {text}" if text else "")
    if told.stack:
        message += f" ({told.stack[-1].filename}:{told.stack[-1].lineno})"
    if isinstance(error, FileNotFoundError) and isinstance(error.filename, str) and not os.path.isabs(error.filename):
        message += "; a call has an empty folder of its own: what it reads is an input (weft.File, weft.Directory)"
    return Raised(message, traceback="".join(told.format()), exception=type(error).__qualname__)


def _strip(told: traceback.TracebackException, depth: int) -> None:
    frames = [frame for frame in told.stack if not frame.filename.startswith((_OURS, "<frozen "))]
    told.stack = traceback.StackSummary.from_list(frames)
    for other in (told.__cause__, told.__context__):
        if other is not None and depth < 20:
            _strip(other, depth + 1)


def _text(error: BaseException) -> str:
    try:
        return str(error)[:2000]
    except Exception:
        return "(its text cannot be had)"


def _shown(value: Any) -> str:
    try:
        text = repr(value)
    except Exception:
        text = f"a {type(value).__qualname__}"
    return text if len(text) <= 80 else text[:77] + "..."
