"""The runtime podman keeps the contract of all runtimes, in a real Podman."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from container_place import EnginePlace

from services import Service, running
from weftwork.sites.runtimes.podman import Podman
from weftwork.testing.runtime import RuntimeContract
from weftwork.testing.runtime_place import RuntimePlace

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("podman")]


@pytest.fixture(scope="module")
def podman() -> Iterator[Service]:
    with running("podman") as service, pytest.MonkeyPatch.context() as patch:
        for name, value in service.environment.items():
            patch.setenv(name, value)
        yield service


@pytest.fixture(scope="module")
def home(podman: Service, tmp_path_factory: pytest.TempPathFactory) -> EnginePlace:
    return EnginePlace(tmp_path_factory.mktemp("podman"), Podman)


class TestPodman(RuntimeContract):
    @pytest.fixture
    def place(self, home: EnginePlace) -> RuntimePlace:
        return home
