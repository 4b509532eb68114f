"""Neutron stars: from an equation of state to the heaviest star that it can hold up, as a workflow.

Run it with ``weft run examples/neutron-star/neutron_star.py:neutron_star``, or from Python::

    import weftwork as weft
    from neutron_star import neutron_star

    stars = weft.run(neutron_star, names=["SLy", "MS1"])
    print(stars.table)

The science is in plain functions (:mod:`eos`, :mod:`tov`, :mod:`curve`, :mod:`plot`, :mod:`table`), which know nothing of
workflows: here they become its steps.
"""

from __future__ import annotations

from typing import Any

import curve
import eos
import plot
import table

import weftwork as weft

equation_of_state = weft.module(eos.equation_of_state)
mass_radius = weft.module(curve.mass_radius)
maximum_mass = weft.module(curve.maximum_mass)
radius_at_mass = weft.module(curve.radius_at_mass)
draw_table = weft.module(name="table")(table.table)
draw_plot = weft.module(name="plot")(plot.plot)

NAMES = ["SLy", "APR4", "H4", "MS1"]


@weft.workflow
def neutron_star(names: list[str] = NAMES, points: int = 60) -> Any:
    """Mass-radius curves and maximum masses of cold neutron stars, for several equations of state."""
    matter = equation_of_state.map(names)
    curves = mass_radius.map(matter, points=points)
    maxima = maximum_mass.map(matter)
    radii = radius_at_mass.map(matter)
    return {"maximum_mass": maxima, "table": draw_table(names, maxima, radii), "plot": draw_plot(curves, maxima)}


if __name__ == "__main__":
    stars = weft.run(neutron_star)
    print(stars.table)
