"""The shell example: the workflow's report is what the README's plain commands give, and each station runs once."""

from __future__ import annotations

import re
import subprocess
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Bench, Ran

pytestmark = pytest.mark.xdist_group("shell")

WORKFLOW = "shell/gauges.yaml"


@pytest.fixture(scope="module")
def first(bench: Bench) -> Ran:
    return bench.run(WORKFLOW)


def test_report_is_that_of_the_plain_commands(bench: Bench, first: Ran) -> None:
    folder = bench.examples / "shell"
    commands = re.findall(r"^```sh\n(.*?)^```", (folder / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    for command in commands:
        if not command.startswith("weft "):
            subprocess.run(["sh", "-eu", "-c", command], cwd=folder, check=True)
    assert first.outputs["report"] == (folder / "report.txt").read_text()


def test_each_station_is_a_step_of_its_own(first: Ran) -> None:
    assert first.executed() == {"clean", "split", "merge", *(f"statistics[{i}]" for i in range(6))}


def test_second_run_comes_from_the_cache(bench: Bench, first: Ran) -> None:
    assert bench.run(WORKFLOW).executed() == set()


def test_only_the_stations_whose_readings_change_run_again(bench: Bench, first: Ran) -> None:
    changed = bench.run(WORKFLOW, "-i", "highest=4.5")
    assert changed.executed() == {"clean", "split", "statistics[4]", "statistics[5]", "merge"}
    assert "input lines" in bench.weft("why", "merge").stdout


def test_report_is_saved_as_a_file(bench: Bench, first: Ran) -> None:
    bench.weft("run", "--quiet", WORKFLOW, "-o", "report=report of the week.txt")
    assert (bench.examples / "report of the week.txt").read_text() == first.outputs["report"]


def test_python_runs_the_document(bench: Bench, first: Ran) -> None:
    code = "import weftwork as weft; print(weft.run('gauges.yaml').report, end='')"
    assert bench.python("shell", "-c", code) == first.outputs["report"]
