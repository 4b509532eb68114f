"""What an equation of state says about neutron stars: the mass-radius curve, its maximum, the radius at a given mass.

Owns the choice of central densities; the stars come from `tov`, the matter from `eos`.
"""

import numpy as np
from eos import log_enthalpy, polytropes
from tov import Stars, stars

# g/cm^3 of rest mass at the centre: from near the lightest stable stars (0.1 to 0.5 solar masses) to beyond any maximum
LOWEST, HIGHEST = 10**14.4, 10**15.8


def mass_radius(eos: dict, points: int = 60) -> dict:
    """The mass-radius curve of an equation of state, over `points` central densities.

    The result has `name`, and lists in the order of `central_density` (g/cm^3, rest mass, in equal ratios): `mass`
    (solar masses) and `radius` (km). Stars beyond the maximum of the mass are unstable; they are part of the curve.
    """
    densities = np.geomspace(LOWEST, HIGHEST, points)
    family = stars_of(eos, densities)
    return {
        "name": eos["name"],
        "central_density": densities.tolist(),
        "mass": family.mass.tolist(),
        "radius": family.radius.tolist(),
    }


def maximum_mass(eos: dict) -> float:
    """The greatest mass of a static star, in solar masses. Raises ValueError when the mass only grows with density."""
    return heaviest(eos)[1]


def radius_at_mass(eos: dict, mass: float = 1.4) -> float:
    """The radius in km of the stable star of a mass in solar masses.

    Raises ValueError for a mass that no stable star of this matter has.
    """
    densest, maximum = heaviest(eos)
    low, high = LOWEST, densest
    if not stars_of(eos, np.array([low])).mass[0] <= mass <= maximum:
        raise ValueError(f"no stable star of {eos['name']} has {mass} solar masses: the maximum is {maximum:.3f}")
    while high / low > 1.001:
        densities = np.geomspace(low, high, 16)
        above = max(int(np.searchsorted(stars_of(eos, densities).mass, mass)), 1)
        low, high = densities[above - 1], densities[min(above, 15)]
    family = stars_of(eos, np.array([low, high]))
    return float(np.interp(mass, family.mass, family.radius))


def heaviest(eos: dict) -> tuple[float, float]:
    """(central density in g/cm^3, mass in solar masses) of the heaviest star, by narrowing in on the peak of the mass.

    Only the density is narrowed to 1e-3: the mass is flat at its peak, and is then certain to about 1e-6.
    """
    low, high = LOWEST, HIGHEST
    while high / low > 1.001:
        densities = np.geomspace(low, high, 16)
        mass = stars_of(eos, densities).mass
        peak = int(np.argmax(mass))
        if not 0 < peak < 15:
            raise ValueError(f"the mass of {eos['name']} has no maximum between {low:.3g} and {high:.3g} g/cm^3")
        low, high = densities[peak - 1], densities[peak + 1]
    return float(densities[peak]), float(mass[peak])


def stars_of(eos: dict, densities: np.ndarray) -> Stars:
    """The stars of an equation of state with these rest-mass densities, in g/cm^3, at their centres."""
    pieces = polytropes(eos)
    return stars(pieces, log_enthalpy(pieces, densities))
