"""What no bundle can hold is refused, naming what, where and the next step; what is only doubtful is noted."""

from __future__ import annotations

import subprocess
import sys

import pytest

from weftwork.errors import Invalid, Refused
from weftwork.node.unbundle import load
from weftwork.python.bundling import bundle

REFUSED = {
    "exec": ("def run(x):\n    exec('y = 1')\n", "exec"),
    "eval": ("def run(x):\n    return eval(x)\n", "eval"),
    "compile": ("def run(x):\n    return compile(x, '', 'eval')\n", "compile"),
    "globals": ("def run(x):\n    return globals()[x]\n", "globals"),
    "the globals of a function": ("def run(x):\n    return run.__globals__[x]\n", "globals"),
    "eval by another name": ("from builtins import eval as e\ndef run(x):\n    return e(x)\n", "eval"),
    "computed import": ("import importlib\ndef run(x):\n    return importlib.import_module(x)\n", "import_module"),
    "computed import by another name": ("from importlib import import_module as i\ndef run(x):\n    return i(x)\n", "import_module"),
    "__import__": ("def run(x):\n    return __import__(x)\n", "import_module"),
    "sys.modules": ("import sys\ndef run(x):\n    return sys.modules[x]\n", "modules"),
    "computed attribute": ("import helpers\ndef run(x):\n    return getattr(helpers, x)\n", "getattr"),
    "computed attribute of an imported module": ("def run(x):\n    import helpers as h\n    return getattr(h, x)\n", "getattr"),
    "a write to a global": ("N = 0\ndef run(x):\n    global N\n    N += 1\n", "'N'"),
    "a write to a module": ("import helpers\ndef run(x):\n    helpers.K = x\n", "helpers.K"),
    "a lock": ("import threading\nL = threading.Lock()\ndef run(x):\n    with L:\n        return x\n", "lock"),
    "a handle": ("import os\nF = open(os.devnull)\ndef run(x):\n    return F.read()\n", "TextIOWrapper"),
    "a socket": ("import socket\nS = socket.socket()\nS.close()\ndef run(x):\n    return S\n", "socket"),
    "a thread": ("import threading\nT = threading.Thread()\ndef run(x):\n    return T\n", "program.T"),
    "a live generator": ("G = (i for i in range(3))\ndef run(x):\n    return next(G)\n", "generator"),
    "a lock in a closure": ("import threading\ndef f():\n    lock = threading.Lock()\n    return lambda x: lock\nrun = f()\n", "lock"),
    "a lock in a default": ("import threading\ndef run(x, lock=threading.Lock()):\n    return x\n", "a default"),
    "a lock in an attribute": (
        "import threading\nclass C:\n    def __init__(self):\n        self.lock = threading.Lock()\nC = C()\ndef run(x):\n    return C\n",
        "lock",
    ),
    "no source": ("exec('def f(x):\\n    return x')\ndef run(x):\n    return f(x)\n", "no source"),
    "a replaced library function": ("import math\ndef f(x):\n    return 1\nmath.weft = f\ndef run(x):\n    return math.weft(x)\n", "replaced"),
    "in a helper": ("import helpers\ndef run(x):\n    return helpers.evaluate(x)\n", "helpers.py:4"),
    "in a method": ("class C:\n    def m(self, x):\n        return eval(x)\ndef run(x):\n    return C().m(x)\n", "C.m"),
}  # fmt: skip
HELPERS = "K = 1\ndef a(x):\n    return x + K\ndef evaluate(x): return eval(x)\n"


@pytest.mark.parametrize("name", REFUSED)
def test_refused_with_what_and_where(project, name):
    text, expected = REFUSED[name]
    module = project.write(program=text, helpers=HELPERS).load("program")
    with pytest.raises(Refused) as refused:
        bundle(module.run)
    message = str(refused.value)
    assert expected in message
    assert ".py" in message
    assert "uses=" in message or "pass it as an input" in message or "not with exec" in message


@pytest.mark.parametrize(
    ("name", "uses"),
    [("exec", "exec"), ("eval", "eval"), ("compile", "compile"), ("globals", "globals"), ("computed import", "import_module"),
     ("__import__", "import_module"), ("sys.modules", "modules"), ("computed attribute", "getattr"),
     ("a write to a global", "N"), ("a write to a global", "global"), ("a write to a module", "global")],
)  # fmt: skip
def test_what_is_declared_is_allowed(project, name, uses):
    module = project.write(program=REFUSED[name][0], helpers="K = 1\n").load("program")
    assert bundle(module.run, uses=[uses]).identity


def test_a_declared_module_is_taken_whole(project, node):
    module = project.write(program=REFUSED["computed attribute"][0], helpers="def a(x):\n    return K\nK = 4\n").load(
        "program"
    )
    one = bundle(module.run, uses=[sys.modules["helpers"]])
    assert node.run(one, "('K',)") == ["4"]
    sys.modules["helpers"].K = 5
    assert bundle(module.run, uses=[sys.modules["helpers"]]).identity != one.identity


