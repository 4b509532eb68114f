"""Stellar structure in general relativity: mass and radius of a static star. Owns the integration; knows no matter.

The equations of Tolman (1939, Phys. Rev. 55, 364), Oppenheimer and Volkoff (1939, Phys. Rev. 55, 374), with the
log-enthalpy h as the independent variable (Lindblom 1992, ApJ 398, 569): a star spans exactly h_c >= h >= 0, whereas in
the usual form the radius at which to stop is unknown. For u = r^2 and w = m / r^3, with G = c = 1,

    du/dh = -2 (1 - 2 u w) / (4 pi p + w),        dw/dh = (4 pi e - 3 w) / (2 u) du/dh,

in which both variables are smooth through the centre, where dr/dh is not.
"""

from typing import NamedTuple, Protocol

import numpy as np
from units import DENSITY_KM, SOLAR_MASS_KM


class Matter(Protocol):
    """One piece of an equation of state, smooth between its `floor` and the floor of the next piece."""

    floor: float  # log-enthalpy

    def state(self, log_enthalpy: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(energy density, pressure) in g/cm^3, with c = 1."""


class Stars(NamedTuple):
    """A family of stars, an entry each."""

    mass: np.ndarray  # solar masses
    radius: np.ndarray  # km; areal: the circumference is 2 pi times it


def stars(pieces: list[Matter], central: np.ndarray) -> Stars:
    """The stars of this matter with these log-enthalpies at their centres; `pieces` are in order, outermost first.

    Steps are halved until masses and radii settle. Raises ArithmeticError when they do not.
    """
    steps = 16
    coarse = sweep(pieces, central, steps)
    while steps < 4096:
        steps *= 2
        fine = sweep(pieces, central, steps)
        if converged(coarse, fine):
            return fine
        coarse = fine
    raise ArithmeticError(f"the structure equations do not converge with {steps} steps a piece")


def converged(coarse: Stars, fine: Stars) -> bool:
    """Whether halving the steps left every mass and radius as it was, within a relative tolerance."""
    tolerance = 1e-6
    return all(np.allclose(old, new, rtol=tolerance, atol=0) for old, new in zip(coarse, fine, strict=True))


def sweep(pieces: list[Matter], central: np.ndarray, steps: int) -> Stars:
    """All stars at once, from centre to surface, with `steps` Runge-Kutta steps across each piece of the matter.

    A step never crosses from one piece into the next: there the derivatives jump, and the method would lose its order.
    A star whose centre is further out than a piece crosses it in steps of length zero.
    """
    h, u, w = near_centre(pieces, central)
    for piece in reversed(pieces):
        end = np.minimum(h, piece.floor)
        step = (end - h) / steps
        for i in range(steps):
            u, w = runge_kutta_4(piece, h + i * step, u, w, step)
        h = end
    radius = np.sqrt(u)
    return Stars(mass=w * radius**3 / SOLAR_MASS_KM, radius=radius)


def near_centre(pieces: list[Matter], central: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(h, u, w) just off the centres, from the power series of the structure equations: at r = 0 they read 0/0."""
    h = central * (1 - 1e-5)
    energy_c, pressure_c = state(pieces, central)
    energy, _ = state(pieces, h)
    u = 3 * (central - h) / (2 * np.pi * (energy_c + 3 * pressure_c))
    w = 4 * np.pi / 3 * (energy_c + 0.6 * (energy - energy_c))  # m(r) for an energy density linear in r^2
    return h, u, w


def runge_kutta_4(piece: Matter, h, u, w, step) -> tuple[np.ndarray, np.ndarray]:
    """(u, w) one classical fourth-order Runge-Kutta step further in h."""
    du1, dw1 = slopes(piece, h, u, w)
    du2, dw2 = slopes(piece, h + step / 2, u + step / 2 * du1, w + step / 2 * dw1)
    du3, dw3 = slopes(piece, h + step / 2, u + step / 2 * du2, w + step / 2 * dw2)
    du4, dw4 = slopes(piece, h + step, u + step * du3, w + step * dw3)
    return u + step / 6 * (du1 + 2 * (du2 + du3) + du4), w + step / 6 * (dw1 + 2 * (dw2 + dw3) + dw4)


def slopes(piece: Matter, h, u, w) -> tuple[np.ndarray, np.ndarray]:
    """(du/dh, dw/dh), in km^2 and km^-2; the equations are in the head of this file."""
    energy, pressure = geometrised(piece, h)
    du = -2 * (1 - 2 * u * w) / (4 * np.pi * pressure + w)
    return du, (4 * np.pi * energy - 3 * w) / (2 * u) * du


def state(pieces: list[Matter], h: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(energy density, pressure) in km^-2, each value from the piece that it lies in."""
    energy, pressure = np.empty_like(h), np.empty_like(h)
    index = np.searchsorted([piece.floor for piece in pieces], h, side="right") - 1
    for i in set(index.tolist()):
        inside = index == i
        energy[inside], pressure[inside] = geometrised(pieces[i], h[inside])
    return energy, pressure


def geometrised(piece: Matter, h: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(energy density, pressure) of a piece in km^-2. Below its floor, where they may not exist, those at the floor."""
    energy, pressure = piece.state(np.maximum(h, piece.floor))
    return energy * DENSITY_KM, pressure * DENSITY_KM
