"""Calls ↔ frames: a batch of calls as one frame, a result as a :class:`~weftwork.ports.CallOutcome`."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Executor
from pathlib import Path
from typing import Any, Final

from weftwork.core.checksum import Checksum
from weftwork.core.types import PLAIN
from weftwork.core.values import Ref, Type
from weftwork.errors import MissingInputs, NotFound, StagingFailed, WeftError, from_document
from weftwork.node.frames import Frame, pack
from weftwork.ports import Call, CallOutcome, Store

_INLINE: Final = 1 << 20
"""Bytes up to which an input travels in the frame."""

_PLAIN_RESULT: Final = 5
"""Fields of a result that has nothing to tell beside its outputs."""

Source = bytes | str
"""The bytes of a buffer, or the path of a file that has them."""


class Buffers:
    """The bytes of inputs: those at hand at once, all others read from the store off the loop."""

    def __init__(self, store: Store, executor: Executor) -> None:
        self._store = store
        self._executor = executor

    def known(self, calls: Iterable[Call]) -> dict[Checksum, Source] | None:
        """The inputs of the calls where all of them are at hand."""
        wanted = {ref.checksum for call in calls for _, ref in call.calculation.inputs}
        found: dict[Checksum, Source] = {**self._store.at_hand(wanted)}
        return found if len(found) == len(wanted) else None

    async def load(self, calls: Sequence[Call]) -> dict[Checksum, Source | WeftError]:
        """The inputs of the calls; an error in the place of what cannot be had."""
        refs = {ref.checksum: ref for call in calls for _, ref in call.calculation.inputs}
        found: dict[Checksum, Source | WeftError] = {**self._store.at_hand(refs)}
        wanted = [ref for checksum, ref in refs.items() if checksum not in found]
        found |= await asyncio.get_running_loop().run_in_executor(self._executor, self._read, wanted)
        return found

    async def one(self, checksum: Checksum) -> Source | WeftError:
        """A buffer that a worker asks for."""
        ref = Ref(Type("file"), checksum, -1)
        found = await asyncio.get_running_loop().run_in_executor(self._executor, self._read, [ref])
        return found[checksum]

    def _read(self, refs: Sequence[Ref]) -> dict[Checksum, Source | WeftError]:
        """On a thread."""
        small = [ref.checksum for ref in refs if ref.type.name != "file" and 0 <= ref.size <= _INLINE]
        try:
            found: dict[Checksum, Source | WeftError] = dict(self._store.get_many(small))
        except (WeftError, OSError):
            found = {}
        for ref in refs:
            if ref.checksum not in found:
                found[ref.checksum] = self._read_one(ref.checksum)
        return found

    def _read_one(self, checksum: Checksum) -> Source | WeftError:
        try:
            path = self._store.path(checksum)
            return str(path) if path is not None else self._store.get(checksum)
        except NotFound:
            return MissingInputs(f"the bytes of {checksum} are not in the store", checksums=[str(checksum)])
        except WeftError as error:
            return error
        except OSError as error:
            return StagingFailed(f"the bytes of {checksum} cannot be read: {error}")


class Batches:
    """Packs the batches for one worker. What calls have in common goes with the first call that needs it.

    That is the module's document, and the *shape* of a call: its module, with the names and types of its inputs. A
    call is then its number, its shape, its key, and for each input where its bytes are: for one that is JSON the
    number of a blob, for all others the checksum with the number of a blob or the path of a file.
    """

    def __init__(self) -> None:
        self._sent: set[str] = set()
        self._shapes: dict[tuple[Any, ...], int] = {}

    def pack(self, calls: Iterable[tuple[int, Call]], sources: Mapping[Checksum, Source]) -> bytes:
        """One frame with the numbered calls and their inputs."""
        modules: dict[str, Any] = {}
        shapes: list[Any] = []
        blobs: list[bytes] = []
        placed: dict[Checksum, int | str] = {}
        rows = []
        for number, call in calls:
            calculation = call.calculation
            module = calculation.frame.module
            known = (module, *[(name, _kind(ref.type)) for name, ref in calculation.inputs])
            shape = self._shapes.get(known)
            if shape is None:
                shape = self._shapes[known] = len(self._shapes)
                shapes.append([shape, module, [(name, ref.type.document()) for name, ref in calculation.inputs]])
                if module not in self._sent:
                    self._sent.add(module)
                    modules[module] = call.module.document()
            inputs: list[Any] = []
            for _, ref in calculation.inputs:
                where = placed.get(ref.checksum)
                if where is None:
                    where = placed[ref.checksum] = _place(sources[ref.checksum], blobs)
                inputs.append(where if type(where) is int and ref.type.inline else (ref.checksum, where))
            rows.append((number, shape, calculation.key, inputs))
        header: dict[str, Any] = {"calls": rows}
        if shapes:
            header |= {"modules": modules, "shapes": shapes}
        return pack(header, blobs)


def _kind(kind: Type) -> str | Type:
    """What stands for a type where types are compared: hashing one costs more than all the rest."""
    return kind.name if PLAIN.get(kind.name) is kind else kind


def _place(source: Source, blobs: list[bytes]) -> int | str:
    if isinstance(source, str):
        return source
    blobs.append(source)
    return len(blobs) - 1


class Results:
    """Reads results."""

    def __init__(self) -> None:
        self._types: dict[str, Type] = {}

    def outcome(self, frame: Frame) -> CallOutcome:
        """The outcome that a result's frame tells."""
        header, blobs = frame
        observed: dict[str, Any] = {"seconds": header["s"], "started": header["at"]}
        if len(header) == _PLAIN_RESULT and "out" in header:
            return CallOutcome(self._outputs(header["out"], blobs), (), None, observed)
        log = blobs[0] if "log" in header else b""
        for name in ("memory", "warnings", "outside"):
            if name in header:
                observed[name] = header[name]
        if "error" in header:
            return CallOutcome(error=from_document(header["error"]), observed=observed, log=log)
        buffers = [_data(where, blobs) for where in header["buffers"]]
        return CallOutcome(self._outputs(header["out"], blobs), buffers, None, observed, log)

    def _outputs(self, told: list[Any], blobs: list[bytes]) -> dict[str, tuple[Type, bytes | Path]]:
        return {name: (self._type(kind), _data(where, blobs)) for name, kind, where in told}

    def _type(self, kind: Any) -> Type:
        if not isinstance(kind, str):
            return Type.of(kind)
        found = self._types.get(kind)
        if found is None:
            found = self._types[kind] = Type.of(kind)
        return found


def _data(where: int | str, blobs: list[bytes]) -> bytes | Path:
    return Path(where) if isinstance(where, str) else blobs[where]
