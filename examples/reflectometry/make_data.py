"""Make the scans in `data/`: what a monochromatic reflectometer would count on a known sample. Run: python make_data.py

Nothing here is measured. The true sample is `TRUTH`; the counts are Poisson, from a fixed seed. The reflectivity is
smeared over 61 points a resolution function, so that the fit, which takes 7, is not judged by its own approximation.
"""

import json
from pathlib import Path

import numpy as np
from optics import reflectivity
from reduction import footprint, wave_vector_transfer
from sample import stack

DATA = Path(__file__).parent / "data"
SEED = 20090316
TRUTH = {
    "layers": [
        {"name": "titanium", "thickness": 118.0, "sld": -1.91, "roughness": 8.0},
        {"name": "nickel", "thickness": 352.0, "sld": 9.31, "roughness": 5.5},
    ],
    "substrate": {"name": "silicon", "sld": 2.07, "roughness": 4.0},
}
BEAM = 80_000.0  # neutrons per second onto the detector without the sample
MONITOR = 4_000.0  # monitor counts per second
COLUMNS = "angle of incidence (degrees)   detector (counts)   monitor (counts)"


def main() -> None:
    """Write the three scans."""
    instrument = json.loads((DATA / "instrument.json").read_text())
    random = np.random.default_rng(SEED)
    angle = np.linspace(0.18, 4.4, 150)
    few = angle[::5]
    expose(random, "specular", angle, footprint(angle, instrument) * seen(angle, instrument) + background(angle))
    expose(random, "background", few, background(few))
    expose(random, "direct_beam", np.zeros(12), np.ones(12))


def seen(angle: np.ndarray, instrument: dict) -> np.ndarray:
    """The true reflectivity, smeared by the resolution."""
    q, dq = wave_vector_transfer(angle, instrument)
    deviation = np.linspace(-4, 4, 61)
    weights = np.exp(-(deviation**2) / 2)
    sharp = reflectivity(stack(TRUTH, np.empty((1, 0))), (q[:, None] + dq[:, None] * deviation).ravel())
    return sharp.reshape(len(angle), -1) @ (weights / weights.sum())


def background(angle: np.ndarray) -> np.ndarray:
    """Neutrons that reach the detector otherwise, per neutron of the beam: incoherent scattering, less further out."""
    return 1e-6 * (1 + 1.5 * np.exp(-angle / 2))


def expose(random: np.random.Generator, name: str, angle: np.ndarray, expected: np.ndarray) -> None:
    """Count, longer where there is less to count, and write the scan."""
    seconds = np.clip(15 * angle**3, 2, 600)
    detector = random.poisson(BEAM * seconds * expected)
    monitor = random.poisson(MONITOR * seconds)
    rows = np.column_stack([angle, detector, monitor])
    head = f"{name.replace('_', ' ')} scan, simulated by make_data.py\n{COLUMNS}"
    np.savetxt(DATA / f"{name}.dat", rows, fmt=("%8.4f", "%9d", "%10d"), header=head)


if __name__ == "__main__":
    main()
