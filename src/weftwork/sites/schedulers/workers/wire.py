"""Calls ↔ frames: a batch of calls as one frame, a result as a :class:`~weftwork.ports.CallOutcome`."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from concurrent.futures import Executor
from pathlib import Path
from typing import Any, Final

from weftwork.core.checksum import Checksum
from weftwork.core.values import Ref, Type
from weftwork.errors import MissingInputs, NotFound, StagingFailed, WeftError, from_document
from weftwork.node.frames import Frame, pack
from weftwork.ports import Call, CallOutcome, Store

_INLINE: Final = 1 << 20
"""Bytes up to which an input travels in the frame."""

_CACHE: Final = 16 << 20
"""Bytes of inputs that are kept at most."""
_ENTRY: Final = 400
"""Bytes that keeping one takes beside its own: its name, its place in the order."""

Source = bytes | str
"""The bytes of a buffer, or the path of a file that has them."""


class Buffers:
    """The bytes of inputs: read from the store off the loop, the small ones kept for the calls that share them."""

    def __init__(self, store: Store, executor: Executor) -> None:
        self._store = store
        self._executor = executor
        self._kept: OrderedDict[Checksum, Source] = OrderedDict()
        self._size = 0

    def known(self, calls: Iterable[Call]) -> dict[Checksum, Source] | None:
        """The inputs of the calls where all of them are at hand."""
        kept, found = self._kept, {}
        for call in calls:
            for _, ref in call.calculation.inputs:
                source = kept.get(ref.checksum)
                if source is None:
                    return None
                found[ref.checksum] = source
        return found

    async def load(self, calls: Sequence[Call]) -> dict[Checksum, Source | WeftError]:
        """The inputs of the calls; an error in the place of what cannot be had."""
        refs = {ref.checksum: ref for call in calls for _, ref in call.calculation.inputs}
        found: dict[Checksum, Source | WeftError] = {}
        for checksum in refs:
            source = self._kept.get(checksum)
            if source is not None:
                found[checksum] = source
        wanted = [ref for checksum, ref in refs.items() if checksum not in found]
        fresh = await asyncio.get_running_loop().run_in_executor(self._executor, self._read, wanted)
        for checksum, each in fresh.items():
            if isinstance(each, bytes):
                self._keep(checksum, each)
        return {**found, **fresh}

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

    def _keep(self, checksum: Checksum, data: bytes) -> None:
        if len(data) > _CACHE // 64:
            return
        self._kept[checksum] = data
        self._size += len(data) + _ENTRY
        while self._size > _CACHE:
            _, old = self._kept.popitem(last=False)
            self._size -= len(old) + _ENTRY


class Batches:
    """Packs the batches for one worker: a module's document goes with the first call that needs it."""

    def __init__(self) -> None:
        self._sent: set[str] = set()
        self._types: dict[Type, Any] = {}

    def pack(self, calls: Iterable[tuple[int, Call]], sources: dict[Checksum, Source]) -> bytes:
        """One frame with the numbered calls and their inputs."""
        modules: dict[str, Any] = {}
        blobs: list[bytes] = []
        placed: dict[Checksum, int | str] = {}
        rows = []
        for number, call in calls:
            frame = call.calculation.frame
            if frame.module not in self._sent:
                self._sent.add(frame.module)
                modules[frame.module] = call.module.document()
            inputs = []
            for name, ref in call.calculation.inputs:
                where = placed.get(ref.checksum)
                if where is None:
                    source = sources[ref.checksum]
                    if isinstance(source, bytes):
                        blobs.append(source)
                        source = len(blobs) - 1  # type: ignore[assignment]
                    where = placed[ref.checksum] = source  # type: ignore[assignment]
                inputs.append((name, self._document(ref.type), ref.checksum, where))
            rows.append((number, frame.module, call.calculation.key, inputs))
        return pack({"modules": modules, "calls": rows} if modules else {"calls": rows}, blobs)

    def _document(self, kind: Type) -> Any:
        found = self._types.get(kind)
        if found is None:
            found = self._types[kind] = kind.document()
        return found


class Results:
    """Reads results."""

    def __init__(self) -> None:
        self._types: dict[str, Type] = {}

    def outcome(self, frame: Frame) -> CallOutcome:
        """The outcome that a result's frame tells."""
        header, blobs = frame
        log = blobs[0] if "log" in header else b""
        observed: dict[str, Any] = {"seconds": header["s"], "started": header["at"]}
        for name in ("memory", "warnings", "outside"):
            if name in header:
                observed[name] = header[name]
        if "error" in header:
            return CallOutcome(error=from_document(header["error"]), observed=observed, log=log)
        outputs = {name: (self._type(kind), _data(where, blobs)) for name, kind, where in header["out"]}
        buffers = [_data(where, blobs) for where in header["buffers"]] if "buffers" in header else ()
        return CallOutcome(outputs, buffers, None, observed, log)

    def _type(self, kind: Any) -> Type:
        if not isinstance(kind, str):
            return Type.of(kind)
        found = self._types.get(kind)
        if found is None:
            found = self._types[kind] = Type.of(kind)
        return found


def _data(where: int | str, blobs: list[bytes]) -> bytes | Path:
    return Path(where) if isinstance(where, str) else blobs[where]
