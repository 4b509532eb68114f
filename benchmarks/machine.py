"""What was measured on, and with what: nothing that says whose machine it is."""

from __future__ import annotations

import os
import platform
import sqlite3
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil

from benchmarks import peers


def described(scratch: Path) -> dict[str, Any]:
    """Processor, cores, memory, kernel, file system, Python, and the release of every side."""
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory": psutil.virtual_memory().total,
        "kernel": f"{platform.system()} {platform.release()}",
        "file system": _file_system(scratch),
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "weftwork": metadata.version("weftwork"),
        "commit": _commit(),
        "peers": peers.versions(),
        "load": os.getloadavg()[0],
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")


def _file_system(folder: Path) -> str:
    """The type of the file system that a folder is on: the longest mount point above it."""
    parts = [part for part in psutil.disk_partitions(all=True) if folder.is_relative_to(part.mountpoint)]
    return max(parts, key=lambda part: len(part.mountpoint)).fstype if parts else "unknown"


def _commit() -> str:
    """The commit of the checkout, with a star where its sources are changed."""
    here = Path(__file__).parent

    def git(*words: str) -> str:
        return subprocess.run(["git", *words], cwd=here, capture_output=True, text=True, check=False).stdout.strip()

    return git("rev-parse", "--short=10", "HEAD") + ("*" if git("status", "--porcelain", "../src") else "")


def text_of(found: dict[str, Any]) -> str:
    """The description in one paragraph."""
    versions = ", ".join(
        f"{package} {release}"
        for environment in found["peers"].values()
        for package, release in environment.items()
        if package != "python"
    )
    return (
        f"{found['processor']}, {found['cores']} cores, {found['memory'] / 2**30:.0f} GiB, {found['kernel']}, "
        f"{found['file system']}; Python {found['python']}, SQLite {found['sqlite']}; "
        f"Weftwork {found['weftwork']} ({found['commit']}); {versions}. Load at the start {found['load']:.1f}."
    )
