"""Probes: what still stands is tried further, on a sample of the images, whatever their shape."""

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import pyarrow as pa
import pytest

from dermrobust.attacks.cleverhans.fgsm import FGSM
from dermrobust.attacks.cleverhans.pgd import PGD
from dermrobust.attacks.threat import Norm, ThreatModel
from dermrobust.components import storage
from dermrobust.components.artifacts import Artifact
from dermrobust.components.craft.component import CRAFT, CraftParams
from dermrobust.components.evaluation.params import PredictParams, ProbeParams, transfer_probe
from dermrobust.components.evaluation.predictions import prediction_uris
from dermrobust.components.evaluation.probes import CORRUPTED, HEALTH, LARGE, PROBES, probe_uris
from dermrobust.components.evaluation.tables import read_tables
from dermrobust.components.examples import ExamplesSpec, Split
from dermrobust.components.model_files import load_network
from dermrobust.components.predict.component import PREDICT
from dermrobust.components.preprocess.component import PREPROCESS, PreprocessParams
from dermrobust.components.probe.component import PROBE
from dermrobust.components.probe.plan import large_budget
from dermrobust.components.train.component import TRAIN, TrainParams
from tests.components.conftest import Inputs, Workshop, records

SHARED: dict[str, Any] = {
    "attacks": {"fgsm": FGSM(), "pgd": PGD(steps=2)},
    "epsilons": (ThreatModel(2),),
    "batch_size": 16,
    "slices": ("skin_tone",),
}
SIZES = {"images": 12, "queries": 5, "spsa_images": 2, "noise_draws": 2, "corruption_images": 6}
CORRUPTIONS = ("jpeg", "marker", "defocus_blur")
HEIGHT, WIDTH = 12, 20


@pytest.fixture(scope="module")
def rectangles(workshop: Workshop, dataset: Artifact) -> Artifact:
    params = PreprocessParams(image_size=(HEIGHT, WIDTH))
    return workshop.make(PREPROCESS, params, "rectangles", dataset=dataset)["examples"]


@pytest.fixture(scope="module")
def inputs(workshop: Workshop, rectangles: Artifact, train_params: TrainParams) -> Inputs:
    """A model of rectangular images, its predictions, and examples that were crafted on it."""
    model = workshop.make(TRAIN, train_params, "of_rectangles", examples=rectangles, adversarial=())["model"]
    given: Inputs = {"examples": rectangles, "model": model}
    predictions = workshop.make(
        PREDICT, PredictParams(**SHARED), "of_rectangles", **given, surrogates=(), transferred=()
    )["predictions"]
    name, attack = transfer_probe("itself", Norm.LINF)
    params = CraftParams(name=name, attack=attack, epsilons=SHARED["epsilons"], batch_size=16, images=SIZES["images"])
    crafted = workshop.make(CRAFT, params, "of_rectangles", **given)["adversarial"]
    return {**given, "predictions": predictions, "transferred": crafted}


@pytest.fixture(scope="module")
def probes(workshop: Workshop, inputs: Inputs) -> Artifact:
    params = ProbeParams(**SHARED, **SIZES, transferred=("itself",), corruptions=CORRUPTIONS)
    return workshop.make(PROBE, params, "of_rectangles", **inputs, surrogates=())["probes"]


@pytest.fixture(scope="module")
def probed(probes: Artifact) -> pa.Table:
    return read_tables(probe_uris(probes, PROBES))


def standing(predictions: Artifact, attacks: Mapping[str, object]) -> dict[str, bool]:
    """Whether each image is classified correctly, when clean and under the attacks."""
    found: dict[str, bool] = {}
    for row in read_tables(prediction_uris(predictions)).to_pylist():
        if row["attack"] in ("none", *attacks):
            found[row["image_id"]] = found.get(row["image_id"], True) and row["predicted"] == row["label"]
    return found


def test_only_units_that_are_joined_are_published(probes: Artifact, rectangles: Artifact) -> None:
    shards = ExamplesSpec.read(rectangles).shards[Split.TEST]

    assert len(storage.list_files(probes.uri)) == 3 * shards + 1  # and the manifest
    assert all(len(probe_uris(probes, folder)) == shards for folder in (PROBES, HEALTH, CORRUPTED))


