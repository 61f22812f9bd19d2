"""Transform: what was scored is what is stored, with the parameters that it follows from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pyarrow.parquet as pq
import pytest
import tensorflow as tf

from dermrobust.attacks.errors import UserError
from dermrobust.attacks.transforms.rendering import distances
from dermrobust.attacks.transforms.threat import TransformThreat
from dermrobust.components.artifacts import Artifact
from dermrobust.components.evaluation.predictions import ADVERSARIAL, prediction_uris
from dermrobust.components.evaluation.transform_params import TransformParams
from dermrobust.components.examples import Split
from dermrobust.components.transform.component import TRANSFORM
from dermrobust.components.transformed_images import read_transformed
from tests.components.conftest import Records, Workshop, records

SEARCHES: dict[str, Any] = {
    "adaptive": {"search": "adaptive", "screened": 4, "restarts": 1, "steps": 3},
    "random": {"search": "random", "draws": 3},
}
THREATS = ("geometry:0.5", "patch:0.1")


@pytest.fixture(scope="module")
def transformed(workshop: Workshop, examples: Artifact, model: Artifact) -> Artifact:
    params = TransformParams(threats=THREATS, searches=SEARCHES, batch_size=16, seed=5, slices=("skin_tone",))
    return workshop.make(TRANSFORM, params, "transformed", examples=examples, model=model)["predictions"]


def test_rows_images_and_parameters_belong_together(
    transformed: Artifact, clean: dict[Split, Records], network: keras.Model
) -> None:
    originals = {record["image/id"].decode(): record for record in clean[Split.TEST]}
    rows = [row for uri in prediction_uris(transformed) for row in pq.read_table(uri).to_pylist()]
    stored = {
        (record["image/id"].decode(), record["attack"].decode()): record
        for record in records([str(path) for path in sorted(Path(transformed.uri, ADVERSARIAL).rglob("*.tfrecord"))])
    }
    conditions = {f"{text.partition(':')[0]}/{name}" for text in THREATS for name in SEARCHES}
    assert set(stored) == {(image, condition) for image in originals for condition in conditions}
    assert len(rows) == len(stored)

    pixels = np.stack([stored[row["image_id"], row["attack"]]["pixels"] for row in rows])
    scores = tf.nn.softmax(network(pixels.astype(np.float32) / 255, training=False))
    np.testing.assert_allclose(scores, [row["probabilities"] for row in rows], atol=1e-5)

    for row in rows:
        original, record = originals[row["image_id"]], stored[row["image_id"], row["attack"]]
        assert (row["label"], row["dx"]) == (original["label"], original["dx"].decode())
        assert row["skin_tone"]
        threat = TransformThreat(row["norm"], round(row["epsilon"], 6))
        assert str(threat) in THREATS
        named = json.loads(record["parameters"])
        assert list(named) == [parameter.name for parameter in threat.transform.parameters]
        values = np.asarray([list(named.values())], np.float32)
        assert distances(threat, record["pixels"][None], original["pixels"][None], values) == 0


def test_an_adaptive_search_breaks_more_than_a_few_draws(transformed: Artifact) -> None:
    rows = [row for uri in prediction_uris(transformed) for row in pq.read_table(uri).to_pylist()]
    right = {
        condition: np.mean([row["predicted"] == row["label"] for row in rows if row["attack"] == condition])
        for condition in ("patch/adaptive", "patch/random")
    }
    assert right["patch/adaptive"] < right["patch/random"]


def test_a_shard_of_transformed_images_that_was_cut_off_is_named(transformed: Artifact, tmp_path: Path) -> None:
    (stored, *_) = sorted(Path(transformed.uri, ADVERSARIAL).rglob("*.tfrecord"))
    cut = tmp_path / "cut.tfrecord"
    cut.write_bytes(stored.read_bytes()[:-10])

    with pytest.raises(UserError, match=r"cut\.tfrecord' is damaged"):
        read_transformed(str(cut), TransformThreat("patch", 0.1))
