"""What an image counts as, wherever it is; what a registry, an archive and an engine give; each way of not giving has its message."""

from __future__ import annotations

import base64
import io
import json
import os
import subprocess
import tarfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import made_images
import pytest

from services import Service, running
from weftwork.errors import Corrupt, ImageFailed, Invalid
from weftwork.sites.images.reference import Archive, Reference, parse
from weftwork.sites.images.stock import Stock
from weftwork.sites.images.unpack import unpack
from weftwork.testing.runtime_place import hashed

HEX = "0" * 64


@pytest.mark.parametrize(
    ("text", "registry", "repository", "tag"),
    [
        ("python", "docker.io", "library/python", "latest"),
        ("python:3.12", "docker.io", "library/python", "3.12"),
        ("weft/plain:1", "docker.io", "weft/plain", "1"),
        ("docker.io/weft/plain", "docker.io", "weft/plain", "latest"),
        ("quay.io/a/b/c:x_1.2-3", "quay.io", "a/b/c", "x_1.2-3"),
        ("localhost/a", "localhost", "a", "latest"),
        ("127.0.0.1:5000/a/b:1", "127.0.0.1:5000", "a/b", "1"),
        ("docker://python:3", "docker.io", "library/python", "3"),
    ],
)
def test_names_are_read_as_docker_reads_them(text: str, registry: str, repository: str, tag: str) -> None:
    assert parse(text) == Reference(registry, repository, tag)


def test_a_digest_wins_over_a_tag_and_archives_are_paths(tmp_path: Path) -> None:
    assert parse(f"quay.io/a:1@sha256:{HEX}") == Reference("quay.io", "a", "1", f"sha256:{HEX}")
    assert parse("docker-archive:/a b:c.tar") == Archive("docker-archive", "/a b:c.tar")
    assert parse("/x/y.sif") == Archive("sif", "/x/y.sif")
    assert parse(str(tmp_path)) == Archive("folder", str(tmp_path))


@pytest.mark.parametrize("text", ["Python", "a b", "a:b:c", f"a@sha256:{HEX[:-1]}", "a:-x", "", "a//b", "http://a/b"])
def test_what_names_no_image_is_refused_with_the_text(text: str) -> None:
    with pytest.raises(Invalid):
        parse(text)


# Layers


def _tar(*members: tuple[tarfile.TarInfo, bytes]) -> tuple[io.BytesIO, str]:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for info, data in members:
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    import hashlib

    return io.BytesIO(out.getvalue()), f"sha256:{hashlib.sha256(out.getvalue()).hexdigest()}"


def _file(name: str, data: bytes = b"x") -> tuple[tarfile.TarInfo, bytes]:
    return tarfile.TarInfo(name), data


def _link(name: str, target: str, kind: bytes = tarfile.SYMTYPE) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info, b""


def _folder(name: str, mode: int = 0o755) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.type, info.mode = tarfile.DIRTYPE, mode
    return info, b""


def _lay(root: Path, *members: tuple[tarfile.TarInfo, bytes]) -> None:
    unpack(str(root), *_tar(*members))


def test_a_layer_never_reaches_outside_of_its_folder(tmp_path: Path) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    root.mkdir()
    outside.mkdir()
    (outside / "kept").write_text("mine")
    _lay(root, _link("out", str(outside)), _link("up", "../../outside"), _file("out/made"), _file("up/made"))
    _lay(root, _file("out/.wh.kept"), _file("up/.wh..wh..opq"), _file("fine"))
    assert os.listdir(outside) == ["kept"]
    assert (outside / "kept").read_text() == "mine"
    with pytest.raises(ImageFailed, match="leads out of it"):
        _lay(root, _file("../x"))


def test_later_layers_replace_and_remove(tmp_path: Path) -> None:
    _lay(
        tmp_path,
        _folder("d"),
        _file("d/a"),
        _file("d/b"),
        _file("e"),
        _folder("closed", 0o500),
        _file("closed/in"),
        _file("f"),
    )
    _lay(
        tmp_path,
        _file("d/.wh.a"),
        _file("closed/.wh..wh..opq"),
        _file("closed/new"),
        _folder("e"),
        _file("e/now"),
        _link("f", "e"),
    )
    found = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*"))
    assert found == ["closed", "closed/new", "d", "d/b", "e", "e/now", "f"]