def test_every_probe_tries_the_same_images_in_the_order_of_the_plan(probed: pa.Table) -> None:
    names = list(dict.fromkeys(zip(*probed.select(["probe", "attack"]).to_pydict().values(), strict=True)))

    assert names == [
        ("twice the steps", "pgd"),
        ("twice the restarts", "pgd"),
        ("noise", "noise"),
        ("black_box", "square"),
        ("transfer", "transfer from itself"),
        ("black_box", "spsa"),
        (LARGE, "pgd"),
    ]
    for name, attack in names:
        rows = [row for row in probed.to_pylist() if (row["probe"], row["attack"]) == (name, attack)]
        assert len(rows) == SIZES["spsa_images" if attack == "spsa" else "images"]


def test_what_has_fallen_is_not_tried_again(probed: pa.Table, inputs: Inputs) -> None:
    stood = standing(inputs["predictions"], SHARED["attacks"])
    correct = standing(inputs["predictions"], {})

    for row in probed.to_pylist():
        # The large budget is tried on every image that the model knows: it must fool each of them.
        assert row["stood"] == (correct if row["probe"] == LARGE else stood)[row["image_id"]]
        assert (row["predicted"] is not None) == row["stood"]


def test_crafted_examples_are_scored_on_the_model(probed: pa.Table, inputs: Inputs) -> None:
    uris = [inputs["transferred"].path(name) for name in storage.list_files(inputs["transferred"].uri)]
    crafted = {
        record["image/id"].decode(): record["pixels"]
        for record in records([uri for uri in uris if uri.endswith(".tfrecord")])
    }
    tried = [row for row in probed.to_pylist() if row["probe"] == "transfer" and row["stood"]]
    network = load_network(inputs["model"].uri, inputs["model"].digest)

    logits = network(np.stack([crafted[row["image_id"]] for row in tried]).astype(np.float32) / 255, training=False)

    assert tried
    np.testing.assert_allclose([row["probabilities"] for row in tried], keras.ops.softmax(logits), atol=1e-5)


def test_the_network_and_the_corruptions_are_looked_at_on_samples(probes: Artifact) -> None:
    health = read_tables(probe_uris(probes, HEALTH)).to_pylist()
    corrupted = read_tables(probe_uris(probes, CORRUPTED))

    assert len(health) == SIZES["images"]
    assert all(row["gradient"] > 0 and row["repeated"] == 0 and not row["from_probabilities"] for row in health)
    assert list(dict.fromkeys(corrupted["corruption"].to_pylist())) == list(CORRUPTIONS)
    assert len(corrupted) == SIZES["corruption_images"] * len(CORRUPTIONS) * 5
    assert "lesion_id" in corrupted.column_names


def test_the_large_budget_is_a_quarter_of_the_range_in_every_value() -> None:
    values = HEIGHT * WIDTH * 3
    quarter = np.full(values, 64.0)

    assert large_budget(Norm.LINF, values).epsilon == quarter.max()
    assert large_budget(Norm.L2, values).epsilon == pytest.approx(np.linalg.norm(quarter))
    assert large_budget(Norm.L1, values).epsilon == quarter.sum()
    assert large_budget(Norm.L0, values).epsilon == values // 3 // 2


def test_parameters_name_the_modules_of_what_they_select() -> None:
    none, some = ProbeParams(**{**SHARED, "slices": ()}), ProbeParams(**SHARED, corruptions=("jpeg",))

    assert some.plugins() - none.plugins() == {
        "dermrobust.components.slices.skin_tone",
        "dermrobust.components.corruptions.natural",
    }
    with pytest.raises(ValueError, match=r"no corruption 'snow'; there are: brightness_up"):
        ProbeParams(**SHARED, corruptions=("snow",))
    with pytest.raises(ValueError, match=r"no slice feature 'hat'; there are: skin_tone"):
        PredictParams(slices=("hat",))
