"""The garbage collector pauses while something large is built, and goes on as it was."""

from __future__ import annotations

import gc

import pytest

from weftwork.core.building import building


def test_the_collector_goes_on_after_the_last_who_builds_and_after_an_error() -> None:
    assert gc.isenabled()
    with building():
        with pytest.raises(ZeroDivisionError), building():
            raise ZeroDivisionError
        assert not gc.isenabled()
    assert gc.isenabled()


def test_a_collector_that_was_off_stays_off() -> None:
    gc.disable()
    try:
        with building():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()
