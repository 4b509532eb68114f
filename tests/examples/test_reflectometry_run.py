"""The reflectometry example: its race, its condition, and one calculation whether described in Python or in YAML."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Bench, Ran

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("reflectometry")]

PYTHON = "reflectometry/reflectometry.py:reflectometry"
DOCUMENT = "reflectometry/reflectometry.yaml"
BOTH_FITS = {"fit{levenberg_marquardt}", "fit{differential_evolution}"}


@pytest.fixture(scope="module")
def first(bench: Bench) -> Ran:
    return bench.run(PYTHON)


def test_a_fit_finds_the_film_that_the_data_were_made_for(first: Ran) -> None:
    assert first.outputs["chi2"] < 1.3
    assert first.outputs["parameters"]["titanium thickness"] == pytest.approx(118, abs=0.5)
    assert first.outputs["parameters"]["nickel thickness"] == pytest.approx(352, abs=0.5)
    assert first.outputs["winner"] in ("Levenberg-Marquardt", "differential evolution")
    assert first.outputs["plot"]


def test_a_good_fit_needs_no_diagnosis(first: Ran) -> None:
    assert first.steps["diagnose"]["state"] == "skipped"
    assert first.steps["diagnose"]["why"] == "fit succeeded"
    assert "diagnosis" not in first.outputs


def test_reduction_and_prefit_wait_for_nothing_and_the_fits_for_both(first: Ran) -> None:
    assert (
        {"reduce", "prefit", "assemble", "plot"}
        <= first.executed()
        <= {"reduce", "prefit", "assemble", "plot"} | BOTH_FITS
    )


def test_second_run_reuses_the_choice_of_the_race(bench: Bench, first: Ran) -> None:
    again = bench.run(PYTHON)
    assert again.executed() == set()
    assert again.outputs == first.outputs
    jobs = json.loads(bench.weft("jobs", "--run", again.id, "--json").stdout)
    assert len([each for each in jobs if each["step"] in BOTH_FITS]) == 1


def test_document_describes_the_same_calculations(bench: Bench, first: Ran) -> None:
    document = bench.run(DOCUMENT)
    assert document.executed() == set()
    assert document.outputs == first.outputs


def test_script_in_its_own_folder_prints_the_film(bench: Bench, first: Ran) -> None:
    printed = bench.python("reflectometry", "reflectometry.py")
    assert printed.startswith(f"{first.outputs['winner']}: chi2 = {first.outputs['chi2']:.2f}\n")


def test_figure_alone_runs_when_only_its_looks_change(bench: Bench, first: Ran, tmp_path: Path) -> None:
    blue = bench.edited(tmp_path, "reflectometry/figure.py", "#d55e00", "#0072b2")
    changed = blue.run(DOCUMENT)
    assert changed.executed() == {"plot"}
    assert changed.outputs["chi2"] == first.outputs["chi2"]
    assert "'#d55e00' → '#0072b2'" in blue.weft("why", f"{changed.id}:plot").stdout


def test_where_no_fit_is_good_enough_the_diagnosis_runs_and_the_plot_does_not(bench: Bench, first: Ran) -> None:
    refused = bench.run(DOCUMENT, "-i", "good=0.5", fails=True)
    assert refused.state == "failed"
    assert refused.steps["fit"]["state"] == "failed"
    assert refused.why.count("no candidate was accepted") == 1, "a failure is told once, not for each output"
    assert "fit.chi2 = 1.02" in refused.steps["fit"]["why"]
    assert refused.steps["plot"]["state"] == "cancelled"
    assert refused.steps["diagnose"]["state"] == "succeeded"
    assert refused.outputs["diagnosis"].startswith("q (1/A)")
    assert refused.executed() <= {"diagnose", "fit{differential_evolution}"}


def test_a_scan_elsewhere_with_equal_content_is_the_same_input(bench: Bench, first: Ran) -> None:
    copy = bench.examples / "my own scan.dat"
    copy.write_bytes((bench.examples / "reflectometry" / "data" / "specular.dat").read_bytes())
    assert bench.run(PYTHON, "-i", f"specular={copy.name}").steps["reduce"]["cached"]
