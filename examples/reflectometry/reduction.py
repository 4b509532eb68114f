"""From counts to reflectivity: monitor, background, direct beam, footprint. Owns the instrument; knows no sample.

The scans are text files of three columns: angle of incidence (degrees), detector counts, monitor counts. Both count
neutrons, so that the variance of a number of counts is that number.
"""

from os import PathLike
from typing import NamedTuple

import numpy as np

BACKGROUND_DEGREE = 2  # of the polynomial in the angle: the background is smooth, its points are few and noisy


class Rate(NamedTuple):
    """Detector counts per monitor count."""

    angle: np.ndarray  # degrees
    value: np.ndarray
    variance: np.ndarray


def reduce(specular: PathLike, background: PathLike, direct_beam: PathLike, instrument: dict) -> dict:
    """The reflectivity that a specular scan measured.

    `specular`, `background` (the same scan with the detector moved off the reflection) and `direct_beam` (exposures
    without the sample) are files of angle, detector counts, monitor counts. `instrument` has `wavelength` (A),
    `wavelength_spread` (relative, standard deviation), `angular_divergence` (degrees, standard deviation),
    `beam_height` and `sample_length` along the beam (mm).

    The result has lists in the order of the scan: `q` and its standard deviation `dq` (A^-1), `r` and `dr`.
    """
    reflected = rate(specular)
    noise, noise_variance = smooth(rate(background), reflected.angle)
    incident, incident_variance = mean(rate(direct_beam))
    accepted = incident * footprint(reflected.angle, instrument)
    r = (reflected.value - noise) / accepted
    variance = (reflected.variance + noise_variance) / accepted**2 + r**2 * incident_variance / incident**2
    q, dq = wave_vector_transfer(reflected.angle, instrument)
    return {"q": q.tolist(), "dq": dq.tolist(), "r": r.tolist(), "dr": np.sqrt(variance).tolist()}


def rate(scan: PathLike) -> Rate:
    """The counting rate of a scan, in detector counts per monitor count, with its variance.

    A point without a count still has a variance, that of one count: it says that few were expected, not none.
    """
    angle, detector, monitor = np.loadtxt(scan, unpack=True, ndmin=2)
    value = detector / monitor
    return Rate(angle, value, np.maximum(detector, 1) / monitor**2 + value**2 / monitor)


def smooth(background: Rate, angle: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(rate, variance) of a polynomial through the measured background, at other angles: weighted least squares."""
    weight = 1 / np.sqrt(background.variance)
    design = np.vander(background.angle, BACKGROUND_DEGREE + 1)
    covariance = np.linalg.inv((design * weight[:, None] ** 2).T @ design)
    coefficients = covariance @ (design.T @ (background.value * weight**2))
    at = np.vander(angle, BACKGROUND_DEGREE + 1)
    return at @ coefficients, np.einsum("ij,jk,ik->i", at, covariance, at)


def mean(exposures: Rate) -> tuple[float, float]:
    """(rate, variance) of repeated exposures together: the mean weighted by their variances."""
    weight = 1 / exposures.variance
    return float(np.sum(weight * exposures.value) / np.sum(weight)), float(1 / np.sum(weight))


def footprint(angle: np.ndarray, instrument: dict) -> np.ndarray:
    """The part of a uniform beam that falls on the sample: at grazing angles it is higher than the sample looks."""
    seen = instrument["sample_length"] * np.sin(np.radians(angle))
    return np.minimum(1, seen / instrument["beam_height"])


def wave_vector_transfer(angle: np.ndarray, instrument: dict) -> tuple[np.ndarray, np.ndarray]:
    """(q, dq) in A^-1: q = (4 pi / wavelength) sin(angle), and its standard deviation."""
    theta = np.radians(angle)
    q = 4 * np.pi / instrument["wavelength"] * np.sin(theta)
    by_angle = 4 * np.pi / instrument["wavelength"] * np.cos(theta) * np.radians(instrument["angular_divergence"])
    return q, np.hypot(instrument["wavelength_spread"] * q, by_angle)
