"""The neutron-star example through ``weft`` and Python: right, never twice, and after an edit exactly what it reaches."""

from __future__ import annotations

import json
import os
import time
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Bench, Ran

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("neutron-star")]

WORKFLOW = "neutron-star/neutron_star.py:neutron_star"
PUBLISHED = {"SLy": 2.05, "APR4": 2.20, "H4": 2.03, "MS1": 2.77}  # Read et al. 2009, Table III; APR4: its authors
STEPS = {"equation_of_state", "mass_radius", "maximum_mass", "radius_at_mass", "table", "plot"}


@pytest.fixture(scope="module")
def first(bench: Bench) -> Ran:
    return bench.run(WORKFLOW)


def test_maximum_masses_are_the_published_ones_within_a_percent(first: Ran) -> None:
    assert first.outputs["maximum_mass"] == pytest.approx(list(PUBLISHED.values()), rel=0.01)
    for name, mass in PUBLISHED.items():
        assert any(line.startswith(name) and f"{mass:.2f} Msun" in line for line in first.outputs["table"].splitlines())


def test_first_run_executes_every_step(first: Ran) -> None:
    assert {each.partition("[")[0] for each in first.executed()} == STEPS
    assert len(first.executed()) == 4 * 4 + 2


def test_second_run_comes_from_the_cache(bench: Bench, first: Ran, record_property: pytest.RecordProperty) -> None:
    start = time.monotonic()
    again = bench.run(WORKFLOW)
    record_property("seconds", round(time.monotonic() - start, 2))
    assert again.executed() == set()
    assert again.outputs == first.outputs


def test_plot_is_saved_where_it_is_wanted(bench: Bench, first: Ran) -> None:
    bench.weft("run", "--quiet", WORKFLOW, "-o", "plot=mass-radius.png")
    assert (bench.examples / "mass-radius.png").read_bytes().startswith(b"\x89PNG")


def test_python_gets_the_same_from_the_same_cache(bench: Bench, first: Ran) -> None:
    code = """
import json
import weftwork as weft
from neutron_star import neutron_star
handle = weft.submit(neutron_star)
stars = handle.result()
print(json.dumps([handle.id, stars.maximum_mass, stars.plot[:4].hex()]))
"""
    run, masses, head = json.loads(bench.python("neutron-star", "-c", code))
    assert masses == first.outputs["maximum_mass"]
    assert head == b"\x89PNG".hex()
    jobs = json.loads(bench.weft("jobs", "--all", "--run", run, "--json").stdout)
    assert {each["cached"] for each in jobs} == {True}


def test_script_run_as_such_is_the_same_calculation(bench: Bench, first: Ran) -> None:
    assert bench.python("neutron-star", "neutron_star.py").strip() == first.outputs["table"].strip()
    latest = json.loads(bench.weft("jobs", "--json").stdout)[:18]
    assert {each["cached"] for each in latest} == {True}


def test_document_describes_the_same_calculations(bench: Bench, first: Ran) -> None:
    document = bench.run("neutron-star/neutron_star.yaml")
    assert document.executed() == set()
    assert document.outputs == first.outputs


def test_other_stars_and_points_run_only_what_is_new(bench: Bench, first: Ran) -> None:
    more = bench.run(WORKFLOW, "-i", "names=SLy", "-i", "names=WFF1", "-i", "points=60")
    assert more.executed() == {
        *(f"{step}[1]" for step in ("equation_of_state", "mass_radius", "maximum_mass", "radius_at_mass")),
        "table",
        "plot",
    }


# One constant of a helper changed


@pytest.fixture(scope="module")
def looser(bench: Bench, first: Ran, tmp_path_factory: pytest.TempPathFactory) -> Bench:
    folder = tmp_path_factory.mktemp("looser")
    return bench.edited(folder, "neutron-star/tov.py", "tolerance = 1e-6", "tolerance = 1e-5  # looser")


@pytest.fixture(scope="module")
def changed(looser: Bench) -> Ran:
    return looser.run(WORKFLOW)


def test_exactly_the_steps_that_reach_it_run(changed: Ran) -> None:
    reached = {f"{step}[{i}]" for step in ("mass_radius", "maximum_mass", "radius_at_mass") for i in range(4)}
    assert changed.executed() == reached | {"table", "plot"}


def test_why_names_the_function_and_the_value_before_and_after(looser: Bench, changed: Ran) -> None:
    told = looser.weft("why", f"{changed.id}:mass_radius[0]").stdout
    assert "mass_radius[0] ran" in told
    assert "constant in tov.converged" in told
    assert f"neutron-star{os.sep}tov.py:" in told
    assert "1e-06 → 1e-05" in told


def test_why_of_what_does_not_reach_it_says_cache(looser: Bench, changed: Ran) -> None:
    assert "came from the cache" in looser.weft("why", f"{changed.id}:equation_of_state[0]").stdout


def test_the_constant_as_it_was_runs_nothing(bench: Bench, changed: Ran, first: Ran) -> None:
    back = bench.run(WORKFLOW)
    assert back.executed() == set()
    assert back.outputs == first.outputs
