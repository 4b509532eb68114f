"""Where scientists write: scripts without ``if __name__ == "__main__"``, the prompt of ``python -c``, notebooks."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any, Self

import pytest

SCRIPT = """
import sys
from pathlib import Path

import weftwork as weft
from optics import angle

LOG = sys.argv[1]
with open(LOG, "a") as file:
    file.write("top\\n")

def note(log, line):
    with open(log, "a") as file:
        file.write(line + "\\n")

@weft.module
def bent(log: str, degree: int) -> float:
    note(log, f"bent {degree}")
    return angle(degree)

@weft.workflow
def scan(log: str, degrees: list[int] = [1, 2, 3]):
    return bent.map(degrees, log=log)

print(weft.run(bent, log=LOG, degree=30))
print(list(bent.map(range(4), log=LOG)))
print(weft.run(scan, log=LOG))
"""
OPTICS = """
SCALE = 2.0

def angle(degree):
    return degree * SCALE
"""
PRINTED = ["60.0", "[0.0, 2.0, 4.0, 6.0]", "[2.0, 4.0, 6.0]"]
EXECUTED = ["bent 0", "bent 1", "bent 2", "bent 3", "bent 30"]


class Project:
    """A folder with a script, and a home."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "a project"
        self.folder.mkdir()
        (self.folder / "script.py").write_text(SCRIPT)
        (self.folder / "optics.py").write_text(OPTICS)
        self.log = folder / "log"
        self.environment = {**os.environ, "WEFT_HOME": str(folder / "home"), "WEFT_CPUS": "2"}

    def python(self, *words: str) -> list[str]:
        done = subprocess.run(
            [sys.executable, *words], cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=120
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert done.stderr == ""
        return done.stdout.splitlines()

    def executed(self) -> list[str]:
        """What has run so far, each as often as it ran; the script's own top level apart."""
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        return sorted(line for line in lines if line != "top")

    def starts(self) -> int:
        return self.log.read_text().splitlines().count("top")


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


def test_script_without_a_main_guard_runs_once_and_so_does_each_call(project: Project) -> None:
    assert project.python("script.py", str(project.log)) == PRINTED
    assert project.executed() == EXECUTED
    assert project.starts() == 1


@pytest.mark.slow
def test_script_as_a_module_by_path_and_imported_is_the_same_calculation(project: Project) -> None:
    project.python("script.py", str(project.log))
    assert project.python("-m", "script", str(project.log)) == PRINTED
    assert project.python(str(project.folder / "script.py"), str(project.log)) == PRINTED
    imported = "import sys; sys.argv = ['', sys.argv[1]]; import script"
    assert project.python("-c", imported, str(project.log)) == PRINTED
    assert project.executed() == EXECUTED
    assert project.starts() == 4


def test_edited_script_runs_what_the_edit_reaches(project: Project) -> None:
    project.python("script.py", str(project.log))
    (project.folder / "optics.py").write_text(OPTICS.replace("2.0", "3.0"))
    assert project.python("script.py", str(project.log))[0] == "90.0"
    assert project.executed() == sorted(2 * EXECUTED)


def test_function_without_source_is_refused_with_a_way_out(project: Project) -> None:
    code = textwrap.dedent(
        """
        import weftwork as weft
        def double(n: int) -> int:
            return 2 * n
        try:
            weft.run(double, n=2)
        except weft.Refused as error:
            print(error)
        """
    )
    assert "double" in project.python("-c", code)[0]


# Notebooks


CELLS = [
    """
import asyncio
import weftwork as weft

SCALE = 2.0

def scaled(n):
    return n * SCALE

@weft.module
def bent(log: str, n: int) -> float:
    with open(log, "a") as file:
        file.write(f"bent {n}\\n")
    return scaled(n)

@weft.module
def total(log: str, values: list[float]) -> float:
    with open(log, "a") as file:
        file.write("total\\n")
    return sum(values)
""",
    "weft.run(bent, log=LOG, n=30)",
    "list(bent.map(range(4), log=LOG))",
    "await weft.run_async(total, log=LOG, values=[1, 2])",
    "await asyncio.gather(*(weft.run_async(bent, log=LOG, n=n) for n in (0, 1, 50)))",
    """
@weft.workflow
def study(log: str, ns: list[int] = [0, 1, 2]):
    return total(log, bent.map(ns, log=log))

weft.run(study, log=LOG)
""",
    "print(str(weft.explain(bent, log=LOG, n=30).key))",
]


class Notebook:
    """A kernel that cells are given to, one after the other."""

    def __init__(self, project: Project) -> None:
        nbclient, nbformat = pytest.importorskip("nbclient"), pytest.importorskip("nbformat")
        pytest.importorskip("ipykernel")
        self._new = nbformat.v4.new_code_cell
        self._notebook = nbformat.v4.new_notebook()
        self._client = nbclient.NotebookClient(self._notebook, timeout=60, kernel_name="python3")
        self._project = project

    def __enter__(self) -> Self:
        self._client.create_kernel_manager()
        self._client.start_new_kernel(cwd=str(self._project.folder), env=self._project.environment)
        self._client.start_new_kernel_client()
        self.cell(f"LOG = {str(self._project.log)!r}")
        return self

    def __exit__(self, *_: object) -> None:
        self._client._cleanup_kernel()

    def cell(self, source: str) -> str:
        """What a cell shows: its printed text and its value."""
        cell = self._new(source.strip())
        self._notebook.cells.append(cell)
        self._client.execute_cell(cell, len(self._notebook.cells) - 1)
        return "".join(_shown(each) for each in cell.outputs).strip()


def _shown(output: Any) -> str:
    if output.output_type == "stream":
        assert output.name == "stdout", output.text
        return str(output.text)
    return str(output.data["text/plain"])


@pytest.mark.slow
def test_notebook_runs_modules_of_its_cells_and_only_what_an_edit_reaches(project: Project) -> None:
    with Notebook(project) as notebook:
        shown = [notebook.cell(each) for each in CELLS]
        assert shown[1:6] == ["60.0", "[0.0, 2.0, 4.0, 6.0]", "3.0", "[0.0, 2.0, 100.0]", "6.0"]
        first = [*EXECUTED, "bent 50", "total", "total"]
        assert project.executed() == sorted(first)

        for each in CELLS:
            notebook.cell(each)
        assert project.executed() == sorted(first), "a cell that is run again defines the same functions"

        notebook.cell(CELLS[0].replace("return n * SCALE", "return n * SCALE + 1"))
        assert notebook.cell(CELLS[1]) == "61.0"
        assert notebook.cell(CELLS[3]) == "3.0"
        assert notebook.cell(CELLS[6]) != shown[6]
        assert project.executed() == sorted([*first, "bent 30"])

        notebook.cell("SCALE = 3.0")
        assert notebook.cell(CELLS[1]) == "91.0"
        assert project.executed() == sorted([*first, "bent 30", "bent 30"])


@pytest.mark.slow
def test_notebook_cell_that_fails_shows_the_line_of_the_cell(project: Project) -> None:
    with Notebook(project) as notebook:
        notebook.cell("import weftwork as weft\n@weft.module\ndef broken(n: int) -> float:\n    return 1 / n")
        told = notebook.cell(
            "try:\n    weft.run(broken, n=0)\nexcept weft.CalculationFailed as error:\n    print(error)"
        )
        assert "ZeroDivisionError" in told


@pytest.mark.slow
def test_interrupted_cell_withdraws_what_it_waited_for(project: Project) -> None:
    with Notebook(project) as notebook:
        notebook.cell(
            "import weftwork as weft, asyncio, time\n@weft.module\ndef slow(n: int) -> int:\n    time.sleep(30)\n    return n"
        )
        told = notebook.cell(
            """
started = time.monotonic()
try:
    await asyncio.wait_for(weft.run_async(slow, n=1), 0.5)
except TimeoutError:
    print("withdrawn", time.monotonic() - started < 5)
"""
        )
        assert told == "withdrawn True"
