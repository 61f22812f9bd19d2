"""Artifacts: immutable, found by their fingerprint, and none without its manifest."""

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dermrobust.attacks.errors import UserError
from dermrobust.components import adversarial_spec, examples_layout, model_files, storage
from dermrobust.components.adversarial_spec import AdversarialSpec
from dermrobust.components.artifacts import (
    MANIFEST,
    Artifact,
    ArtifactStore,
    ArtifactType,
    Provenance,
    content_digest,
    read_as,
)
from dermrobust.components.evaluation import files, leakage
from dermrobust.components.evaluation.escalation import ESCALATION, Escalation
from dermrobust.components.evaluation.leakage import Leakage
from dermrobust.components.evaluation.referrals import REJECTOR, Rejector
from dermrobust.components.examples_layout import ExamplesSpec
from dermrobust.components.export.blessing import read_blessing
from dermrobust.components.model_files import ModelSpec
from dermrobust.components.raw_dataset import TASK_FILE, task
from dermrobust.components.storage import FileEntry

MODEL = ArtifactType.MODEL
ORIGIN = Provenance("train[pgd]", {"epochs": 3}, {}, {"keras": "3"})
FILES = {"model.keras": b"weights", "logs/events": b"12:00", "deep/er/figures.json": b"{}"}


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(str(tmp_path))


def staged(store: ArtifactStore, files: Mapping[str, bytes], fingerprint: str = "f1") -> str:
    uri = store.stage(MODEL, fingerprint)
    for name, content in files.items():
        Path(uri, name).parent.mkdir(parents=True, exist_ok=True)
        Path(uri, name).write_bytes(content)
    return uri


def published(store: ArtifactStore, files: Mapping[str, bytes] = FILES, fingerprint: str = "f1") -> Artifact:
    return store.publish(staged(store, files, fingerprint), MODEL, fingerprint, ORIGIN)


def test_what_is_published_is_found_by_type_and_fingerprint(store: ArtifactStore) -> None:
    artifact = published(store)

    assert store.find(MODEL, "f1") == artifact
    assert store.find(MODEL, "f2") is None
    assert store.find(ArtifactType.EXAMPLES, "f1") is None
    assert Path(artifact.path("model.keras")).read_bytes() == b"weights"
    assert artifact.read_json("deep", "er", "figures.json") == {}


def test_it_lies_below_its_type_and_fingerprint(store: ArtifactStore, tmp_path: Path) -> None:
    assert Path(published(store).uri) == tmp_path / "artifacts" / "model" / "f1"


def test_without_a_manifest_there_is_no_artifact(store: ArtifactStore) -> None:
    artifact = published(store)

    Path(artifact.path(MANIFEST)).unlink()

    assert store.find(MODEL, "f1") is None


def test_nothing_is_found_before_it_is_published(store: ArtifactStore, tmp_path: Path) -> None:
    staged(store, FILES)

    assert store.find(MODEL, "f1") is None
    assert not (tmp_path / "artifacts").exists()


def test_publishing_moves_what_was_staged(store: ArtifactStore, tmp_path: Path) -> None:
    published(store)

    assert list((tmp_path / "staging").iterdir()) == []


def test_staging_the_same_artifact_twice_gives_two_places(store: ArtifactStore) -> None:
    """Two runs may be at work on it at once."""
    assert store.stage(MODEL, "f1") != store.stage(MODEL, "f1")


def test_a_resumable_artifact_is_always_staged_at_the_same_place(store: ArtifactStore) -> None:
    first = store.stage(MODEL, "f1", resumable=True)
    storage.write_bytes(storage.join(first, "finished"), b"")
    storage.write_bytes(storage.join(first, MANIFEST), b"of a process that was killed before the move")

    second = store.stage(MODEL, "f1", resumable=True)

    assert second == first
    assert storage.list_files(second) == ["finished"]
    assert store.stage(MODEL, "f2", resumable=True) != first


