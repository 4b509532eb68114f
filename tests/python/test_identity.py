"""What changes the identity of a program, and what does not: each rule by name."""

from __future__ import annotations

import importlib.util
import subprocess
import sys

import pytest

from weftwork.core.bundle import identity
from weftwork.node.unbundle import load
from weftwork.python.bundling import bundle

TOV = "import eos\nSTEP = 0.1\ndef run(x, order=4):\n    return eos.pressure(x) * STEP + order\n"
EOS = "from tables import K as stiffness\ndef pressure(x):\n    return stiffness * x ** 2.0\n"
TABLES = "K = 100.0\nUNUSED = 1\ndef unreached():\n    return UNUSED\n"


@pytest.fixture
def before(project):
    return project.write(program=TOV, eos=EOS, tables=TABLES).identity()


@pytest.mark.parametrize(
    "files",
    [
        {"eos": EOS.replace("2.0", "2.5")},
        {"tables": TABLES.replace("100.0", "101.0")},
        {"program": TOV.replace("order=4", "order=5")},
        {"program": TOV.replace("0.1", "0.2")},
        {"program": TOV.replace("+ order", "- order")},
        {"eos": EOS.replace("2.0", "2")},
        {"tables": TABLES.replace("100.0", "100")},
        {"tables": TABLES.replace("100.0", "-0.0")},
    ],
    ids=[
        "a helper",
        "a constant two modules away",
        "a default",
        "a global",
        "an operator",
        "a type",
        "1.0 and 1",
        "-0.0",
    ],
)
def test_what_is_reached_counts(project, before, files):
    assert project.write(**files).identity() != before


@pytest.mark.parametrize(
    "files",
    [
        {"tables": TABLES.replace("UNUSED = 1", "UNUSED = 2").replace("return UNUSED", "return UNUSED + 1")},
        {
            "program": "# a comment\n\n"
            + TOV.replace("return eos", "return (  # why\n      eos").replace("STEP + order", "STEP + order)")
        },
        {"eos": EOS.replace("def pressure(x):\n", 'def pressure(x):\n    """Of a star."""\n')},
        {"program": TOV.replace("def run(x, order=4)", "def run(x: float, order: int = 2 + 2) -> float")},
        {"eos": EOS.replace("return", "y: float = stiffness\n    return").replace("    y: float = stiffness\n", "")},
        {"tables": "def unreached():\n    return UNUSED\nUNUSED = 1\nK = 10.0 ** 2\n"},
        {"program": TOV.replace("    return", "        return")},
    ],
    ids=["unreached", "comments", "docstring", "annotations", "same text", "order of definitions", "indentation"],
)
def test_what_is_not_reached_or_for_people_does_not_count(project, before, files):
    assert project.write(**files).identity() == before


def test_a_docstring_that_is_read_counts(project):
    text = 'def f():\n    """One."""\ndef run():\n    return f.__doc__\n'
    one = project.write(program=text).identity()
    assert project.write(program=text.replace("One", "Two")).identity() != one


def test_a_docstring_counts_when_declared(project):
    text = 'def run():\n    """One."""\n'
    one = project.write(program=text).identity(uses=["__doc__"])
    assert project.write(program=text.replace("One", "Two")).identity(uses=["__doc__"]) != one


def test_the_files_names_and_lines_do_not_count(project):
    one = project.write(program=TOV, eos=EOS, tables=TABLES).identity()
    renamed = {
        "other": TOV.replace("eos", "state"),
        "state": "\n\n" + EOS.replace("tables", "amounts"),
        "amounts": TABLES,
    }
    assert project.write(**renamed).identity("other") != one  # the name by which it is called is code
    moved = {"other": TOV.replace("import eos", "import state as eos"), "state": EOS}
    assert project.write(**moved).identity("other") == one


