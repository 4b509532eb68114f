"""The science of the neutron-star example, held against exact solutions, published numbers and a second integrator."""

import doctest
import math
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from curve import heaviest, mass_radius, maximum_mass, radius_at_mass, stars_of
from eos import Polytrope, equation_of_state, log_enthalpy, polytropes
from plot import plot
from published import CORE, MAXIMUM_MASS
from table import table
from tov import stars, sweep
from units import DENSITY_KM, SOLAR_MASS_KM


@pytest.mark.parametrize("name", CORE)
def test_maximum_mass_is_the_published_one_within_a_percent(name):
    assert maximum_mass(equation_of_state(name)) == pytest.approx(MAXIMUM_MASS[name], rel=0.01)


def test_maximum_mass_does_not_change_with_finer_steps_and_densities():
    eos = equation_of_state("SLy")
    density, mass = heaviest(eos)
    pieces = polytropes(eos)
    around = np.geomspace(0.98 * density, 1.02 * density, 101)
    finest = sweep(pieces, log_enthalpy(pieces, around), steps=1024).mass.max()
    assert mass == pytest.approx(finest, rel=1e-6)


class Incompressible(NamedTuple):
    """Matter of one energy density, in g/cm^3: e^h = (e + p) / e."""

    energy: float
    floor: float = 0.0

    def state(self, h):
        return np.full_like(h, self.energy), self.energy * np.expm1(h)


@pytest.mark.parametrize("compactness", [1e-3, 0.1, 0.3, 0.44])  # the limit is Buchdahl's 4/9
def test_star_of_uniform_density_is_schwarzschilds_interior_solution(compactness):
    # Schwarzschild 1916; Misner, Thorne & Wheeler 1973, box 23.2: for x = (1 - 2M/R)^(1/2), p_c/e = (1 - x)/(3x - 1).
    x = math.sqrt(1 - 2 * compactness)
    central = np.array([math.log1p((1 - x) / (3 * x - 1))])
    energy = 1e15
    star = stars([Incompressible(energy)], central)
    radius = math.sqrt(compactness * 3 / (4 * math.pi * energy * DENSITY_KM))
    assert star.radius[0] == pytest.approx(radius, rel=1e-6)
    assert star.mass[0] == pytest.approx(compactness * radius / SOLAR_MASS_KM, rel=1e-6)


def test_weak_gravity_gives_the_lane_emden_radius_of_the_gamma_2_polytrope():
    # Chandrasekhar 1939, ch. IV: for p = K rho^2 every star has the radius pi (K / 2 pi)^(1/2), G = c = 1.
    polytrope = Polytrope(K=1e-16, gamma=2.0, a=0.0, density=0.0, floor=0.0)
    star = stars([polytrope], polytrope.log_enthalpy(np.array([1e10])))
    assert star.radius[0] == pytest.approx(math.pi * math.sqrt(1e-16 / DENSITY_KM / (2 * math.pi)), rel=1e-5)


def test_error_falls_with_the_fourth_power_of_the_step():
    polytrope = Polytrope(K=1e-16, gamma=2.0, a=0.0, density=0.0, floor=0.0)
    central = polytrope.log_enthalpy(np.array([1e15]))
    mass = [sweep([polytrope], central, steps).mass[0] for steps in (32, 64, 2048)]
    order = math.log2(abs(mass[0] - mass[2]) / abs(mass[1] - mass[2]))
    assert order == pytest.approx(4, abs=0.5)


