"""A call leaves nothing behind for the next one: captured state is put back."""

from __future__ import annotations

import pytest

from weftwork.node.unbundle import load_with_state
from weftwork.python.bundling import bundle

STATEFUL = {
    "list": "L = [[1], 2]\ndef run():\n    L[0].append(1); L.append(1)\n    return str(L)\n",
    "dict": "D = {}\ndef run():\n    D[len(D)] = 1\n    return str(D)\n",
    "set": "S = {1}\ndef run():\n    S.add(len(S) + 1)\n    return str(S)\n",
    "default": "def run(seen=[]):\n    seen.append(1)\n    return len(seen)\n",
    "attribute": "def run():\n    run.n += 1\n    return run.n\nrun.n = 0\n",
    "closure": "def make():\n    n = 0\n    def run():\n        nonlocal n\n        n += 1\n        return n\n    return run\nrun = make()\n",
    "class": "class C:\n    n = 0\ndef run():\n    C.n += 1\n    C.new = C.n\n    return C.n, hasattr(C, 'old')\n",
    "instance": "class C:\n    def __init__(self):\n        self.n = 0\nc = C()\ndef run():\n    c.n += 1\n    return c.n\n",
    "array": "import numpy as np\nA = np.array([np.nan, 1.0])\ndef run():\n    A[1] += 1\n    return A[1]\n",
    "array of objects": "import numpy as np\nA = np.array([None, 1], dtype=object)\ndef run():\n    A[1] += 1\n    return A[1]\n",
    "bytes": "B = bytearray(b'a')\ndef run():\n    B.extend(b'b')\n    return bytes(B)\n",
    "global": "N = 0\ndef run():\n    global N\n    N += 1\n    return N\n",
    "a new global": "def run():\n    global N\n    try:\n        return N\n    except NameError:\n        N = 1\n        return 'new'\n",
    "shared": "def read():\n    return K['n']\nK = {'n': 1}\ndef run():\n    K['n'] += 1\n    return read()\n",
}


@pytest.mark.parametrize("name", STATEFUL)
def test_a_second_call_gives_what_the_first_gave(project, name):
    module = project.write(program=STATEFUL[name]).load("program")
    bundled = bundle(module.run, uses=["global"])
    function, state = load_with_state(bundled.document, bundled.blobs.__getitem__)
    first = function()
    assert state.restore()
    assert function() == first
    assert function() != first
    assert state.restore()
    assert state.restore() == []


def test_a_call_that_changes_nothing_restores_nothing(project):
    text = """
        import abc, enum, logging
        import numpy as np
        log = logging.getLogger("x")
        A = np.array([np.nan])
        class E(enum.Enum):
            A = 1
        class B(abc.ABC):
            pass
        class C(B):
            x: int = 1
        def run():
            log.debug("x")
            return E(1), isinstance(3, B), C.__annotations__, A.sum()
        """
    module = project.write(program=text).load("program")
    bundled = bundle(module.run)
    function, state = load_with_state(bundled.document, bundled.blobs.__getitem__)
    function()
    assert state.restore() == []