@pytest.mark.parametrize("content", [b"{}", b'{"path": "a", "size": 1, "sha256": "0", "colour": 2}', b"[]"])
def test_a_file_of_another_version_is_named_and_what_to_do(store: ArtifactStore, content: bytes) -> None:
    artifact = published(store, {"entry.json": content})

    with pytest.raises(UserError, match=r"entry\.json' was written by another version") as raised:
        read_as(FileEntry, artifact, "entry.json")
    assert "make it again" in str(raised.value)


READERS: Mapping[str, Callable[[Artifact], object]] = {
    TASK_FILE: task,
    examples_layout.SPEC: ExamplesSpec.read,
    adversarial_spec.SPEC: AdversarialSpec.read,
    model_files.SPEC: ModelSpec.read,
    leakage.FILE: Leakage.read,
    REJECTOR: Rejector.read,
    ESCALATION: Escalation.read,
    files.BLESSING: read_blessing,
}


@pytest.mark.parametrize("name", READERS)
def test_each_reader_names_its_file_of_another_version(name: str, store: ArtifactStore) -> None:
    artifact = published(store, {name: b'{"of": "a later version"}'})

    with pytest.raises(UserError, match=re.escape(f"{name}' was written by another version")):
        READERS[name](artifact)


def test_a_file_of_this_version_is_read_as_its_model(store: ArtifactStore) -> None:
    entry = FileEntry(path="a", size=1, sha256="0")

    artifact = published(store, {"entry.json": entry.model_dump_json().encode()})

    assert read_as(FileEntry, artifact, "entry.json") == entry


def test_unfinished_files_are_not_published(store: ArtifactStore) -> None:
    artifact = published(store, {**FILES, "deep/er/figures.json.partial-0123abcd": b"{"})

    assert artifact.digest == published(store, FILES, "f2").digest
    assert storage.list_files(artifact.uri) == sorted([*FILES, MANIFEST])


def test_the_manifest_lists_every_file_with_its_size_and_digest(store: ArtifactStore) -> None:
    manifest = store.manifest(published(store))

    assert {entry.path: (entry.size, entry.sha256) for entry in manifest.files} == {
        name: (len(content), hashlib.sha256(content).hexdigest()) for name, content in FILES.items()
    }


def test_the_manifest_says_where_the_artifact_comes_from(store: ArtifactStore) -> None:
    first = published(store)
    uri = staged(store, {"a": b""}, "f2")

    second = store.publish(uri, MODEL, "f2", Provenance("p", {"epsilon": 4.0}, {"model": (first,)}, {"keras": "3"}))

    manifest = store.manifest(second)
    assert (manifest.type, manifest.fingerprint, manifest.producer) == (MODEL, "f2", "p")
    assert manifest.parameters == {"epsilon": 4.0}
    assert manifest.inputs == {"model": [first.uri]}
    assert manifest.versions == {"keras": "3"}
    assert manifest.digest == second.digest


def test_logs_are_listed_but_no_part_of_the_digest(store: ArtifactStore) -> None:
    one = published(store, {**FILES, "logs/events": b"12:00"}, "f1")
    two = published(store, {**FILES, "logs/events": b"13:00", "logs/more": b""}, "f2")

    assert one.digest == two.digest
    assert "logs/events" in {entry.path for entry in store.manifest(one).files}


@pytest.mark.parametrize(
    "files",
    [
        {**FILES, "model.keras": b"other weights"},
        {**FILES, "another": b""},
        {"model.h5": b"weights", "deep/er/figures.json": b"{}"},
        {"deep/er/figures.json": b"{}"},
        {**FILES, "logs": b"a file of that name is no folder of logs"},
    ],
    ids=["content", "a file more", "a name", "a file less", "no log"],
)
def test_the_digest_tells_every_other_change(store: ArtifactStore, files: Mapping[str, bytes]) -> None:
    files = {name: content for name, content in files.items() if not ("logs" in files and name.startswith("logs/"))}

    assert published(store, files, "f2").digest != published(store, FILES, "f1").digest


