"""Projects written for one test, and a node: a process that has none of their files on its path."""

from __future__ import annotations

import base64
import importlib
import json
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from weftwork.python.bundling import Bundled, bundle

NODE = """
import base64, json, sys, traceback
from weftwork.core.bundle import identity
from weftwork.node.unbundle import load

for line in sys.stdin:
    task = json.loads(line)
    blobs = {name: base64.b64decode(data) for name, data in task["blobs"].items()}
    try:
        function = load(task["document"], blobs.__getitem__)
        namespace = {}
        exec(task["setup"], namespace)
        results = [repr(function(*eval(call, namespace))) for call in task["calls"]]
        answer = {"results": results, "identity": identity(task["document"])}
    except BaseException:
        answer = {"error": traceback.format_exc()}
    answer["modules"] = sorted(sys.modules)
    print(json.dumps(answer), flush=True)
"""


class Node:
    """Runs bundles in another process, whose folder and path have none of the project."""

    def __init__(self, folder: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-c", NODE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=folder
        )

    def ask(self, bundled: Bundled, calls: tuple[str, ...], setup: str = "") -> dict[str, Any]:
        blobs = {name: base64.b64encode(data).decode() for name, data in bundled.blobs.items()}
        task = {"document": bundled.document, "blobs": blobs, "calls": calls, "setup": setup}
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(task) + "\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer

    def run(self, bundled: Bundled, *calls: str) -> list[str]:
        answer = self.ask(bundled, calls)
        assert "error" not in answer, answer["error"]
        assert answer["identity"] == bundled.identity
        results: list[str] = answer["results"]
        return results

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(10)
        assert self._process.stdout is not None
        self._process.stdout.close()


@pytest.fixture(scope="session")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    found = Node(tmp_path_factory.mktemp("elsewhere"))
    yield found
    found.close()


class Project:
    """A folder of Python files on the path; importing again reads them anew."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._before = set(sys.modules)

    def write(self, **files: str) -> Project:
        for name, text in files.items():
            path = self.folder / (name.replace("__in__", "/") + ".py")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(textwrap.dedent(text))
        return self

    def load(self, name: str) -> ModuleType:
        self.forget()
        return importlib.import_module(name)

    def forget(self) -> None:
        for name, module in list(sys.modules.items()):
            file = getattr(module, "__file__", None) or ""
            if file.startswith(str(self.folder)):
                del sys.modules[name]
        importlib.invalidate_caches()

    def identity(self, name: str = "program", function: str = "run", **options: Any) -> str:
        return bundle(getattr(self.load(name), function), **options).identity


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.syspath_prepend(str(tmp_path))
    found = Project(tmp_path)
    yield found
    found.forget()


Same = Callable[..., Any]


@pytest.fixture
def same_elsewhere(project: Project, node: Node) -> Same:
    """Write a program, and check that its ``run`` gives on the node what it gives here. Returns the module."""

    def check(*calls: str, uses: tuple[Any, ...] = (), **files: str) -> ModuleType:
        module = project.write(**files).load("program")
        bundled = bundle(module.run, uses=uses)
        here = [repr(module.run(*eval(call))) for call in calls]
        assert node.run(bundled, *calls) == here
        return module

    return check
