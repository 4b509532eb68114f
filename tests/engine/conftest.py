"""A home for each test, and an engine of this process over it."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Generator, Iterator
from pathlib import Path

import psutil
import pytest

import weftwork as weft
from weftwork.embedded import Embedded

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent / "project")]

from engine_place import Place  # noqa: E402


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Generator[None, None, None]:
    """Keys as in a plain process: a warning that pytest makes an error is a setting that counts."""
    with warnings.catch_warnings():
        warnings.filters[:] = [each for each in warnings.filters if each[0] != "error"]  # type: ignore[index]
        yield


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    place = Place(tmp_path)
    yield place
    for process in place.started:
        if process.poll() is None:
            process.kill()
            process.communicate()
    for left in place.processes(supervisor=True):
        try:
            left.kill()
        except psutil.Error:
            continue


@pytest.fixture
def session(place: Place, monkeypatch: pytest.MonkeyPatch) -> Iterator[Embedded]:
    """The default session of this process, over the place's home."""
    monkeypatch.setenv("WEFT_CPUS", "2")
    monkeypatch.setenv("WEFT_HOME", str(place.home))
    yield weft.use(place.home)
    weft.close()
