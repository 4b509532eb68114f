"""Images made from one static program of this machine, as archives that every engine loads: no network, no engine needed."""

from __future__ import annotations

import hashlib
import io
import json
import platform
import shutil
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

ARCHITECTURE = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
APPLETS = (
    "sh",
    "cat",
    "echo",
    "sleep",
    "head",
    "tail",
    "ls",
    "id",
    "env",
    "kill",
    "dd",
    "touch",
    "true",
    "false",
    "wc",
)
APPLETS += (
    "printf",
    "seq",
    "mkdir",
    "rm",
    "cp",
    "mv",
    "sha256sum",
    "tr",
    "sort",
    "ps",
    "nc",
    "test",
    "expr",
    "yes",
    "awk",
)

Layer = Mapping[str, bytes | str | None]
"""Path to content; a text is a link's target, ``None`` a folder."""


@dataclass(frozen=True)
class Made:
    """An image: its layers, and its config."""

    name: str
    layers: Sequence[Layer]
    config: Mapping[str, object] = field(default_factory=dict)
    architecture: str = ARCHITECTURE

    def write(self, folder: Path) -> Path:
        """The image as a docker-archive in the folder."""
        target = folder / f"{self.name.replace('/', '_').replace(':', '_')}.tar"
        layers = [_layer(layer) for layer in self.layers]
        document = {
            "architecture": self.architecture,
            "os": "linux",
            "config": dict(self.config),
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(each).hexdigest()}" for each in layers]},
            "history": [{"created_by": "test"} for _ in layers],
            "created": "2026-01-01T00:00:00Z",
        }
        config = json.dumps(document).encode()
        name = hashlib.sha256(config).hexdigest()
        manifest = [
            {
                "Config": f"{name}.json",
                "RepoTags": [self.name],
                "Layers": [f"{n}/layer.tar" for n in range(len(layers))],
            }
        ]
        with tarfile.open(target, "w") as archive:
            _add(archive, f"{name}.json", config)
            for number, data in enumerate(layers):
                _add(archive, f"{number}/layer.tar", data)
            _add(archive, "manifest.json", json.dumps(manifest).encode())
        return target


def _add(archive: tarfile.TarFile, name: str, data: bytes, mode: int = 0o644) -> None:
    info = tarfile.TarInfo(name)
    info.size, info.mode = len(data), mode
    archive.addfile(info, io.BytesIO(data))


def _layer(content: Layer) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for path, what in content.items():
            if isinstance(what, bytes):
                _add(archive, path, what, 0o755)
                continue
            info = tarfile.TarInfo(path)
            info.mode = 0o755
            if what is None:
                info.type = tarfile.DIRTYPE
            else:
                info.type, info.linkname = tarfile.SYMTYPE, what
            archive.addfile(info)
    return out.getvalue()


def busybox() -> bytes:
    """The static program of Debian's busybox-static."""
    found = shutil.which("busybox")
    if found is None:
        raise FileNotFoundError("busybox is not on this machine: install busybox-static")
    return Path(found).read_bytes()


def base() -> Layer:
    """A small system: a shell and its company."""
    layer: dict[str, bytes | str | None] = {"bin": None, "tmp": None, "etc": None, "opt": None}
    layer["bin/busybox"] = busybox()
    layer |= {f"bin/{name}": "busybox" for name in APPLETS}
    layer["etc/passwd"] = b"root:x:0:0:root:/root:/bin/sh\n"
    layer["etc/group"] = b"root:x:0:\n"
    return layer


PATH = "PATH=/opt/bin:/usr/local/bin:/usr/bin:/bin"


def images() -> list[Made]:
    """Those that the tests of runtimes need."""
    second: Layer = {"opt/.wh.gone": b"", "opt/kept": b"kept", "opt/over": b"second"}
    return [
        Made("weft/plain:1", [base()], {"Env": [PATH, "FROM_IMAGE=yes"], "Cmd": ["sh"]}),
        Made(
            "weft/swallow:1",
            [base()],
            {"Env": [PATH], "Entrypoint": ["/bin/false"], "User": "1234:1234", "WorkingDir": "/nowhere"},
        ),
        Made("weft/bare:1", [{"busybox": busybox()}], {"Env": ["PATH=/"]}),
        Made("weft/layered:1", [{**base(), "opt/gone": b"gone", "opt/over": b"first"}, second], {"Env": [PATH]}),
        Made("weft/foreign:1", [base()], {"Env": [PATH]}, "arm64" if ARCHITECTURE != "arm64" else "amd64"),
    ]
