"""An engine with a real Slurm as its site ``cluster``: for tests, and for other processes that these start and kill.

As a program: ``cluster.py HOME SLURM_CONF MODULE INPUT...`` runs a module at the cluster and prints its result.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from weftwork import config
from weftwork.core.step import Overrides
from weftwork.embedded import Embedded
from weftwork.sites.shells.here import write

QUICKLY = {
    "gather": 0.1,
    "poll": 0.3,
    "slowest": 1.0,
    "outcomes": 0.2,
    "patience": 5.0,
    "grace": 5.0,
    "burst": 10,
    "every": 0.1,
}
AT_CLUSTER = Overrides(site="cluster")


def open_cluster(home: Path, environment: Mapping[str, str], **options: Any) -> Embedded:
    """An engine over a home, whose ``sites.yaml`` describes the Slurm of these variables."""
    shell = {"here": {"environment": dict(environment)}}
    cluster = {"scheduler": {"slurm": {"pace": QUICKLY, **options}}, "shell": shell}
    home.mkdir(parents=True, exist_ok=True)
    # JSON is YAML.
    write(home / "sites.yaml", json.dumps({"sites": {"cluster": cluster}}).encode())
    return Embedded(config.open_home(home))


if __name__ == "__main__":
    home, configuration, module, *words = sys.argv[1:]
    with open_cluster(Path(home), {"SLURM_CONF": configuration}) as session:
        given = dict(word.split("=", 1) for word in words)
        inputs = {name: int(value) if value.isdigit() else value for name, value in given.items()}
        print(session.submit(module, inputs, AT_CLUSTER).result())
