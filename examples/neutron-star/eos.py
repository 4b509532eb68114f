"""The equation of state of cold neutron-star matter as seven polytropes. Owns matter; knows nothing of stars.

Read, Lackey, Owen & Friedman 2009 (Phys. Rev. D 79, 124032, arXiv:0812.2163): in each range of rest-mass density rho,

    p = K rho^Gamma,        e = (1 + a) rho + K rho^Gamma / (Gamma - 1)        (their eqs. 1 and 3)

with K and a such that pressure p and energy density e are continuous. Here c = 1, and rho, p and e are in g/cm^3 alike.
"""

from typing import NamedTuple

import numpy as np
from published import CORE, SLY_CRUST
from units import SPEED_OF_LIGHT

CORE_DIVISIONS = (10**14.7, 10**15.0)  # g/cm^3; Read et al. 2009, sec. III


class Polytrope(NamedTuple):
    """One piece of an equation of state: matter at log-enthalpies of at least `floor`.

    The log-enthalpy h = ln((e + p) / rho) grows from 0 at a star's surface inwards, and makes a polytrope explicit:
    Read et al. 2009, eqs. 2 to 5, or Lindblom 1992 (ApJ 398, 569), sec. 2.
    """

    K: float  # (g/cm^3)^(1 - gamma)
    gamma: float
    a: float
    density: float  # g/cm^3, where the piece begins
    floor: float  # log-enthalpy, where the piece begins

    def log_enthalpy(self, density):
        """ln((e + p) / rho) at a rest-mass density in g/cm^3."""
        return np.log1p(self.a + self.gamma / (self.gamma - 1) * self.K * density ** (self.gamma - 1))

    def state(self, log_enthalpy):
        """(energy density, pressure) in g/cm^3 at a log-enthalpy."""
        # Of (e + p) / rho = 1 + a + internal, the part that grows with the pressure is proportional to rho^(gamma - 1).
        internal = np.expm1(log_enthalpy) - self.a
        density = (internal * (self.gamma - 1) / (self.gamma * self.K)) ** (1 / (self.gamma - 1))
        pressure = internal * density * (self.gamma - 1) / self.gamma
        return (1 + self.a) * density + pressure / (self.gamma - 1), pressure


def equation_of_state(name: str) -> dict:
    """The worked-out pieces of a published equation of state, from the surface of a star inwards.

    `name` is one of `published.CORE`, such as "SLy". The result has `name`, and one list each, an entry a piece:
    `density` (g/cm^3) and `log_enthalpy` at which the piece begins, `K` ((g/cm^3)^(1-gamma)), `gamma` and `a`.
    Raises ValueError for an unknown name.
    """
    if name not in CORE:
        raise ValueError(f"no equation of state {name!r}: there are {', '.join(CORE)}")
    pieces = joined(SLY_CRUST + core_polytropes(*CORE[name]))
    return {
        "name": name,
        "density": [piece.density for piece in pieces],
        "log_enthalpy": [piece.floor for piece in pieces],
        "K": [piece.K for piece in pieces],
        "gamma": [piece.gamma for piece in pieces],
        "a": [piece.a for piece in pieces],
    }


def core_polytropes(log_p1: float, gammas: tuple[float, float, float]) -> tuple[tuple[float, float], ...]:
    """(K, gamma) of the three core pieces; `log_p1` is log10 of the pressure (dyn/cm^2) at 10^14.7 g/cm^3."""
    lower, upper = CORE_DIVISIONS
    first, second, third = gammas
    k1 = 10**log_p1 / SPEED_OF_LIGHT**2 / lower**first
    k2 = k1 * lower ** (first - second)
    k3 = k2 * upper ** (second - third)
    return (k1, first), (k2, second), (k3, third)


def joined(polytropes: tuple[tuple[float, float], ...]) -> list[Polytrope]:
    """Pieces from (K, gamma) pairs, outermost first: each begins where its pressure meets that of the one before.

    Table II also prints where the crust's pieces meet. There the printed pressures differ by up to 1e-4, hence the
    density is worked out for all pieces alike; for the crust it is within 2e-4 of the printed one.
    """
    (k, gamma), *inner = polytropes
    pieces = [Polytrope(k, gamma, a=0.0, density=0.0, floor=0.0)]
    for k, gamma in inner:
        outer = pieces[-1]
        density = (outer.K / k) ** (1 / (gamma - outer.gamma))
        # Continuity of e at equal p, by Read et al. 2009, eq. 4.
        a = outer.a + k * density ** (gamma - 1) * (1 / (outer.gamma - 1) - 1 / (gamma - 1))
        pieces.append(Polytrope(k, gamma, a, density, floor=float(outer.log_enthalpy(density))))
    return pieces


def polytropes(eos: dict) -> list[Polytrope]:
    """The pieces of a worked-out equation of state, outermost first."""
    columns = (eos[column] for column in ("K", "gamma", "a", "density", "log_enthalpy"))
    return [Polytrope(*values) for values in zip(*columns, strict=True)]


def log_enthalpy(pieces: list[Polytrope], density: np.ndarray) -> np.ndarray:
    """Log-enthalpies at rest-mass densities in g/cm^3."""
    index = np.searchsorted([piece.density for piece in pieces], density, side="right") - 1
    return np.array([pieces[i].log_enthalpy(rho) for i, rho in zip(index, density, strict=True)])
