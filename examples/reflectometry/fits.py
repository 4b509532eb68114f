"""Fitting a layered sample to a measured reflectivity, in two ways. Owns chi-squared and the search for its minimum."""

from typing import NamedTuple

import numpy as np
from optics import resolved
from sample import free_parameters, stack


class Fit(NamedTuple):
    """The end of a fit."""

    chi2: float  # per degree of freedom
    parameters: dict  # by name, in A and 1e-6 A^-2
    errors: dict  # standard deviations, by name
    evaluations: int  # models simulated
    method: str


def assemble(design: dict, scan: dict, library: dict) -> dict:
    """The problem to fit: a design (`sample.py`), a scan (`reduction.py`), a start from a library (`prefit.py`).

    The start is the model of the library most like the scan on a logarithmic scale: there fringes count as much as the
    plateau, so that the start has the right number of them.
    """
    q, dq, r, dr = (np.array(scan[key]) for key in ("q", "dq", "r", "dr"))
    clear = r > 3 * dr
    curves = resolved(stack(design, np.array(library["models"])), q[clear], dq[clear])
    distance = np.linalg.norm(np.log10(curves) - np.log10(r[clear]), axis=1)
    return {"design": design, "scan": scan, "start": library["models"][int(np.argmin(distance))]}


def fit_levenberg_marquardt(problem: dict) -> Fit:
    """The minimum of chi-squared downhill from the problem's start: fast, and at the mercy of the start.

    Levenberg 1944, Marquardt 1963 (J. SIAM 11, 431), with Marquardt's scaling and steps cut off at the bounds.
    """
    _, low, high = free_parameters(problem["design"])
    values, damping, evaluations = np.array(problem["start"], dtype=float), 1e-3, 1
    deviation = residuals(problem, values[None])[0]
    while damping < 1e8:
        slope = jacobian(problem, values)
        hessian, gradient = slope.T @ slope, slope.T @ deviation
        step = np.linalg.solve(hessian + damping * np.diag(np.diag(hessian)), -gradient)
        trial = np.clip(values + step, low, high)
        trial_deviation = residuals(problem, trial[None])[0]
        evaluations += 1 + 2 * len(values)
        gain = 1 - trial_deviation @ trial_deviation / (deviation @ deviation)
        if gain > 0:
            values, deviation, damping = trial, trial_deviation, damping / 10
        else:
            damping *= 10
        if 0 <= gain < 1e-6:
            break
    return finished(problem, values, evaluations, "Levenberg-Marquardt")


def fit_differential_evolution(problem: dict, seed: int = 1, population: int = 42, generations: int = 400) -> Fit:
    """The minimum of chi-squared anywhere within the bounds: slow, and needs no start.

    Storn & Price 1997, J. Global Optim. 11, 341: best/1/bin, with the scale drawn anew for each generation.
    """
    random = np.random.default_rng(seed)
    _, low, high = free_parameters(problem["design"])
    members = low + (high - low) * random.random((population, len(low)))
    scores = sums_of_squares(problem, members)
    evaluations = population
    for _ in range(generations):
        trials = offspring(random, members, scores, low, high)
        trial_scores = sums_of_squares(problem, trials)
        evaluations += population
        better = trial_scores < scores
        members[better], scores[better] = trials[better], trial_scores[better]
        if np.ptp(scores) < 1e-3 * scores.min():
            break
    return finished(problem, members[np.argmin(scores)], evaluations, "differential evolution")


def offspring(random: np.random.Generator, members, scores, low, high) -> np.ndarray:
    """A trial for each member: the best one moved by a difference of two others, crossed with the member itself."""
    count, parameters = members.shape
    others = np.argsort(random.random((count, count)), axis=1)[:, :2]
    difference = members[others[:, 0]] - members[others[:, 1]]
    mutants = members[np.argmin(scores)] + random.uniform(0.5, 1.0) * difference
    outside = (mutants < low) | (mutants > high)
    mutants[outside] = (low + (high - low) * random.random(members.shape))[outside]
    cross = random.random(members.shape) < 0.9
    cross[np.arange(count), random.integers(parameters, size=count)] = True  # at least one, or nothing is tried
    return np.where(cross, mutants, members)


def residuals(problem: dict, values: np.ndarray) -> np.ndarray:
    """(model - measured) / error: a row for each row of values of the free parameters, a column a point of the scan."""
    q, dq, r, dr = (np.array(problem["scan"][key]) for key in ("q", "dq", "r", "dr"))
    return (resolved(stack(problem["design"], values), q, dq) - r) / dr


def sums_of_squares(problem: dict, values: np.ndarray) -> np.ndarray:
    """Chi-squared, not yet per degree of freedom, of each row of values."""
    return np.sum(residuals(problem, values) ** 2, axis=1)


def jacobian(problem: dict, values: np.ndarray) -> np.ndarray:
    """Derivatives of the residuals by the free parameters, by central differences: a row a point of the scan."""
    _, low, high = free_parameters(problem["design"])
    step = np.diag(1e-5 * (high - low))
    ahead, behind = np.split(residuals(problem, np.vstack([values + step, values - step])), 2)
    return ((ahead - behind) / (2 * np.diag(step)[:, None])).T


def finished(problem: dict, values: np.ndarray, evaluations: int, method: str) -> Fit:
    """The fit that ends at these values, with the errors of a linear model about them: the covariance is (J^T J)^-1."""
    names, _, _ = free_parameters(problem["design"])
    points = len(problem["scan"]["q"])
    chi2 = sums_of_squares(problem, values[None])[0] / (points - len(names))
    slope = jacobian(problem, values)
    errors = np.sqrt(np.diag(np.linalg.inv(slope.T @ slope)))
    return Fit(
        chi2=float(chi2),
        parameters=dict(zip(names, values.tolist(), strict=True)),
        errors=dict(zip(names, errors.tolist(), strict=True)),
        evaluations=evaluations,
        method=method,
    )
