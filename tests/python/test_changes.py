"""What ``weft why`` says of two programs: file, function, line, and the value before and after."""

from __future__ import annotations

import pytest

from weftwork.core.bundle import differences
from weftwork.python.bundling import bundle

TOV = """
import helpers
from dataclasses import dataclass
GRID = {"points": [10, 20], "name": "fine"}
STEP = 0.5
class Star:
    scale = 2
    def radius(self, x):
        return x * self.scale
def make(k):
    def inner(x):
        return x * k
    return inner
times = make(3)
F = lambda x: x + 1
def run(x, order=4, *, tol=1e-6):
    return helpers.pressure(x) * STEP + order + Star().radius(x) + times(x) + GRID["points"][0] + F(x) + tol
run.unit = "km"
"""
HELPERS = '"""Helpers."""\n\ndef pressure(x):\n    """Of a star."""\n    y = x + 1\n    return 7.5 * y  # stiff\n'


@pytest.mark.parametrize(
    ("file", "before", "after", "text"),
    [
        ("helpers", "7.5", "8.0", "constant in helpers.pressure ({}/helpers.py:6): 7.5 → 8.0"),
        ("helpers", "y = x + 1", "y = x - 1", "code in helpers.pressure ({}/helpers.py:5): y = x + 1 → y = x - 1"),
        ("tov", "STEP = 0.5", "STEP = 0.25", "captured value in tov.STEP ({}/tov.py): 0.5 → 0.25"),
        ("tov", "STEP = 0.5", "STEP = 5", "captured value in tov.STEP ({}/tov.py): 0.5 → 5"),
        ("tov", "[10, 20]", "[10, 30]", "captured value in tov.GRID.points[1] ({}/tov.py): 20 → 30"),
        ("tov", "order=4", "order=5", "default in tov.run.order ({}/tov.py:16): 4 → 5"),
        ("tov", "tol=1e-6", "tol=1e-7", "default in tov.run.tol ({}/tov.py:16): 1e-06 → 1e-07"),
        ("tov", "scale = 2", "scale = 3", "captured value in tov.Star.scale ({}/tov.py): 2 → 3"),
        ("tov", "make(3)", "make(4)", "captured value in tov.make.<locals>.inner.k ({}/tov.py:11): 3 → 4"),
        ("tov", "x + 1", "x + 2", "constant in tov.<lambda> ({}/tov.py:15): 1 → 2"),
        ("tov", '"km"', '"m"', "captured value in tov.run.unit ({}/tov.py:16): 'km' → 'm'"),
        ("tov", "x * self.scale", "x / self.scale", "code in tov.Star.radius ({}/tov.py:9): return x * self.scale → return x / self.scale"),
    ],
)  # fmt: skip
def test_one_edit_is_one_line(project, file, before, after, text):
    files = {"tov": TOV, "helpers": HELPERS}
    old = bundle(project.write(**files).load("tov").run)
    assert before in files[file]
    new = bundle(project.write(**{file: files[file].replace(before, after, 1)}).load("tov").run)
    assert old.identity != new.identity
    assert [str(change) for change in differences(old.document, new.document)] == [text.format(project.folder)]


def test_a_change_has_its_parts(project):
    old = bundle(project.write(tov=TOV, helpers=HELPERS).load("tov").run)
    new = bundle(project.write(helpers=HELPERS.replace("7.5", "8.0")).load("tov").run)
    (change,) = differences(old.document, new.document)
    assert (change.kind, change.name, change.line, change.what) == ("function", "helpers.pressure", 6, "constant")
    assert (change.before, change.after) == ("7.5", "8.0")
    assert change.file == str(project.folder / "helpers.py")


def test_functions_added_and_removed_and_packages(project):
    old = bundle(project.write(tov="def f(x):\n    return x\ndef run(x):\n    return f(x)\n").load("tov").run)
    text = "import numpy\ndef g(x):\n    return numpy.sin(x)\ndef run(x):\n    return g(x)\n"
    new = bundle(project.write(tov=text).load("tov").run)
    found = {(change.what, change.name) for change in differences(old.document, new.document)}
    assert found == {("added", "tov.g"), ("removed", "tov.f"), ("code", "tov.run"), ("package", "numpy")}


@pytest.mark.parametrize(
    ("before", "after", "name"),
    [
        ("import math\nf = math.sin\ndef run(x):\n    return f(x)\n", "import math\nf = math.cos\ndef run(x):\n    return f(x)\n", "tov.f"),
        ("import numpy as np\nA = np.ones(2)\ndef run():\n    return A\n", "import numpy as np\nA = np.zeros(2)\ndef run():\n    return A\n", "tov.A"),
        ("A = {1, 2}\ndef run():\n    return A\n", "A = {1, 3}\ndef run():\n    return A\n", "tov.A"),
        ("A = (1, [2])\ndef run():\n    return A\n", "A = (1, [3])\ndef run():\n    return A\n", "tov.A"),
        ("A = {1: 2}\ndef run():\n    return A\n", "A = {1: 3}\ndef run():\n    return A\n", "tov.A"),
        ("a = lambda x: x\nF = a\ndef run(x):\n    return F(x)\n", "def b(x): return x\nF = b\ndef run(x):\n    return F(x)\n", "tov.F"),
    ],
)  # fmt: skip
def test_captured_values_are_named(project, before, after, name):
    old = bundle(project.write(tov=before).load("tov").run)
    new = bundle(project.write(tov=after).load("tov").run)
    assert any(change.name.startswith(name) for change in differences(old.document, new.document))


def test_equal_programs_have_no_differences(project):
    old = bundle(project.write(tov=TOV, helpers=HELPERS).load("tov").run)
    new = bundle(project.write(tov="# moved\n" + TOV, helpers=HELPERS.replace("stiff", "soft")).load("tov").run)
    assert old.identity == new.identity
    assert differences(old.document, new.document) == []


SET = "import textwrap, decimal, inspect\ntextwrap.TextWrapper.mark = 3\ndef f(): return 1  # one\ndef run():\n    return textwrap.TextWrapper.mark, inspect.getsource(f)\n"


@pytest.mark.parametrize(
    ("before", "after", "text"),
    [
        ("mark = 3", "mark = 4", "setting in textwrap.TextWrapper.mark: 3 → 4"),
        ("# one", "# two", "setting in tov.f ({0}/tov.py:3): {0}/tov.py:3 → {0}/tov.py:3"),
        ("textwrap.TextWrapper.mark = 3\n", "textwrap.TextWrapper.mark = 3\ndecimal.getcontext().prec = 9\n", "setting in decimal context:  → [9, 'ROUND_HALF_EVEN', -999999, 999999, 1, 0, ['DivisionByZero', 'InvalidOperation', 'Overflow']]"),
    ],
)  # fmt: skip
def test_a_setting_is_named(project, before, after, text):
    import decimal
    import textwrap

    try:
        with decimal.localcontext():
            old = bundle(project.write(tov=SET).load("tov").run)
            new = bundle(project.write(tov=SET.replace(before, after)).load("tov").run)
    finally:
        del textwrap.TextWrapper.mark
    assert old.identity != new.identity
    assert text.format(project.folder) in [str(change) for change in differences(old.document, new.document)]
