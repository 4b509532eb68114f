"""What of stored values is not there any more, or is damaged: found by who needs to know what to make again."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from weftwork.core import codecs
from weftwork.core.checksum import Checksum
from weftwork.core.values import Ref
from weftwork.errors import Corrupt, NotFound
from weftwork.ports import Store

_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Loss:
    """A buffer that is gone or ``damaged``. ``holders`` are the values that hold it, at any depth, within what was asked."""

    checksum: Checksum
    holders: tuple[Checksum, ...] = ()
    damaged: bool = False


def losses(
    store: Store, refs: Iterable[Ref], *, read: bool, without: AbstractSet[Checksum] = frozenset()
) -> list[Loss]:
    """What is lost of stored values, at any depth, each buffer once. ``read``: read all of them, which finds damage too.

    ``without`` are buffers that are taken for gone.
    """
    found: dict[Checksum, Loss] = {}
    _look(store, list({ref.checksum: ref for ref in refs}.values()), (), read, without, found)
    return list(found.values())


def _look(
    store: Store,
    refs: Sequence[Ref],
    holders: tuple[Checksum, ...],
    read: bool,
    without: AbstractSet[Checksum],
    found: dict[Checksum, Loss],
) -> None:
    absent = store.missing([ref.checksum for ref in refs]) | without
    for ref in refs:
        links = codecs.has_links(ref.type)
        damaged = False
        try:
            if ref.checksum in absent:
                raise NotFound("")
            data = _bytes(store, ref.checksum, keep=links) if links or read else b""
        except (NotFound, Corrupt) as error:
            damaged = isinstance(error, Corrupt)
            known = found.get(ref.checksum)
            also = known.holders if known is not None else ()
            found[ref.checksum] = Loss(ref.checksum, tuple(dict.fromkeys((*also, *holders))), damaged)
            continue
        if links:
            held = [item for _, item in codecs.items(ref.type, data)]
            _look(store, held, (*holders, ref.checksum), read, without, found)


def _bytes(store: Store, checksum: Checksum, *, keep: bool) -> bytes:
    """The verified bytes of what holds others; of all else nothing, read to its end."""
    if keep:
        return store.get(checksum)
    with store.open(checksum) as stream:
        while stream.read(_CHUNK):
            pass
    return b""
