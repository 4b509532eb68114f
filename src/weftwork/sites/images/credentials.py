"""The user's own log-ins at registries, as Docker and Podman keep them. Read when they are needed, never kept.

``auth.json`` of Podman (containers-auth.json(5)) and ``config.json`` of Docker have one format: ``auths`` by registry, ``credHelpers``
by registry and ``credsStore`` for all, which name programs ``docker-credential-NAME``.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from weftwork.sites.images.reference import HUB

_HUB_KEYS = ("https://index.docker.io/v1/", "index.docker.io", "docker.io", "registry-1.docker.io")


@dataclass(frozen=True, slots=True)
class Login:
    """A user name with a password, or (``token``) an identity token that is exchanged for another."""

    user: str
    password: str
    token: str | None = None


def login(registry: str, repository: str = "") -> Login | None:
    """The user's log-in at a registry, most specific first; ``None`` where there is none."""
    for path in _files():
        found = _in(_read(path), registry, repository)
        if found is not None:
            return found
    return None


def _files() -> list[Path]:
    named = os.environ.get("REGISTRY_AUTH_FILE")
    runtime = os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.getuid()}"
    docker = os.environ.get("DOCKER_CONFIG") or os.path.expanduser("~/.docker")
    found = [Path(docker) / "config.json", Path(runtime) / "containers/auth.json"]
    found.append(Path(os.path.expanduser("~/.config/containers/auth.json")))
    return [Path(named), *found] if named else found


def _read(path: Path) -> Mapping[str, Any]:
    try:
        document = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return document if isinstance(document, dict) else {}


def _in(document: Mapping[str, Any], registry: str, repository: str) -> Login | None:
    keys = [*_HUB_KEYS] if registry == HUB else [registry, f"https://{registry}", f"https://{registry}/v2/"]
    parts = repository.split("/")
    # Podman's file may name a part of a registry: the longest part that is named counts.
    keys = [*("/".join([registry, *parts[:length]]) for length in range(len(parts), 0, -1)), *keys]
    helpers = document.get("credHelpers") or {}
    for key in keys:
        if key in helpers:
            return _asked(str(helpers[key]), key)
    auths = document.get("auths") or {}
    for key in keys:
        found = _kept(auths.get(key))
        if found is not None:
            return found
    store = document.get("credsStore")
    for key in keys if store else ():
        if key in auths or key in (registry, _HUB_KEYS[0]):
            found = _asked(str(store), key)
            if found is not None:
                return found
    return None


def _kept(entry: Any) -> Login | None:
    if not isinstance(entry, dict):
        return None
    if entry.get("username"):
        return Login(str(entry["username"]), str(entry.get("password", "")), entry.get("identitytoken"))
    try:
        user, colon, password = base64.b64decode(entry.get("auth") or "").decode("utf-8").partition(":")
    except (binascii.Error, ValueError):
        return None
    if not colon and not entry.get("identitytoken"):
        return None
    return Login(user, password.rstrip("\0"), entry.get("identitytoken"))


def _asked(helper: str, key: str) -> Login | None:
    """What a credential helper says (docker-credential-helpers: the server's address in, JSON out)."""
    try:
        done = subprocess.run(
            [f"docker-credential-{helper}", "get"], input=key.encode(), capture_output=True, timeout=30, check=False
        )
        answer = json.loads(done.stdout) if done.returncode == 0 else {}
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return None
    user, secret = answer.get("Username"), answer.get("Secret")
    if not secret:
        return None
    # "<token>" as the name says that the secret is an identity token.
    return Login("", "", secret) if user == "<token>" else Login(str(user), str(secret))
