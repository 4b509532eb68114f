"""Fixtures of the node's tests: the lanes, and homes whose supervisors end with the test."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from node_lanes import Alone, Lane, Portable, Resident, stop_supervisor


@pytest.fixture(scope="session")
def resident(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Resident]:
    home = tmp_path_factory.mktemp("home")
    yield Resident(home)
    stop_supervisor(home)


@pytest.fixture(params=["resident", "alone"])
def lane(request: pytest.FixtureRequest, tmp_path: Path) -> Lane:
    """Both ways to run folders."""
    return request.getfixturevalue("resident") if request.param == "resident" else Alone(tmp_path)


@pytest.fixture(params=["resident", "alone", "portable"])
def any_system(request: pytest.FixtureRequest, tmp_path: Path) -> Lane:
    """Both ways, and one without what only Linux has."""
    if request.param == "resident":
        return request.getfixturevalue("resident")
    if request.param == "portable" and shutil.which("ps") is None:
        pytest.skip("ps is not installed")
    return Alone(tmp_path) if request.param == "alone" else Portable(tmp_path)


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """A home whose supervisor, if a test starts one, ends with the test."""
    yield tmp_path
    stop_supervisor(tmp_path)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MB."""
    place = tmp_path / "small"
    place.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(place)]
    if shutil.which("mount") is None or subprocess.run(words, capture_output=True, check=False).returncode != 0:
        pytest.skip("a tmpfs cannot be mounted: that needs root")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)
