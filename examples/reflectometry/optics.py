"""Specular neutron reflectivity of layered samples. Owns the optics; knows nothing of instruments' files or of fits."""

import numpy as np
from sample import Stack, stack


def simulate(model: dict, q: list[float], dq: list[float]) -> list[float]:
    """The reflectivity of a model (`sample.py`) at wave-vector transfers, as an instrument with a resolution sees it.

    `q` and `dq`, its standard deviation, are in A^-1.
    """
    samples = stack(model, np.empty((1, 0)))
    return resolved(samples, np.array(q), np.array(dq))[0].tolist()


def resolved(samples: Stack, q: np.ndarray, dq: np.ndarray) -> np.ndarray:
    """Reflectivities smeared by a Gaussian resolution, by Gauss-Hermite quadrature: a row a sample, a column a q."""
    nodes, weights = np.polynomial.hermite.hermgauss(7)
    spread = q[:, None] + np.sqrt(2) * dq[:, None] * nodes
    sharp = reflectivity(samples, spread.ravel()).reshape(-1, *spread.shape)
    return sharp @ (weights / np.sqrt(np.pi))


def reflectivity(samples: Stack, q: np.ndarray) -> np.ndarray:
    """Reflectivities by the recursion of Parratt (1954, Phys. Rev. 95, 359), from the substrate up.

    Each interface's Fresnel coefficient carries the roughness factor of Nevot & Croce (1980, Rev. Phys. Appl. 15, 761).
    """
    waves = wave_vectors(samples, q)
    amplitude = np.zeros((), dtype=complex)
    for i in reversed(range(samples.roughness.shape[1])):
        above, below = waves[i], waves[i + 1]
        roughness = samples.roughness[:, i, None]
        fresnel = (above - below) / (above + below) * np.exp(-2 * above * below * roughness**2)
        if i < samples.thickness.shape[1]:
            amplitude = amplitude * np.exp(2j * below * samples.thickness[:, i, None])
        amplitude = (fresnel + amplitude) / (1 + fresnel * amplitude)
    return np.abs(amplitude) ** 2


def wave_vectors(samples: Stack, q: np.ndarray) -> list[np.ndarray]:
    """The normal component of the wave vector (A^-1) in the vacuum above, each layer, and the substrate.

    k = (q^2 / 4 - 4 pi sld)^(1/2), imaginary below the critical edge: Als-Nielsen & McMorrow 2011, ch. 3.
    """
    vacuum = np.broadcast_to(q / 2, (len(samples.sld), len(q)))
    inside = [np.sqrt(q**2 / 4 - 4e-6 * np.pi * sld[:, None] + 0j) for sld in samples.sld.T]
    return [vacuum, *inside]
