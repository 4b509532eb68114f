"""The settings of libraries that differ from their defaults, at the moment of submission.

A program that was written with ``np.seterr(all="raise")`` or ``mp.dps = 50`` runs with them on the node, and they count.
Owns which settings are known; :mod:`weftwork.node.settings` makes them so. Others are found where the project sets them
(:mod:`weftwork.python.patches`).
"""

from __future__ import annotations

import decimal
import importlib
import sys
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from weftwork.errors import Refused
from weftwork.node.distributions import origin_of
from weftwork.python.environment import package_versions

if TYPE_CHECKING:
    from weftwork.python.walk import Walker

_ERRSTATE: Final = {"divide": "warn", "over": "warn", "under": "ignore", "invalid": "warn"}
_DECIMAL: Final = (28, "ROUND_HALF_EVEN", -999999, 999999, 1, 0, ["DivisionByZero", "InvalidOperation", "Overflow"])
_LOCALES: Final = ("LC_COLLATE", "LC_MONETARY", "LC_NUMERIC", "LC_TIME")
_OF_THE_DESKTOP: Final = (
    "backend",
    "interactive",
    "toolbar",
    "savefig.directory",
    "webagg.",
    "keymap.",
    "tk.",
    "figure.raise_window",
)
_FORMATS: Final = ("precision", "threshold", "edgeitems", "linewidth", "suppress", "nanstr", "infstr", "sign", "formatter", "floatmode", "legacy")  # fmt: skip
_ERRORS: Final = "warnings that are errors"
_LIMITS: Final = {"recursion": 1000, "digits": 4300}


def settings(walker: Walker) -> list[Any]:
    """``[name, form]`` of each known setting that is not as its library has it by itself."""
    found = []
    for name, (module, read) in _KNOWN.items():
        if module not in sys.modules:
            continue
        value = read(sys.modules[module])
        if name == _ERRORS:
            value = [each for each in value if _concerns(walker, each[1].__module__)]
        if value and _concerns(walker, module):
            found.append([name, _form(walker, name, value)])
    return found


def limits() -> dict[str, int]:
    """Limits of the interpreter, where they were raised. They do not count: a result that there is does not tell them."""
    now = {"recursion": sys.getrecursionlimit(), "digits": sys.get_int_max_str_digits()}
    return {name: value for name, value in now.items() if value > _LIMITS[name] or value == 0}


def _concerns(walker: Walker, module: str) -> bool:
    """Whether a program can be reached by a library's settings."""
    origin = origin_of(module)
    return origin.distribution is None or origin.distribution in package_versions(walker.packages)


def _form(walker: Walker, name: str, value: Any) -> Any:
    if not isinstance(value, dict):
        return walker.encode_at(f"the setting {name}", value)
    found = {}
    for key in sorted(value):
        try:
            found[key] = walker.encode_at(f"the setting {key}", value[key])
        except Refused:
            continue  # nothing that a program could be given, such as a live formatter
    return {"each": found}


def _errstate(numpy: Any) -> Any:
    found = numpy.geterr()
    return None if found == _ERRSTATE else found


def _print_options(numpy: Any) -> Any:
    found = numpy.get_printoptions()
    try:
        default: dict[str, Any] = dict(importlib.import_module("numpy._core.printoptions").default_format_options_dict)
    except ImportError:
        return None
    default["legacy"] = False  # which is how numpy tells it
    same = all(found.get(name) == default[name] for name in _FORMATS if name in default)
    return None if same else {name: found[name] for name in _FORMATS if name in found}


def _decimal(_: Any) -> Any:
    now = decimal.getcontext()
    traps = sorted(signal.__name__ for signal, set_ in now.traps.items() if set_)
    found = (now.prec, now.rounding, now.Emin, now.Emax, now.capitals, now.clamp, traps)
    return None if found == _DECIMAL else list(found)


def _mpmath(mpmath: Any) -> Any:
    mp = mpmath.mp
    found = [int(mp.dps), int(mp.prec), bool(mp.pretty), bool(mp.trap_complex)]
    return None if found == [15, 53, False, False] else found


def _pandas(pandas: Any) -> Any:
    config = sys.modules.get("pandas._config.config")
    registered = getattr(config, "_registered_options", {})
    held = dict(_flat(getattr(config, "_global_config", {}), ""))
    return {name: held[name] for name in held if name in registered and _differs(held[name], registered[name].defval)}


def _flat(tree: Any, path: str) -> Any:
    for name, item in tree.items():
        if isinstance(item, dict):
            yield from _flat(item, f"{path}{name}.")
        else:
            yield f"{path}{name}", item


def _matplotlib(matplotlib: Any) -> Any:
    now, default = matplotlib.rcParams, matplotlib.rcParamsDefault
    if dict.__eq__(now, default):
        return None
    return {
        name: dict.__getitem__(now, name)
        for name in dict.keys(now)
        if not name.startswith(_OF_THE_DESKTOP) and _differs(dict.__getitem__(now, name), dict.get(default, name))
    }


def _differs(one: Any, other: Any) -> bool:
    return one is not other and (type(one) is not type(other) or repr(one) != repr(other))


def _errors(_: Any) -> Any:
    """The filters that make an exception of a warning; all others change no result."""
    found = []
    for action, message, category, module, line in warnings.filters:
        if action != "error":
            continue
        patterns = [getattr(pattern, "pattern", pattern) or "" for pattern in (message, module)]
        found.append((patterns[0], category, patterns[1], line))
    return found


def _locale(locale: Any) -> Any:
    found = {name: locale.setlocale(getattr(locale, name)) for name in _LOCALES}
    return {name: value for name, value in found.items() if value != "C"}


_KNOWN: Final[dict[str, tuple[str, Callable[[Any], Any]]]] = {
    "decimal context": ("decimal", _decimal),
    "locale": ("locale", _locale),
    _ERRORS: ("warnings", _errors),
    "numpy errors": ("numpy", _errstate),
    "numpy print options": ("numpy", _print_options),
    "mpmath precision": ("mpmath", _mpmath),
    "pandas options": ("pandas", _pandas),
    "matplotlib parameters": ("matplotlib", _matplotlib),
}
