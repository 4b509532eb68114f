"""Neutron reflectometry: from counts to the layers of a film, as a workflow with a race and a condition.

Run it with ``weft run examples/reflectometry/reflectometry.py:reflectometry``, or from Python::

    import weftwork as weft
    from reflectometry import reflectometry

    film = weft.run(reflectometry)
    print(film.chi2, film.winner)

``reflectometry.yaml`` is the same workflow as a document. The science is in plain functions, which know nothing of
workflows: here they become its steps.
"""

import json
from pathlib import Path
from typing import Any

import diagnosis
import figure
import fits
import prefit
import reduction

import weftwork as weft

DATA = Path(__file__).parent / "data"
INSTRUMENT = json.loads((DATA / "instrument.json").read_text())
DESIGN = json.loads((DATA / "design.json").read_text())

reduce = weft.module(reduction.reduce)
simulate_library = weft.module(name="prefit")(prefit.prefit)
assemble = weft.module(fits.assemble)
fit_levenberg_marquardt = weft.module(fits.fit_levenberg_marquardt)
fit_differential_evolution = weft.module(fits.fit_differential_evolution)
diagnose = weft.module(diagnosis.diagnose)
plot = weft.module(figure.plot)


@weft.workflow
def reflectometry(
    specular: weft.File = weft.File(DATA / "specular.dat"),
    background: weft.File = weft.File(DATA / "background.dat"),
    direct_beam: weft.File = weft.File(DATA / "direct_beam.dat"),
    instrument: dict = INSTRUMENT,
    design: dict = DESIGN,
    good: float = 1.5,
) -> Any:
    """Reduce a scan, and race two fits of a layered film to it: the first with a chi-squared below `good` wins."""
    scan = reduce(specular, background, direct_beam, instrument)
    library = simulate_library(design, instrument)
    problem = assemble(design, scan, library)
    fit = weft.race(
        name="fit",
        levenberg_marquardt=fit_levenberg_marquardt.bind(problem),
        differential_evolution=fit_differential_evolution.bind(problem),
        accept=lambda each: each.chi2 < good,
    )
    drawn = plot(problem, fit.parameters, fit.chi2)
    missed = diagnose.options(when=fit.failed)(problem)
    return {
        "chi2": fit.chi2,
        "winner": fit.method,
        "parameters": fit.parameters,
        "plot": drawn,
        "diagnosis": missed,
    }


if __name__ == "__main__":
    film = weft.run(reflectometry)
    print(f"{film.winner}: chi2 = {film.chi2:.2f}")
    for name, value in film.parameters.items():
        print(f"{name:20} {value:7.2f}")
