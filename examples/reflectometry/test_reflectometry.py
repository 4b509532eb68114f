"""The science of the reflectometry example, held against exact results, a second method, and the known sample."""

import doctest
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from figure import plot, profile
from fits import Fit, assemble, fit_differential_evolution, fit_levenberg_marquardt, jacobian, residuals
from make_data import TRUTH
from optics import reflectivity, resolved, simulate
from prefit import prefit
from reduction import footprint, reduce
from sample import Stack, free_parameters, stack, with_values

HERE = Path(__file__).parent
DATA = HERE / "data"
INSTRUMENT = json.loads((DATA / "instrument.json").read_text())
DESIGN = json.loads((DATA / "design.json").read_text())
Q = np.linspace(0.005, 0.25, 200)


def film(*layers: tuple[float, float, float], substrate: tuple[float, float]) -> Stack:
    """One sample: (thickness, sld, roughness) of each layer, (sld, roughness) of the substrate."""
    thickness, sld, roughness = np.array(layers).reshape(-1, 3).T
    sld, roughness = np.append(sld, substrate[0]), np.append(roughness, substrate[1])
    return Stack(thickness[None], sld[None], roughness[None])


def test_bare_substrate_reflects_as_fresnel_says():
    # R = |(1 - n) / (1 + n)|^2 with n = (1 - (q_c / q)^2)^(1/2) and q_c = 4 (pi sld)^(1/2).
    silicon = film(substrate=(2.07, 0.0))
    n = np.sqrt(1 - (16 * np.pi * 2.07e-6 + 0j) / Q**2)
    np.testing.assert_allclose(reflectivity(silicon, Q)[0], np.abs((1 - n) / (1 + n)) ** 2, rtol=1e-12)


def test_reflection_is_total_below_the_critical_edge():
    edge = 4 * np.sqrt(np.pi * 9.4e-6)
    sample = film((300, 9.4, 5), substrate=(9.4, 5))
    np.testing.assert_allclose(reflectivity(sample, np.linspace(0.002, 0.99 * edge, 50)), 1, rtol=1e-12)


def test_roughness_damps_by_nevot_and_croce_far_from_the_edge():
    # There the factor is exp(-q^2 roughness^2), that of a Gaussian interface in the Born approximation.
    smooth, rough = (reflectivity(film(substrate=(2.07, s)), np.array([0.2]))[0, 0] for s in (0.0, 6.0))
    assert rough / smooth == pytest.approx(np.exp(-(0.2**2) * 6.0**2), rel=0.01)


def abeles(sample: Stack, q: float) -> float:
    """Reflectivity as a product of 2 x 2 matrices (Abeles 1950): shares nothing with Parratt's recursion."""
    k = np.sqrt(q**2 / 4 - 4e-6 * np.pi * np.concatenate([[0], sample.sld[0]]) + 0j)
    depth = np.concatenate([[0], sample.thickness[0]])
    product = np.eye(2, dtype=complex)
    for j in range(len(k) - 1):
        r = (k[j] - k[j + 1]) / (k[j] + k[j + 1]) * np.exp(-2 * k[j] * k[j + 1] * sample.roughness[0, j] ** 2)
        phase = np.exp(1j * k[j] * depth[j])
        product = product @ np.array([[1 / phase, r / phase], [r * phase, phase]])
    return abs(product[1, 0] / product[0, 0]) ** 2


def test_parratts_recursion_and_abeles_matrices_agree():
    sample = film((118, -1.9, 8), (352, 9.3, 5), (60, 4.2, 3), substrate=(2.07, 4))
    np.testing.assert_allclose(reflectivity(sample, Q)[0], [abeles(sample, q) for q in Q], rtol=1e-9)


def test_a_layer_cut_in_two_reflects_the_same():
    whole = film((400, 6.0, 5), substrate=(2.07, 4))
    cut = film((150, 6.0, 5), (250, 6.0, 3), substrate=(2.07, 4))
    np.testing.assert_allclose(reflectivity(whole, Q), reflectivity(cut, Q), rtol=1e-9)


def test_resolution_leaves_a_straight_line_alone_and_fills_the_minima():
    sample = film((400, 6.0, 0), substrate=(2.07, 0))
    sharp, smeared = reflectivity(sample, Q)[0], resolved(sample, Q, np.full_like(Q, 2e-3))[0]
    np.testing.assert_allclose(resolved(sample, Q, np.full_like(Q, 1e-9))[0], sharp, rtol=1e-6)
    minimum = 100 + int(np.argmin(sharp[100:]))
    assert smeared[minimum] > 2 * sharp[minimum]


def test_footprint_is_whole_where_the_sample_looks_higher_than_the_beam():
    assert footprint(np.array([0.1, 5.0]), INSTRUMENT) == pytest.approx([60 * np.sin(np.radians(0.1)) / 0.5, 1.0])


@pytest.fixture(scope="module")
def scan() -> dict:
    return reduce(DATA / "specular.dat", DATA / "background.dat", DATA / "direct_beam.dat", INSTRUMENT)


@pytest.fixture(scope="module")
def problem(scan) -> dict:
    return assemble(DESIGN, scan, prefit(DESIGN, INSTRUMENT))


def test_reduction_recovers_the_reflectivity_of_the_true_sample(scan):
    expected = np.array(simulate(TRUTH, scan["q"], scan["dq"]))
    deviation = (np.array(scan["r"]) - expected) / np.array(scan["dr"])
    assert np.mean(deviation**2) == pytest.approx(
        1, abs=0.35
    )  # three standard deviations of chi-squared for 150 points
    assert abs(np.mean(deviation)) < 0.25


