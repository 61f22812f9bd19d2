"""Training: reproducible to the byte, resumable, and it learns."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dermrobust.attacks.threat import ThreatModel
from dermrobust.components.adversarial_spec import AdversarialSpec
from dermrobust.components.artifacts import MANIFEST, Artifact, ArtifactType
from dermrobust.components.examples import ExamplesSpec, Split, shard_name, shard_uris
from dermrobust.components.model_files import HISTORY, METRICS, NETWORK, ModelSpec, load_network
from dermrobust.components.progress import Silent
from dermrobust.components.train.class_balance import class_weights
from dermrobust.components.train.component import TrainParams
from dermrobust.components.train.loop import train
from tests.components.conftest import Make, Workshop
from tests.components.trainings import Steps, changed, network_bytes, training
from tests.small_networks import CLASS_COUNT, tiny_network


def test_the_same_seed_gives_the_same_model(model: Artifact, train_params: TrainParams, train_model: Make) -> None:
    again = train_model(train_params, "again")

    assert network_bytes(again) == network_bytes(model)
    assert again.read_json(HISTORY) == model.read_json(HISTORY)
    assert again.digest == model.digest


def test_another_seed_gives_another_model(model: Artifact, train_params: TrainParams, train_model: Make) -> None:
    assert network_bytes(train_model(changed(train_params, seed=4), "other_seed")) != network_bytes(model)


def test_it_learns(train_params: TrainParams, train_model: Make) -> None:
    history = train_model(changed(train_params, epochs=12), "longer").read_json(HISTORY)

    losses = [row["loss"] for row in history]
    assert losses[-1] < 0.7 * losses[0]
    assert history[-1]["validation_loss"] < history[0]["validation_loss"]
    assert max(row["validation_balanced_accuracy"] for row in history) > 1.5 / CLASS_COUNT


def test_a_model_comes_with_its_history_and_figures(
    model: Artifact, train_params: TrainParams, examples: Artifact
) -> None:
    history, figures, spec = model.read_json(HISTORY), model.read_json(METRICS), ExamplesSpec.read(examples)

    assert [row["epoch"] for row in history] == [1, 2, 3, 4]
    for row in history:
        assert {"loss", "validation_loss", "validation_accuracy", "validation_balanced_accuracy"} <= row.keys()
        assert all(np.isfinite(value) for value in row.values())
    best = max(history, key=lambda row: row["validation_balanced_accuracy"])
    assert {name: figures[name] for name in best} == best
    assert figures["stopped_by"] == "epochs"
    assert figures["epochs"] == train_params.epochs
    assert figures["training_images"] == spec.counts[Split.TRAIN]
    described = ModelSpec.read(model)
    assert (described.class_names, described.preprocessing) == (spec.class_names, spec.preprocessing)


def test_the_figures_are_those_of_the_saved_network(model: Artifact, examples: Artifact) -> None:
    """The network that is kept is the one of the best epoch, with the weights that were validated."""
    from dermrobust.components.train.validation import validator

    spec = ExamplesSpec.read(examples)
    network = load_network(model.uri, model.digest)
    files = shard_uris(examples, spec, Split.VALIDATION)

    figures = validator(network, files, CLASS_COUNT)()

    stored = model.read_json(METRICS)
    assert figures == pytest.approx({name: stored[f"validation_{name}"] for name in figures}, rel=1e-5)


def test_the_files_are_where_the_manifest_says(model: Artifact) -> None:
    files = {entry["path"] for entry in model.read_json(MANIFEST)["files"]}

    assert {NETWORK, "model.json", HISTORY, METRICS} == {name for name in files if not name.startswith("logs/")}


def test_adversarial_examples_are_trained_on_beside_the_clean_ones(
    workshop: Workshop, examples: Artifact, train_params: TrainParams, train_model: Make, model: Artifact
) -> None:
    spec = ExamplesSpec.read(examples)
    shards = spec.shards[Split.TRAIN]
    names = [shard_name(Split.TRAIN, index, shards) for index in range(shards)]
    described = AdversarialSpec(
        split=Split.TRAIN,
        shards=shards,
        count=spec.counts[Split.TRAIN],
        attack={},
        threat=ThreatModel(4),
        source_model="none",
    )
    files = {name: Path(examples.path(name)).read_bytes() for name in names}
    files["adversarial.json"] = described.model_dump_json().encode()
    twice = workshop.publish(ArtifactType.ADVERSARIAL_EXAMPLES, "twice", files)
    steps = Steps()

    hardened = train_model(train_params, "hardened", steps, (twice,))

    total = 2 * spec.counts[Split.TRAIN]
    assert hardened.read_json(METRICS)["training_images"] == total
    assert steps.total == train_params.epochs * (total // train_params.batch_size)
    assert network_bytes(hardened) != network_bytes(model)


@pytest.mark.parametrize(
    ("scores", "patience", "epochs_run", "best"),
    [
        ([0.3, 0.5, 0.4, 0.4, 0.9], 2, 4, 2),  # stops before it would become better
        ([0.3, 0.5, 0.4, 0.4, 0.9], 3, 5, 5),
        ([0.5, 0.5, 0.5, 0.5], 2, 3, 1),  # equal is not better
        ([0.1, 0.2, 0.3], 1, 3, 3),
        ([0.0, 0.0], 5, 2, 1),
    ],
)
def test_training_stops_early_and_keeps_the_best_epoch(
    scores: list[float],
    patience: int,
    epochs_run: int,
    best: int,
    examples: Artifact,
    train_params: TrainParams,
    tmp_path: Path,
) -> None:
    network = tiny_network((16, 16, 3), CLASS_COUNT, 0)
    validated: list[list[np.ndarray[Any, Any]]] = []

    def validate() -> dict[str, float]:
        validated.append(network.get_weights())
        return {"balanced_accuracy": scores[len(validated) - 1]}

    params = changed(train_params, epochs=len(scores), patience=patience)

    with Silent().task("train", None, "steps") as task:
        state = train(training(examples, tmp_path, network, params, validate), params, task)

    assert (state.epoch, state.best_epoch, state.best_score) == (epochs_run, best, scores[best - 1])
    assert len(validated) == len(state.history) == epochs_run
    for kept, expected in zip(network.get_weights(), validated[best - 1], strict=True):
        np.testing.assert_array_equal(kept, expected)
    assert (network.get_weights()[0] != validated[best - 2][0]).any() or epochs_run == 1


def test_a_loss_that_is_not_finite_stops_training_with_a_hint(
    examples: Artifact, train_params: TrainParams, tmp_path: Path
) -> None:
    network = tiny_network((16, 16, 3), CLASS_COUNT, 0)
    network.get_layer("logits").bias.assign(np.full(CLASS_COUNT, np.nan, np.float32))
    started = training(examples, tmp_path, network, train_params, lambda: {"balanced_accuracy": 0.0})

    with (
        pytest.raises(FloatingPointError, match="learning_rate"),
        Silent().task("train", None, "steps") as task,
    ):
        train(started, train_params, task)


def test_under_xla_it_learns_and_is_reproducible(train_params: TrainParams, train_model: Make) -> None:
    params = changed(train_params, xla=True)

    one, two = train_model(params, "xla"), train_model(params, "xla_again")

    assert network_bytes(one) == network_bytes(two)
    history = one.read_json(HISTORY)
    assert history[-1]["loss"] < history[0]["loss"]


counts_of_classes = st.lists(st.integers(1, 10_000), min_size=1, max_size=8)
weightings = st.sampled_from(["none", "sqrt", "inverse"])


@given(counts_of_classes, weightings)
def test_the_mean_weight_of_the_images_is_1(counts: list[int], weighting: str) -> None:
    weights = class_weights(counts, weighting)

    assert weights.dtype == np.float32
    assert np.average(weights, weights=counts) == pytest.approx(1, rel=1e-5)


@given(counts_of_classes)
def test_each_weighting_gives_a_class_the_share_that_its_name_says(counts: list[int]) -> None:
    images = np.asarray(counts, float)
    shares = {weighting: class_weights(counts, weighting) * images for weighting in ("none", "sqrt", "inverse")}

    for weighting, expected in (("none", images), ("sqrt", np.sqrt(images)), ("inverse", np.ones(len(counts)))):
        np.testing.assert_allclose(shares[weighting] / shares[weighting].sum(), expected / expected.sum(), rtol=1e-5)


def test_a_class_without_images_gets_a_finite_weight() -> None:
    assert np.isfinite(class_weights([0, 10, 1000], "inverse")).all()


def test_a_rare_class_weighs_more() -> None:
    assert class_weights([10, 1000], "sqrt").tolist() == pytest.approx([9.1818, 0.91818], rel=1e-4)


@pytest.mark.parametrize(
    ("values", "place"),
    [
        ({"network": "vgg"}, "there is no network 'vgg'"),
        ({"objective": "hope"}, "there is no objective 'hope'"),
        ({"epochs": 0}, "epochs"),
        ({"learning_rate": 0}, "learning_rate"),
        ({"class_weighting": "random"}, "class_weighting"),
        ({"epoch": 3}, "epoch"),
    ],
)
def test_wrong_parameters_are_refused(values: dict[str, object], place: str) -> None:
    with pytest.raises(ValueError, match=place):
        TrainParams.model_validate(values)


def test_a_batch_is_no_larger_than_the_data(train_params: TrainParams, train_model: Make) -> None:
    """Otherwise an epoch would have no step at all."""
    steps = Steps()

    train_model(changed(train_params, batch_size=4096, epochs=1), "one_batch", steps)

    assert steps.total == 1
