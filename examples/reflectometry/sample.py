"""Layered samples: what is fixed, what is free, and the numbers that the optics need. Owns no physics.

A *model* describes a film on a substrate, layers from the surface down; `roughness` belongs to the upper side:

    {"layers": [{"name": "nickel", "thickness": 350, "sld": 9.4, "roughness": 5}, ...],
     "substrate": {"name": "silicon", "sld": 2.07, "roughness": 4}}

with thickness and roughness (rms) in A and the scattering length density (sld) in 1e-6 A^-2. A *design* is a model in
which a value that is not known is a range [low, high]: these are the free parameters, "nickel thickness" and so on.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

PROPERTIES = ("thickness", "sld", "roughness")


class Stack(NamedTuple):
    """Many samples of one design, as the optics need them: an array row a sample, surface first."""

    thickness: np.ndarray  # A; a column a layer
    sld: np.ndarray  # 1e-6 A^-2; a column a layer, then the substrate
    roughness: np.ndarray  # A; a column an interface


def free_parameters(design: dict) -> tuple[list[str], np.ndarray, np.ndarray]:
    """(names, lower bounds, upper bounds) of a design's free parameters."""
    free = [(name, value) for name, value in values_of(design) if isinstance(value, list)]
    names = [name for name, _ in free]
    low, high = np.array([bounds for _, bounds in free], dtype=float).reshape(-1, 2).T
    return names, low, high


def with_values(design: dict, parameters: dict) -> dict:
    """The model that a design becomes with these values of its free parameters."""
    layers = [
        {
            key: parameters[f"{layer['name']} {key}"] if isinstance(value, list) else value
            for key, value in layer.items()
        }
        for layer in parts(design)
    ]
    return {"layers": layers[:-1], "substrate": layers[-1]}


def stack(design: dict, values: np.ndarray) -> Stack:
    """The samples for rows of values of the design's free parameters, one row a sample."""
    columns = iter(values.T)
    table = {name: next(columns) if isinstance(value, list) else value for name, value in values_of(design)}

    def property_of(layers: list[dict], key: str) -> np.ndarray:
        rows = [np.broadcast_to(table[f"{layer['name']} {key}"], len(values)) for layer in layers]
        return np.array(rows, dtype=float).reshape(-1, len(values)).T

    layers = parts(design)
    return Stack(property_of(layers[:-1], "thickness"), property_of(layers, "sld"), property_of(layers, "roughness"))


def values_of(design: dict) -> Iterator[tuple[str, float | list[float]]]:
    """("nickel thickness", value or range) and so on, in the order of the parameters."""
    for layer in parts(design):
        for key in PROPERTIES:
            if key in layer:
                yield f"{layer['name']} {key}", layer[key]


def parts(design: dict) -> list[dict]:
    """The layers, surface first, and the substrate. Raises ValueError for two of one name: parameters go by name."""
    layers = [*design["layers"], design["substrate"]]
    names = [layer["name"] for layer in layers]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"{names.count(name)} layers are named {name!r}: each needs a name of its own")
    return layers
