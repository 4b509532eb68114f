"""The peers: what each is called, what it needs, and an environment of its own for each, made from their current releases."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent / ".venv-peers"

REQUIREMENTS = {
    "dask": ["distributed"],
    "parsl": ["parsl"],
    "joblib": ["joblib"],
    "redun": ["redun"],
    "snakemake": ["snakemake"],
}
"""By environment: what is installed into it, each in its current release. One for each, so that none constrains another."""


@dataclass(frozen=True)
class Side:
    """A system as a row knows it. ``environment`` is that of a peer, or empty for the interpreter that runs this."""

    label: str
    module: str
    environment: str = ""
    variant: str = ""


SIDES = {
    "ours": Side("Weftwork", "ours"),
    "dask": Side("Dask", "dask_side", "dask"),
    "dask-inf": Side("Dask, saturation inf", "dask_side", "dask", "inf"),
    "parsl": Side("Parsl", "parsl_side", "parsl"),
    "parsl-checkpoint": Side("Parsl, checkpoints", "parsl_side", "parsl", "checkpoint"),
    "joblib": Side("joblib.Memory", "joblib_side", "joblib"),
    "redun": Side("redun", "redun_side", "redun"),
    "snakemake": Side("Snakemake", "snakemake_side", "snakemake"),
    "bare": Side("bare", "bare"),
    "bare-sqlite": Side("bare SQLite", "bare", variant="sqlite"),
    "bare-files": Side("bare files", "bare", variant="files"),
}
"""Every side by the name that rows use."""


def python_of(side: Side) -> Path:
    """The interpreter that a side runs in."""
    return FOLDER / side.environment / "bin" / "python" if side.environment else Path(sys.executable)


def is_installed(side: Side) -> bool:
    """Whether a side's environment is there and complete."""
    return not side.environment or (FOLDER / side.environment / ".installed").exists()


def install(names: list[str]) -> None:
    """Make the environments that are missing. One that is there stays as it is: delete it to get newer releases."""
    for name in names or REQUIREMENTS:
        folder = FOLDER / name
        done = folder / ".installed"
        if done.exists():
            continue
        print(f"making an environment for {name}", flush=True)
        pip = [folder / "bin" / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        try:
            subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
            subprocess.run([*pip, *REQUIREMENTS[name]], check=True)
            done.touch()
        except subprocess.CalledProcessError as error:
            # The others can be measured without it; its cells say that it is missing.
            shutil.rmtree(folder, ignore_errors=True)
            print(f"{name} could not be installed (exit code {error.returncode}): its measurements will be missing")


_VERSIONS = """
import importlib.metadata as metadata, json, platform, sys
print(json.dumps({"python": platform.python_version(), **{name: metadata.version(name) for name in sys.argv[1:]}}))
"""


def versions() -> dict[str, dict[str, str]]:
    """The releases in each environment that is there."""
    found = {}
    for name, packages in REQUIREMENTS.items():
        python = FOLDER / name / "bin" / "python"
        if (FOLDER / name / ".installed").exists():
            words = [python, "-c", _VERSIONS, *packages]
            found[name] = json.loads(subprocess.run(words, capture_output=True, check=True, text=True).stdout)
    return found
