"""Which samples of a design are feasible, by simulation, before there is data. Owns the choice of starting models."""

import numpy as np
from optics import resolved
from reduction import wave_vector_transfer
from sample import Stack, free_parameters, stack


def prefit(design: dict, instrument: dict, candidates: int = 1500, keep: int = 150, seed: int = 1) -> dict:
    """A library of feasible samples, as unlike each other as they can be: one is near enough to start a fit from.

    `candidates` samples are spread over the ranges of the design (`sample.py`); those that theory and instrument
    (`reduction.py`) can treat are simulated, and of these `keep` chosen. The result has `names` of the free parameters,
    their values in each of the `models`, and `feasible`, the part of the candidates that was.
    Raises ValueError when fewer than `keep` are feasible.
    """
    names, low, high = free_parameters(design)
    values = latin_hypercube(np.random.default_rng(seed), candidates, low, high)
    samples = stack(design, values)
    feasible = smooth_enough(samples) & resolvable(samples, instrument)
    if feasible.sum() < keep:
        raise ValueError(f"{feasible.sum()} of {candidates} samples of the design are feasible, {keep} are needed")
    values = values[feasible]
    curves = signatures(stack(design, values), instrument)
    return {"names": names, "models": values[unlike(curves, keep)].tolist(), "feasible": float(feasible.mean())}


def latin_hypercube(random: np.random.Generator, count: int, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Rows of values, each parameter in equally spaced strata: McKay, Beckman & Conover 1979, Technometrics 21, 239."""
    strata = np.array([random.permutation(count) for _ in low]).T
    return low + (high - low) * (strata + random.random(strata.shape)) / count


def smooth_enough(samples: Stack) -> np.ndarray:
    """Whether each roughness is small against the layers beside it: else the Nevot-Croce factor does not hold."""
    above = np.column_stack([np.full(len(samples.thickness), np.inf), samples.thickness])
    below = np.column_stack([samples.thickness, np.full(len(samples.thickness), np.inf)])
    return (samples.roughness < np.minimum(above, below) / 4).all(axis=1)


def resolvable(samples: Stack, instrument: dict) -> np.ndarray:
    """Whether the fringes of the whole film, 2 pi / thickness apart in q, are wider than the resolution."""
    _, dq = wave_vector_transfer(np.zeros(1), instrument)
    return 2 * np.pi / samples.thickness.sum(axis=1) > 2.355 * 2 * dq  # twice the full width at half maximum


def signatures(samples: Stack, instrument: dict) -> np.ndarray:
    """log10 of the reflectivities over the range of a usual scan: a row a sample."""
    q, dq = wave_vector_transfer(np.linspace(0.3, 3.0, 60), instrument)
    return np.log10(resolved(samples, q, dq))


def unlike(curves: np.ndarray, keep: int) -> list[int]:
    """The indices of `keep` curves far from each other: each time the one furthest from those already chosen.

    Gonzalez 1985, Theor. Comput. Sci. 38, 293. The first is the one nearest to the mean.
    """
    chosen = [int(np.argmin(np.linalg.norm(curves - curves.mean(axis=0), axis=1)))]
    distance = np.full(len(curves), np.inf)
    while len(chosen) < keep:
        distance = np.minimum(distance, np.linalg.norm(curves - curves[chosen[-1]], axis=1))
        chosen.append(int(np.argmax(distance)))
    return chosen
