"""Each construct of the language: what the node runs gives what a plain call gives."""

from __future__ import annotations

import pytest

CONSTRUCTS = {
    "constant": "K = 3\ndef run(x):\n    return K * x\n",
    "helper": "def help(x):\n    return x + 1\ndef run(x):\n    return help(x) * 2\n",
    "closure": """
        def make(a):
            b = [a, a]
            def inner(x):
                return a * x + len(b)
            return inner
        run = make(7)
        """,
    "shared cells": """
        def counter():
            n = 0
            def step():
                nonlocal n
                n += 1
                return n
            def read():
                return n
            return step, read
        STEP, READ = counter()
        def run(x):
            STEP(); STEP()
            return READ() >= 2
        """,
    "defaults": "def run(x, y=[1, 2], *, z={'k': 3}, w=(4,)):\n    return x, y, z, w\n",
    "lambda": "run = lambda x, y=2: x ** y\n",
    "two lambdas on a line": "FS = [lambda x: x + 1, lambda x: x * 10]\ndef run(x):\n    return FS[0](x), FS[1](x)\n",
    "lambda over lines": "F = (lambda x:\n  x\n  + 'é'.__len__())\ndef run(x):\n    return F(x)\n",
    "nested functions": """
        def run(x):
            def a(y):
                def b(z):
                    return z + y + x
                return b
            return a(1)(2)
        """,
    "recursion": "def run(n):\n    return 1 if n < 2 else n * run(n - 1)\n",
    "nested recursion": """
        def make():
            def fact(n):
                return 1 if n < 2 else n * fact(n - 1)
            return fact
        run = make()
        """,
    "mutual recursion": """
        def even(n):
            return True if n == 0 else odd(n - 1)
        def odd(n):
            return False if n == 0 else even(n - 1)
        run = even
        """,
    "decorator": """
        import functools
        def scaled(k):
            def decorate(f):
                @functools.wraps(f)
                def wrapper(*args):
                    return k * f(*args)
                return wrapper
            return decorate
        @scaled(5)
        def run(x):
            return x + 1
        """,
    "class decorator of a function": """
        class Twice:
            def __init__(self, f):
                self.f = f
            def __call__(self, x):
                return self.f(self.f(x))
        @Twice
        def inc(x):
            return x + 1
        def run(x):
            return inc(x)
        """,
    "registry": """
        REGISTRY = {}
        def register(f):
            REGISTRY[f.__name__] = f
            return f
        @register
        def zeta(x):
            return x + 1
        @register
        def alpha(x):
            return x * 2
        def run(x):
            return [REGISTRY[name](x) for name in sorted(REGISTRY)]
        """,
    "class": """
        class Base:
            scale = 2
            def __init__(self, a):
                self.a = a
            def value(self):
                return self.a * self.scale
        class Star(Base):
            def value(self):
                return super().value() + 1
            @property
            def double(self):
                return self.a * 2
            @classmethod
            def of(cls, a):
                return cls(a)
            @staticmethod
            def shift(x):
                return x + 100
        def run(x):
            s = Star.of(x)
            return s.value(), s.double, Star.shift(x), isinstance(s, Base), Star.__mro__[1].__name__
        """,
    "private names": """
        class Account:
            __rate = 3
            def __init__(self):
                self.__total = 1
            def __add(self, x):
                self.__total += x * Account.__rate
                return (lambda: self.__total)()
            def add(self, x):
                return self.__add(x)
        def run(x):
            return Account().add(x)
        """,
    "property with setter": """
        class T:
            @property
            def v(self):
                return self._v
            @v.setter
            def v(self, x):
                self._v = x * 2
        def run(x):
            t = T()
            t.v = x
            return t.v
        """,
    "slots": """
        class P:
            __slots__ = ("x", "y")
            def __init__(self, x):
                self.x = x
                self.y = 2 * x
        class Q(P):
            __slots__ = ()
        ORIGIN = Q(3)
        def run(x):
            p = P(x)
            return p.x, p.y, ORIGIN.y, hasattr(p, "__dict__")
        """,
    "metaclass": """
        class Meta(type):
            count = 5
            def __call__(cls, *args):
                made = super().__call__(*args)
                made.tag = cls.count
                return made
        class Thing(metaclass=Meta):
            pass
        def run(x):
            return Thing().tag + x
        """,
    "abstract": """
        import abc
        class Shape(abc.ABC):
            @abc.abstractmethod
            def area(self): ...
        class Square(Shape):
            def __init__(self, a):
                self.a = a
            def area(self):
                return self.a ** 2
        def run(x):
            try:
                Shape()
            except TypeError:
                refused = True
            return Square(x).area(), refused
        """,
    "virtual subclasses": """
        import abc
        class Shape(abc.ABC): pass
        class Round: pass
        Shape.register(Round)
        Shape.register(complex)
        def run(x):
            return isinstance(Round(), Shape), isinstance(1j, Shape), isinstance(x, Shape)
        """,
    "typed dict": """
        from typing import TypedDict, NotRequired
        class P(TypedDict):
            x: float
            y: NotRequired[int]
        class Q(P, total=False):
            z: str
        def run(x):
            return P(x=x), Q(x=1, z="a"), sorted(Q.__optional_keys__), P.__name__
        """,
    "a module's dict": """
        import types, math
        import program
        def run(x):
            return program.__dict__["hidden"](x), vars(program)["K"]
        def hidden(x):
            return x + K
        K = 3
        """,
    "single dispatch method": """
        import functools
        class C:
            @functools.singledispatchmethod
            def f(self, x):
                return "any"
            @f.register
            def _(self, x: int):
                return "int"
            g = functools.partialmethod(lambda self, a, b: (a, b), 1)
        def run(x):
            return C().f(x), C().f("s"), C().g(2)
        """,
    "init subclass runs once": """
        SEEN = []
        class Base:
            def __init_subclass__(cls, **options):
                super().__init_subclass__()
                SEEN.append(cls.__name__)
        class A(Base): pass
        class B(Base): pass
        def run(x):
            return SEEN, A.__name__, B.__name__
        """,
    "descriptor": """
        class Positive:
            def __set_name__(self, owner, name):
                self.name = "_" + name
            def __get__(self, obj, owner=None):
                return getattr(obj, self.name)
            def __set__(self, obj, value):
                setattr(obj, self.name, abs(value))
        class Body:
            mass = Positive()
            def __init__(self, mass):
                self.mass = mass
        def run(x):
            return Body(-x).mass
        """,
    "dataclass": """
        import dataclasses
        from dataclasses import dataclass, field
        from typing import ClassVar
        @dataclass(frozen=True, order=True)
        class Point:
            y: float
            x: float = 1.0
            tags: list = field(default_factory=list, compare=False)
            unit: ClassVar[str] = "m"
            def norm(self):
                return (self.x ** 2 + self.y ** 2) ** 0.5
        @dataclass
        class Named(Point):
            pass
        """.replace("        @dataclass\n        class Named(Point):\n            pass\n", "")
    + """
        P = Point(3.0, 4.0)
        def run(x):
            q = dataclasses.replace(P, x=x)
            return P, P.norm(), q, q < P, hash(P) == hash(Point(3.0, 4.0)), [f.name for f in dataclasses.fields(P)], P.unit
        """,
    "dataclass with slots": """
        from dataclasses import dataclass, field
        @dataclass(slots=True)
        class P:
            a: int
            b: int = 2
            c: list = field(default_factory=list)
            def __post_init__(self):
                self.c.append(self.a)
            def total(self):
                return self.a + self.b
        @dataclass(slots=True, frozen=True)
        class F:
            a: int = 3
        ONE = P(1)
        FROZEN = F()
        def run(x):
            return P(x).total(), ONE, FROZEN, P(x).c
        """,
    "dataclass with inheritance": """
        from dataclasses import dataclass, KW_ONLY, InitVar
        @dataclass
        class A:
            a: int
            scale: InitVar[int] = 2
            def __post_init__(self, scale):
                self.a *= scale
        @dataclass
        class B(A):
            _: KW_ONLY
            b: int = 5
            def __eq__(self, other):
                return self.b == other.b
        def run(x):
            return A(x), B(x, 3, b=1), B(1) == B(2)
        """,
    "enum": """
        import enum
        class Colour(enum.Enum):
            RED = "r"
            BLUE = "b"
            CRIMSON = "r"
            def shout(self):
                return self.value.upper()
        class Planet(enum.Enum):
            EARTH = (5.97, 6.37)
            MARS = (0.64, 3.4)
            def __init__(self, mass, radius):
                self.mass = mass
                self.radius = radius
        class Level(enum.IntEnum):
            LOW = enum.auto()
            HIGH = enum.auto()
        class Flags(enum.Flag):
            A = enum.auto()
            B = enum.auto()
        BOTH = Flags.A | Flags.B
        DEFAULT = Colour.BLUE
        def run(x):
            return (DEFAULT, Colour("r").shout(), Colour.CRIMSON is Colour.RED, Planet.MARS.radius, Level.HIGH + x,
                    BOTH, Flags.A in BOTH, list(Colour), DEFAULT is Colour.BLUE)
        """,
    "named tuples": """
        from typing import NamedTuple
        from collections import namedtuple
        class P(NamedTuple):
            x: float
            y: float = 2.0
            def norm(self):
                return self.x + self.y
        Q = namedtuple("Q", "a b", defaults=[9])
        class R(namedtuple("R", "z")):
            def twice(self):
                return self.z * 2
        ORIGIN = P(0.0)
        def run(x):
            return ORIGIN, P(x).norm(), Q(x), R(x).twice(), ORIGIN._replace(y=1.0)
        """,
    "generic class": """
        from typing import Generic, TypeVar, Protocol, Optional, Union, Callable, Literal
        T = TypeVar("T")
        class Box(Generic[T]):
            item: Optional[T]
            def __init__(self, item: T) -> None:
                self.item = item
            def get(self) -> T:
                return self.item
        class Sized(Protocol):
            def size(self) -> int: ...
        class Real(Sized):
            def size(self):
                return 3
        ALIAS = dict[str, Union[int, str]]
        def run(x: Callable[[int], str]) -> Literal["a"]:
            return Box[int](x).get(), Real().size(), ALIAS, int | str
        """,
    "partial": """
        import functools
        def power(b, e, offset=0):
            return b ** e + offset
        SQUARE = functools.partial(power, e=2, offset=1)
        def run(x):
            return SQUARE(x)
        """,
    "partial as entry": "import functools\ndef f(a, b):\n    return a - b\nrun = functools.partial(f, 10)\n",
    "caches": """
        import functools
        @functools.lru_cache(maxsize=3)
        def slow(x):
            return x * 3
        class C:
            @functools.cached_property
            def v(self):
                return 4
            @functools.cache
            def w(self):
                return 5
        def run(x):
            return slow(x), C().v, C().w(), slow.cache_parameters()
        """,
    "single dispatch": """
        import functools
        @functools.singledispatch
        def show(x):
            return "any"
        @show.register
        def _(x: int):
            return "int"
        @show.register(list)
        def _(x):
            return "list of " + show(x[0])
        def run(x):
            return show(x), show([x]), show("s")
        """,
    "context manager": """
        import contextlib
        @contextlib.contextmanager
        def doubled(x):
            yield x * 2
        def run(x):
            with doubled(x) as y:
                return y
        """,
    "generators": """
        def numbers(n):
            yield from range(n)
        async def later(x):
            return x
        def run(x):
            import asyncio
            return [i * x for i in numbers(3)], {i for i in numbers(2)}, sum(i for i in numbers(4)), asyncio.run(later(x))
        """,
    "bound method": """
        class C:
            def __init__(self):
                self.k = 4
            def m(self, x):
                return self.k * x
        M = C().m
        UPPER = "abc".upper
        def run(x):
            return M(x), UPPER()
        """,
    "values": """
        import collections, datetime, decimal, fractions, pathlib, re, types, uuid, operator, zoneinfo, math
        V = [None, True, 1, -0.0, 1e300, float("inf"), "é\\ud800", b"\\x00\\xff", 2 ** 100, -(2 ** 70), 3 + 4j, (1, (2,)), {3, 1},
             frozenset({"b"}), decimal.Decimal("1.10"), fractions.Fraction(1, 3), datetime.date(2020, 1, 2),
             datetime.datetime(2020, 1, 2, 3, 4, 5, 6, tzinfo=datetime.timezone.utc), datetime.time(1, 2, fold=1),
             datetime.timedelta(1, 2, 3), pathlib.PurePosixPath("a/b"), pathlib.Path("c"), range(1, 9, 2), slice(None, 3),
             bytearray(b"x"), re.compile("a+", re.I), {1: "one", (2,): "two"}, {"a": 1, "z": 2}, ..., NotImplemented,
             collections.OrderedDict([("z", 1), ("a", 2)]), collections.deque([1, 2], 5), collections.Counter("aab"),
             collections.defaultdict(list, {"k": [1]}), uuid.UUID(int=5), types.SimpleNamespace(a=1, b=2),
             datetime.timezone(datetime.timedelta(hours=2)), zoneinfo.ZoneInfo("UTC"), types.MappingProxyType({"a": 1})]
        GET = operator.itemgetter(1)
        NAN = float("nan")
        def run(x):
            return V, GET([1, 2]), math.isnan(NAN), str.upper("a"), len
        """,
    "cycles and sharing": """
        A = [1]
        A.append(A)
        SHARED = {"x": A, "y": [A, A]}
        def run(x):
            return SHARED["y"][0] is SHARED["x"], A[1] is A
        """,
    "instances": """
        class Node:
            def __init__(self, name):
                self.name, self.next = name, None
        X, Y = Node("x"), Node("y")
        X.next, Y.next = Y, X
        class Stack(list):
            top = property(lambda self: self[-1])
        S = Stack([1, 2])
        S.label = "s"
        class Error(Exception):
            pass
        FAIL = Error("bad", 3)
        def run(x):
            return X.next.next is X, Y.name, S, S.top, S.label, FAIL
        """,
    "own reduce": """
        class Grid:
            def __init__(self, n):
                self.cells = list(range(n))
            def __reduce__(self):
                return Grid, (len(self.cells),)
        class State:
            def __init__(self):
                self.v = 7
            def __getstate__(self):
                return self.v
            def __setstate__(self, state):
                self.v = state
        G, T = Grid(4), State()
        def run(x):
            return G.cells, T.v
        """,
    "arrays": """
        import numpy as np
        from numpy import sin
        A = np.arange(6.0).reshape(2, 3)
        B = np.arange(4, dtype=">i4")
        C = np.array([(1, 2.0)], dtype=[("a", "i4"), ("b", "f8", (2,))])
        D = np.array([None, "x"], dtype=object)
        E = np.array(["2020-01-01"], dtype="M8[D]")
        BIG = np.ones(2000)
        S, T = np.float32(1.5), np.dtype("f4")
        W = np.arange(3)
        W.flags.writeable = False
        Z = np.array(3)
        def run(x):
            return (A + x, B.sum(), C["b"], D, E, BIG.sum(), S, T, sin(A[0]), np.linalg.norm(A), W.flags.writeable, Z,
                    A.dtype, np.float64)
        """,
    "logger": """
        import logging
        log = logging.getLogger(__name__)
        def run(x):
            log.debug("x")
            return log.name, __name__
        """,
    "imports in the body": """
        def run(x):
            import math
            from os import path as p
            import collections.abc as c
            return math.floor(x), p.join("a", "b"), c.Mapping.__name__
        """,
    "future annotations": """
        from __future__ import annotations
        def run(x: Missing) -> Nowhere:
            y: AlsoMissing = x
            def g(z: Gone):
                return z
            return g(y), g.__annotations__
        """,
    "annotations read": """
        import inspect
        def f(a: int, b: "str" = "x") -> float:
            return a
        def run(x):
            return f.__annotations__, str(inspect.signature(f))
        """,
    "docstrings read": '''
        def f(a):
            """Words."""
        class C:
            """More."""
        def run(x):
            return f.__doc__, C.__doc__
        ''',
    "walrus and match": """
        def run(x):
            match {"kind": "p", "v": [x, 2]}:
                case {"kind": "p", "v": [a, *rest]} if (y := a + 1):
                    return a, rest, y
        """,
    "conditional definition": """
        import math
        if hasattr(math, "nothing"):
            def f(x):
                return 1
        else:
            def f(x):
                return 2
        try:
            from nowhere import g
        except ImportError:
            def g(x):
                return 3
        def run(x):
            return f(x), g(x)
        """,
    "function attributes": "def run(x):\n    run.calls = x\n    return run.calls, run.unit\nrun.unit = 'm'\n",
    "class as entry": "class run:\n    def __init__(self, x):\n        self.x = x\n    def __repr__(self):\n        return f'run({self.x})'\n",
    "callable instance as entry": "class R:\n    k = 2\n    def __call__(self, x):\n        return x * self.k\nrun = R()\n",
    "local class": """
        def make():
            class Local:
                k = 3
                def get(self):
                    return self.k, __class__.__name__
            return Local
        L = make()
        def run(x):
            class Inner(L):
                "doc"
                k = x
            return Inner().get(), L().get()
        """,
    "exceptions": """
        class MyError(ValueError):
            def __init__(self, a):
                super().__init__(f"bad {a}")
        def run(x):
            try:
                raise MyError(x)
            except MyError as error:
                return str(error), type(error).__mro__[1]
        """,
    "docstring only": 'def nothing():\n    """Words."""\ndef run(x):\n    return nothing()\n',
    "tab indentation and odd text": "class A:\n\tdef m(self):\n\t\treturn '''a\n b'''\ndef run(x):\n    return A().m()\n",
    "starred defaults": "def run(a, /, b=1, *c, d, e=2, **f):\n    return a, b, c, d, e, f\nimport functools\nrun = functools.partial(run, d=4)\n",
    "weak reference to nothing": "import weakref\nclass A: pass\ndef run(x):\n    a = A()\n    return weakref.ref(a)() is a\n",
}


