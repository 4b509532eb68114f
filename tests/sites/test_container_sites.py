"""Modules with an image, run by the command line at the sites of this machine: one key everywhere, a site that is chosen, what is refused."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import made_images
import pytest

from services import running

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("docker")]

MODULE = """\
name: measure
command: [sh, -c, 'wc -c < "$1" > size.txt; id -u > who.txt; pwd; test -n "$FROM_IMAGE"', sh, "{data}"]
inputs:
  data: file
outputs:
  size: {type: int, from: size.txt}
  told: {type: text, from: stdout}
environment: {image: "@THE@"}
"""


class Bench:
    """A home, and the command in it."""

    def __init__(self, folder: Path, variables: dict[str, str]) -> None:
        self.folder = folder
        self.variables = variables

    def start(self, *words: str) -> subprocess.Popen[str]:
        program = [str(Path(sys.executable).with_name("weft")), "--home", str(self.folder / "home"), *words]
        environment = {**os.environ, **self.variables}
        return subprocess.Popen(
            program, cwd=self.folder, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )

    def weft(self, *words: str, code: int = 0) -> tuple[str, str]:
        process = self.start(*words)
        out, err = process.communicate(timeout=120)
        assert process.returncode == code, (process.returncode, out, err)
        return out, err

    def write(self, name: str, text: str) -> str:
        (self.folder / name).write_text(text)
        return name

    def docker(self, *words: str) -> str:
        environment = {**os.environ, **self.variables}
        return subprocess.run(["docker", *words], env=environment, capture_output=True, text=True, check=True).stdout


@pytest.fixture(scope="module")
def runtimes() -> Iterator[dict[str, str]]:
    with contextlib.ExitStack() as stack:
        found: dict[str, str] = {}
        for name in ("docker", "podman", "charliecloud", "bubblewrap", "apptainer"):
            found |= stack.enter_context(running(name)).environment
        yield found


@pytest.fixture
def bench(runtimes: dict[str, str], tmp_path: Path) -> Bench:
    bench = Bench(tmp_path, dict(runtimes))
    for each in made_images.images():
        each.write(tmp_path)
    bench.write("data", "twelve bytes")
    return bench


def _until(holds: Callable[[], bool], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.1)


SITES = ("docker", "podman", "apptainer", "charliecloud", "bubblewrap")


def test_what_ran_at_one_site_answers_at_all_and_each_gives_the_same(bench: Bench) -> None:
    bench.docker("load", "--quiet", "--input", str(bench.folder / "weft_plain_1.tar"))
    # By its name the image is in docker's store alone: the others get it from there.
    module = bench.write("measure.module.yaml", MODULE.replace("@THE@", "weft/plain:1"))
    _, err = bench.weft("run", module, "-i", "data=data", "--at", "docker")
    assert "(cached)" not in err
    for site in SITES:
        _, err = bench.weft("run", module, "-i", "data=data", "--at", site)
        assert "(cached)" in err, (site, err)
    results = set()
    for site in SITES:
        out, err = bench.weft("run", module, "-i", "data=data", "--at", site, "--no-cache", "--json")
        assert "(cached)" not in err
        document = json.loads(out)
        results.add(json.dumps(document["outputs"], sort_keys=True))
    assert len(results) == 1
    assert '"value": 12' in results.pop()


def test_an_archive_is_the_same_image_as_what_was_loaded_from_it(bench: Bench) -> None:
    named = bench.write("named.module.yaml", MODULE.replace("@THE@", "weft/plain:1"))
    path = f"docker-archive:{bench.folder}/weft_plain_1.tar"
    archived = bench.write("archived.module.yaml", MODULE.replace("@THE@", path))
    bench.docker("load", "--quiet", "--input", str(bench.folder / "weft_plain_1.tar"))
    bench.weft("run", named, "-i", "data=data", "--at", "docker")
    _, err = bench.weft("run", archived, "-i", "data=data", "--at", "bubblewrap")
    assert "(cached)" in err


def test_a_site_is_chosen_for_an_image_and_what_is_missing_is_told(bench: Bench) -> None:
    path = f"docker-archive:{bench.folder}/weft_plain_1.tar"
    module = bench.write("measure.module.yaml", MODULE.replace("@THE@", path))
    out, _ = bench.weft("run", module, "-i", "data=data", "--json")
    assert json.loads(out)["outputs"]["size"]["value"] == 12
    shown, _ = bench.weft("jobs", "--json")
    job = json.loads(shown)[0]["job"]
    assert "docker" in bench.weft("show", job)[0]
    bench.variables["PATH"] = str(bench.folder)
    _, err = bench.weft("run", module, "-i", "data=data", code=4)
    for name in ("docker", "podman", "apptainer (or singularity)", "ch-run"):
        assert f"the program {name}" in err
    _, err = bench.weft("run", module, "-i", "data=data", "--at", "podman", code=4)
    assert "the program podman is not on this machine" in err


def test_what_a_site_does_not_take_is_refused_with_a_way_out(bench: Bench) -> None:
    bare = bench.write("bare.module.yaml", "name: bare\ncommand: [echo, x]\noutputs: {o: {type: text, from: stdout}}\n")
    _, err = bench.weft("run", bare, "--at", "docker", code=4)
    assert "declares no image" in err
    imaged = bench.write("imaged.module.yaml", MODULE.replace("@THE@", "weft/plain:1"))
    _, err = bench.weft("run", imaged, "-i", "data=data", "--at", "local", code=4)
    assert "runs without containers" in err
    bench.write("f.py", "import weftwork as weft\n\n@weft.module\ndef f(x: int) -> int:\n    return x\n")
    _, err = bench.weft("run", "f.py:f", "-i", "x=1", "--at", "docker", code=4)
    assert "functions run on the machine's own Python for now" in err
    _, err = bench.weft("run", imaged, "-i", "data=data", "--at", "dcoker", code=4)
    assert "did you mean 'docker'?" in err


def test_an_engine_that_does_not_answer_is_told_with_its_address(bench: Bench) -> None:
    module = bench.write("measure.module.yaml", MODULE.replace("@THE@", "weft/plain:1"))
    bench.variables["DOCKER_HOST"] = "unix:///nowhere/docker.sock"
    _, err = bench.weft("run", module, "-i", "data=data", "--at", "docker", code=6)
    assert "docker cannot be used (DOCKER_HOST=unix:///nowhere/docker.sock)" in err


def test_an_image_that_changes_under_its_name_is_another_calculation(bench: Bench) -> None:
    module = bench.write("measure.module.yaml", MODULE.replace("@THE@", "weft/moving:1"))
    for number, which in enumerate(("plain", "layered", "plain")):
        bench.docker("load", "--quiet", "--input", str(bench.folder / f"weft_{which}_1.tar"))
        bench.docker("tag", f"weft/{which}:1", "weft/moving:1")
        _, err = bench.weft("run", module, "-i", "data=data", "--at", "docker", code=0 if which == "plain" else 1)
        assert ("(cached)" in err) == (number == 2)


def test_a_killed_supervisor_leaves_no_container_and_the_job_runs_again(bench: Bench) -> None:
    path = f"docker-archive:{bench.folder}/weft_plain_1.tar"
    text = (
        "name: nap\ncommand: [sleep, '60']\noutputs: {o: {type: text, from: stdout}}\nenvironment: {image: '@THE@'}\n"
    )
    module = bench.write("nap.module.yaml", text.replace("@THE@", path))
    process = bench.start("run", module, "--at", "docker")

    def containers() -> list[str]:
        return bench.docker("ps", "--filter", "name=weft-", "--format", "{{.Names}}").split()

    _until(lambda: any(name.endswith("-1") for name in containers()))
    (info,) = (bench.folder / "home/supervisor").glob("*.json")
    os.kill(json.loads(info.read_text())["pid"], signal.SIGKILL)
    _until(lambda: any(name.endswith("-2") for name in containers()))
    assert [name for name in containers() if name.endswith("-1")] == []
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 130
    assert bench.docker("ps", "--all", "--filter", "name=weft-", "--format", "{{.Names}}") == ""
