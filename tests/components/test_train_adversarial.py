"""Adversarial training: it makes networks robust, notices when robustness is lost, and goes on after a crash."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from pydantic import PrivateAttr

from dermrobust.attacks.threat import Norm, ThreatModel
from dermrobust.components import storage
from dermrobust.components.artifacts import Artifact
from dermrobust.components.examples import ExamplesSpec, Split, read_shard, shard_uris
from dermrobust.components.model_files import HISTORY, METRICS, NETWORK, load_network
from dermrobust.components.progress import Silent
from dermrobust.components.train.component import TRAIN, TrainParams
from dermrobust.components.train.loop import train
from dermrobust.components.train.robust_validation import RobustCheck, robust_predictor, robust_validator
from dermrobust.components.train.step import compiled_step
from dermrobust.models.objectives.cross_entropy import CrossEntropy
from dermrobust.models.objectives.fast import Fast
from dermrobust.models.objectives.mart import Mart
from dermrobust.models.objectives.mixed import Mixed
from dermrobust.models.objectives.n_fgsm import NFGSM
from dermrobust.models.objectives.objective import Objective
from dermrobust.models.objectives.pgd import PGDTraining
from dermrobust.models.objectives.trades import Trades
from tests.components.conftest import IMAGE_SIZE, Make, Workshop
from tests.components.trainings import Interrupted, Steps, changed, training
from tests.models.robust_training import BUDGET, images_and_labels, robust_accuracy, seed_of, untrained
from tests.small_networks import CLASS_COUNT, tiny_network, trained_network

ADVERSARIAL = (Fast, PGDTraining, NFGSM, Mixed, Trades, Mart)
EQUAL = np.ones(CLASS_COUNT, np.float32)
STEPS, BATCH = 150, 64

Losses = list[float]


def trained(objective: Objective, **options: Any) -> tuple[keras.Model, Losses]:
    """Train through the compiled step alone, on new images in each step."""
    network = untrained()
    optimizer = keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(0.01, STEPS))
    optimizer.build(network.trainable_variables)
    step = compiled_step(network, objective, optimizer, EQUAL, **{"xla": False, **options})
    images, labels = images_and_labels(STEPS * BATCH)
    losses = []
    for index in range(STEPS):
        batch = slice(index * BATCH, (index + 1) * BATCH)
        radius = tf.constant(objective.radius(index), tf.float32)
        losses.append(float(step(tf.constant(images[batch]), tf.constant(labels[batch]), radius, seed_of(index))))
    return network, losses


@pytest.fixture(scope="module")
def undefended() -> keras.Model:
    return trained(CrossEntropy())[0]


@pytest.mark.parametrize("kind", ADVERSARIAL)
@pytest.mark.parametrize("gamma", [0, 0.01])
def test_each_objective_lowers_its_loss_and_makes_a_network_robust(
    kind: type[Any], gamma: float, undefended: keras.Model
) -> None:
    images, labels = images_and_labels(256, seed=10**6)

    network, losses = trained(kind(epsilon=BUDGET), weight_perturbation=gamma)

    assert np.mean(losses[-10:]) < 0.6 * np.mean(losses[:3])
    assert (np.asarray(network(images, training=False)).argmax(axis=1) == labels).mean() > 0.9
    assert robust_accuracy(network, images, labels) > robust_accuracy(undefended, images, labels) + 0.2


def test_it_works_for_l2(undefended: keras.Model) -> None:
    images, labels = images_and_labels(256, seed=10**6)
    threat = ThreatModel(90, Norm.L2)

    network, _ = trained(PGDTraining(epsilon=threat))

    before = robust_accuracy(undefended, images, labels, threat)
    assert robust_accuracy(network, images, labels, threat) > before + 0.2


def test_under_xla_a_step_is_the_same_but_for_rounding() -> None:
    for objective in (Trades(epsilon=BUDGET), Mart(epsilon=BUDGET)):
        # XLA draws other random numbers for dropout.
        losses = [one_step(objective, xla=xla, dropout=0.0, weight_perturbation=0.01)[0] for xla in (True, False)]

        assert losses[0] == pytest.approx(losses[1], rel=1e-4)


def one_step(
    objective: Objective, learning_rate: float = 0.1, dropout: float = 0.1, **options: Any
) -> tuple[float, list[np.ndarray[Any, Any]], list[np.ndarray[Any, Any]]]:
    """Loss of one step of plain gradient descent from the same weights; all variables before and after."""
    network = untrained()
    network.get_layer("dropout").rate = dropout
    optimizer = keras.optimizers.SGD(learning_rate)
    optimizer.build(network.trainable_variables)
    step = compiled_step(network, objective, optimizer, EQUAL, **{"xla": False, **options})
    images, labels = images_and_labels(32)
    before = [variable.numpy() for variable in network.variables]
    loss = step(tf.constant(images), tf.constant(labels), tf.constant(BUDGET.radius, tf.float32), seed_of(0))
    return float(loss), before, [variable.numpy() for variable in network.variables]


@pytest.mark.parametrize("xla", [False, True])
def test_perturbed_weights_are_restored_to_the_bit(xla: bool) -> None:
    """With a learning rate of zero only batch statistics and the generator of dropout have moved."""
    network = untrained()
    weights = len(network.trainable_variables)
    assert network.variables[:1] == network.trainable_variables[:1]

    _, before, after = one_step(PGDTraining(), learning_rate=0.0, weight_perturbation=0.1, xla=xla)

    trainable = [any(variable is one for one in network.trainable_variables) for variable in network.variables]
    assert sum(trainable) == weights
    for old, new, fixed in zip(before, after, trainable, strict=True):
        assert (old == new).all() == fixed


def test_perturbed_weights_give_a_higher_loss_and_another_gradient() -> None:
    plain, _, unperturbed = one_step(PGDTraining())
    risen, _, perturbed = one_step(PGDTraining(), weight_perturbation=0.05)
    further, _, _ = one_step(PGDTraining(), weight_perturbation=0.1)

    assert plain < risen < further
    assert any((one != other).any() for one, other in zip(unperturbed, perturbed, strict=True))


def test_no_perturbation_is_the_same_step() -> None:
    (loss, _, after), (same, _, other) = one_step(PGDTraining()), one_step(PGDTraining(), weight_perturbation=0.0)

    assert loss == same
    for one, two in zip(after, other, strict=True):
        np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize("xla", [False, True])
def test_a_small_perturbation_leaves_batch_statistics_and_dropout_nearly_as_without(xla: bool) -> None:
    """Two updates of a moving average, or other units left out, would be a large difference."""
    loss, _, after = one_step(PGDTraining(), weight_perturbation=0.0, xla=xla)
    same, _, other = one_step(PGDTraining(), weight_perturbation=1e-6, xla=xla)

    assert same == pytest.approx(loss, rel=1e-4)
    for one, two in zip(after, other, strict=True):
        np.testing.assert_allclose(one, two, atol=1e-4)


@pytest.fixture(scope="module")
def robust_params(train_params: TrainParams) -> TrainParams:
    objective = {"objective": "pgd", "steps": 2, "epsilon_warmup_epochs": 1.5}
    return changed(train_params, objective=objective, epochs=3, validation_steps=3)


@pytest.fixture(scope="module")
def robust_model(workshop: Workshop, examples: Artifact, robust_params: TrainParams) -> Artifact:
    return workshop.make(TRAIN, robust_params, "robust", examples=examples, adversarial=())["model"]


def test_the_best_epoch_is_the_one_with_the_best_robust_balanced_accuracy(robust_model: Artifact) -> None:
    history, figures = robust_model.read_json(HISTORY), robust_model.read_json(METRICS)

    for row in history:
        assert row["validation_robust_accuracy"] <= row["validation_accuracy"]
        assert row["validation_robust_balanced_accuracy"] <= row["validation_balanced_accuracy"]
    best = max(history, key=lambda row: row["validation_robust_balanced_accuracy"])
    assert {name: figures[name] for name in best} == best
    assert figures["stopped_by"] == "epochs"


def test_robust_figures_are_those_of_the_saved_network(
    robust_model: Artifact, examples: Artifact, robust_params: TrainParams
) -> None:
    network = load_network(robust_model.uri, robust_model.digest)

    figures = robust_figures(network, examples, robust_params.validation_steps)

    stored = robust_model.read_json(METRICS)
    assert figures == pytest.approx({name: stored[f"validation_{name}"] for name in figures})


def test_standard_training_has_no_robust_figures(model: Artifact) -> None:
    assert not [name for row in model.read_json(HISTORY) for name in row if "robust" in name]


def test_an_interrupted_adversarial_training_goes_on_to_the_same_bytes(
    robust_model: Artifact, robust_params: TrainParams, train_model: Make, examples: Artifact
) -> None:
    per_epoch = ExamplesSpec.read(examples).counts[Split.TRAIN] // robust_params.batch_size
    with pytest.raises(Interrupted):
        train_model(robust_params, "robust_interrupted", Steps(last=per_epoch + 2))

    resumed = train_model(robust_params, "robust_interrupted")

    assert storage.read_bytes(resumed.path(NETWORK)) == storage.read_bytes(robust_model.path(NETWORK))
    assert resumed.digest == robust_model.digest


def robust_figures(network: keras.Model, examples: Artifact, steps: int, count: int | None = None) -> dict[str, float]:
    spec = ExamplesSpec.read(examples)
    files = shard_uris(examples, spec, Split.VALIDATION)
    check = RobustCheck(ThreatModel(4), steps, count or spec.counts[Split.VALIDATION])
    return robust_validator(network, files, CLASS_COUNT, check)()


def test_robust_figures_are_reproducible_and_fall_with_stronger_attacks(model: Artifact, examples: Artifact) -> None:
    network = load_network(model.uri, model.digest)
    clean = model.read_json(METRICS)["validation_accuracy"]

    weak, strong = (robust_figures(network, examples, steps) for steps in (1, 20))

    assert robust_figures(network, examples, 20) == strong
    assert strong["robust_accuracy"] <= weak["robust_accuracy"] <= clean
    assert strong["robust_accuracy"] < clean


def test_robust_figures_may_be_of_the_first_images_only(
    model: Artifact, examples: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = load_network(model.uri, model.digest)
    count = ExamplesSpec.read(examples).counts[Split.VALIDATION]
    one = robust_figures(network, examples, 3, 1)
    whole = robust_figures(network, examples, 3)
    monkeypatch.setattr("dermrobust.components.train.robust_validation.batch_size", lambda height, width: 5)

    assert one["robust_accuracy"] in (0, 1)
    # A last batch that is not full is filled up; what it is filled with does not count.
    assert robust_figures(network, examples, 3)["robust_accuracy"] == pytest.approx(
        whole["robust_accuracy"], abs=2 / count
    )


@pytest.mark.parametrize("size", [2, 256])
def test_only_images_that_are_right_when_clean_are_attacked(
    size: int, examples: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An image that is wrong already is not robust, whatever the attack would make of it."""
    monkeypatch.setattr(
        "dermrobust.components.train.robust_validation.ascend", lambda network, ball, *_, **__: 1 - ball.clean
    )
    monkeypatch.setattr("dermrobust.components.train.robust_validation.batch_size", lambda height, width: size)
    spec = ExamplesSpec.read(examples)
    files = shard_uris(examples, spec, Split.VALIDATION)
    batches = [batch for uri in files for batch in read_shard(uri, spec.task)]
    labels = np.concatenate([batch.labels for batch in batches])
    images = np.concatenate([batch.pixels for batch in batches]).astype(np.float32) / 255
    # The first images are learned as they are, the others as the attack makes them.
    learned = 255 * np.concatenate([images[:12], 1 - images[12:]])
    network = trained_network(learned, labels)
    clean, moved = (network(each, training=False).numpy().argmax(axis=1) for each in (images, 1 - images))

    check = RobustCheck(ThreatModel(4), 1, len(labels))
    truth, predicted = robust_predictor(network, files, check)()

    np.testing.assert_array_equal(truth, labels)
    np.testing.assert_array_equal(predicted, np.where(clean == labels, moved, clean))
    assert ((moved == labels) & (clean != labels)).any() and (clean == labels).sum() > 6
    figures = robust_validator(network, files, CLASS_COUNT, check)()
    assert figures["robust_accuracy"] == pytest.approx(((clean == labels) & (moved == labels)).mean())


