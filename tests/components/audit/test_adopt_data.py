"""A user's images become examples of the test split."""

import os
from pathlib import Path

import numpy as np
import pytest

from dermrobust.attacks.errors import UserError
from dermrobust.components.artifacts import Artifact
from dermrobust.components.audit.component import ADOPT_DATA, AdoptDataParams
from dermrobust.components.component import Component, Params
from dermrobust.components.examples import ExamplesSpec, Split, read_shard, shard_uris
from dermrobust.components.fingerprint import fingerprint
from dermrobust.models.tasks.ham10000 import TASK
from tests.components.audit.conftest import COUNT, data_params, write_photos
from tests.components.conftest import Workshop
from tests.datasets import Row, draw, encoded, png_claiming, write_table
from tests.foreign_models import SIZE
from tests.small_networks import colored_images

Photos = tuple[Path, Path]


def records(artifact: Artifact, split: Split = Split.TEST) -> dict[str, tuple[np.ndarray, int]]:
    uris = shard_uris(artifact, ExamplesSpec.read(artifact), split)
    batches = [batch for uri in uris for batch in read_shard(uri, TASK)]
    return {
        name: (batch.pixels[index], int(batch.labels[index]))
        for batch in batches
        for index, name in enumerate(batch.columns["image/id"])
    }


def test_every_image_is_there_with_its_label(adopted_images: Artifact) -> None:
    spec = ExamplesSpec.read(adopted_images)
    pixels, labels = colored_images(COUNT, SIZE, seed=7)

    found = records(adopted_images)

    assert spec.class_names == TASK.class_names
    assert spec.preprocessing.image_size == SIZE
    assert spec.counts == {Split.TRAIN: 0, Split.VALIDATION: 0, Split.TEST: COUNT}
    assert spec.class_counts[Split.TEST] == np.bincount(labels, minlength=7).tolist()
    assert sorted(found) == [f"P{index:03d}" for index in range(COUNT)]
    for index in range(COUNT):
        image, label = found[f"P{index:03d}"]
        np.testing.assert_array_equal(image, pixels[index])
        assert label == labels[index]


def test_a_limit_draws_some_and_a_larger_one_keeps_them(workshop: Workshop, photos: Photos) -> None:
    few, more = (
        records(workshop.make(ADOPT_DATA, data_params(photos, limit=limit), f"limit-{limit}")["examples"])
        for limit in (20, 40)
    )

    assert len(few) == 20
    assert set(few) < set(more)


def test_images_are_prepared_as_the_model_was_trained(
    workshop: Workshop, photos: Photos, adopted_images: Artifact
) -> None:
    given = {"image_size": SIZE, "color_constancy": "shades_of_gray"}
    adopted = workshop.make(ADOPT_DATA, data_params(photos, preprocessing=given), "corrected")["examples"]

    plain, corrected = records(adopted_images)["P000"][0], records(adopted)["P000"][0]

    assert ExamplesSpec.read(adopted).preprocessing.color_constancy == "shades_of_gray"
    assert (plain != corrected).any()


def validated_by(place: Path, photos: Photos, **changes: object) -> AdoptDataParams:
    """Parameters that adopt the photos, and as validation images those below a place."""
    others = {"validation_images": str(place / "images"), "validation_labels": str(place / "labels.csv")}
    return data_params(photos, **others, **changes)


def test_validation_images_are_a_split_of_their_own(workshop: Workshop, photos: Photos, tmp_path: Path) -> None:
    write_photos(tmp_path, 30, seed=8, prefix="V")
    pixels, labels = colored_images(30, SIZE, seed=8)

    adopted = workshop.make(ADOPT_DATA, validated_by(tmp_path, photos, limit=20), "validated")["examples"]

    spec, found = ExamplesSpec.read(adopted), records(adopted, Split.VALIDATION)
    assert spec.counts == {Split.TRAIN: 0, Split.VALIDATION: 30, Split.TEST: 20}
    assert spec.class_counts[Split.VALIDATION] == np.bincount(labels, minlength=7).tolist()
    assert sorted(found) == [f"V{index:03d}" for index in range(30)]
    for index in range(30):
        np.testing.assert_array_equal(found[f"V{index:03d}"][0], pixels[index])
    assert {name[0] for name in records(adopted)} == {"P"}