def test_aliases_of_imports_are_what_they_name(project):
    files = {
        "a": "def f(x):\n    return x + 1\ndef g(x):\n    return x - 1\n",
        "program": "from a import f as h\ndef run(x):\n    return h(x)\n",
    }
    one = project.write(**files).identity()
    assert project.write(program=files["program"].replace("import f", "import g")).identity() != one


def test_globals_changed_at_run_time_count(project):
    module = project.write(
        program="K = 1\nT = {'a': 1}\nclass C:\n    k = 1\ndef run(x):\n    return K, T, C.k\n"
    ).load("program")
    found = [bundle(module.run).identity]
    module.K = 2
    found.append(bundle(module.run).identity)
    module.T["b"] = 2
    found.append(bundle(module.run).identity)
    module.C.k = 2
    found.append(bundle(module.run).identity)
    assert len(set(found)) == 4
    module.K, module.T, module.C.k = 1, {"a": 1}, 1
    assert bundle(module.run).identity == found[0]


def test_class_attributes_set_from_another_module_count(project):
    module = project.write(
        program="import stars\nimport setup\ndef run():\n    return stars.Star().mass, stars.Star().radius()\n",
        stars="class Star:\n    mass = 1\n",
        setup="import stars\nstars.Star.mass = 5\ndef radius(self):\n    return 7\nstars.Star.radius = radius\n",
    ).load("program")
    one = bundle(module.run)
    assert load(one.document, one.blobs.__getitem__)() == (5, 7)
    project.write(
        setup="import stars\nstars.Star.mass = 6\ndef radius(self):\n    return 7\nstars.Star.radius = radius\n"
    )
    assert project.identity() != one.identity


@pytest.mark.parametrize(
    ("text", "before", "after"),
    [
        ("def make(a):\n    def run(x):\n        return a * x\n    return run\nrun = make(2)\n", "make(2)", "make(3)"),
        ("class C:\n    def m(self):\n        return 1\ndef run():\n    return C().m()\n", "return 1", "return 2"),
        ("class B:\n    k = 1\nclass C(B):\n    pass\ndef run():\n    return C().k\n", "k = 1", "k = 2"),
        ("class A: k = 1\nclass B: k = 2\nclass C(A):\n    pass\ndef run():\n    return C.k\n", "class C(A)", "class C(B)"),
        ("def by(k):\n    return lambda f: lambda x: f(x) * k\n@by(2)\ndef run(x):\n    return x\n", "by(2)", "by(3)"),
        ("R = {}\ndef reg(f):\n    R[f.__name__] = f\n@reg\ndef a():\n    return 1\ndef run():\n    return R['a']()\n", "n 1", "n 2"),
        ("L = [lambda x: x + 1, lambda x: x + 2]\ndef run(x):\n    return L[1](x)\n", "x + 2", "x + 3"),
        ("L = [lambda x: x + 1, lambda x: x + 2]\ndef run(x):\n    return L[1](x)\n", "L = [lambda x: x + 1, lambda x: x + 2]", "L = [lambda x: x + 2, lambda x: x + 1]"),
        ("def run(x):\n    def g(y):\n        return y + 1\n    return g(x)\n", "y + 1", "y + 2"),
        ("import enum\nclass E(enum.Enum):\n    A = 1\n    B = 2\ndef run():\n    return E.A.value\n", "A = 1", "A = 3"),
        ("import enum\nclass E(enum.Enum):\n    A = 1\n    B = 2\ndef run():\n    return list(E)\n", "A = 1\n    B = 2", "B = 2\n    A = 1"),
        ("import re\nP = re.compile('a')\ndef run(x):\n    return P.match(x)\n", "'a'", "'b'"),
        ("from math import sin as f\ndef run(x):\n    return f(x)\n", "sin", "cos"),
        ("import functools\ndef f(a, b):\n    return a\nrun = functools.partial(f, b=1)\n", "b=1)\n", "b=2)\n"),
        ("from dataclasses import dataclass\n@dataclass\nclass D:\n    a: int = 1\ndef run():\n    return D()\n", "= 1", "= 2"),
        ("from dataclasses import dataclass\n@dataclass\nclass D:\n    a: int = 1\ndef run():\n    return D()\n", "@dataclass", "@dataclass(order=True)"),
        ("import numpy as np\nA = np.ones(3)\ndef run():\n    return A.sum()\n", "ones(3)", "zeros(3)"),
        ("import numpy as np\nA = np.ones(3000)\ndef run():\n    return A.sum()\n", "ones(3000)", "zeros(3000)"),
        ("class C:\n    @property\n    def p(self):\n        return 1\ndef run():\n    return C().p\n", "return 1", "return 2"),
        ("class M(type):\n    k = 1\nclass C(metaclass=M): pass\ndef run():\n    return C.k\n", "k = 1", "k = 2"),
        ("def run():\n    return run.k\nrun.k = 1\n", "k = 1", "k = 2"),
        ("def run(*, a=1):\n    return a\n", "a=1", "a=2"),
        ("def run(a, /, b):\n    return a\n", "a, /, b", "b, /, a"),
        ("V = {1: 'a', 2: 'b'}\ndef run():\n    return list(V)\n", "1: 'a', 2: 'b'", "2: 'b', 1: 'a'"),
    ],
    ids=str,
)  # fmt: skip
def test_what_a_call_can_see_counts(project, text, before, after):
    assert before in text
    one = project.write(program=text).identity()
    assert project.write(program=text.replace(before, after)).identity() != one


