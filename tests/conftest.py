"""What the tests met: for each adapter the real system's version, and how many of its tests passed.

In CI a whole run fails where an adapter has none: a system that was not there must not look like one that works.
"""

from __future__ import annotations

import collections
import json
import os
import tempfile
from pathlib import Path
from typing import Any

import pytest

_VERSIONS = "WEFT_TEST_VERSIONS"

ADAPTERS = {
    "docker": ("test_docker.py",),
    "podman": ("test_podman.py",),
    "apptainer": ("test_apptainer.py",),
    "charliecloud": ("test_charliecloud.py",),
    "bubblewrap": ("test_bubblewrap.py",),
    "registry": ("test_images.py",),
    "slurm": ("test_slurm.py", "test_slurm_faults.py", "test_cluster_engine.py"),
    "gridengine": ("test_gridengine.py",),
    "sshd": ("test_shells.py",),
}
"""The test files of each real system, below tests/sites."""


def pytest_configure(config: pytest.Config) -> None:
    # The workers of xdist are children of this process; `services.running` writes what it has started to this file.
    if not hasattr(config, "workerinput") and _VERSIONS not in os.environ:
        handle, path = tempfile.mkstemp(prefix="weft-versions-")
        os.close(handle)
        os.environ[_VERSIONS] = path


def _passed(reporter: Any) -> collections.Counter[str]:
    found: collections.Counter[str] = collections.Counter()
    for report in reporter.stats.get("passed", ()):
        file = Path(report.nodeid.partition("::")[0]).name
        found.update(name for name, files in ADAPTERS.items() if file in files and report.when == "call")
    return found


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    config = session.config
    if hasattr(config, "workerinput") or os.environ.get("WEFT_CI") != "1":
        return
    whole = config.args_source is not pytest.Config.ArgsSource.ARGS and not config.option.keyword
    passed = _passed(config.pluginmanager.get_plugin("terminalreporter"))
    if whole and not config.option.markexpr and any(not passed[name] for name in ADAPTERS) and not session.exitstatus:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: Any) -> None:
    if hasattr(terminalreporter.config, "workerinput"):
        # A worker of xdist has a summary of its own, and must leave the file to the process that tells of all.
        return
    path = Path(os.environ[_VERSIONS])
    versions = dict(map(json.loads, path.read_text(encoding="utf-8").splitlines()))
    path.unlink()
    passed = _passed(terminalreporter)
    if not versions and not passed:
        return
    terminalreporter.section("real systems")
    for name in ADAPTERS:
        version = versions.get(name, "was not met")
        terminalreporter.write_line(f"{name:<14}{passed[name]:>4} tests passed   {version}")
