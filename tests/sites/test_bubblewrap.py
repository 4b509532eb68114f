"""The runtime bubblewrap keeps the contract of all runtimes, with the real bwrap."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from container_place import ArchivePlace

from services import running
from weftwork.sites.runtimes.bubblewrap import Bubblewrap
from weftwork.testing.runtime import RuntimeContract
from weftwork.testing.runtime_place import RuntimePlace

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("bubblewrap")]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ArchivePlace]:
    with running("bubblewrap") as service, pytest.MonkeyPatch.context() as patch:
        for name, value in service.environment.items():
            patch.setenv(name, value)
        yield ArchivePlace(tmp_path_factory.mktemp("bubblewrap"), Bubblewrap)


class TestBubblewrap(RuntimeContract):
    @pytest.fixture
    def place(self, home: ArchivePlace) -> RuntimePlace:
        return home
