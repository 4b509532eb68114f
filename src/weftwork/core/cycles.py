"""Cycles in who waits for whom."""

from __future__ import annotations

from collections.abc import Collection, Mapping


def cycles(waits: Mapping[str, Collection[str]]) -> list[list[str]]:
    """Cycles that share no member, each in the order of waiting; none exactly where an order of all exists.

    Names that are waited for and do not wait themselves need not be keys.
    """
    found: list[list[str]] = []
    left = {name: {each for each in needs if each in waits} for name, needs in waits.items()}
    _peel(left)
    while left:
        cycle = _one(left)
        found.append(cycle)
        for name in cycle:
            del left[name]
        for needs in left.values():
            needs.difference_update(cycle)
        _peel(left)
    return found


def _peel(left: dict[str, set[str]]) -> None:
    """Take away what can begin, again and again (A. B. Kahn, *Topological sorting of large networks*, 1962)."""
    readers: dict[str, list[str]] = {name: [] for name in left}
    for name, needs in left.items():
        for each in needs:
            readers[each].append(name)
    ready = [name for name, needs in left.items() if not needs]
    while ready:
        done = ready.pop()
        del left[done]
        for reader in readers[done]:
            left[reader].discard(done)
            if not left[reader]:
                ready.append(reader)


def _one(left: Mapping[str, set[str]]) -> list[str]:
    """Some cycle: everything left waits for something left, so that walking on must come back."""
    at, seen = next(iter(left)), dict[str, int]()
    while at not in seen:
        seen[at] = len(seen)
        at = min(left[at])
    return list(seen)[seen[at] :]