def test_where_no_image_is_right_none_is_attacked(examples: Artifact) -> None:
    spec = ExamplesSpec.read(examples)
    files = shard_uris(examples, spec, Split.VALIDATION)
    label = next(read_shard(files[0], spec.task)).labels[0]
    network = tiny_network((IMAGE_SIZE, IMAGE_SIZE, 3), CLASS_COUNT, 0)
    network.layers[-1].bias.assign(1e6 * np.eye(CLASS_COUNT)[label - 1])

    figures = robust_validator(network, files, CLASS_COUNT, RobustCheck(ThreatModel(4), 1, 1))()

    assert figures == {"robust_accuracy": 0, "robust_balanced_accuracy": 0}


@pytest.mark.parametrize(
    ("accuracies", "balanced", "epochs_run", "best", "stopped"),
    [
        ([0.6, 0.62, 0.05, 0.9], [0.3, 0.32, 0.04, 0.9], 3, 2, "catastrophic_overfitting"),
        ([0.6, 0.62, 0.05], [0.3, 0.32, 0.04], 3, 2, "catastrophic_overfitting"),  # in the last epoch, too
        ([0.6, 0.62, 0.43, 0.6], [0.3, 0.32, 0.1, 0.3], 4, 2, "epochs"),  # no more than 0.2
        # From calling all lesions nevi to telling them apart: what falls is the share of nevi.
        ([0.67, 0.4, 0.45, 0.5], [0.14, 0.13, 0.2, 0.3], 4, 4, "epochs"),
        ([0.6, 0.5, 0.5, 0.5], [0.3, 0.2, 0.2, 0.2], 3, 1, "patience"),
    ],
)
def test_training_stops_when_robustness_is_lost_all_of_a_sudden(
    accuracies: Losses,
    balanced: Losses,
    epochs_run: int,
    best: int,
    stopped: str,
    examples: Artifact,
    train_params: TrainParams,
    tmp_path: Path,
) -> None:
    from dermrobust.components.train.stopping import stopped_by

    network = tiny_network((IMAGE_SIZE, IMAGE_SIZE, 3), CLASS_COUNT, 0)
    validated: list[list[np.ndarray[Any, Any]]] = []

    def validate() -> dict[str, float]:
        validated.append(network.get_weights())
        done = len(validated) - 1
        return {
            "balanced_accuracy": 0.1 * done,  # clean accuracy goes on rising
            "robust_accuracy": accuracies[done],
            "robust_balanced_accuracy": balanced[done],
        }

    params = changed(train_params, objective="fast", epochs=len(accuracies), patience=2 if stopped == "patience" else 9)

    with Silent().task("train", None, "steps") as task:
        state = train(training(examples, tmp_path, network, params, validate), params, task)
        resumed = train(training(examples, tmp_path, network, params, validate), params, task)

    assert (state.epoch, state.best_epoch, state.best_score) == (epochs_run, best, balanced[best - 1])
    assert stopped_by(state, params) == stopped
    assert (resumed.epoch, len(validated)) == (epochs_run, epochs_run)  # a run that resumes stops there as well
    for kept, expected in zip(network.get_weights(), validated[best - 1], strict=True):
        np.testing.assert_array_equal(kept, expected)