def in_radius(eos: dict, density: float, step: float = 2e-3) -> tuple[float, float]:
    """(mass, radius) from the textbooks' dp/dr and dm/dr, by Heun's method: slow, and shares nothing with `tov`."""
    pieces = polytropes(eos)
    starts = [piece.K * piece.density**piece.gamma for piece in pieces]

    def energy(p):
        piece = pieces[max(i for i, start in enumerate(starts) if start <= p)]
        return (1 + piece.a) * (p / piece.K) ** (1 / piece.gamma) + p / (piece.gamma - 1)

    def slopes(r, m, p):
        e = energy(p)
        dp = -(e + p) * (m + 4 * math.pi * r**3 * p * DENSITY_KM) / (r * (r - 2 * m))
        return 4 * math.pi * r**2 * e * DENSITY_KM, dp

    piece = next(piece for piece in reversed(pieces) if piece.density <= density)
    central = p = piece.K * density**piece.gamma
    r = step
    m = 4 / 3 * math.pi * r**3 * energy(p) * DENSITY_KM
    while p > 1e-18 * central:
        dm1, dp1 = slopes(r, m, p)
        dr = min(step, -0.02 * p / dp1)
        dm2, dp2 = slopes(r + dr, m + dm1 * dr, p + dp1 * dr)
        r, m, p = r + dr, m + (dm1 + dm2) * dr / 2, p + (dp1 + dp2) * dr / 2
    return m / SOLAR_MASS_KM, r


def test_mass_and_radius_are_those_of_the_textbook_equations_in_the_radius():
    eos = equation_of_state("H4")
    star = stars_of(eos, np.array([8e14]))
    mass, radius = in_radius(eos, 8e14)
    assert star.mass[0] == pytest.approx(mass, rel=1e-5)
    assert star.radius[0] == pytest.approx(radius, rel=1e-5)


@pytest.mark.parametrize("name", CORE)
def test_pressure_energy_and_enthalpy_are_continuous(name):
    pieces = polytropes(equation_of_state(name))
    for outer, inner in pairwise(pieces):
        assert outer.state(inner.floor) == pytest.approx(inner.state(inner.floor), rel=1e-9)
        assert outer.density < inner.density
        assert outer.floor < inner.floor


def test_first_law_holds_within_each_piece():
    # de = (e + p) / rho drho, at constant entropy: Read et al. 2009, eq. 2.
    for piece in polytropes(equation_of_state("MPA1")):
        rho = 3 * max(piece.density, 1e3)
        (lower, _), (energy, pressure), (upper, _) = (
            piece.state(piece.log_enthalpy(rho * (1 + change))) for change in (-1e-4, 0, 1e-4)
        )
        assert (upper - lower) / (2e-4 * rho) == pytest.approx((energy + pressure) / rho, rel=1e-6)


def test_crust_divides_where_the_paper_prints_it():
    density = equation_of_state("SLy")["density"]
    assert density[1:4] == pytest.approx([2.44034e7, 3.78358e11, 2.62780e12], rel=3e-4)
    assert density[5:] == pytest.approx([10**14.7, 1e15], rel=1e-9)


def test_radius_at_mass_lies_on_the_curve():
    eos = equation_of_state("APR4")
    curve = mass_radius(eos, points=400)
    stable = slice(0, int(np.argmax(curve["mass"])))
    expected = np.interp(1.4, curve["mass"][stable], curve["radius"][stable])
    assert radius_at_mass(eos, 1.4) == pytest.approx(expected, rel=1e-5)


def test_a_mass_above_the_maximum_is_refused_with_the_maximum():
    with pytest.raises(ValueError, match=r"SLy has 2\.5 solar masses: the maximum is 2\.048"):
        radius_at_mass(equation_of_state("SLy"), 2.5)


def test_an_unknown_equation_of_state_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match=r"'FPS'.*SLy"):
        equation_of_state("FPS")


def test_figure_is_a_png_and_the_same_each_time():
    curve = mass_radius(equation_of_state("SLy"), points=12)
    figure = plot([curve], [2.05])
    assert figure.startswith(b"\x89PNG")
    assert figure == plot([curve], [2.05])


def test_table_sets_the_masses_beside_the_published_ones():
    assert "2.0484 Msun  2.05 Msun       -0.1%" in table(["SLy"], [2.0484], [11.71])


def test_readme_shows_what_the_code_does():
    failed, tried = doctest.testfile(str(Path(__file__).parent / "README.md"), module_relative=False)
    assert tried
    assert not failed
