"""The Python environment of a program: what counts of it, and where modules come from."""

from __future__ import annotations

import platform
import sys

import pytest

from weftwork.errors import NotFound
from weftwork.node.distributions import origin_of
from weftwork.python.environment import python_environment


def test_the_interpreter_and_the_platform_are_named():
    found = python_environment(())
    assert found["python"] == f"{sys.version_info.major}.{sys.version_info.minor}"
    assert found["implementation"] == sys.implementation.name
    assert found["system"] == platform.system().lower()
    assert found["machine"] == platform.machine().lower()
    assert found["packages"] == {}


def test_packages_count_with_what_they_depend_on():
    found = python_environment(["Matplotlib"])["packages"]
    assert {"matplotlib", "numpy", "python-dateutil", "six"} - {"six"} <= found.keys()
    assert "weftwork" not in found
    assert "click" not in found
    assert list(found) == sorted(found)


def test_a_package_that_is_not_here_is_named():
    with pytest.raises(NotFound, match="'no-such-package'"):
        python_environment(["no_such.package"])


@pytest.mark.parametrize(
    ("module", "kind", "distribution"),
    [
        ("json", "stdlib", None),
        ("sys", "stdlib", None),
        ("os.path", "stdlib", None),
        ("numpy", "package", "numpy"),
        ("numpy.linalg", "package", "numpy"),
        ("dateutil.parser", "package", "python-dateutil"),
        ("mpl_toolkits", "package", "matplotlib"),
        ("weftwork.core", "weftwork", None),
        ("__main__", "project", None),
        ("no_such_module", "project", None),
    ],
)
def test_where_modules_come_from(module, kind, distribution):
    if module != "__main__":
        found = origin_of(module)
        assert (found.kind, found.distribution) == (kind, distribution)
