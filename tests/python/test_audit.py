"""What a call reads beside its bundle is seen."""

from __future__ import annotations

import subprocess
import sys

from weftwork.node.audit import Watch, bundle_roots
from weftwork.node.unbundle import load
from weftwork.python.bundling import bundle


def seen_in(module, *arguments, packages=(), uses=()):
    bundled = bundle(module.run, uses=uses)
    function = load(bundled.document, bundled.blobs.__getitem__)
    with Watch(bundle_roots(bundled.document), packages=packages) as seen:
        function(*arguments)
    return seen


def test_a_data_file_of_the_project_is_seen(project):
    (project.folder / "data.txt").write_text("1")
    module = project.write(
        program="from pathlib import Path\ndef run():\n    return Path(__file__).with_name('data.txt').read_text()\n"
    ).load("program")
    seen = seen_in(module)
    assert seen.paths == {str(project.folder / "data.txt")}
    assert "data.txt" in seen.messages()[0]
    assert not seen_in(module, uses=[project.folder / "data.txt"])


def test_a_data_file_elsewhere_is_seen(project, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("data") / "x.txt"
    elsewhere.write_text("1")
    seen = seen_in(project.write(program=f"def run():\n    return open({str(elsewhere)!r}).read()\n").load("program"))
    assert seen.paths == {str(elsewhere)}


def test_what_is_written_or_the_systems_is_not(project, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("outputs") / "x.txt"
    text = f"from pathlib import Path\nimport json\ndef run():\n    json.dumps(1)\n    Path(__file__).with_name('out').write_text('1')\n    Path({str(elsewhere)!r}).write_text('1')\n    Path('/etc/hostname').exists() and open('/etc/hostname').read()\n"
    assert not seen_in(project.write(program=text).load("program"))


def test_an_import_of_project_code_that_is_not_in_the_bundle_is_seen(project):
    module = project.write(
        program="import importlib\ndef run(name):\n    return importlib.import_module(name)\n", hidden="K = 1\n"
    ).load("program")
    seen = seen_in(module, "hidden", uses=["import_module"])
    assert str(project.folder / "hidden.py") in seen.paths


def test_an_import_of_an_undeclared_package_is_seen(tmp_path):
    program = """
import importlib
from weftwork.node.audit import Watch
with Watch(packages={"attrs"}) as seen:
    importlib.import_module("attr"); importlib.import_module("decimal"); importlib.import_module("iniconfig")
print(seen.packages, seen.paths)
"""
    done = subprocess.run(
        [sys.executable, "-I", "-c", program], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert done.stdout.strip() == "{'iniconfig'} set()"


def test_nothing_is_noted_outside_a_watch(project):
    with Watch([str(project.folder)]) as seen:
        pass
    (project.folder / "late.txt").write_text("1")
    (project.folder / "late.txt").read_text()
    assert not seen