def test_a_layer_with_other_bytes_is_corrupt(tmp_path: Path) -> None:
    layer, _ = _tar(_file("a"))
    with pytest.raises(Corrupt):
        unpack(str(tmp_path), layer, f"sha256:{HEX}")


# Archives


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("archives")
    return {each.name.split("/")[1].split(":")[0]: each.write(folder) for each in made_images.images()}


def test_an_archive_is_made_into_a_folder_once_also_by_many_at_a_time(
    tmp_path: Path, archives: dict[str, Path]
) -> None:
    stocks = [Stock(tmp_path, hashed) for _ in range(4)]
    image = stocks[0].resolve(f"docker-archive:{archives['layered']}")
    barrier = threading.Barrier(8)

    def get(number: int) -> tuple[Path, int]:
        barrier.wait()
        root = stocks[number % 4].root(image)
        return root, root.stat().st_ino

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(get, range(8)))) == 1
    root = stocks[0].root(image)
    assert sorted(os.listdir(root / "opt")) == ["kept", "over"]
    assert (root / "opt/over").read_text() == "second"
    assert [each for each in os.listdir(tmp_path / "images") if each.startswith("making-")] == []


def test_what_is_no_archive_and_what_is_for_another_machine_say_so(tmp_path: Path, archives: dict[str, Path]) -> None:
    stock = Stock(tmp_path, hashed)
    (tmp_path / "text").write_text("no image")
    with pytest.raises(ImageFailed, match="is not a whole docker-archive"):
        stock.resolve(f"docker-archive:{tmp_path}/text")
    with pytest.raises(Invalid, match="there is no"):
        stock.resolve(f"docker-archive:{tmp_path}/nothing")
    with pytest.raises(ImageFailed, match=f"this machine is linux/{made_images.ARCHITECTURE}"):
        stock.resolve(f"docker-archive:{archives['foreign']}")


def test_a_folder_of_somebody_else_counts_by_its_content(tmp_path: Path) -> None:
    stock = Stock(tmp_path / "home", hashed)
    root = tmp_path / "system"
    (root / "bin").mkdir(parents=True)
    (root / "bin/tool").write_text("one")
    first = stock.resolve(str(root))
    assert stock.resolve(str(root)) == first
    made = stock.root(first)
    assert (made / "bin/tool").read_text() == "one"
    assert (made / "weft/work").is_dir()
    (root / "bin/tool").write_text("two")
    assert stock.resolve(str(root)).identity != first.identity


# Registries


@pytest.fixture(scope="module")
def registry() -> Iterator[Service]:
    with running("registry") as service:
        yield service


@pytest.fixture(scope="module")
def locked() -> Iterator[Service]:
    with running("registry", "ada", "secret") as service:
        yield service


def _push(archive: Path, service: Service, name: str, *words: str) -> str:
    target = f"{service.environment['WEFT_TEST_REGISTRY']}/{name}"
    skopeo = ["skopeo", "copy", "--quiet", "--dest-tls-verify=false", "--insecure-policy", *words]
    subprocess.run([*skopeo, f"docker-archive:{archive}", f"docker://{target}"], check=True, timeout=60)
    return target


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """No engine of this machine is asked, and no log-in of the user is there."""
    empty = tmp_path / "empty"
    empty.mkdir()
    monkeypatch.setenv("PATH", str(empty))
    monkeypatch.setenv("DOCKER_CONFIG", str(empty))
    monkeypatch.setenv("HOME", str(empty))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(empty))
    return empty