def test_a_declared_function_counts(project):
    module = project.write(program="def run(x):\n    return eval(x)\ndef f():\n    return 1\n").load("program")
    one = bundle(module.run, uses=["eval", module.f]).identity
    module = project.write(program="def run(x):\n    return eval(x)\ndef f():\n    return 2\n").load("program")
    assert bundle(module.run, uses=["eval", module.f]).identity != one


def test_a_declared_file_counts_by_content_and_travels(project, node):
    text = "import pathlib\ndef run(x):\n    return pathlib.Path(__file__).with_name('table.csv').read_text()\n"
    module = project.write(pkg__in____init__="", pkg__in__program=text).load("pkg.program")
    table = project.folder / "pkg" / "table.csv"
    table.write_text("1,2")
    one = bundle(module.run, uses=[table])
    assert node.run(one, "(0,)") == ["'1,2'"]
    assert bundle(module.run, uses=[str(table)]).identity == one.identity
    table.write_text("1,3" * 3000)
    other = bundle(module.run, uses=[table])
    assert other.identity != one.identity
    assert node.run(other, "(0,)") == [repr("1,3" * 3000)]


def test_a_file_that_is_not_there_is_named():
    with pytest.raises(Invalid, match=r"nowhere/table\.csv"):
        bundle(len, uses=["nowhere/table.csv"])


def test_a_file_edited_after_its_import_is_refused(project):
    module = project.write(program="def run(x):\n    return f(x)\ndef f(x):\n    return x + 1\n").load("program")
    one = bundle(module.run).identity
    project.write(program="def run(x):\n    return f(x)\ndef f(x):\n    return x + 2\n")
    with pytest.raises(Refused, match=r"f \(.*program.py:3\) was edited since import"):
        bundle(module.run)
    project.write(program="# moved\n\ndef run(x):\n    return f(x)\ndef f(x):\n    return x + 1\n")
    assert bundle(module.run).identity == one


@pytest.mark.parametrize("new", ["True", "1.0", "-1", "None"])
def test_an_edit_to_an_equal_constant_is_seen(project, new):
    module = project.write(program="def run(x):\n    return (x, 1)\n").load("program")
    project.write(program=f"def run(x):\n    return (x, {new})\n")
    with pytest.raises(Refused, match="edited since import"):
        bundle(module.run)


@pytest.mark.skipif(sys.version_info >= (3, 13), reason="Python 3.13 keeps the source of -c")
def test_a_program_without_source_is_refused(project):
    program = "from weftwork.python.bundling import bundle\ndef run(x): return x\nbundle(run)\n"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert "run has no source that can be read" in done.stderr


def test_what_cannot_be_called_is_invalid():
    with pytest.raises(Invalid, match="3 is not a function"):
        bundle(3)


def test_a_notebook_cell_has_source():
    import linecache

    text = "K = 2\ndef run(x):\n    return x * K\n"
    linecache.cache["<cell 1>"] = (len(text), None, text.splitlines(keepends=True), "<cell 1>")
    namespace: dict = {"__name__": "__main__"}
    exec(compile(text, "<cell 1>", "exec"), namespace)
    bundled = bundle(namespace["run"])
    assert load(bundled.document, bundled.blobs.__getitem__)(4) == 8


CAUTIONS = """
    import os, random, subprocess, time
    import datetime as dt
    import numpy as np
    from os import environ, getenv
    from pathlib import Path
    from random import random as r
    from time import time as now
    def clock():
        return time.time(), now(), dt.datetime.now()
    def chance():
        return random.random(), r(), np.random.normal(), np.random.default_rng()
    def seeded():
        return np.random.default_rng(1), random.Random(3), random.seed(4)
    def variables():
        return os.environ["A"], os.getenv("B"), environ.get("C"), getenv("D"), dict(os.environ)
    def process():
        subprocess.run(["true"]); os.system("true")
    def files():
        import numpy
        open("data.txt"); Path("b").read_text(); np.loadtxt("c"); numpy.load("d")
    def run():
        return clock, chance, seeded, variables, process, files
    """


def test_cautions_name_kind_function_and_line(project):
    module = project.write(program=CAUTIONS).load("program")
    found = {(caution.function, caution.kind, caution.what) for caution in bundle(module.run).warnings}
    assert found == {
        ("clock", "clock", "time.time"),
        ("clock", "clock", "datetime.datetime.now"),
        ("chance", "random", "random.random"),
        ("chance", "random", "numpy.random.normal"),
        ("chance", "random", "numpy.random.default_rng"),
        ("variables", "environment", "A"),
        ("variables", "environment", "B"),
        ("variables", "environment", "C"),
        ("variables", "environment", "D"),
        ("process", "subprocess", "subprocess.run"),
        ("process", "subprocess", "os.system"),
        ("files", "open", "open('data.txt')"),
        ("files", "open", ".read_text()"),
        ("files", "open", "numpy.loadtxt('c')"),
        ("files", "open", "numpy.load('d')"),
    }
    opened = next(caution for caution in bundle(module.run).warnings if caution.what.startswith("open("))
    assert opened.line == 21
    assert opened.file.endswith("program.py")