class Asked(Fast):
    """Remembers when it was asked for its budget."""

    _epochs: list[float] = PrivateAttr(default_factory=list)

    def radius(self, epochs: float) -> float:
        self._epochs.append(epochs)
        return super().radius(epochs)


def test_the_budget_rises_from_step_to_step_and_nothing_is_traced_again(
    examples: Artifact, train_params: TrainParams, tmp_path: Path
) -> None:
    network, objective = tiny_network((IMAGE_SIZE, IMAGE_SIZE, 3), CLASS_COUNT, 0), Asked(epsilon_warmup_epochs=1)
    params = changed(train_params, epochs=2).model_copy(update={"objective": objective})
    names = ("balanced_accuracy", "robust_accuracy", "robust_balanced_accuracy")
    started = training(examples, tmp_path, network, params, lambda: dict.fromkeys(names, 0.5))
    crafting: list[Any] = []
    started_craft = Fast.craft

    def craft(*given: Any) -> Any:
        crafting.append(given)
        return started_craft(*given)

    with pytest.MonkeyPatch.context() as patch, Silent().task("train", None, "steps") as task:
        patch.setattr(Fast, "craft", craft)
        train(started, params, task)

    steps = started.data.steps
    assert objective._epochs == [step / steps for step in range(2 * steps)]
    assert len(crafting) == 1


