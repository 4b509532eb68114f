"""The runtime apptainer keeps the contract of all runtimes, with the real Apptainer."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from container_place import ArchivePlace

from services import running
from weftwork.sites.runtimes.apptainer import Apptainer
from weftwork.testing.runtime import RuntimeContract
from weftwork.testing.runtime_place import RuntimePlace

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("apptainer")]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ArchivePlace]:
    with running("apptainer") as service, pytest.MonkeyPatch.context() as patch:
        for name, value in service.environment.items():
            patch.setenv(name, value)
        yield ArchivePlace(tmp_path_factory.mktemp("apptainer"), Apptainer)


class TestApptainer(RuntimeContract):
    @pytest.fixture
    def place(self, home: ArchivePlace) -> RuntimePlace:
        return home
