"""Files on object stores: nothing is lost, cut or read from elsewhere when a call fails or a name is hostile."""

import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto import mock_aws

from dermrobust.attacks.errors import UserError
from dermrobust.components import storage
from dermrobust.components.artifacts import MANIFEST, Artifact, ArtifactStore, ArtifactType, Provenance
from dermrobust.components.export.publish import publish, version_problems
from tests.memory_storage import FILES, MemoryFileSystem

ROOT = "memory://root"
CONTENT = {"saved_model/a": b"one", "saved_model/b": b"two", "saved_model/c": b"three", "saved_model/d": b"four"}


@pytest.fixture(autouse=True)
def empty() -> None:
    FILES.clear()


@pytest.fixture(params=["returned", "raised"])
def fail_once(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """A function after which the third file cannot be copied once; S3's file system returns errors, others raise."""
    real = MemoryFileSystem.copy

    def copy(self: Any, sources: list[str], targets: list[str]) -> Any:
        if len(sources) == 1:
            return real(self, sources, targets)
        monkeypatch.setattr(MemoryFileSystem, "copy", real)
        kept = [index for index in range(len(sources)) if index != 2]
        real(self, [sources[index] for index in kept], [targets[index] for index in kept])
        if request.param == "raised":
            raise OSError("throttled")
        errors = [OSError("throttled") if index == 2 else None for index in range(len(sources))]
        return list(zip(sources, targets, errors, strict=True))

    return lambda: monkeypatch.setattr(MemoryFileSystem, "copy", copy)


def write(uri: str) -> None:
    for name, content in CONTENT.items():
        storage.write_bytes(storage.join(uri, name), content)


def published() -> Artifact:
    store = ArtifactStore(ROOT)
    staged = store.stage(ArtifactType.EXPORTED_MODEL, "f" * 32)
    write(staged)
    return store.publish(staged, ArtifactType.EXPORTED_MODEL, "f" * 32, Provenance("test", {}, {}, {}))


def test_a_move_that_fails_leaves_all_sources(fail_once: Callable[[], None]) -> None:
    write(f"{ROOT}/source")
    fail_once()

    with pytest.raises(OSError, match="throttled"):
        storage.move(f"{ROOT}/source", f"{ROOT}/target")
    assert storage.list_files(f"{ROOT}/source") == sorted(CONTENT)
    storage.move(f"{ROOT}/source", f"{ROOT}/target")

    assert {uri: FILES[uri] for uri in FILES} == {f"{ROOT}/target/{name}": CONTENT[name] for name in CONTENT}


def test_an_artifact_whose_copy_fails_once_is_whole(fail_once: Callable[[], None]) -> None:
    fail_once()
    artifact = published()

    manifest = ArtifactStore(ROOT).manifest(artifact)
    assert [file.path for file in manifest.files] == sorted(CONTENT)
    assert sorted(FILES) == [f"{artifact.uri}/{name}" for name in sorted([*CONTENT, MANIFEST])]


def test_an_artifact_whose_staged_files_cannot_be_deleted_is_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    real = MemoryFileSystem.delete

    def delete(self: Any, paths: list[str]) -> None:
        real(self, paths[:2])
        if len(paths) > 2:
            raise OSError("throttled")

    monkeypatch.setattr(MemoryFileSystem, "delete", delete)

    artifact = published()

    assert {name: FILES[f"{artifact.uri}/{name}"] for name in CONTENT} == CONTENT
    assert json.loads(FILES[artifact.path(MANIFEST)])["digest"] == artifact.digest


def test_a_version_that_fails_leaves_nothing_and_its_number_is_free(fail_once: Callable[[], None]) -> None:
    artifact = published()
    fail_once()
    directory = f"{ROOT}/export"

    with pytest.raises(OSError, match="throttled"):
        publish(artifact, directory)
    assert storage.list_files(directory) == []
    version = publish(artifact, directory)

    assert version == f"{directory}/1"
    assert list(version_problems(version)) == []


@pytest.mark.parametrize("name", ["/etc/passwd", "../outside", "a/../../outside", ".."])
def test_a_name_that_leads_out_of_its_folder_is_refused(name: str) -> None:
    FILES[f"{ROOT}/folder/good"] = b"good"
    FILES[f"{ROOT}/folder/{name}"] = b"hostile"

    for read in (storage.list_files, storage.sizes, storage.local_folder, storage.folders):
        with pytest.raises(UserError, match="whose name is no path below it: 'memory://root/folder/"):
            read(f"{ROOT}/folder")


def test_a_local_folder_holds_the_files_as_they_are_now() -> None:
    write(f"{ROOT}/folder")
    before = storage.local_folder(f"{ROOT}/folder")
    FILES[f"{ROOT}/folder/saved_model/a"] = b"another length"
    del FILES[f"{ROOT}/folder/saved_model/d"]

    after = storage.local_folder(f"{ROOT}/folder")

    found = {path.name: path.read_bytes() for path in Path(after, "saved_model").iterdir()}
    assert found == {"a": b"another length", "b": b"two", "c": b"three"}
    assert Path(before, "saved_model", "a").read_bytes() == b"one"


def test_a_file_that_is_not_there_is_named() -> None:
    with pytest.raises(FileNotFoundError, match=f"No such file or directory: '{ROOT}/absent'"):
        storage.local_file(f"{ROOT}/absent")


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    for name, value in {"ACCESS_KEY_ID": "test", "SECRET_ACCESS_KEY": "test", "DEFAULT_REGION": "us-east-1"}.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    # A client that an earlier test made for these variables would ask the real S3.
    monkeypatch.setattr("dermrobust.components.s3._clients", {})
    with mock_aws():
        client = boto3.client("s3")
        client.create_bucket(Bucket="lab")
        yield client


class _Cut(io.BytesIO):
    """Fails to be read after its first part."""

    def read(self, size: int | None = -1) -> bytes:
        if self.tell() > 7 << 20:
            raise OSError("the disk is gone")
        return super().read(size)


def test_an_interrupted_upload_to_s3_leaves_no_file(bucket: Any) -> None:
    for name, content in (("empty", b""), ("small", b"small"), ("large", bytes(10 << 20))):
        storage.write_bytes(f"s3://lab/{name}", content)

    with pytest.raises(OSError, match="the disk is gone"):
        storage._put(_Cut(bytes(20 << 20)), "s3://lab/cut")

    assert storage.sizes("s3://lab") == {"empty": 0, "small": 5, "large": 10 << 20}
    assert "Uploads" not in bucket.list_multipart_uploads(Bucket="lab")


def test_clients_of_s3_follow_the_credentials(bucket: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from dermrobust.components import s3

    storage.write_bytes("s3://lab/one", b"one")
    storage.write_bytes("s3://lab/two", b"two")
    assert len(s3._clients) == 1
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "another")
    storage.write_bytes("s3://lab/three", b"three")
    assert len(s3._clients) == 2