def test_each_step_has_random_numbers_of_its_own(
    examples: Artifact, train_params: TrainParams, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seeds: list[tuple[int, ...]] = []

    def step(images: Any, labels: Any, radius: Any, seed: Any) -> Any:
        seeds.append(tuple(seed.numpy()))
        return tf.zeros(())

    monkeypatch.setattr("dermrobust.components.train.loop.compiled_step", lambda *_, **__: step)
    network = tiny_network((IMAGE_SIZE, IMAGE_SIZE, 3), CLASS_COUNT, 0)
    started = training(examples, tmp_path, network, train_params, lambda: {"balanced_accuracy": 0.5})

    with Silent().task("train", None, "steps") as task:
        train(started, train_params, task)

    assert len(set(seeds)) == len(seeds) == train_params.epochs * started.data.steps


def test_a_loss_of_robustness_is_told_and_recorded(
    train_params: TrainParams, train_model: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    figures = iter([(0.6, 0.3), (0.1, 0.05)])

    def validate() -> dict[str, float]:
        return dict(zip(("robust_accuracy", "robust_balanced_accuracy"), next(figures), strict=True))

    monkeypatch.setattr("dermrobust.components.train.executor.robust_validator", lambda *_: validate)
    lines: list[str] = []
    progress = Silent()
    monkeypatch.setattr(progress, "line", lines.append)

    lost = train_model(changed(train_params, objective="fast"), "lost", progress)

    assert lost.read_json(METRICS)["stopped_by"] == "catastrophic_overfitting"
    assert lines == [
        "train: stopped in epoch 2: robust accuracy fell from 0.600 to 0.100 (catastrophic overfitting); "
        "epoch 1 is kept",
        "train: validation robust balanced accuracy 0.300 in epoch 1 of 2",
    ]
