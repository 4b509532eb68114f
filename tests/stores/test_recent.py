"""Buffers kept in memory: bounded, and those that are asked for stay."""

from __future__ import annotations

from weftwork.core.checksum import Checksum
from weftwork.stores.recent import Recent


def _named(number: int) -> tuple[Checksum, bytes]:
    data = b"%d" % number
    return Checksum.of(data), data


def test_what_was_put_last_is_there_and_no_more_than_the_limit() -> None:
    recent = Recent(limit=100_000)
    recent.keep(_named(number) for number in range(10_000))
    names = [_named(number)[0] for number in range(10_000)]
    found = recent.find(names)
    assert set(names[-50:]) <= set(found)
    assert 400 * len(found) <= 100_000


def test_what_is_asked_for_again_and_again_stays() -> None:
    recent = Recent(limit=100_000)
    wanted = _named(-1)
    recent.keep([wanted])
    for number in range(2000):
        recent.keep([_named(number)])
        assert recent.find([wanted[0]]) == dict([wanted])


def test_what_is_too_large_to_be_worth_it_is_not_kept() -> None:
    recent = Recent()
    data = bytes(1 << 20)
    recent.keep([(Checksum.of(data), data)])
    assert recent.find([Checksum.of(data)]) == {}
