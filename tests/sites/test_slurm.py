"""Slurm keeps the contract of all schedulers: the real one, two nodes, with accounting and without."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from batch_place import Batch

from services import Service, running
from weftwork.sites.schedulers.polled.pace import Settings
from weftwork.sites.schedulers.polled.slurm import SLURM
from weftwork.sites.shells.here import Here
from weftwork.testing.scheduler import SchedulerContract

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("slurm")]

WIDE = Settings(options=("--cpus-per-task=4", "--mem=100M"))
"""Eight tasks at once on 32 pretended CPUs: this machine has two."""


@pytest.fixture(scope="module")
def plain() -> Iterator[Service]:
    with running("slurm") as service:
        yield service


@pytest.fixture(scope="module", params=["without accounting", "accounting"])
def slurm(request: pytest.FixtureRequest) -> Iterator[Service]:
    with running("slurm", *([] if request.param == "without accounting" else [request.param])) as service:
        yield service


class TestSlurm(SchedulerContract):
    @pytest.fixture
    def place(self, slurm: Service, tmp_path: Path) -> Batch:
        return Batch(SLURM, lambda: Here(slurm.environment), tmp_path, 8, WIDE)


class TestSlurmCalls(SchedulerContract):
    """Calls of functions, each a job folder of its own."""

    @pytest.fixture
    def place(self, plain: Service, tmp_path: Path) -> Batch:
        place = Batch(SLURM, lambda: Here(plain.environment), tmp_path, 8, WIDE)
        place.lanes = ("call",)
        return place
