"""Versions of exported models, as TensorFlow Serving watches them."""

from pathlib import Path

import pytest

from dermrobust.components import storage
from dermrobust.components.artifacts import Artifact, ArtifactType
from dermrobust.components.export.publish import publish
from tests.components.conftest import Workshop


def exported_content(workshop: Workshop, name: str, content: bytes) -> Artifact:
    files = {"saved_model/saved_model.pb": content, "saved_model/variables/variables.index": b"index"}
    return workshop.publish(ArtifactType.EXPORTED_MODEL, name, files)


@pytest.fixture
def two_models(workshop: Workshop) -> tuple[Artifact, Artifact]:
    return exported_content(workshop, "first", b"one"), exported_content(workshop, "second", b"two")


def test_versions_count_up_and_a_model_keeps_its_version(two_models: tuple[Artifact, Artifact], tmp_path: Path) -> None:
    one, two = two_models
    directory = str(tmp_path / "served")

    versions = [Path(publish(artifact, directory)).name for artifact in (one, two, one, two)]

    assert versions == ["1", "2", "1", "2"]
    assert sorted(path.name for path in Path(directory).iterdir()) == ["1", "2"]  # no partial folder either
    for version, artifact in (("1", one), ("2", two)):
        for name in storage.list_files(artifact.path("saved_model")):
            expected = Path(artifact.path("saved_model", name)).read_bytes()
            assert Path(directory, version, name).read_bytes() == expected


def test_a_version_follows_the_highest_that_is_there(two_models: tuple[Artifact, Artifact], tmp_path: Path) -> None:
    for name in ("9", "10", "not_a_version", "007x"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "saved_model.pb").write_bytes(b"someone's")

    assert Path(publish(two_models[0], str(tmp_path))).name == "11"


@pytest.mark.parametrize(("theirs", "versions"), [(0, {"1": b"one"}), (1, {"1": b"two", "2": b"one"})])
def test_a_version_that_another_run_takes_meanwhile_stays_as_it_is(
    theirs: int,
    versions: dict[str, bytes],
    two_models: tuple[Artifact, Artifact],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = storage.move

    def overtaken(source: str, target: str) -> None:
        monkeypatch.setattr("dermrobust.components.storage.move", real)
        publish(two_models[theirs], str(tmp_path))
        real(source, target)

    monkeypatch.setattr("dermrobust.components.storage.move", overtaken)

    published = publish(two_models[0], str(tmp_path))

    assert Path(published).name == max(versions)
    assert {path.name: (path / "saved_model.pb").read_bytes() for path in tmp_path.iterdir()} == versions


def test_a_failed_copy_leaves_no_version_and_no_partial_folder(
    two_models: tuple[Artifact, Artifact], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, copied = storage.write_bytes, []

    def fail_at_the_second(uri: str, content: bytes) -> None:
        copied.append(uri)
        if len(copied) == 2:
            raise OSError("the disk is full")
        real(uri, content)

    monkeypatch.setattr("dermrobust.components.storage.write_bytes", fail_at_the_second)

    with pytest.raises(OSError, match="disk is full"):
        publish(two_models[0], str(tmp_path))

    assert list(tmp_path.iterdir()) == []
