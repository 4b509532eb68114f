"""The runtime docker keeps the contract of all runtimes, in a real Docker engine."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from container_place import EnginePlace

from services import Service, running
from weftwork.sites.runtimes.docker import Docker
from weftwork.testing.runtime import RuntimeContract
from weftwork.testing.runtime_place import RuntimePlace

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("docker")]


@pytest.fixture(scope="module")
def docker() -> Iterator[Service]:
    with running("docker") as service, pytest.MonkeyPatch.context() as patch:
        for name, value in service.environment.items():
            patch.setenv(name, value)
        yield service


@pytest.fixture(scope="module")
def home(docker: Service, tmp_path_factory: pytest.TempPathFactory) -> EnginePlace:
    return EnginePlace(tmp_path_factory.mktemp("docker"), Docker)


class TestDocker(RuntimeContract):
    @pytest.fixture
    def place(self, home: EnginePlace) -> RuntimePlace:
        return home


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EnginePlace]:
    folder = tmp_path_factory.mktemp("elsewhere")
    with running("docker", str(folder)) as service, pytest.MonkeyPatch.context() as patch:
        for name, value in service.environment.items():
            patch.setenv(name, value)
        place = EnginePlace(folder, Docker)
        place.shares = False
        yield place


class TestDockerThatSeesNoFilesOfOurs(RuntimeContract):
    """An engine elsewhere, or one whose socket was put into a container: it is noticed, and files are copied."""

    @pytest.fixture
    def place(self, elsewhere: EnginePlace) -> RuntimePlace:
        return elsewhere