@pytest.mark.slow
@pytest.mark.xdist_group("registry")
def test_a_registry_gives_the_identity_of_the_archive_however_it_is_compressed(
    registry: Service, archives: dict[str, Path], tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    plain = _push(archives["layered"], registry, "layered:docker")
    oci = _push(archives["layered"], registry, "layered:oci", "--format", "oci")
    request.getfixturevalue("alone")
    stock = Stock(tmp_path / "home", hashed)
    images = [stock.resolve(name) for name in (plain, oci, f"docker-archive:{archives['layered']}")]
    assert len({image.identity for image in images}) == 1
    assert images[0].origin.startswith("registry:")
    root = stock.root(images[0])
    assert (root / "opt/over").read_text() == "second"
    assert not (root / "opt/gone").exists()


@pytest.mark.slow
@pytest.mark.xdist_group("registry")
def test_a_registry_is_asked_once_and_what_it_said_outlives_it(
    registry: Service,
    archives: dict[str, Path],
    tmp_path: Path,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import weftwork.sites.images.stock as module

    first_name = _push(archives["plain"], registry, "moving:1")
    home = tmp_path / "home"
    stock = Stock(home, hashed)
    with monkeypatch.context() as patch:
        patch.setenv("PATH", "/nothing")
        first = stock.resolve(first_name)
    _push(archives["layered"], registry, "moving:1")
    request.getfixturevalue("alone")
    assert stock.resolve(first_name) == first
    monkeypatch.setattr(module, "REMEMBERED", 0.0)
    second = stock.resolve(first_name)
    assert second.identity != first.identity
    # What the job of the first key runs is what was meant by it.
    assert stock.known(first.identity).origin == first.origin
    with pytest.raises(ImageFailed, match="cannot be reached"):
        stock.resolve(f"127.0.0.1:1/{first_name.partition('/')[2]}")


@pytest.mark.slow
@pytest.mark.xdist_group("registry")
def test_a_private_registry_is_entered_by_the_users_own_log_in(
    locked: Service,
    archives: dict[str, Path],
    tmp_path: Path,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    name = _push(archives["plain"], locked, "private/tool:1", "--dest-creds", "ada:secret")
    empty = request.getfixturevalue("alone")
    stock = Stock(tmp_path / "home", hashed)
    with pytest.raises(ImageFailed, match=r"401; you are not logged in.*docker login"):
        stock.resolve(name)
    address = locked.environment["WEFT_TEST_REGISTRY"]

    def logged_in(user: str, password: str) -> None:
        auth = base64.b64encode(f"{user}:{password}".encode()).decode()
        (empty / "config.json").write_text(json.dumps({"auths": {address: {"auth": auth}}}))

    logged_in("ada", "wrong")
    with pytest.raises(ImageFailed, match="401; the log-in of ada"):
        stock.resolve(name)
    logged_in("ada", "secret")
    image = stock.resolve(name)
    assert (stock.root(image) / "bin/busybox").exists()
    with pytest.raises(ImageFailed, match="there is no image"):
        stock.resolve(f"{address}/private/tool:2")
    (empty / "config.json").write_text(json.dumps({"auths": {address: {}}, "credHelpers": {address: "test"}}))
    helper = empty / "docker-credential-test"
    helper.write_text('#!/bin/sh\necho \'{"Username": "ada", "Secret": "secret"}\'\n')
    helper.chmod(0o755)
    assert Stock(tmp_path / "other", hashed).resolve(name) == image


@pytest.mark.slow
@pytest.mark.xdist_group("registry")
def test_an_image_for_another_machine_alone_is_refused_with_what_there_is(
    registry: Service, archives: dict[str, Path], tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    name = _push(archives["foreign"], registry, "foreign:1")
    request.getfixturevalue("alone")
    with pytest.raises(ImageFailed, match=f"this machine is linux/{made_images.ARCHITECTURE}"):
        Stock(tmp_path / "home", hashed).resolve(name)


@pytest.mark.slow
@pytest.mark.xdist_group("registry")
def test_what_a_registry_said_is_used_while_it_cannot_be_reached(
    archives: dict[str, Path],
    tmp_path: Path,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import weftwork.sites.images.stock as module

    monkeypatch.setattr(module, "REMEMBERED", 0.0)
    stock = Stock(tmp_path / "home", hashed)
    with running("registry") as service:
        name = _push(archives["plain"], service, "kept:1")
        with monkeypatch.context() as patch:
            patch.setenv("PATH", "/nothing")
            image = stock.resolve(name)
    request.getfixturevalue("alone")
    assert stock.resolve(name) == image
