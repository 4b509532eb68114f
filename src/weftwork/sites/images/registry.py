"""A client of container registries: the manifest, config and layers of an image (OCI distribution specification 1.1).

Nothing is pushed. Tokens are got by the user's own log-in, or without one where the registry gives such. Whatever comes is verified by
its digest. Each way in which a registry does not give an image has a message of its own.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

import httpx2

from weftwork.errors import Corrupt, ImageFailed
from weftwork.sites.images.config import Config, machine
from weftwork.sites.images.credentials import Login, login
from weftwork.sites.images.reference import HUB, Reference

_LISTS: Final = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
_MANIFESTS: Final = (
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
_LARGEST: Final = 16 << 20  # bytes of a manifest or config
_TRIES: Final = 3
_CHALLENGE: Final = re.compile(r'(\w+)="([^"]*)"')


@dataclass(frozen=True, slots=True)
class Found:
    """An image in a registry: its own manifest's digest, its config, and its layers as (digest, media type)."""

    reference: Reference
    digest: str
    config: Config
    layers: tuple[tuple[str, str], ...]


class Registry:
    """One registry, for one user. A context; safe for one thread."""

    def __init__(self, name: str, repository: str) -> None:
        self.name = name
        self._repository = repository
        self._login: Login | None = None
        self._asked = False
        self._authorization: str | None = None
        host = "registry-1.docker.io" if name == HUB else name
        loopback = host.split(":")[0] in ("localhost", "127.0.0.1") or host.startswith("[::1]")
        # Without encryption only where nobody else can listen, as Docker does.
        self._bases = [f"https://{host}", f"http://{host}"] if loopback else [f"https://{host}"]
        self._client = httpx2.Client(follow_redirects=True, timeout=httpx2.Timeout(60.0, connect=15.0))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def find(self, reference: Reference) -> Found:
        """The image of a reference for this machine. Raises :class:`~weftwork.errors.ImageFailed`, and why."""
        data, digest, kind = self._manifest(reference, reference.digest or reference.tag or "latest")
        if kind in _LISTS or "manifests" in data:
            entry = _for_this_machine(reference, data.get("manifests") or [])
            data, digest, kind = self._manifest(reference, str(entry["digest"]))
        if "config" not in data:
            raise ImageFailed(
                f"the image {reference} has a manifest of the old kind {kind!r}, which names no config: push it again"
            )
        config = self._blob(reference, str(data["config"]["digest"]))
        layers = tuple((str(each["digest"]), str(each.get("mediaType", ""))) for each in data.get("layers") or ())
        return Found(reference, digest, Config.of_oci(json.loads(config)), layers)

    def fetch(self, reference: Reference, digest: str, target: Path) -> None:
        """A layer's bytes, as they are kept, verified; what had come when a connection broke is not sent again."""
        hasher = hashlib.sha256()
        with open(target, "wb") as out:
            for left in range(_TRIES - 1, -1, -1):
                try:
                    done = out.tell()
                    ask = {"Range": f"bytes={done}-"} if done else {}
                    with self._get(reference, f"blobs/{digest}", {"Accept": "*/*", **ask}) as answer:
                        if done and answer.status_code != 206:
                            out.seek(0)
                            out.truncate()
                            hasher = hashlib.sha256()
                        for chunk in answer.iter_raw(1 << 20):
                            out.write(chunk)
                            hasher.update(chunk)
                    break
                except httpx2.TransportError as error:
                    if not left:
                        raise self._unreachable(reference, error) from None
        if f"sha256:{hasher.hexdigest()}" != digest:
            raise Corrupt(f"the registry {self.name} gave other bytes for {digest} of {reference}: try again")

    def _manifest(self, reference: Reference, name: str) -> tuple[dict[str, Any], str, str]:
        data, kind = self._small(reference, f"manifests/{name}", ", ".join((*_LISTS, *_MANIFESTS)))
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        if name.startswith("sha256:") and name != digest:
            raise Corrupt(f"the registry {self.name} gave the manifest {digest} for {name} of {reference}")
        try:
            document = json.loads(data)
        except ValueError:
            raise ImageFailed(f"what {self.name} gave for {reference} is not a manifest: is it a registry?") from None
        if not isinstance(document, dict):
            raise ImageFailed(f"what {self.name} gave for {reference} is not a manifest: is it a registry?")
        return document, digest, str(document.get("mediaType") or kind)

    def _blob(self, reference: Reference, digest: str) -> bytes:
        data, _ = self._small(reference, f"blobs/{digest}", "*/*")
        if f"sha256:{hashlib.sha256(data).hexdigest()}" != digest:
            raise Corrupt(f"the registry {self.name} gave other bytes for {digest} of {reference}: try again")
        return data

    def _small(self, reference: Reference, path: str, accept: str) -> tuple[bytes, str]:
        for left in range(_TRIES - 1, -1, -1):
            try:
                with self._get(reference, path, {"Accept": accept}) as answer:
                    data = b""
                    for chunk in answer.iter_bytes():
                        data += chunk
                        if len(data) > _LARGEST:
                            raise ImageFailed(f"{path} of {reference} is larger than any manifest or config")
                    return data, answer.headers.get("content-type", "").partition(";")[0]
            except httpx2.TransportError as error:
                if not left:
                    raise self._unreachable(reference, error) from None
        raise AssertionError

    @contextmanager
    def _get(self, reference: Reference, path: str, headers: Mapping[str, str]) -> Iterator[httpx2.Response]:
        """An answer that says 200 or 206, streamed. Logs in when it is asked to, once."""
        for _ in range(3):
            with self._stream(f"/v2/{self._repository}/{path}", headers) as answer:
                if answer.status_code == 401 and not self._asked:
                    self._asked = True
                    challenges = answer.headers.get_list("www-authenticate")
                elif answer.status_code in (200, 206):
                    yield answer
                    return
                else:
                    raise self._refused(reference, answer.status_code)
            self._authorization = self._authorized(reference, challenges)
        raise self._refused(reference, 401)

    @contextmanager
    def _stream(self, path: str, headers: Mapping[str, str]) -> Iterator[httpx2.Response]:
        authorization = {"Authorization": self._authorization} if self._authorization else {}
        while len(self._bases) > 1:
            try:
                self._client.get(f"{self._bases[0]}/v2/")
                del self._bases[1:]
            except httpx2.TransportError:
                del self._bases[0]
        with self._client.stream("GET", self._bases[0] + path, headers={**headers, **authorization}) as answer:
            yield answer

    def _authorized(self, reference: Reference, challenges: list[str]) -> str | None:
        self._login = login(self.name, self._repository)
        for challenge in challenges:
            scheme, _, rest = challenge.partition(" ")
            if scheme.lower() == "basic" and self._login is not None:
                return httpx2.BasicAuth(self._login.user, self._login.password)._auth_header
            if scheme.lower() == "bearer":
                return self._token(reference, dict(_CHALLENGE.findall(rest)))
        return None

    def _token(self, reference: Reference, challenge: Mapping[str, str]) -> str | None:
        """A bearer token from the service that the registry names (distribution: token authentication)."""
        realm = challenge.get("realm", "")
        asks = {"service": challenge.get("service", ""), "scope": f"repository:{self._repository}:pull"}
        try:
            if self._login is not None and self._login.token:
                form = {
                    "grant_type": "refresh_token",
                    "refresh_token": self._login.token,
                    "client_id": "weftwork",
                    **asks,
                }
                answer = self._client.post(realm, data=form)
            else:
                known = self._login is not None
                auth = httpx2.BasicAuth(self._login.user, self._login.password) if self._login and known else None
                answer = self._client.get(realm, params=asks, auth=auth)
        except (httpx2.TransportError, httpx2.InvalidURL, httpx2.UnsupportedProtocol) as error:
            raise self._unreachable(reference, error) from None
        if answer.status_code != 200:
            raise self._refused(reference, 401 if answer.status_code in (400, 403) else answer.status_code)
        found = answer.json()
        token = found.get("token") or found.get("access_token")
        return f"Bearer {token}" if token else None

    def _refused(self, reference: Reference, status: int) -> ImageFailed:
        if status in (401, 403):
            who = f"the log-in of {self._login.user or 'a token'}" if self._login else "you are not logged in"
            return ImageFailed(
                f"the registry {self.name} does not give {reference} ({status}; {who}): the name is wrong, or it is private; "
                f"log in with `docker login {self.name}` or `podman login {self.name}`",
                status=status,
            )
        if status == 404:
            return ImageFailed(
                f"there is no image {reference}: the registry {self.name} knows no such name or tag", status=404
            )
        if status == 429:
            return ImageFailed(f"the registry {self.name} has had too many requests: wait, or log in", status=status)
        return ImageFailed(f"the registry {self.name} answers {status} for {reference}", status=status)

    def _unreachable(self, reference: Reference, error: Exception) -> ImageFailed:
        told = ImageFailed(
            f"the registry {self.name} cannot be reached for {reference}: {error or type(error).__name__}: is there a network, and "
            "is the name right?"
        )
        told.details["unreachable"] = True
        return told


def _for_this_machine(reference: Reference, entries: list[dict[str, Any]]) -> dict[str, Any]:
    system, architecture = machine()
    offered = []
    for entry in entries:
        platform = entry.get("platform") or {}
        if (platform.get("os"), platform.get("architecture")) == (system, architecture):
            return entry
        if platform.get("os") not in (None, "unknown"):
            offered.append(f"{platform.get('os')}/{platform.get('architecture')}")
    raise ImageFailed(
        f"the image {reference} is made for {', '.join(dict.fromkeys(offered)) or 'nothing'}, and this machine is "
        f"{system}/{architecture}: name one that is made for it"
    )
