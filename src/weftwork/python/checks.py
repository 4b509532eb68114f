"""What a function may not do unless it is declared, and what is only worth a word.

*Refused*: what would let a program reach things that its bundle does not hold. *Cautions*: what makes a result depend
on more than the inputs; they are shown by ``explain`` and stop nothing.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass
from typing import Final, Literal

from weftwork.python.reads import Chain, argument_count, constant_argument

CautionKind = Literal["clock", "random", "environment", "subprocess", "open", "setting"]


@dataclass(frozen=True)
class Caution:
    """One place where a program's result may depend on more than its inputs."""

    kind: CautionKind
    what: str
    function: str
    file: str
    line: int


REFUSED_BUILTINS: Final = {
    "exec": "runs code that the bundle does not hold",
    "eval": "runs code that the bundle does not hold",
    "compile": "makes code that the bundle does not hold",
    "globals": "reaches names that cannot be seen in the source",
}
COMPUTED_IMPORTS: Final = frozenset({"builtins.__import__", "importlib.import_module", "importlib.__import__"})
REFUSED_NAMES: Final = {
    "sys.modules": "reaches modules that cannot be seen in the source",
    "runpy.run_path": "runs code that the bundle does not hold",
    "runpy.run_module": "runs code that the bundle does not hold",
    "builtins.exec": "runs code that the bundle does not hold",
    "builtins.eval": "runs code that the bundle does not hold",
    "builtins.compile": "makes code that the bundle does not hold",
}


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_CLOCK = _words(
    "time.time time.time_ns time.monotonic time.monotonic_ns time.perf_counter time.perf_counter_ns time.localtime "
    "time.gmtime time.ctime time.strftime time.asctime time.process_time time.thread_time datetime.datetime.now "
    "datetime.datetime.utcnow datetime.datetime.today datetime.date.today"
)
_RANDOM = _words("os.urandom uuid.uuid1 uuid.uuid4 random.SystemRandom")
_SEEDABLE = _words("random.Random numpy.random.default_rng numpy.random.RandomState")
_SEEDS = _words("random.seed numpy.random.seed")
_NOT_RANDOM = _words(
    "numpy.random.Generator numpy.random.SeedSequence numpy.random.PCG64 numpy.random.Philox numpy.random.MT19937"
)
SURROUNDINGS: Final = _words(
    "os.getcwd os.cpu_count os.getpid os.getlogin os.uname socket.gethostname socket.getfqdn platform.node "
    "getpass.getuser pathlib.Path.home pathlib.Path.cwd sys.argv multiprocessing.cpu_count"
)
_PROCESS = _words("os.system os.popen os.fork os.posix_spawn os.startfile pty.spawn")
_OPEN = _words(
    "open io.open os.open os.listdir os.scandir os.walk glob.glob codecs.open gzip.open bz2.open lzma.open numpy.load "
    "numpy.loadtxt numpy.genfromtxt numpy.fromfile numpy.memmap sqlite3.connect h5py.File netCDF4.Dataset xarray.open_dataset xarray.open_mfdataset xarray.open_zarr "
    "pyarrow.parquet.read_table pyarrow.csv.read_csv pyarrow.feather.read_table tables.open_file"
)
OPENING_METHODS = frozenset({"read_text", "read_bytes", "iterdir"})


def caution(dotted: str, chain: Chain) -> tuple[CautionKind, str] | None:
    """What to say of a call or use of a library's name, if anything."""
    top = dotted.partition(".")[0]
    if dotted in _CLOCK:
        return "clock", dotted
    if dotted.startswith(("os.environ", "os.environb", "os.getenv")) or dotted in SURROUNDINGS:
        return "environment", dotted
    if top == "subprocess" or dotted in _PROCESS or dotted.startswith(("os.exec", "os.spawn")):
        return ("subprocess", dotted) if dotted.count(".") else None
    if dotted in _OPEN or dotted.startswith("pandas.read_"):
        return "open", _with_argument(dotted, chain)
    return ("random", dotted) if _is_random(dotted, chain) else None


def _is_random(dotted: str, chain: Chain) -> bool:
    if dotted in _RANDOM or dotted.startswith("secrets."):
        return True
    if dotted in _SEEDABLE:
        return chain.call is not None and argument_count(chain.call) == 0
    module = dotted.rpartition(".")[0]
    return module in ("random", "numpy.random") and dotted not in _SEEDS | _NOT_RANDOM


def _with_argument(dotted: str, chain: Chain) -> str:
    argument = constant_argument(chain.call)
    return f"{dotted}({argument!r})" if argument is not None else dotted


def opened_paths(node: ast.AST) -> list[tuple[str, int]]:
    """Calls of ``.read_text()`` and the like, whatever they are called on, with their lines."""
    return [
        (f".{call.func.attr}()", call.lineno)
        for call in ast.walk(node)
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr in OPENING_METHODS
    ]


def environment_variables(node: ast.AST) -> list[tuple[str, int]]:
    """Names of the variables in ``environ["X"]``, ``environ.get("X")`` and ``getenv("X")``, with their lines."""
    found: list[tuple[str, int]] = []
    for item in ast.walk(node):
        if isinstance(item, ast.Subscript) and _ends(item.value, "environ"):
            name = item.slice
        elif isinstance(item, ast.Call) and item.args and _reads_variable(item.func):
            name = item.args[0]
        else:
            continue
        if isinstance(name, ast.Constant) and isinstance(name.value, str):
            found.append((name.value, item.lineno))
    return found


def _ends(node: ast.AST, name: str) -> bool:
    return (isinstance(node, ast.Attribute) and node.attr == name) or (isinstance(node, ast.Name) and node.id == name)


def _reads_variable(function: ast.AST) -> bool:
    if _ends(function, "getenv"):
        return True
    return isinstance(function, ast.Attribute) and function.attr in ("get", "pop") and _ends(function.value, "environ")
