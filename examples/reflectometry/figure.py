"""The figure of a fit: reflectivity, residuals, and the profile of the sample. Owns how it looks."""

import io
import math

import numpy as np
from optics import simulate
from sample import free_parameters, parts, with_values

DATA, MODEL, START = "#333333", "#d55e00", "#9aa5b1"
SUBSTRATE_SHOWN = 120.0  # A


def plot(problem: dict, parameters: dict, chi2: float) -> bytes:
    """A PNG of the measured and the fitted reflectivity, their difference, and the scattering length density by depth.

    `problem` is the result of `assemble`, `parameters` and `chi2` are those of a fit to it. The model that the fit
    started from is grey.
    """
    from matplotlib.figure import Figure  # here, for the other steps start faster without it

    names, _, _ = free_parameters(problem["design"])
    start = with_values(problem["design"], dict(zip(names, problem["start"], strict=True)))
    fitted = with_values(problem["design"], parameters)
    figure = Figure(figsize=(10, 5.2), dpi=160, layout="constrained")
    grid = figure.add_gridspec(2, 2, height_ratios=[3, 1], width_ratios=[3, 2])
    upper = figure.add_subplot(grid[0, 0])
    lower = figure.add_subplot(grid[1, 0], sharex=upper)
    depth = figure.add_subplot(grid[:, 1])
    draw_reflectivity(upper, problem["scan"], start, fitted, chi2)
    draw_residuals(lower, problem["scan"], fitted)
    draw_profile(depth, start, fitted)
    for axes in (upper, lower, depth):
        axes.spines[["top", "right"]].set_visible(False)
    return png(figure)


def draw_reflectivity(axes, scan: dict, start: dict, fitted: dict, chi2: float) -> None:
    """Measured points with their errors, the fitted and the starting reflectivity, on a logarithmic scale."""
    q, dq, r, dr = (np.array(scan[key]) for key in ("q", "dq", "r", "dr"))
    lower = np.minimum(dr, 0.9 * np.abs(r))  # an error bar down to zero or below would leave the logarithmic scale
    axes.errorbar(q, r, [lower, dr], fmt="o", ms=2.6, lw=0.8, color=DATA, label="measured", zorder=3)
    fine = np.linspace(q[0], q[-1], 800)
    resolution = np.interp(fine, q, dq)
    axes.plot(fine, simulate(start, fine, resolution), color=START, lw=1, label="start")
    axes.plot(fine, simulate(fitted, fine, resolution), color=MODEL, lw=1.8, label=f"fit, $\\chi^2$ = {chi2:.2f}")
    axes.set(yscale="log", ylim=(r[r > 0].min() / 2, 3), ylabel="Reflectivity $R$")
    axes.tick_params(labelbottom=False)
    axes.set_title("Specular neutron reflectivity", loc="left", fontsize=13, pad=10)
    axes.legend(frameon=False, loc="upper right")


def draw_residuals(axes, scan: dict, fitted: dict) -> None:
    """(measured - fitted) / error, in standard deviations."""
    r, dr = np.array(scan["r"]), np.array(scan["dr"])
    axes.axhspan(-1, 1, color=MODEL, alpha=0.15, lw=0)
    axes.plot(scan["q"], (r - simulate(fitted, scan["q"], scan["dq"])) / dr, "o", ms=2.6, color=DATA)
    axes.set(ylim=(-4.5, 4.5), xlabel=r"Wave-vector transfer $q$ ($\mathrm{\AA}^{-1}$)", ylabel=r"$\Delta R / \sigma$")


def draw_profile(axes, start: dict, fitted: dict) -> None:
    """Scattering length density against depth, each layer named."""
    for model, colour, width in ((start, START, 1), (fitted, MODEL, 1.8)):
        axes.plot(*profile(model), color=colour, lw=width)
    top = 0.0
    for layer in parts(fitted):
        thickness = layer.get("thickness", SUBSTRATE_SHOWN)
        offset = 0.25 if layer["sld"] > 0 else -0.55
        axes.text(top + thickness / 2, layer["sld"] + offset, layer["name"], ha="center", fontsize=9)
        top += thickness
    axes.axhline(0, color="#cccccc", lw=0.8, zorder=0)
    axes.margins(y=0.1)
    axes.set(xlabel=r"Depth $z$ ($\mathrm{\AA}$)", ylabel=r"Scattering length density ($10^{-6}\,\mathrm{\AA}^{-2}$)")
    axes.set_title("Sample", loc="left", fontsize=13, pad=10)


def profile(model: dict) -> tuple[np.ndarray, np.ndarray]:
    """(depth in A, scattering length density in 1e-6 A^-2): steps smeared by the roughness, as error functions."""
    layers = parts(model)
    depths = np.cumsum([0.0, *(layer["thickness"] for layer in layers[:-1])])
    z = np.linspace(-40, depths[-1] + SUBSTRATE_SHOWN, 600)
    density = np.zeros_like(z)
    above = 0.0
    for depth, layer in zip(depths, layers, strict=True):
        step = [math.erf(x) for x in (z - depth) / (math.sqrt(2) * layer["roughness"])]
        density += (layer["sld"] - above) * (1 + np.array(step)) / 2
        above = layer["sld"]
    return z, density


def png(figure) -> bytes:
    """The figure as PNG, the same bytes for the same figure: without the date and version that matplotlib would add."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()
