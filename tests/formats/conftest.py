"""Modules that the workflow documents of these tests refer to, without a file behind them."""

import io
from typing import Any

import pytest
from ruamel.yaml import YAML

from weftwork.core.checksum import Checksum
from weftwork.core.module import Function, Input, Module, Output
from weftwork.core.values import Ref, Type
from weftwork.errors import NotFound

_FUNCTION = Function(Checksum.of(b"bundle"), Checksum.of(b"identity"))


def _module(name: str, inputs: dict[str, str], outputs: dict[str, str]) -> Module:
    return Module(
        name,
        tuple(Input(each, Type.of(kind)) for each, kind in inputs.items()),
        tuple(Output(each, Type.of(kind)) for each, kind in outputs.items()),
        _FUNCTION,
    )


_MODULES = {
    "eos.py:equation_of_state": _module("eos", {"name": "str"}, {"result": "json"}),
    "tov.module.yaml": _module("tov", {"eos": "json"}, {"stars": "list[float]", "ok": "bool", "table": "file"}),
    "peak": _module("peak", {"star": "float"}, {"mass": "float"}),
    "fits.py:quick": _module("quick", {"data": "file?"}, {"chi2": "float", "parameters": "json"}),
    "fits.py:sure": _module("sure", {"data": "file?"}, {"chi2": "float", "evaluations": "int"}),
    "gauges.py:split": _module("split", {"table": "file"}, {"stations": "collection", "count": "int"}),
    "statistics.module.yaml": _module("statistics", {"data": "file", "name": "str"}, {"line": "text"}),
    "gauges.py:check": _module("check", {"tables": "list[text]"}, {"result": "bool"}),
    "gauges.py:fit_quick": _module("fit", {"tables": "list[text]"}, {"chi2": "float"}),
    "gauges.py:fit_sure": _module("fit", {"tables": "list[text]"}, {"chi2": "float"}),
    "plot.py:plot": _module("plot", {"curves": "list[json]", "background": "image?"}, {"result": "image"}),
}


@pytest.fixture(scope="session")
def resolve():
    def resolve(reference):
        if reference.inline is not None:
            return reference.inline.to_module(
                {target: (False, Checksum.of(b"")) for target, _ in reference.inline.files}
            )
        if reference.text not in _MODULES:
            raise NotFound(f"there is no module {reference.text}")
        return _MODULES[reference.text]

    return resolve


@pytest.fixture(scope="session")
def put():
    """A store that takes everything and knows the bytes by what was given."""
    return lambda declared, value: Ref(declared, Checksum.of(repr(value).encode()), 1)


@pytest.fixture(scope="session")
def as_yaml():
    """A value as another program writes it: block style, keys in their order."""

    def write(value: Any) -> str:
        stream = io.StringIO()
        yaml = YAML(typ="safe", pure=True)
        yaml.sort_base_mapping_type_on_output = False
        yaml.dump(value, stream)
        return stream.getvalue()

    return write
