"""Scratch outputs, let go as soon as what they were made for is over."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from weftwork.core import codecs
from weftwork.core.checksum import Checksum
from weftwork.core.values import Ref
from weftwork.data.holders import Holder
from weftwork.engine.engine import Engine
from weftwork.engine.losses import losses
from weftwork.engine.makers import remakable


def let_go(engine: Engine, refs: Iterable[Ref], holders: Sequence[Holder]) -> set[Checksum]:
    """Free scratch outputs that nobody holds and that can be made again; what went. On a thread.

    Values that consist of several buffers stay until the next garbage collection, which knows whether others hold
    some of these.
    """
    single = {ref.checksum for ref in refs if not codecs.has_links(ref.type)}
    if not single:
        return set()
    held = [ref for holder in holders for ref, _ in holder.holds()]
    free = single - {loss.checksum for loss in losses(engine.store, held, read=False, without=single)}
    gone = remakable(engine, free) if free else set()
    engine.store.remove(gone)
    return gone