entries = st.lists(
    st.builds(FileEntry, path=st.text("abc/", min_size=1), size=st.just(0), sha256=st.text("0123", min_size=4)),
    unique_by=lambda entry: entry.path,
)


@given(entries, entries)
def test_files_that_differ_have_another_digest(one: list[FileEntry], two: list[FileEntry]) -> None:
    assert (content_digest(one) == content_digest(two)) == (one == two)


def test_the_artifact_of_another_run_stays_when_its_content_is_the_same(store: ArtifactStore) -> None:
    """What others may be reading is not replaced."""
    first = published(store)
    inode = Path(first.path("model.keras")).stat().st_ino

    again = published(store, {**FILES, "logs/events": b"later"})

    assert again == first
    assert Path(first.path("model.keras")).stat().st_ino == inode
    assert Path(first.path("logs/events")).read_bytes() == b"12:00"


def test_other_content_replaces_what_was_there(store: ArtifactStore) -> None:
    published(store)

    other = published(store, {"model.keras": b"other"})

    assert store.find(MODEL, "f1") == other
    assert [entry.path for entry in store.manifest(other).files] == ["model.keras"]
    assert not Path(other.path("deep")).exists()


@pytest.mark.parametrize("content", [b"weights", b"other weights"])
def test_a_run_that_is_overtaken_gets_the_artifact_of_the_faster_one(
    content: bytes, store: ArtifactStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others may have read it since: it is neither replaced nor gone for a moment."""
    faster: list[Artifact] = []
    real = storage.move

    def overtaken(source: str, target: str) -> None:
        monkeypatch.setattr("dermrobust.components.storage.move", real)
        monkeypatch.setattr("dermrobust.components.storage.remove", lambda uri: pytest.fail(f"{uri} was removed"))
        faster.append(published(store))
        real(source, target)

    monkeypatch.setattr("dermrobust.components.storage.move", overtaken)

    artifact = published(store, {**FILES, "model.keras": content})

    assert artifact == faster[0] == store.find(MODEL, "f1")
    assert Path(artifact.path("model.keras")).read_bytes() == b"weights"


def test_half_an_artifact_of_a_run_that_was_killed_is_replaced(store: ArtifactStore, tmp_path: Path) -> None:
    half = tmp_path / "artifacts" / "model" / "f1"
    half.mkdir(parents=True)
    (half / "half_a_file").write_bytes(b"ha")

    artifact = published(store)

    assert store.find(MODEL, "f1") == artifact
    assert not (half / "half_a_file").exists()


def test_an_empty_artifact_is_one(store: ArtifactStore) -> None:
    artifact = published(store, {})

    assert store.find(MODEL, "f1") == artifact
    assert store.manifest(artifact).files == []


@pytest.mark.parametrize("name", ["plain", "with space", "[brackets]", "star*", "what?", "ünïcode", "{braces}"])
def test_the_root_may_have_any_name(tmp_path: Path, name: str) -> None:
    store = ArtifactStore(str(tmp_path / name))
    published(store)

    other = published(store, {"model.keras": b"other"})
    again = published(store, {"model.keras": b"other"})

    assert store.find(MODEL, "f1") == other == again
    assert json.loads(Path(other.path(MANIFEST)).read_bytes())["files"][0]["path"] == "model.keras"


def test_removing_one_artifact_leaves_its_neighbours(tmp_path: Path) -> None:
    """A root with a star in its name is no pattern."""
    starred, neighbour = ArtifactStore(str(tmp_path / "run*")), ArtifactStore(str(tmp_path / "run1"))
    kept = published(neighbour)
    published(starred)

    published(starred, {"model.keras": b"other"})

    assert neighbour.find(MODEL, "f1") == kept