@pytest.mark.parametrize("name", CONSTRUCTS)
def test_the_node_runs_what_a_plain_call_runs(name, same_elsewhere):
    same_elsewhere("(3,)", "(5,)", program=CONSTRUCTS[name])


def test_helpers_two_modules_away(same_elsewhere):
    same_elsewhere(
        "(3,)",
        program="import middle\nfrom middle import twice as t\ndef run(x):\n    return middle.twice(x), t(x), middle.far.SHIFT\n",
        middle="import far\ndef twice(x):\n    return 2 * far.shift(x)\n",
        far="SHIFT = 7\ndef shift(x):\n    return x + SHIFT\n",
    )


def test_packages_with_relative_and_star_imports_and_imports_in_bodies(same_elsewhere):
    same_elsewhere(
        "(3,)",
        program="""
            import pkg.sub.deep
            from pkg import top as t
            def run(x):
                from pkg.sub import deep as d
                import pkg.lazy
                import pkg.lazy as z
                from pkg.lazy import two
                return pkg.sub.deep.value(x), t(x), d.value(x), pkg.lazy.one(x), z.one(x), two(x)
            """,
        pkg__in____init__="from .sub.deep import *\nfrom .sub import deep as alias\ndef top(x):\n    return value(x) + alias.K\n",
        pkg__in__sub__in____init__="",
        pkg__in__sub__in__deep="""
                K = 4
                def value(x):
                    from . import other
                    from ..lazy import two
                    return x * K + other.Z + two(x)
                """,
        pkg__in__sub__in__other="Z = 9\n",
        pkg__in__lazy="def one(x):\n    return two(x) + 1\ndef two(x):\n    return x * 100\n",
    )


