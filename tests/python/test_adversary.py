"""Programs made to deceive the key: what they give on a node is what a plain call gives, and an edit that changes it
changes the identity.

Each was once given another result by a node, or kept its identity when its result changed.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from weftwork.errors import Refused
from weftwork.python.bundling import bundle
from weftwork.python.environment import package_versions

np = pytest.importorskip("numpy")

# name: the program, and the parts of it that are edited (before, after)
CASES: dict[str, tuple[str, *tuple[tuple[str, str], ...]]] = {
    # what dicts, classes and instances show
    "the order of a dict": ("T = {'b': 1, 'a': 2}\ndef run():\n    return list(T)\n", ("'b': 1, 'a': 2", "'a': 2, 'b': 1")),
    "the first key": ("T = {'b': 1, 'a': 2}\ndef run():\n    for key in T:\n        return key\n", ("'b': 1, 'a': 2", "'a': 2, 'b': 1")),
    "the order of a dict in a library": ("import json\nT = {'b': 1, 'a': 2}\ndef run():\n    return json.dumps(T)\n", ("'b': 1, 'a': 2", "'a': 2, 'b': 1")),
    "the order of attributes": ("class C:\n    def __init__(self, **given):\n        self.__dict__.update(given)\nX = C(b=1, a=2)\ndef run():\n    return list(vars(X))\n", ("b=1, a=2", "a=2, b=1")),
    "the order of a class": ("class C:\n    b = 1\n    a = 2\ndef run():\n    return [name for name in vars(C) if name[0] != '_']\n", ("b = 1\n    a = 2", "a = 2\n    b = 1")),
    "subclasses": ("class B: pass\nclass Z(B):\n    k = 1\nclass A(B):\n    k = 5\ndef run():\n    return [c.k for c in B.__subclasses__()]\n", ("k = 5", "k = 6")),
    "an attribute of a dataclass, set later": ("from dataclasses import dataclass\n@dataclass\nclass C:\n    a: int = 1\nC.a = 5\ndef run():\n    return C.a, C().a\n", ("C.a = 5", "C.a = 6")),
    "a dataclass with texts as annotations": ("from __future__ import annotations\nfrom dataclasses import dataclass, fields\nfrom typing import ClassVar\n@dataclass\nclass C:\n    a: int = 1\n    b: ClassVar[int] = 2\ndef run():\n    return [[f.name, str(f.type)] for f in fields(C)], C.__init__.__annotations__['a']\n", ("a: int", "a: float")),
    "defaults given to a named tuple": ("from collections import namedtuple\nP = namedtuple('P', 'a b')\nP.__new__.__defaults__ = (None, 2)\ndef run():\n    return P()\n", ("2)", "3)")),
    "a method given to a named tuple": ("from collections import namedtuple\nP = namedtuple('P', 'a b')\nP.__repr__ = lambda self: 'mine'\ndef run():\n    return repr(P(1, 2))\n", ("mine", "yours")),
    "attributes given to an enum": ("import enum\nclass E(enum.Enum):\n    A = 1\nE.extra = 5\nE.A.note = 'n'\ndef run():\n    return E.extra, E.A.note, len(E)\n", ("= 5", "= 6"), ("'n'", "'m'")),
    "registered with a library's abstract class": ("import collections.abc\nclass C: pass\ncollections.abc.Sequence.register(C)\ndef run():\n    return isinstance(C(), collections.abc.Sequence)\n", ("Sequence.register", "Mapping.register")),
    "registered with copyreg": ("import copy, copyreg\nclass C:\n    def __init__(self, x):\n        self.x = x\ncopyreg.pickle(C, lambda c: (C, (9,)))\ndef run():\n    return copy.copy(C(1)).x\n", ("9", "8")),
    "arrays that share memory": ("import numpy as np\nA = np.zeros((3, 2))\nB = A[:2, 1]\ndef run():\n    A[0] = 5\n    return B.tolist()\n", ("A[:2, 1]", "A[:2, 1].copy()")),
    "an array in Fortran's order": ("import numpy as np\nA = np.asfortranarray(np.arange(6.0).reshape(2, 3))\ndef run():\n    return A.ravel('K').tolist(), A.flags.f_contiguous\n", ("asfortranarray", "ascontiguousarray")),
    # libraries, as the project has set them
    "numpy's errors": ("import numpy as np\nnp.seterr(all='raise')\ndef run():\n    try:\n        return float(np.float64(1) / np.float64(0))\n    except FloatingPointError:\n        return 'raised'\n", ("raise", "ignore")),
    "numpy's print options": ("import numpy as np\nnp.set_printoptions(precision=3)\ndef run():\n    return str(np.array([1 / 3]))\n", ("=3", "=4")),
    "the decimal context": ("import decimal\ndecimal.getcontext().prec = 5\ndef run():\n    return str(decimal.Decimal(1) / 3)\n", ("= 5", "= 7")),
    "warnings made errors": ("import warnings\nwarnings.simplefilter('error')\ndef run():\n    try:\n        warnings.warn('x')\n        return 1\n    except UserWarning:\n        return 2\n", ("'error'", "'ignore'")),
    "an option of the string module": ("import textwrap\ntextwrap.TextWrapper.mark = 3\ndef run():\n    return textwrap.TextWrapper.mark\n", ("= 3", "= 4")),
    "a library's function in another's place": ("import numpy as np\nnp.mean = np.median\ndef run():\n    return float(np.mean([1, 2, 9]))\n", ("np.median", "np.max")),
    "a library's method replaced": ("import json\ndef default(self, value):\n    return 'p'\njson.JSONEncoder.default = default\ndef run():\n    return json.dumps(object)\n", ("'p'", "'q'")),
    "a library's method replaced by a call of setattr": ("import json\nsetattr(json.JSONEncoder, 'default', lambda self, value: 'p')\ndef run():\n    return json.dumps(object)\n", ("'p'", "'q'")),
    "a builtin added": ("import builtins\nbuiltins.weft_test = lambda: 42\ndef run():\n    return weft_test()\n", ("42", "43")),
    "a builtin value added": ("import builtins\nbuiltins.WEFT_TEST = 42\ndef run():\n    return WEFT_TEST\n", ("42", "43")),
    # texts, places
    "the source": ("import inspect\ndef f():\n    return 1  # one\ndef run():\n    return inspect.getsource(f)\n", ("# one", "# two")),
    "the line": ("import sys\ndef run():\n    return sys._getframe().f_lineno\n", ("import sys", "import sys\n\n")),
    "the first line": ("def f():\n    return 1\ndef run():\n    return f.__code__.co_firstlineno\n", ("def f", "\n\ndef f")),
    "help": ("import pydoc\ndef f():\n    'One.'\ndef run():\n    return pydoc.plain(pydoc.render_doc(f)).splitlines()[-1]\n", ("One", "Two")),
    # what a call leaves to the next
    "a default that grows": ("def run(x=1, seen=[]):\n    seen.append(x)\n    return list(seen)\n", ("x=1", "x=2")),
    "a cache whose value is changed": ("import functools\n@functools.lru_cache\ndef table():\n    return [1]\ndef run():\n    table().append(2)\n    return table()\n", ("[1]", "[3]")),
    "a counter in an instance": ("class C:\n    n = 0\n    def __call__(self):\n        self.n += 1\n        return self.n\nc = C()\ndef run():\n    return c()\n", ("n = 0", "n = 1")),
    "a counter in a slot": ("class C:\n    __slots__ = ('n',)\n    def __init__(self):\n        self.n = 0\nc = C()\ndef run():\n    c.n += 1\n    return c.n\n", ("= 0", "= 1")),
    "a counter of itertools": ("import itertools\nids = itertools.count(5)\ndef run():\n    return next(ids)\n", ("5", "6")),
    "generators of random numbers": ("import random\nimport numpy as np\nR, S, T = random.Random(3), np.random.default_rng(3), np.random.RandomState(3)\ndef run():\n    return R.random(), float(S.random()), float(T.rand())\n", ("Random(3)", "Random(4)"), ("rng(3)", "rng(4)"), ("State(3)", "State(4)")),
    "collections": ("import collections, array\nc, d = collections.Counter('ab'), collections.deque([1], 3)\no, e, a = collections.OrderedDict(b=1), collections.defaultdict(list), array.array('d', [1])\nclass D(dict): pass\nf = D(a=1)\ndef run():\n    c['a'] += 1; d.append(2); o['z'] = 1; e['k'].append(1); a.append(2); f['n'] = f.get('n', 0) + 1; f.k = 1\n    return list(c.items()), list(d), list(o), list(e.items()), list(a), dict(f)\n", ("'ab'", "'ba'")),
    "callers of operator": ("import operator\nF, G, H = operator.methodcaller('replace', 'a', 'b'), operator.attrgetter('real'), operator.itemgetter(0)\ndef run():\n    return F('aa'), G(3 + 1j), H([5])\n", ("'b'", "'c'")),
    "a weak cache": ("import weakref\nclass X: pass\nx, W = X(), weakref.WeakKeyDictionary()\ndef run():\n    W[x] = W.get(x, 0) + 1\n    return W[x]\n",),
    "a registration during a call": ("import functools\n@functools.singledispatch\ndef show(x):\n    return 'any'\ndef run():\n    found = show(1)\n    show.register(int, lambda x: 'int')\n    return found\n", ("'any'", "'all'")),
    "a member of an enum": ("import enum\nclass E(enum.Enum):\n    A = 1\ndef run():\n    E.A.n = getattr(E.A, 'n', 0) + 1\n    return E.A.n\n",),
    "a library's attribute set during a call": ("import textwrap\ndef run():\n    old = getattr(textwrap.TextWrapper, 'mark', 0)\n    textwrap.TextWrapper.mark = old + 1\n    return old\n",),
    "the decimal context set during a call": ("import decimal\ndef run():\n    decimal.getcontext().prec += 1\n    return decimal.getcontext().prec\n",),
    "a subclass made during a call": ("class B:\n    seen = []\n    def __init_subclass__(cls):\n        B.seen.append(cls.__name__)\ndef run():\n    class Z(B): pass\n    return B.seen\n",),
}  # fmt: skip


def runs() -> list[tuple[str, str]]:
    """Every program and every edit of it, by name."""
    found = []
    for name, (text, *edits) in CASES.items():
        found.append((name, text))
        for before, after in edits:
            assert before in text, name
            found.append((name, text.replace(before, after)))
    return found


def answers_of(cases: list[tuple[dict[str, str], list[Any]]]) -> list[dict[str, Any]]:
    done = subprocess.run(
        [sys.executable, "-P", Path(__file__).with_name("forks.py")],
        input=json.dumps(cases),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answers: list[dict[str, Any]] = json.loads(done.stdout)
    return answers


@pytest.fixture(scope="module")
def told() -> dict[str, list[dict[str, Any]]]:
    answers = answers_of([({"program.py": text}, []) for _, text in runs()])
    found: dict[str, list[dict[str, Any]]] = {}
    for (name, _), answer in zip(runs(), answers, strict=True):
        found.setdefault(name, []).append(answer)
    return found


@pytest.mark.parametrize("name", CASES)
def test_the_node_gives_what_a_plain_call_gives_again_and_again(name, told):
    for answer in told[name]:
        assert "error" not in answer, answer
        assert answer["node"] == [answer["plain"]] * 2


@pytest.mark.parametrize("name", [name for name in CASES if len(CASES[name]) > 1])
def test_an_edit_that_changes_the_result_changes_the_identity(name, told):
    first, *others = told[name]
    for other in others:
        assert other["plain"] != first["plain"], "this edit shows nothing"
        assert other["identity"] != first["identity"]


def test_a_patch_in_a_module_that_is_only_imported_counts():
    program = "import patches, textwrap\ndef run():\n    return textwrap.fill('a b c', 2)\n"
    patch = "import textwrap\ndef wrap(self, text):\n    return ['patched']\ntextwrap.TextWrapper.wrap = wrap\n"
    first, other = answers_of(
        [({"program.py": program, "patches.py": patch.replace("patched", word)}, []) for word in ("one", "two")]
    )
    assert first["node"] == ["'one'"] * 2
    assert other["node"] == ["'two'"] * 2
    assert first["identity"] != other["identity"]


def test_the_order_of_a_dict_does_not_count_where_nobody_can_see_it():
    text = "T = {'a': 1, 'b': 2}\ndef pick(name):\n    return T[name]\ndef run():\n    return pick('a') + T.get('b')\n"
    other = text.replace("'a': 1, 'b': 2", "'b': 2, 'a': 1")
    answers = answers_of([({"program.py": each}, []) for each in (text, other)])
    assert answers[0]["identity"] == answers[1]["identity"]


def test_a_setting_that_a_package_has_by_itself_does_not_count():
    text = "import numpy as np\ndef run():\n    return float(np.sin(1.0))\n"
    same = "import numpy as np\nnp.seterr(**np.geterr())\ndef run():\n    return float(np.sin(1.0))\n"
    answers = answers_of([({"program.py": each}, []) for each in (text, same)])
    assert answers[0]["identity"] == answers[1]["identity"]


def test_a_call_for_its_effect_on_a_package_is_told():
    text = "import numpy as np\nnp.testing.suppress = 1\nnp.linalg.norm([1.0])\ndef run():\n    return float(np.sin(1.0))\n"
    (answer,) = answers_of([({"program.py": text}, [])])
    assert answer["warnings"] == ["numpy.linalg.norm()"]


def test_asserts_that_pytest_rewrote_are_the_source(tmp_path):
    tests = """
        from weftwork.node.unbundle import load
        from weftwork.python.bundling import bundle
        K = 2
        def helper(x):
            assert x in [1, 2], "one or two"
            return x * K
        def test_it():
            made = bundle(helper)
            assert load(made.document, made.blobs.__getitem__)(2) == 4
            assert "pytest" not in made.packages
        """
    (tmp_path / "test_user.py").write_text(textwrap.dedent(tests))
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", ".", "test_user.py"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stdout


def test_names_in_texts_that_libraries_evaluate_are_reached(project):
    program = """
        LIMIT, CUT, centred, UNSEEN = 2, 3, 4, 5
        def run(frame, fit):
            return frame.query("a > @LIMIT"), frame.eval(f"{frame} * @CUT"), fit.ols("y ~ centred(x)", frame), "UNSEEN"
        """
    module = project.write(program=program).load("program")
    names = next(node["names"] for node in bundle(module.run).document["nodes"] if node["kind"] == "module")
    assert names == {"CUT": 3, "LIMIT": 2, "centred": 4}


def test_what_a_package_uses_when_it_is_there_is_in_its_environment(tmp_path, monkeypatch):
    requires = 'Requires-Dist: weft-arrows; extra == "parquet"\nRequires-Dist: weft-checks; extra == "test"\n'
    for name, more in (("weft-frames", requires), ("weft-arrows", ""), ("weft-checks", "")):
        folder = tmp_path / f"{name.replace('-', '_')}-1.0.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n{more}")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert package_versions(["weft-frames"]) == {"weft-arrows": "1.0", "weft-frames": "1.0"}


@pytest.mark.parametrize(
    ("program", "told"),
    [
        ("import ctypes\nLIB = ctypes.CDLL(None)\ndef run():\n    return LIB.abs(-1)\n", "program.LIB"),
        ("from dataclasses import dataclass\n@dataclass\nclass C:\n    a: int = 1\nC.__init__.__defaults__ = (9,)\ndef run():\n    return C()\n", "C.__init__"),
        ("import json, threading\njson.JSONEncoder.lock = threading.Lock()\ndef run():\n    return json.dumps(1)\n", "json.JSONEncoder.lock"),
    ],
)  # fmt: skip
def test_refused_with_what_it_is(project, program, told):
    module = project.write(program=program).load("program")
    try:
        with pytest.raises(Refused, match=re.escape(told)):
            bundle(module.run)
    finally:
        if hasattr(json.JSONEncoder, "lock"):
            del json.JSONEncoder.lock
