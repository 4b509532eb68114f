"""The mass-radius figure. Owns how it looks; every number in it is computed elsewhere or published."""

import io

import numpy as np
from published import MAXIMUM_MASS
from units import SOLAR_MASS_KM

# Okabe & Ito 2008: told apart by the colour-blind too.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#444444")
PULSAR = (2.08, 0.07)  # solar masses: PSR J0740+6620, the heaviest well measured; Fonseca et al. 2021, ApJL 915, L12
CAUSAL_RADIUS = 2.9  # in units of GM/c^2; Lattimer & Prakash 2007, Phys. Rep. 442, 109


def plot(curves: list[dict], maxima: list[float]) -> bytes:
    """A PNG of mass against radius, a curve for each equation of state.

    `curves` are results of `mass_radius`, `maxima` the maximum masses (solar masses) in the same order. Each maximum is
    a dot, the published one a dashed line. Unstable stars, beyond the maximum, are dotted.
    """
    from matplotlib.figure import Figure  # here, for the other steps start faster without it

    figure = Figure(figsize=(8, 5.6), dpi=160, layout="constrained")
    axes = figure.subplots()
    axes.set(xlim=(8.5, 16.5), ylim=(0, 3.0), xlabel="Radius $R$ (km)", ylabel=r"Gravitational mass $M$ ($M_\odot$)")
    axes.set_title("Neutron stars of piecewise-polytropic matter", loc="left", fontsize=13, pad=12)
    draw_context(axes)
    for curve, maximum, colour in zip(curves, maxima, np.resize(COLOURS, len(curves)), strict=True):
        draw_curve(axes, curve, maximum, str(colour))
    label_published(axes, [curve["name"] for curve in curves])
    axes.legend(loc="lower left", frameon=False, handlelength=1.6)
    axes.spines[["top", "right"]].set_visible(False)
    return png(figure)


def draw_context(axes) -> None:
    """What observation and causality say, behind the curves, and what the signs mean."""
    mass, error = PULSAR
    axes.axhspan(mass - error, mass + error, color="#000000", alpha=0.07, lw=0)
    axes.text(16.4, mass - error - 0.03, "PSR J0740+6620", ha="right", va="top", fontsize=8, color="#666666")
    masses = np.array([0.0, 3.0])
    axes.fill_betweenx(masses, 0, CAUSAL_RADIUS * SOLAR_MASS_KM * masses, color="#f3ead7", lw=0)
    signs = "dots: computed maxima   dashes: published   dotted: unstable"
    axes.text(16.4, 0.03, signs, ha="right", fontsize=8, color="#666666")
    axes.text(8.7, 2.9, f"$R < {CAUSAL_RADIUS}\\,GM/c^2$: excluded by causality", va="top", fontsize=8, color="#8a7440")


def draw_curve(axes, curve: dict, maximum: float, colour: str) -> None:
    """One equation of state: stable stars, unstable ones, the maximum, the published maximum."""
    mass, radius = np.array(curve["mass"]), np.array(curve["radius"])
    peak = int(np.argmax(mass))
    axes.plot(radius[: peak + 1], mass[: peak + 1], color=colour, lw=2.2, label=curve["name"])
    axes.plot(radius[peak:], mass[peak:], color=colour, lw=1.2, ls=":")
    axes.plot(radius[peak], maximum, "o", color=colour, ms=7, mec="white", mew=1.2, zorder=5)
    published = MAXIMUM_MASS[curve["name"]]
    axes.hlines(published, radius[peak], axes.get_xlim()[1], color=colour, lw=1, ls=(0, (5, 3)), alpha=0.85)


def label_published(axes, names: list[str]) -> None:
    """Name and published maximum at the end of each dashed line, moved apart where they would overlap."""
    room = 0.085  # solar masses: the height of a line of text
    lowest = 0.0
    for name in sorted(names, key=MAXIMUM_MASS.__getitem__):
        lowest = max(lowest + room, MAXIMUM_MASS[name])
        colour = COLOURS[names.index(name) % len(COLOURS)]
        label = f"{name}  {MAXIMUM_MASS[name]:.2f}"
        axes.text(16.6, lowest, label, va="center", fontsize=9, color=colour, clip_on=False)


def png(figure) -> bytes:
    """The figure as PNG, the same bytes for the same figure: without the date and version that matplotlib would add."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()