def test_a_module_that_is_passed_around_is_taken_whole(same_elsewhere):
    same_elsewhere(
        "(3,)",
        program="import a, b\ndef call(m, x):\n    return m.f(x)\ndef run(x):\n    return [call(m, x) for m in (a, b)]\n",
        a="def f(x):\n    return g(x)\ndef g(x):\n    return x + 1\n",
        b="def f(x):\n    return x * 2\n",
    )


def test_a_module_with_getattr(same_elsewhere):
    same_elsewhere(
        "(3,)",
        program="import lazy\ndef run(x):\n    return lazy.anything, getattr(lazy, 'fixed')(x)\n",
        lazy="def __getattr__(name):\n    return name.upper()\ndef fixed(x):\n    return x\n",
    )


def test_a_traceback_names_the_original_file_and_line_and_shows_the_source(project, node):
    from weftwork.python.bundling import bundle

    module = project.write(
        program="import helpers\n\n\ndef run(x):\n    return helpers.divide(x)\n",
        helpers="# a comment\n\ndef divide(x):\n    '''Doc.'''\n    return 1 / x  # by zero\n",
    ).load("program")
    answer = node.ask(bundle(module.run), ("(0,)",))
    assert f'File "{project.folder}/helpers.py", line 5, in divide\n    return 1 / x  # by zero' in answer["error"]
    assert f'File "{project.folder}/program.py", line 5, in run\n    return helpers.divide(x)' in answer["error"]