def test_the_order_in_which_a_dict_was_filled_does_not_count(project):
    one = project.write(program="T = {'a': 1, 'b': {'x': 1, 'y': 2}}\ndef run():\n    return T\n").identity()
    assert project.write(program="T = {'b': {'y': 2, 'x': 1}, 'a': 1}\ndef run():\n    return T\n").identity() == one


SCRIPT = """
import helpers
K = 3
class C:
    k = 2
def run(x):
    return helpers.f(x) * K * C.k, __name__
if __name__ == "__main__":
    from weftwork.python.bundling import bundle
    print(bundle(run).identity)
"""


def test_a_script_as_main_and_imported_is_one_program(project):
    project.write(script=SCRIPT, helpers="def f(x):\n    return x\n")
    done = subprocess.run([sys.executable, "script.py"], cwd=project.folder, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == project.identity("script")


def test_identity_is_the_same_in_every_process(project):
    text = """
        S = {"x", "y", "zz", 3, (1, "a")}
        F = frozenset(["p", "q", "r"])
        def a(): pass
        def b(): pass
        class C: pass
        FUNCTIONS = {a, b, C, len}
        def run(x):
            return S, F, x in {"one", "two", "three"}, FUNCTIONS
        if __name__ == "__main__":
            from weftwork.python.bundling import bundle
            print(bundle(run).identity)
        """
    project.write(script=text)
    found = {
        subprocess.run(
            [sys.executable, "script.py"], cwd=project.folder, capture_output=True, text=True, check=True,
            env={"PYTHONHASHSEED": str(seed)},
        ).stdout
        for seed in range(3)
    }  # fmt: skip
    assert len(found) == 1


def test_a_bundle_bundled_again_is_the_same(project):
    module = project.write(program=TOV, eos=EOS, tables=TABLES).load("program")
    one, other = bundle(module.run), bundle(module.run)
    assert one.document == other.document
    assert identity(one.document) == one.identity


def test_an_editable_package_is_walked(project, monkeypatch):
    site = project.folder / "site-packages"
    for name, extra in (("solid", ""), ("soft", '{"url": "file:///src", "dir_info": {"editable": true}}')):
        info = site / f"{name}-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (info / "RECORD").write_text(f"{name}.py,,\n{name}-1.0.dist-info/RECORD,,\n")
        (info / "INSTALLER").write_text("pip\n")
        if extra:
            (info / "direct_url.json").write_text(extra)
        (site / f"{name}.py").write_text("def f(x):\n    return x + 1\n")
    (site / "loose.py").write_text("def f(x):\n    return x + 1\n")
    from weftwork.node import distributions

    monkeypatch.syspath_prepend(str(site))
    distributions.site_folders.cache_clear()
    distributions._origin.cache_clear()
    try:
        for name, walked in (("solid", False), ("soft", True), ("loose", True)):
            program = f"import {name}\ndef run(x):\n    return {name}.f(x)\n"
            bundled = bundle(project.write(program=program).load("program").run)
            assert bundled.packages == (() if walked else (name,))
            assert any(node.get("name") == "f" for node in bundled.document["nodes"]) is walked
    finally:
        distributions.site_folders.cache_clear()
        distributions._origin.cache_clear()


def test_an_extension_module_of_the_project_counts_by_content(project, node):
    suffix = __import__("sysconfig").get_config_var("EXT_SUFFIX")
    include = __import__("sysconfig").get_paths()["include"]
    source = """
        #include <Python.h>
        static PyObject *f(PyObject *self, PyObject *x) { return PyNumber_Add(x, x); }
        static PyMethodDef methods[] = {{"twice", f, METH_O, ""}, {NULL, NULL, 0, NULL}};
        static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "fast", "", -1, methods};
        PyMODINIT_FUNC PyInit_fast(void) { return PyModule_Create(&module); }
        """
    (project.folder / "fast.c").write_text(source)
    command = ["cc", "-shared", "-fPIC", f"-I{include}", "fast.c", "-o", f"fast{suffix}"]
    if subprocess.run(command, cwd=project.folder, capture_output=True, check=False).returncode:
        pytest.skip("no C compiler with Python's headers")
    module = project.write(
        program="import fast\nfrom fast import twice\ndef run(x):\n    return fast.twice(x), twice(x)\n"
    ).load("program")
    bundled = bundle(module.run)
    assert node.run(bundled, "(21,)") == ["(42, 42)"]
    extension = project.folder / f"fast{suffix}"
    changed = extension.with_suffix(".new")
    changed.write_bytes(extension.read_bytes() + b"\0")
    changed.replace(extension)  # never in place: the old bytes are mapped
    assert bundle(module.run).identity != bundled.identity


def test_packages_are_noted_and_weftwork_is_not(project):
    text = "import numpy as np\nimport weftwork\nfrom matplotlib.figure import Figure\ndef run(x):\n    import click\n    return np.sin(x), weftwork, Figure\n"
    assert bundle(project.write(program=text).load("program").run).packages == ("click", "matplotlib", "numpy")


def test_a_module_called_inside_a_module_is_its_function(project):
    wrapped = """
        class Module:
            def __init__(self, f):
                self.__weft_function__ = f
                self.live = object()
        @Module
        def helper(x):
            return x + 1
        def run(x):
            return helper(x)
        """
    plain = "def helper(x):\n    return x + 1\ndef run(x):\n    return helper(x)\n"
    one = project.write(program=wrapped).identity()
    assert project.write(program=plain).identity() == one


def test_numpys_stack_does_not_make_the_folder_count_and_inspects_does(tmp_path):
    def identities(text):
        found = []
        for folder in ("one", "two"):
            place = tmp_path / folder / str(len(text))
            place.mkdir(parents=True)
            (place / "stacking.py").write_text(text)
            spec = importlib.util.spec_from_file_location("stacking", place / "stacking.py")
            module = importlib.util.module_from_spec(spec)
            sys.modules["stacking"] = module
            spec.loader.exec_module(module)
            found.append(bundle(module.run).identity)
        return found

    one, two = identities("import numpy as np\ndef run():\n    return np.stack([np.arange(2)])\n")
    assert one == two
    for text in (
        "import inspect\ndef run():\n    return inspect.stack()[0].filename\n",
        "from inspect import stack as st\ndef run():\n    return st()[0].filename\n",
        "def run():\n    from inspect import stack as st\n    return st()[0].filename\n",
    ):
        one, two = identities(text)
        assert one != two, text
