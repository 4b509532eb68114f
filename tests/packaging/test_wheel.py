"""The built wheel: what is in it, and the demo from it, where nothing is as on a developer's machine.

Not as root, in an empty HOME, in a folder with a space, without network, with nothing in the environment.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("wheel"), pytest.mark.timeout(600)]

ROOT = Path(__file__).parents[2]
NOBODY = 65534
NAMES = ("python3", "python3.13", "python3.12", "python3.11")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built as pip builds it: in an environment of its own."""
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    subprocess.run([*pip, "wheel", "--no-deps", "--wheel-dir", str(folder), str(ROOT)], check=True)
    (built,) = folder.glob("weftwork-*.whl")
    return built


def test_wheel_holds_the_package_and_nothing_else(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    package = {each for each in names if ".dist-info/" not in each}
    source = ROOT / "src"
    expected = {
        str(each.relative_to(source))
        for each in (source / "weftwork").rglob("*")
        if each.is_file() and "__pycache__" not in each.parts
    }
    assert package == expected
    assert {"weftwork/py.typed", "weftwork/ledger/migrations/0001_start.sql", "weftwork/formats/schema.py"} <= package


def test_wheel_says_what_it_is(wheel: Path) -> None:
    archive = zipfile.ZipFile(wheel)
    info = next(each.partition("/")[0] for each in archive.namelist() if ".dist-info/" in each)
    metadata = archive.read(f"{info}/METADATA").decode()
    assert "License-Expression: Apache-2.0" in metadata
    assert "Requires-Python: >=3.11" in metadata
    assert "# Weftwork" in metadata, "the README is its description"
    assert "weft = weftwork.cli:main" in archive.read(f"{info}/entry_points.txt").decode()
    assert f"{info}/licenses/LICENSE" in archive.namelist()


class Stranger:
    """Somebody else's account: an interpreter with the wheel installed, an empty HOME, a folder with a space."""

    def __init__(self, folder: Path, wheel: Path) -> None:
        self.venv = folder / "venv"
        subprocess.run([_interpreter(), "-m", "venv", "--without-pip", str(self.venv)], check=True)
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
        into = ["--python", str(self.venv / "bin" / "python")]
        subprocess.run([*pip, *into, "install", f"{wheel}[examples]"], check=True)
        self.home = folder / "empty home"
        self.home.mkdir()
        self.folder = folder / "a folder with spaces"
        ignored = shutil.ignore_patterns("__pycache__", "test_*.py", "conftest.py")
        shutil.copytree(ROOT / "examples" / "neutron-star", self.folder, ignore=ignored)
        if os.geteuid() == 0:
            for each in (self.home, self.folder, *self.folder.iterdir()):
                os.chown(each, NOBODY, NOBODY)

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        environment = {"HOME": str(self.home), "PATH": "/usr/local/bin:/usr/bin:/bin"}
        command = [*_without_network(), *_not_root(), "env", str(self.venv / "bin" / words[0]), *words[1:]]
        done = subprocess.run(
            command, cwd=self.folder, env=environment, capture_output=True, text=True, timeout=240, check=False
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        return done


def _interpreter() -> str:
    """A Python that everybody may run: the tests' own may lie in a closed home."""
    check = "import sys, venv; sys.exit(sys.version_info < (3, 11))"
    found = [sys._base_executable, *(shutil.which(each, path="/usr/local/bin:/usr/bin") for each in NAMES)]
    for each in filter(None, found):
        # By way of `env`, for the first program is looked up with the rights of before.
        if subprocess.run([*_not_root(), "env", each, "-c", check], capture_output=True, check=False).returncode == 0:
            return each
    pytest.skip(
        f"there is no Python >= 3.11 that every user may run: {sys._base_executable} is not, nor is another in /usr"
    )


def _without_network() -> list[str]:
    """Words before a command that take its network away."""
    own = [] if os.geteuid() == 0 else ["--user", "--map-current-user"]
    words = ["unshare", *own, "--net", "--"]
    if shutil.which("unshare") is None:
        pytest.skip("there is no `unshare` here (util-linux): the network cannot be taken away")
    tried = subprocess.run([*words, "true"], capture_output=True, text=True)
    if tried.returncode:
        pytest.skip(f"the network cannot be taken away here: {tried.stderr.strip()}")
    return words


def _not_root() -> list[str]:
    """Words before a command that make it somebody's who has no rights."""
    if os.geteuid() != 0:
        return []
    if shutil.which("setpriv") is None:
        pytest.skip("there is no `setpriv` here (util-linux), and the tests run as root")
    return ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--"]


@pytest.fixture(scope="module")
def stranger(wheel: Path) -> Iterator[Stranger]:
    # Not below pytest's folder, which is closed to others than its owner.
    folder = Path(tempfile.mkdtemp(prefix="weft wheel "))
    folder.chmod(0o755)
    try:
        yield Stranger(folder, wheel)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def test_it_is_nobody_without_network(stranger: Stranger) -> None:
    code = """
import os, socket
print(os.getuid(), sorted(os.listdir(os.environ["HOME"])), len(socket.if_nameindex()))
"""
    assert stranger.run("python", "-c", code).stdout.split() == [
        str(NOBODY if os.geteuid() == 0 else os.geteuid()),
        "[]",
        "1",
    ]


def test_version_is_that_of_the_wheel(stranger: Stranger, wheel: Path) -> None:
    assert wheel.name.split("-")[1] in stranger.run("weft", "--version").stdout


def test_demo_runs_and_then_comes_from_the_cache(stranger: Stranger) -> None:
    words = ("weft", "run", "neutron_star.py:neutron_star", "-o", "plot=mass-radius.png")
    first = stranger.run(*words)
    assert "2.0484 Msun  2.05 Msun" in first.stdout
    assert (stranger.folder / "mass-radius.png").read_bytes().startswith(b"\x89PNG")
    assert first.stderr.strip().count("Traceback") == 0
    again = stranger.run(*words)
    assert again.stdout == first.stdout
    run = json.loads(stranger.run("weft", "run", "--json", "--quiet", "neutron_star.py:neutron_star").stdout)
    assert {each["cached"] for each in run["steps"].values()} == {True}


def test_command_runs_from_the_cache_too(stranger: Stranger) -> None:
    words = (
        "weft",
        "do",
        "-i",
        "published.py",
        "-o",
        "lines.txt",
        "--",
        "sh",
        "-c",
        "wc -l < published.py > lines.txt",
    )
    stranger.run(*words)
    expected = len((stranger.folder / "published.py").read_text().splitlines())
    assert int((stranger.folder / "lines.txt").read_text()) == expected
    (stranger.folder / "lines.txt").unlink()
    stranger.run(*words)
    assert int((stranger.folder / "lines.txt").read_text()) == expected


def test_only_its_data_folder_is_written(stranger: Stranger) -> None:
    stranger.run("weft", "jobs")
    found = {str(each.relative_to(stranger.home)) for each in stranger.home.glob("*/*")} | {
        each.name for each in stranger.home.iterdir() if each.is_file()
    }
    assert found <= {".local/share", ".config/matplotlib", ".cache/matplotlib"}
