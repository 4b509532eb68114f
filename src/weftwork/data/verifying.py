"""Reading a whole store back: which buffers are not what their names say, and what they were for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from weftwork.core.checksum import Checksum
from weftwork.core.values import Ref
from weftwork.data.facts import Facts
from weftwork.errors import Corrupt, NotFound
from weftwork.ports import Ledger, Store

_SMALL = 64 * 1024
_TOGETHER = 256
"""Small buffers read in one look-up."""

_CHUNK = 1 << 20
_PAGE = 2000
_NAMED = 3
"""How many of the values that a buffer is part of are named."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """A buffer that is damaged, or gone. ``what`` says what it is; ``again`` whether it can be made again."""

    checksum: Checksum
    what: str
    again: bool


def damaged(store: Store, jobs: int, seen: Callable[[int, int], None]) -> list[Checksum]:
    """The buffers whose bytes do not match their names, all of them read by ``jobs`` threads.

    ``seen`` is told how many buffers and bytes were read, after each hand-over. Raises
    :class:`~weftwork.errors.Corrupt` where the store cannot even be listed.
    """
    found: list[Checksum] = []
    with ThreadPoolExecutor(jobs, "weft-verify") as pool:
        for wrong, count, size in pool.map(lambda batch: _read(store, batch), _batches(store)):
            found += wrong
            seen(count, size)
    return found


def _batches(store: Store) -> Iterator[Sequence[tuple[Checksum, int]]]:
    """Small buffers together, each large one by itself."""
    small: list[tuple[Checksum, int]] = []
    for checksum, size in store.checksums():
        if size > _SMALL:
            yield [(checksum, size)]
            continue
        small.append((checksum, size))
        if len(small) == _TOGETHER:
            yield small
            small = []
    if small:
        yield small


def _read(store: Store, batch: Sequence[tuple[Checksum, int]]) -> tuple[list[Checksum], int, int]:
    wrong: list[Checksum] = []
    together = len(batch) > 1
    if together:
        try:
            store.get_many([checksum for checksum, _ in batch])
        except Corrupt as error:
            if error.details.get("path"):
                raise
            together = False
    if not together:
        wrong = [checksum for checksum, _ in batch if not _sound(store, checksum)]
    return wrong, len(batch), sum(size for _, size in batch)


def _sound(store: Store, checksum: Checksum) -> bool:
    """Whether a buffer is what its name says; one that was freed meanwhile is no matter."""
    try:
        with store.open(checksum) as stream:
            while stream.read(_CHUNK):
                pass
    except NotFound:
        return True
    except Corrupt as error:
        if error.details.get("path"):
            raise
        return False
    return True


def troubles(ledger: Ledger, store: Store, facts: Facts, checksums: Iterable[Checksum]) -> list[Trouble]:
    """What buffers are, for people: outputs of which steps, inputs of which modules; and whether they can be made again."""
    wanted = dict.fromkeys(checksums)
    names: dict[Checksum, list[str]] = {each: [] for each in wanted}
    if wanted:
        for ref, text in _uses(ledger):
            for each in facts.holding(store, ref):
                if each in names and len(names[each]) < _NAMED and text not in names[each]:
                    names[each].append(text)
    inside = {each for root in facts.made for each in facts.holding(store, facts.refs[root])} if wanted else set()
    return [Trouble(each, "; ".join(names[each]) or "nothing names it", each in inside) for each in wanted]


def _uses(ledger: Ledger) -> Iterator[tuple[Ref, str]]:
    """All values that are named, with what they are."""
    after, of_key = 0, dict[Checksum, str]()
    inputs: list[tuple[Ref, str]] = []
    while page := ledger.calculations(after, _PAGE):
        after = page[-1][0]
        for _, calculation in page:
            of_key[calculation.key] = calculation.frame.name
            inputs += [(ref, f"the input {name!r} of {calculation.frame.name}") for name, ref in calculation.inputs]
    after = 0
    while history := ledger.history(after, _PAGE):
        after = history[-1][0]
        for _, _, record in history:
            of = of_key.get(record.key, "?")
            yield from ((ref, f"the output {name!r} of {of} (key {record.key.short})") for name, ref in record.outputs)
    yield from inputs


def missing(facts: Facts) -> tuple[int, list[Checksum]]:
    """How many values that records name are gone and can be made again; those that are gone and cannot."""
    again = sum(checksum not in facts.sizes for checksum in facts.made)
    return again, [checksum for checksum in facts.fixed if checksum not in facts.sizes]
