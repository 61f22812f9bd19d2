"""Predictions: what was scored is what is stored, whichever units computed it."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import tensorflow as tf

from dermrobust.attacks.cleverhans.fgsm import FGSM
from dermrobust.attacks.cleverhans.pgd import PGD
from dermrobust.attacks.minimal import Minimal
from dermrobust.attacks.selection import AnyAttack, read_attack
from dermrobust.attacks.threat import Norm, ThreatModel
from dermrobust.components import storage
from dermrobust.components.artifacts import Artifact
from dermrobust.components.evaluation.params import PredictParams
from dermrobust.components.evaluation.predictions import ADVERSARIAL, PREDICTIONS, prediction_uris
from dermrobust.components.examples import ExamplesSpec, Split
from dermrobust.components.predict.component import PREDICT
from tests.components.conftest import Records, Workshop, records
from tests.small_networks import CLASS_COUNT

ATTACKS: dict[str, AnyAttack] = {"fgsm": FGSM(), "pgd_five": PGD(steps=5)}
EPSILONS = (1.0, 2.5, 8.0)

Prediction = tuple[str, str, float]
"""Image, attack, epsilon."""


@pytest.fixture(scope="module")
def predict_params() -> PredictParams:
    """The whole budget is used, so that images and probabilities can be expected to."""
    threats = tuple(ThreatModel(epsilon) for epsilon in EPSILONS)
    return PredictParams(attacks=ATTACKS, epsilons=threats, batch_size=16, seed=5, stop_at_success=False)


def predicted(
    workshop: Workshop,
    params: PredictParams,
    name: str,
    examples: Artifact,
    model: Artifact,
    surrogates: tuple[Artifact, ...] = (),
) -> Artifact:
    made = workshop.make(PREDICT, params, name, examples=examples, model=model, surrogates=surrogates)
    return made["predictions"]


@pytest.fixture(scope="module")
def predictions(workshop: Workshop, examples: Artifact, model: Artifact, predict_params: PredictParams) -> Artifact:
    return predicted(workshop, predict_params, "predictions", examples, model)


@pytest.fixture(scope="module")
def table(predictions: Artifact) -> pa.Table:
    return pa.concat_tables([pq.read_table(uri) for uri in prediction_uris(predictions)])


def test_there_is_a_row_for_every_image_under_every_condition(
    table: pa.Table, clean: dict[Split, Records], model: Artifact
) -> None:
    images = [record["image/id"].decode() for record in clean[Split.TEST]]
    conditions = {("none", 0.0), *((name, epsilon) for name in ATTACKS for epsilon in EPSILONS)}
    rows = table.select(["image_id", "attack", "epsilon"]).to_pylist()

    found = [(row["image_id"], row["attack"], row["epsilon"]) for row in rows]

    assert len(found) == len(images) * (1 + len(ATTACKS) * len(EPSILONS))
    assert set(found) == {(image, *condition) for image in images for condition in conditions}
    assert set(table.column("model").to_pylist()) == {model.fingerprint}


def test_a_row_tells_of_its_image_what_the_examples_tell(table: pa.Table, clean: dict[Split, Records]) -> None:
    originals = {record["image/id"].decode(): record for record in clean[Split.TEST]}

    for row in table.to_pylist():
        original = originals[row["image_id"]]
        assert row["label"] == original["label"]
        assert row["lesion_id"] == original["lesion/id"].decode()
        for name in ("dx", "age_group", "sex", "localization"):
            assert row[name] == original[name].decode()
        age = original["age"]
        assert row["age"] == (None if np.isnan(age) else age)


def test_probabilities_add_up_to_1_and_the_largest_is_predicted(table: pa.Table) -> None:
    probabilities = np.array(table.column("probabilities").to_pylist())

    assert probabilities.shape == (len(table), CLASS_COUNT)
    assert probabilities.min() >= 0
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)
    assert (probabilities.argmax(axis=1) == np.array(table.column("predicted"))).all()


def stored_images(predictions: Artifact, clean: dict[Split, Records]) -> dict[Prediction, np.ndarray[Any, Any]]:
    """The images behind the rows: clean ones from the examples, adversarial ones from beside the predictions."""
    images = {(record["image/id"].decode(), "none", 0.0): record["pixels"] for record in clean[Split.TEST]}
    folder = predictions.path(ADVERSARIAL)
    for record in records(
        [storage.join(folder, name) for name in storage.list_files(folder) if name.endswith(".tfrecord")]
    ):
        images[record["image/id"].decode(), record["attack"].decode(), record["epsilon"]] = record["pixels"]
    return images


def test_every_row_can_be_scored_again_from_its_stored_image(
    table: pa.Table, predictions: Artifact, clean: dict[Split, Records], network: keras.Model
) -> None:
    images = stored_images(predictions, clean)
    keys = list(zip(*(table.column(name).to_pylist() for name in ("image_id", "attack", "epsilon")), strict=True))
    assert len(images) == len(keys)

    logits = network(np.stack([images[key] for key in keys]).astype(np.float32) / 255, training=False)

    stored = np.array(table.column("probabilities").to_pylist())
    np.testing.assert_allclose(tf.nn.softmax(logits), stored, atol=1e-5)


def test_the_images_that_were_scored_are_within_their_budget(
    predictions: Artifact, clean: dict[Split, Records]
) -> None:
    images = stored_images(predictions, clean)

    for (image, attack, epsilon), pixels in images.items():
        distance = np.abs(pixels.astype(int) - images[image, "none", 0.0]).max()
        assert distance == (0 if attack == "none" else int(epsilon))


def test_attacks_with_a_larger_budget_do_more_harm(table: pa.Table) -> None:
    probabilities, labels = np.array(table.column("probabilities").to_pylist()), np.array(table.column("label"))
    losses = -np.log(probabilities[np.arange(len(labels)), labels])
    attacks, epsilons = np.array(table.column("attack")), np.array(table.column("epsilon"))

    for name in ATTACKS:
        means = [losses[(attacks == name) & (epsilons == epsilon)].mean() for epsilon in EPSILONS]
        assert losses[attacks == "none"].mean() < means[0] < means[1] < means[2]


def test_predicting_again_gives_the_same_bytes(
    predictions: Artifact, workshop: Workshop, examples: Artifact, model: Artifact, predict_params: PredictParams
) -> None:
    again = predicted(workshop, predict_params, "predictions_again", examples, model)

    assert again.digest == predictions.digest
    for one, other in zip(prediction_uris(again), prediction_uris(predictions), strict=True):
        assert Path(one).read_bytes() == Path(other).read_bytes()


def test_there_is_one_file_of_predictions_for_each_shard(predictions: Artifact, examples: Artifact) -> None:
    shards = ExamplesSpec.read(examples).shards[Split.TEST]

    names = storage.list_files(predictions.path(PREDICTIONS))

    assert names == [f"part-{index:05d}-of-{shards:05d}.parquet" for index in range(shards)]


def wrong(table: pa.Table, attack: str, epsilon: float) -> dict[str, bool]:
    rows = table.to_pylist()
    chosen = [row for row in rows if (row["attack"], row["epsilon"]) == (attack, epsilon)]
    return {row["image_id"]: row["predicted"] != row["label"] for row in chosen}


def table_of(predictions: Artifact) -> pa.Table:
    return pa.concat_tables([pq.read_table(uri) for uri in prediction_uris(predictions)])


def test_leaving_an_image_once_it_is_misread_misleads_at_least_as_many(
    table: pa.Table, workshop: Workshop, examples: Artifact, model: Artifact, predict_params: PredictParams
) -> None:
    early = predict_params.model_copy(update={"stop_at_success": True})

    found = table_of(predicted(workshop, early, "early", examples, model))

    for epsilon in EPSILONS:
        whole, stopped = wrong(table, "pgd_five", epsilon), wrong(found, "pgd_five", epsilon)
        assert sum(stopped.values()) >= sum(whole.values())
    clean_errors = wrong(found, "none", 0.0)
    rows = {(row["image_id"], row["attack"]): row for row in found.to_pylist() if row["epsilon"] in (0.0, 8.0)}
    for image, error in clean_errors.items():
        if error:  # left as it is
            assert rows[image, "pgd_five"]["probabilities"] == rows[image, "none"]["probabilities"]


def test_transferred_examples_are_crafted_on_the_surrogate_and_scored_on_the_model(
    table: pa.Table, workshop: Workshop, examples: Artifact, model: Artifact, predict_params: PredictParams
) -> None:
    transfer = read_attack({"attack": "transfer", "source": "other", "crafted_with": "fgsm"})
    params = predict_params.model_copy(update={"attacks": {"moved": transfer}, "surrogates": ("other",)})

    found = table_of(predicted(workshop, params, "transferred", examples, model, (model,)))

    # The surrogate is the model itself here: transferring is then attacking.
    own = table.filter(pc.equal(table["attack"], "fgsm"))["probabilities"].to_pylist()
    assert found.filter(pc.equal(found["attack"], "moved"))["probabilities"].to_pylist() == own


def test_a_universal_perturbation_is_one_for_all_images_and_found_on_training_images(
    workshop: Workshop, examples: Artifact, model: Artifact, clean: dict[Split, Records], predict_params: PredictParams
) -> None:
    universal = read_attack({"attack": "universal", "images": 20, "passes": 1, "step_size": 4})
    params = predict_params.model_copy(update={"attacks": {"one": universal}, "epsilons": (ThreatModel(8),)})

    predictions = predicted(workshop, params, "universal", examples, model)

    stored = np.load(predictions.path(ADVERSARIAL, "one-linf-8.npy"), allow_pickle=False)
    assert 0 < np.abs(stored).max() <= 8 / 255 + 1e-6
    for (image, attack, _), pixels in stored_images(predictions, clean).items():
        if attack == "one":
            (record,) = (each for each in clean[Split.TEST] if each["image/id"].decode() == image)
            moved = np.clip(record["pixels"] / 255 + stored, 0, 1)
            np.testing.assert_allclose(pixels, moved * 255, atol=0.5 + 1e-3)


def test_a_euclidean_budget_holds_for_what_is_stored(
    workshop: Workshop, examples: Artifact, model: Artifact, clean: dict[Split, Records], predict_params: PredictParams
) -> None:
    threat = ThreatModel(60, Norm.L2)
    params = predict_params.model_copy(update={"attacks": {"pgd": PGD(steps=3)}, "epsilons": (threat,)})

    predictions = predicted(workshop, params, "euclidean", examples, model)

    originals = {record["image/id"].decode(): record["pixels"].astype(int) for record in clean[Split.TEST]}
    lengths = [
        np.sqrt(np.square(pixels - originals[image]).sum())
        for (image, attack, _), pixels in stored_images(predictions, clean).items()
        if attack == "pgd"
    ]
    assert 50 < max(lengths) <= 60
    assert {row["norm"] for row in table_of(predictions).to_pylist()} == {None, "l2"}


def test_an_attack_that_minimizes_runs_once_and_its_images_count_at_every_budget_that_reaches_them(
    workshop: Workshop, examples: Artifact, model: Artifact, clean: dict[Split, Records]
) -> None:
    attack = Minimal(steps=5, targets=1, confirmed_by=PGD(steps=5))
    budgets = (2.0, 16.0, 5.0)
    params = PredictParams(attacks={"nearest": attack}, epsilons=tuple(map(ThreatModel, budgets)), batch_size=16)

    found = predicted(workshop, params, "nearest", examples, model)

    table = pa.concat_tables([pq.read_table(uri) for uri in prediction_uris(found)])
    images = stored_images(found, clean)
    rows = {(row["image_id"], row["epsilon"]): row for row in table.to_pylist()}
    assert len(images) == len(rows) == len(clean[Split.TEST]) * 4
    for image in {name for name, _ in rows}:
        assert rows[image, 0.0]["radius"] is None
        radius, falls = rows[image, 16.0]["radius"], rows[image, 16.0]["predicted"] != rows[image, 16.0]["label"]
        for epsilon in budgets:
            row, shift = (
                rows[image, epsilon],
                images[image, "nearest", epsilon] - images[image, "none", 0.0].astype(int),
            )
            wrong = row["predicted"] != row["label"]
            assert wrong == (falls and radius <= epsilon)
            assert row["radius"] == (np.abs(shift).max() if wrong else epsilon)
    assert any(row["radius"] < 16 for row in table.to_pylist() if row["epsilon"] == 16.0)
