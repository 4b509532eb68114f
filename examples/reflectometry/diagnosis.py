"""What to look at when no fit is good enough. Owns the search for the part of the scan that the best start misses."""

from itertools import pairwise

import numpy as np
from fits import residuals

BANDS = 6  # of equal width in q


def diagnose(problem: dict) -> str:
    """Where along the scan the problem's start, the most similar of all feasible models, misses the data.

    `problem` is the result of `assemble`. The text has a line for each band of q: the mean square of the residuals, in
    errors, and its share of the whole. A few per cent too far everywhere is a matter of scale (monitor, direct beam);
    low q is one of footprint and alignment; high q of background or of a layer that the design has not.
    """
    q = np.array(problem["scan"]["q"])
    square = residuals(problem, np.array(problem["start"])[None])[0] ** 2
    edges = np.linspace(q.min(), q.max(), BANDS + 1)
    lines = [f"{'q (1/A)':17}  {'points':>6}  {'mean square':>11}  {'share':>6}"]
    for low, high in pairwise(edges):
        inside = (q >= low) & ((q < high) | (high == edges[-1]))
        lines.append(band(low, high, square[inside], square.sum()))
    return "\n".join(lines) + "\n"


def band(low: float, high: float, square: np.ndarray, total: float) -> str:
    """One line of the text, for the squared residuals of one band."""
    return f"{low:.4f} to {high:.4f}  {square.size:6}  {square.mean():11.1f}  {square.sum() / total:6.1%}"
