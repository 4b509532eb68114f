"""The settings of libraries made what they were at submission, before the first call and again before each other.

:mod:`weftwork.python.settings` reads them, :mod:`weftwork.python.patches` what a project sets in libraries by itself.
"""

from __future__ import annotations

import copy
import importlib
import sys
from collections.abc import Callable, Mapping
from typing import Any

_MISSING: Any = object()
Check = Callable[[], bool]


def apply(document: Mapping[str, Any], decode: Callable[[Any], Any]) -> list[tuple[str, Check]]:
    """Set everything; returns what puts it back after a call that changed it, by name."""
    limits = document.get("limits", {})
    if limits:
        sys.setrecursionlimit(max(limits.get("recursion", 0), sys.getrecursionlimit()))
    if "digits" in limits:
        sys.set_int_max_str_digits(limits["digits"])
    for name, form in document.get("settings", ()):
        held = {key: decode(item) for key, item in form["each"].items()} if _is_each(form) else decode(form)
        _SET[name](held)
    checks = [check for form in document.get("patches", ()) if (check := _patch(form, decode)) is not None]
    return [*checks, *_watched()]


def _is_each(form: Any) -> bool:
    return isinstance(form, dict) and "each" in form


def _numpy_errors(held: Any) -> None:
    importlib.import_module("numpy").seterr(**held)


def _numpy_print_options(held: Any) -> None:
    importlib.import_module("numpy").set_printoptions(**held)


def _decimal(held: Any) -> None:
    decimal: Any = importlib.import_module("decimal")
    prec, rounding, emin, emax, capitals, clamp, traps = held
    signals = [getattr(decimal, name) for name in traps]
    decimal.setcontext(decimal.Context(prec, rounding, emin, emax, capitals, clamp, [], signals))


def _mpmath(held: Any) -> None:
    mp = importlib.import_module("mpmath").mp
    mp.dps, mp.prec, mp.pretty, mp.trap_complex = held


def _pandas(held: Any) -> None:
    pandas = importlib.import_module("pandas")
    for name, value in held.items():
        pandas.set_option(name, value)


def _matplotlib(held: Any) -> None:
    dict.update(importlib.import_module("matplotlib").rcParams, held)


def _errors(held: Any) -> None:
    warnings: Any = importlib.import_module("warnings")
    for message, category, module, line in reversed(held):
        warnings.filterwarnings("error", message, category, module, line)


def _locale(held: Any) -> None:
    locale: Any = importlib.import_module("locale")
    for name, value in held.items():
        locale.setlocale(getattr(locale, name), value)


_SET: dict[str, Callable[[Any], None]] = {
    "decimal context": _decimal,
    "locale": _locale,
    "warnings that are errors": _errors,
    "numpy errors": _numpy_errors,
    "numpy print options": _numpy_print_options,
    "mpmath precision": _mpmath,
    "pandas options": _pandas,
    "matplotlib parameters": _matplotlib,
}


def _patch(form: Mapping[str, Any], decode: Callable[[Any], Any]) -> tuple[str, Check]:
    """One attribute or item that the project sets in a library."""
    owner = decode(form["in"])
    for part in form["path"]:
        owner = getattr(owner, part)
    value = decode(form["value"]) if "value" in form else _MISSING
    key = form.get("attribute", form.get("item"))
    read: Any = owner.__getitem__ if "item" in form else lambda name: vars(owner).get(name, _MISSING)

    def check() -> bool:
        try:
            now = read(key)
        except Exception:
            now = _MISSING
        if now is value:
            return False
        if value is _MISSING:
            owner.__delitem__(key) if "item" in form else delattr(owner, key)
        elif "item" in form:
            owner[key] = value
        else:
            setattr(owner, key, value)
        return True

    check()
    return f"{form['path'] or form['in']}.{key}", check


def _watched() -> list[tuple[str, Check]]:
    """Settings that live in a library, and not in a context variable, which ends with its call."""
    found = []
    if "matplotlib" in sys.modules:
        found.append(("matplotlib.rcParams", _dict(getattr(sys.modules["matplotlib"], "rcParams", {}))))
    if "pandas._config.config" in sys.modules:
        found.append(("pandas options", _tree(getattr(sys.modules["pandas._config.config"], "_global_config", {}))))
    if "mpmath" in sys.modules:
        found.append(("mpmath.mp", _precision(sys.modules["mpmath"].mp)))
    return found


def _dict(held: Any) -> Check:
    kept = dict(dict.items(held))

    def check() -> bool:
        if dict.__len__(held) == len(kept) and all(dict.get(held, name) is kept[name] for name in kept):
            return False
        dict.clear(held)
        dict.update(held, kept)
        return True

    return check


def _tree(held: Any) -> Check:
    kept = copy.deepcopy(held)

    def check() -> bool:
        if held == kept:
            return False
        held.clear()
        held.update(copy.deepcopy(kept))
        return True

    return check


def _precision(mp: Any) -> Check:
    kept = (mp.dps, mp.prec, mp.pretty, mp.trap_complex)

    def check() -> bool:
        if (mp.dps, mp.prec, mp.pretty, mp.trap_complex) == kept:
            return False
        mp.dps, mp.prec, mp.pretty, mp.trap_complex = kept
        return True

    return check
