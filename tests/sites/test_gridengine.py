"""Grid Engine keeps the contract of all schedulers: the real one, one node of eight slots."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from batch_place import Batch

from services import Service, running
from weftwork.sites.schedulers.polled.pace import Settings
from weftwork.sites.schedulers.polled.sge import SGE
from weftwork.sites.shells.here import Here
from weftwork.testing.scheduler import SchedulerContract

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("gridengine")]


@pytest.fixture(scope="module")
def engine() -> Iterator[Service]:
    with running("gridengine") as service:
        yield service


@pytest.fixture
def place(engine: Service, tmp_path: Path) -> Batch:
    return Batch(SGE, lambda: Here(engine.environment), tmp_path, 8, Settings())


class TestGridEngine(SchedulerContract):
    @pytest.fixture
    def place(self, place: Batch) -> Batch:
        return place