def test_a_point_below_the_background_does_not_spoil_the_start(scan, problem):
    negative = {**scan, "r": [*scan["r"][:-1], -1e-7]}
    assert assemble(DESIGN, negative, prefit(DESIGN, INSTRUMENT))["start"] == problem["start"]


@pytest.mark.parametrize("fit", [fit_levenberg_marquardt, fit_differential_evolution])
def test_fit_recovers_the_true_sample_within_its_errors(problem, fit):
    found = fit(problem)
    names, _, _ = free_parameters(DESIGN)
    known = {f"{part['name']} {key}": part.get(key) for part in [*TRUTH["layers"], TRUTH["substrate"]] for key in part}
    pulls = [(found.parameters[name] - known[name]) / found.errors[name] for name in names]
    assert found.chi2 < 1.3
    assert np.abs(pulls).max() < 3


def test_two_fits_end_in_the_same_minimum(problem):
    first, second = fit_levenberg_marquardt(problem), fit_differential_evolution(problem)
    assert first.chi2 == pytest.approx(second.chi2, rel=1e-3)


def test_differential_evolution_is_the_same_each_time_and_finds_the_minimum_from_any_seed(problem):
    assert fit_differential_evolution(problem, seed=3) == fit_differential_evolution(problem, seed=3)
    assert all(fit_differential_evolution(problem, seed=seed).chi2 < 1.3 for seed in range(4))


def test_levenberg_marquardt_ends_in_the_minimum_from_any_library(scan):
    for seed in range(4):
        library = prefit(DESIGN, INSTRUMENT, seed=seed)
        assert fit_levenberg_marquardt(assemble(DESIGN, scan, library)).chi2 < 1.3


def test_errors_are_the_scatter_of_fits_to_repeated_measurements(problem):
    random = np.random.default_rng(5)
    truth = with_values(DESIGN, fit_levenberg_marquardt(problem).parameters)
    exact = np.array(simulate(truth, problem["scan"]["q"], problem["scan"]["dq"]))
    fits = []
    for _ in range(40):
        r = exact + random.normal(size=len(exact)) * problem["scan"]["dr"]
        fits.append(fit_levenberg_marquardt({**problem, "scan": {**problem["scan"], "r": r.tolist()}}))
    for name, error in fits[0].errors.items():
        assert np.std([fit.parameters[name] for fit in fits]) == pytest.approx(error, rel=0.4)


def test_jacobian_is_the_slope_of_the_residuals(problem):
    values = np.array(problem["start"])
    step = np.zeros_like(values)
    step[3] = 1e-3
    ahead, behind = residuals(problem, np.array([values + step, values - step]))
    np.testing.assert_allclose(jacobian(problem, values)[:, 3], (ahead - behind) / 2e-3, rtol=1e-3, atol=1e-2)


def test_library_holds_feasible_and_distinct_models():
    library = prefit(DESIGN, INSTRUMENT, keep=40)
    names, low, high = free_parameters(DESIGN)
    models = np.array(library["models"])
    assert library["names"] == names
    assert 0.5 < library["feasible"] < 1
    assert len(np.unique(models, axis=0)) == 40
    assert np.all((models >= low) & (models <= high))
    samples = stack(DESIGN, models)
    assert np.all(samples.roughness[:, :2] < samples.thickness / 4)


def test_a_design_without_enough_feasible_models_is_refused_with_the_numbers():
    thick = json.loads(json.dumps(DESIGN).replace("[280, 420]", "[28000, 42000]"))
    with pytest.raises(ValueError, match=r"0 of 1500 .* 150 are needed"):
        prefit(thick, INSTRUMENT)


def test_two_layers_of_one_name_are_refused():
    layer = {"name": "nickel", "thickness": 100.0, "sld": 9.4, "roughness": 3.0}
    with pytest.raises(ValueError, match="2 layers are named 'nickel'"):
        simulate({"layers": [layer, layer], "substrate": TRUTH["substrate"]}, [0.01], [1e-4])


def test_profile_goes_from_the_vacuum_to_the_substrate():
    z, density = profile(TRUTH)
    assert density[0] == pytest.approx(0, abs=1e-3)
    assert density[-1] == pytest.approx(2.07, abs=1e-6)
    assert np.interp(118 + 352 / 2, z, density) == pytest.approx(9.31, abs=1e-6)


def test_figure_is_a_png_and_the_same_each_time(problem):
    fit: Fit = fit_levenberg_marquardt(problem)
    figure = plot(problem, fit.parameters, fit.chi2)
    assert figure.startswith(b"\x89PNG")
    assert figure == plot(problem, fit.parameters, fit.chi2)


def test_data_are_those_that_the_script_makes(tmp_path):
    for name in ("make_data.py", "optics.py", "reduction.py", "sample.py", "data/instrument.json"):
        target = tmp_path / name
        target.parent.mkdir(exist_ok=True)
        target.write_bytes((HERE / name).read_bytes())
    subprocess.run([sys.executable, "make_data.py"], cwd=tmp_path, check=True)
    for name in ("specular.dat", "background.dat", "direct_beam.dat"):
        made, kept = np.loadtxt(tmp_path / "data" / name), np.loadtxt(DATA / name)
        np.testing.assert_array_equal(made[:, 0], kept[:, 0])
        # Within the counting error: another version of numpy may draw other numbers from the same seed.
        assert np.all(np.abs(made - kept) <= 6 * np.sqrt(made + kept + 1))


def test_readme_shows_what_the_code_does(monkeypatch):
    monkeypatch.chdir(HERE)
    failed, tried = doctest.testfile(str(HERE / "README.md"), module_relative=False)
    assert tried
    assert not failed
