"""The house: what is public is pinned and documented, and nothing is imported before it is needed."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import weftwork
from weftwork import config, errors

ROOT = Path(__file__).parent.parent
PUBLIC = [
    "CalculationFailed",
    "Cancelled",
    "Conflict",
    "Corrupt",
    "Directory",
    "Explanation",
    "File",
    "Forbidden",
    "Invalid",
    "Job",
    "MissingInputs",
    "NotFound",
    "Outputs",
    "Range",
    "Ref",
    "Refused",
    "Resources",
    "Run",
    "SiteFailed",
    "WeftError",
    "check",
    "close",
    "explain",
    "load",
    "map",
    "module",
    "race",
    "run",
    "run_async",
    "session",
    "submit",
    "submit_async",
    "use",
    "workflow",
    "__version__",
]


def test_the_public_names_are_these_and_at_most_forty() -> None:
    assert sorted(weftwork.__all__) == sorted(PUBLIC)
    assert len(PUBLIC) <= 40
    for name in PUBLIC:
        assert getattr(weftwork, name) is not None


def test_every_public_name_is_documented() -> None:
    page = (ROOT / "docs/python.md").read_text()
    for name in PUBLIC:
        if name != "__version__":
            assert re.search(rf"weft\.{name}\b", page), f"weft.{name} is not in docs/python.md"


def test_every_error_is_documented_with_its_exit_code() -> None:
    page = (ROOT / "docs/errors.md").read_text()
    for name, error in errors._tree().items():
        assert f"| `{name}` | {error.exit_code} |" in page, f"{name} is not in docs/errors.md with {error.exit_code}"


def test_every_error_is_in_the_drawing_of_the_tree() -> None:
    assert errors.__doc__ is not None
    for name in errors._tree():
        assert re.search(rf"\b{name}\b", errors.__doc__), name


def test_every_setting_is_documented() -> None:
    page = (ROOT / "docs/settings.md").read_text()
    read = set()
    for path in (ROOT / "src/weftwork").rglob("*.py"):
        read |= set(re.findall(r'["\'](WEFT_[A-Z_]+|NO_COLOR)["\']', path.read_text()))
    read -= {"WEFT_JOB"}  # set for a job, read by nobody
    assert read >= set(config.SETTINGS)
    for name in read:
        assert f"`{name}`" in page, f"{name} is not in docs/settings.md"


def test_links_between_the_pages_lead_somewhere() -> None:
    pages = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/**/*.md")]
    for page in pages:
        for target in re.findall(r"\]\(([^)#]+)", page.read_text()):
            if "://" not in target:
                assert (page.parent / target).exists(), f"{page.relative_to(ROOT)} points to {target}"


@pytest.mark.parametrize("module", ["weftwork", "weftwork.core.values", "weftwork.node.job"])
def test_nothing_heavy_is_imported_before_it_is_needed(module: str) -> None:
    heavy = ["numpy", "pyarrow", "rich", "ruamel", "httpx2", "psutil", "click", "asyncio"]
    code = f"import sys, {module}; print([name for name in {heavy!r} if name in sys.modules])"
    found = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True)
    assert ast.literal_eval(found.stdout) == []


def test_library_code_neither_prints_nor_exits() -> None:
    for path in (ROOT / "src/weftwork").rglob("*.py"):
        place = path.relative_to(ROOT / "src/weftwork").parts
        if place[0] in ("cli", "node") or path.name in ("__main__.py", "schema.py"):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                name = ast.unparse(node.func)
                assert name not in ("print", "sys.exit", "os._exit", "exit"), f"{path}:{node.lineno} calls {name}"
