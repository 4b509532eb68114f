"""The commands of the shell example, run as its README has them and held against the same statistics in Python."""

import re
import shutil
import statistics
import subprocess
from collections import defaultdict
from pathlib import Path

import pytest

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A copy of the example in which every command of the README has run."""
    folder = tmp_path_factory.mktemp("shell") / "a copy"
    shutil.copytree(HERE, folder)
    commands = re.findall(r"^```sh\n(.*?)^```", (HERE / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    assert len(commands) == 5
    for command in commands:
        subprocess.run(["sh", "-eu", "-c", command], cwd=folder, check=True)
    return folder


def readings() -> dict[str, list[tuple[float, str]]]:
    """(level, time) of each station's readings, without gaps, impossible ones and repetitions."""
    stations = defaultdict(set)
    for line in (HERE / "data" / "levels.txt").read_text().splitlines():
        station, time, level = line.split(maxsplit=2)
        if station != "#" and level != "-" and float(level) < 20:
            stations[station].add((float(level), time))
    return {station: sorted(values) for station, values in stations.items()}


def test_report_has_the_statistics_of_every_station(folder):
    lines = (folder / "report.txt").read_text().splitlines()[1:]
    report = {station: values for station, *values in map(str.split, lines)}
    assert report.keys() == readings().keys()
    for station, values in readings().items():
        levels = [level for level, _ in values]
        *numbers, time = report[station]
        expected = [len(levels), levels[0], statistics.median(levels), statistics.mean(levels), levels[-1]]
        assert [float(number) for number in numbers] == pytest.approx(expected, abs=0.0051)
        assert time == values[-1][1]


def test_report_has_the_highest_flood_first(folder):
    highest = [float(line.split()[5]) for line in (folder / "report.txt").read_text().splitlines()[1:]]
    assert highest == sorted(highest, reverse=True)


def test_readme_shows_the_report(folder):
    assert f"```text\n{(folder / 'report.txt').read_text()}```" in (HERE / "README.md").read_text()


def test_data_are_those_that_the_script_makes():
    made = subprocess.run(["awk", "-f", "make-levels.awk"], cwd=HERE, check=True, capture_output=True, text=True).stdout
    assert made == (HERE / "data" / "levels.txt").read_text()