@pytest.mark.parametrize(
    ("prefix", "says"), [("P", r"share 30 images \(P000, P001, P002, …\)"), ("V", r"share 1 lesion \(L1\)")]
)
def test_validation_images_that_are_audited_as_well_are_refused(
    prefix: str, says: str, workshop: Workshop, tmp_path: Path
) -> None:
    written = {"test": write_photos(tmp_path / "test"), "other": write_photos(tmp_path / "other", 30, 8, prefix)}
    for place, rows in written.items():
        # Lesions that are not known are no common one.
        lesions = ["L1", *[""] * (len(rows) - 1)]
        found = [{**row, "lesion_id": lesion} for row, lesion in zip(rows, lesions, strict=True)]
        write_table(tmp_path / place / "labels.csv", found)
    photos = (tmp_path / "test" / "images", tmp_path / "test" / "labels.csv")

    with pytest.raises(UserError, match=says):
        workshop.make(ADOPT_DATA, validated_by(tmp_path / "other", photos), f"shared {prefix}")


def test_large_images_are_spread_over_shards(workshop: Workshop, photos: Photos) -> None:
    params = data_params(photos, preprocessing={"image_size": 1000}, limit=20)
    spec = ExamplesSpec.read(workshop.make(ADOPT_DATA, params, "large")["examples"])

    assert spec.shards[Split.TEST] == 2


def damaged(kind: str) -> bytes:
    image = encoded(draw(0, 60, 60), "JPEG")
    return {"cut off": image[: len(image) // 2], "no image": b"no image", "a bomb": png_claiming(60_000, 60_000)}[kind]


@pytest.mark.parametrize("kind", ["cut off", "no image", "a bomb"])
def test_an_image_that_cannot_be_read_is_named(kind: str, workshop: Workshop, tmp_path: Path) -> None:
    write_photos(tmp_path)
    for name in ("P003", "P050"):
        (tmp_path / "images" / f"{name}.png").write_bytes(damaged(kind))

    with pytest.raises(UserError, match=r"2 images cannot be read: .*P0.*P0") as caught:
        workshop.make(ADOPT_DATA, data_params((tmp_path / "images", tmp_path / "labels.csv")), f"damaged {kind}")

    assert "P003" in str(caught.value)
    assert "P050" in str(caught.value)


def changed_label(folder: Path, rows: list[Row]) -> None:
    rows[0]["dx"] = "nv" if rows[0]["dx"] == "mel" else "mel"
    write_table(folder / "labels.csv", rows)


def changed_image(folder: Path, rows: list[Row]) -> None:
    del rows
    (folder / "images" / "P001.png").write_bytes(encoded(draw(3, SIZE, SIZE)))


def fingerprint_of(component: Component, params: Params) -> str:
    return fingerprint(component, params, {})


@pytest.mark.parametrize("change", [changed_label, changed_image])
def test_the_fingerprint_hangs_on_the_content_of_files_not_on_their_place(change: object, tmp_path: Path) -> None:
    places = (tmp_path / "one", tmp_path / "two")
    rows = [write_photos(place) for place in places]
    params = [data_params((place / "images", place / "labels.csv")) for place in places]
    assert fingerprint_of(ADOPT_DATA, params[0]) == fingerprint_of(ADOPT_DATA, params[1])

    assert callable(change)
    change(places[1], rows[1])

    assert fingerprint_of(ADOPT_DATA, params[0]) != fingerprint_of(ADOPT_DATA, params[1])


@pytest.mark.parametrize("change", [changed_label, changed_image])
def test_the_fingerprint_hangs_on_the_validation_images(change: object, photos: Photos, tmp_path: Path) -> None:
    rows = write_photos(tmp_path, 30, seed=8)
    before = fingerprint_of(ADOPT_DATA, validated_by(tmp_path, photos))
    assert before != fingerprint_of(ADOPT_DATA, data_params(photos))

    assert callable(change)
    change(tmp_path, rows)

    assert fingerprint_of(ADOPT_DATA, validated_by(tmp_path, photos)) != before


@pytest.mark.parametrize("name", ["images/pipe.png", "labels.csv"])
def test_a_pipe_is_refused_and_not_waited_for(name: str, tmp_path: Path) -> None:
    write_photos(tmp_path)
    (tmp_path / name).unlink(missing_ok=True)
    os.mkfifo(tmp_path / name)

    with pytest.raises(UserError, match="is no regular file"):
        fingerprint(ADOPT_DATA, data_params((tmp_path / "images", tmp_path / "labels.csv")), {})
