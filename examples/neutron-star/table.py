"""The maximum masses beside the published ones, as text. Owns the layout alone."""

from published import MAXIMUM_MASS


def table(names: list[str], masses: list[float], radii: list[float]) -> str:
    """A table of equations of state: maximum mass (solar masses) beside the published one, and the radius at 1.4 (km).

    The three lists are in the same order.
    """
    head = f"{'':6}  {'maximum mass':>12}  {'published':>9}  {'difference':>10}  {'radius at 1.4':>13}"
    rows = [row(*star) for star in zip(names, masses, radii, strict=True)]
    return "\n".join([head, *rows]) + "\n"


def row(name: str, mass: float, radius: float) -> str:
    """One line of the table."""
    published = MAXIMUM_MASS[name]
    difference = mass / published - 1
    return f"{name:6}  {mass:8.4f} Msun  {published:4.2f} Msun  {difference:10.1%}  {radius:10.2f} km"
