"""Objectives: how a config names them, and their losses, each against an independent formula."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import pytest
import tensorflow as tf
from keras import layers
from pydantic import TypeAdapter, ValidationError

from dermrobust.attacks.threat import Norm, ThreatModel
from dermrobust.models.objectives.adversarial import AdversarialObjective, IterativeObjective
from dermrobust.models.objectives.cross_entropy import CrossEntropy
from dermrobust.models.objectives.fast import Fast
from dermrobust.models.objectives.gaussian_noise import GaussianNoise
from dermrobust.models.objectives.mart import Mart
from dermrobust.models.objectives.mixed import Mixed
from dermrobust.models.objectives.n_fgsm import NFGSM
from dermrobust.models.objectives.objective import Objective
from dermrobust.models.objectives.pgd import PGDTraining
from dermrobust.models.objectives.selection import AnyObjective
from dermrobust.models.objectives.trades import Trades
from dermrobust.models.registry import OBJECTIVES
from tests.models.robust_training import craft, images_and_labels, seed_of, untrained
from tests.small_networks import CLASS_COUNT

CONFIG: TypeAdapter[Any] = TypeAdapter(AnyObjective)
WEIGHTS = np.linspace(0.2, 3, CLASS_COUNT).astype(np.float32)
ROOT = Path(__file__).parents[2]

Floats = npt.NDArray[np.float64]


def test_a_name_alone_means_its_defaults() -> None:
    assert OBJECTIVES.names == ("cross_entropy", "fast", "pgd", "n_fgsm", "mixed", "trades", "mart", "gaussian_noise")
    for name in OBJECTIVES.names:
        objective = CONFIG.validate_python(name)

        assert type(objective) is OBJECTIVES.resolve(name)
        assert objective == CONFIG.validate_python({"objective": name})
        assert objective == CONFIG.validate_python(objective)
        assert objective == CONFIG.validate_json(CONFIG.dump_json(objective))
        assert (
            isinstance(objective, AdversarialObjective)
            == objective.adversarial
            == (name not in ("cross_entropy", "gaussian_noise"))
        )


def test_defaults_are_those_of_the_papers() -> None:
    pgd, trades, mart, n_fgsm = PGDTraining(), Trades(), Mart(), NFGSM()

    assert (pgd.epsilon, pgd.steps, pgd.step_size) == (ThreatModel(4), 5, None)
    assert (trades.beta, mart.beta) == (6, 5)
    assert (n_fgsm.noise, n_fgsm.step) == (2, 1)


def test_parameters_are_read() -> None:
    objective = CONFIG.validate_python({"objective": "trades", "epsilon": "l2:0.5", "steps": 3, "beta": 1})

    assert objective == Trades(epsilon=ThreatModel(127.5, Norm.L2), steps=3, beta=1)
    assert objective.radius(0) == 0.5


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("hope", "there is no objective 'hope'; there are: cross_entropy, fast, pgd, n_fgsm, mixed, trades, mart, "),
        ({"objective": "hope"}, "there is no objective 'hope'; there are: cross_entropy, fast"),
        ({"steps": 3}, "the key 'objective' must name one objective; there are: cross_entropy"),
        (3, "expected the name of one objective, or a mapping"),
        ({"objective": "cross_entropy", "epsilon": 4}, "epsilon"),
        ({"objective": "fast", "steps": 4}, "steps"),
        ({"objective": "pgd", "steps": 0}, "steps"),
        ({"objective": "pgd", "steps": 1001}, "steps"),
        ({"objective": "pgd", "step_size": 0}, "step_size"),
        ({"objective": "pgd", "step_size": float("inf")}, "step_size"),
        ({"objective": "pgd", "epsilon": 0}, "epsilon"),
        ({"objective": "pgd", "epsilon": "l3:3"}, "'l3:3' is no threat model"),
        ({"objective": "pgd", "epsilon": "l1:3"}, "adversarial training is defined for linf and l2 only, not for l1"),
        ({"objective": "trades", "beta": -1}, "beta"),
        ({"objective": "mart", "epsilon_warmup_epochs": -1}, "epsilon_warmup_epochs"),
    ],
)
def test_what_is_wrong_is_named(value: Any, message: str) -> None:
    with pytest.raises(ValidationError) as error:
        CONFIG.validate_python(value)

    assert message in str(error.value)
    assert len(error.value.errors()) == 1  # not one for each objective that it might have been


def test_parameters_cannot_be_changed_later() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        PGDTraining().steps = 3  # type: ignore[misc]


def test_the_schema_offers_names_and_parameters_with_their_documentation() -> None:
    schema = CONFIG.json_schema()

    names, members = schema["anyOf"]
    assert names["enum"] == list(OBJECTIVES.names)
    assert [member["properties"]["objective"]["const"] for member in members["oneOf"]] == list(OBJECTIVES.names)
    for member in members["oneOf"]:
        assert all("description" in field for field in member["properties"].values())


def test_a_config_is_read_without_tensorflow() -> None:
    code = "from dermrobust.components.train.component import TrainParams\n"
    code += "TrainParams.model_validate({'network': 'resnet', 'objective': 'trades'})\n"
    code += "import sys; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True).stdout

    assert "dermrobust.models.objectives.trades" in loaded.split()
    assert {"tensorflow", "keras", "cleverhans"} & set(loaded.split()) == set()


@pytest.mark.parametrize(
    ("warmup", "epochs", "part"), [(0, 0, 1), (0, 3, 1), (4, 0, 0), (4, 1, 0.25), (4, 3.5, 0.875), (4, 4, 1), (4, 9, 1)]
)
def test_the_budget_rises_to_the_full_one(warmup: float, epochs: float, part: float) -> None:
    assert Fast(epsilon_warmup_epochs=warmup).radius(epochs) == pytest.approx(part * 4 / 255)
    assert CrossEntropy().radius(epochs) == 0


@pytest.mark.parametrize(
    ("objective", "ratio"),
    [
        (PGDTraining(), 0.5),  # 2.5 / 5
        (PGDTraining(steps=10), 0.25),
        (PGDTraining(steps=1), 1),  # no longer than the budget
        (PGDTraining(step_size=1), 0.25),
        (PGDTraining(epsilon=ThreatModel(8), step_size=1), 0.125),
        (PGDTraining(step_size=400), 1),
    ],
)
def test_steps_grow_with_the_budget(objective: IterativeObjective, ratio: float) -> None:
    for radius in (0.0, 0.01, 0.3):
        assert objective.step_length(radius) == pytest.approx(ratio * radius)


def plain_network(seed: int = 0) -> keras.Model:
    """The same in training as in inference, and far from undecided."""
    keras.utils.set_random_seed(seed)
    images = keras.Input((8, 8, 3))
    dense = layers.Dense(CLASS_COUNT, kernel_initializer=keras.initializers.RandomNormal(stddev=0.3))
    return keras.Model(images, dense(layers.Flatten()(images)))


def loss(objective: Objective, network: keras.Model, images: Any, adversarial: Any, labels: Any) -> float:
    given = (tf.constant(images), tf.constant(adversarial), tf.constant(labels), tf.constant(WEIGHTS), seed_of(0))
    return float(objective.loss(network, *given))


def probabilities(network: keras.Model, images: Any) -> Floats:
    """In inference mode."""
    logits = np.asarray(network(images, training=False), np.float64)
    return np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)


def of_labels(values: Floats, labels: Any) -> Floats:
    return values[np.arange(len(labels)), labels]


@pytest.fixture
def batch() -> tuple[Any, Any, Any]:
    """Clean images, others, labels."""
    images, labels = images_and_labels(32)
    noise = np.random.default_rng(1).normal(0, 0.2, images.shape)
    return images, np.clip(images + noise, 0, 1).astype(np.float32), labels


def test_cross_entropy_is_weighted_by_class(batch: tuple[Any, Any, Any]) -> None:
    images, _, labels = batch
    network = plain_network()

    expected = np.mean(WEIGHTS[labels] * -np.log(of_labels(probabilities(network, images), labels)))

    assert loss(CrossEntropy(), network, images, images, labels) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    "objective", [Fast(), PGDTraining(), Mixed(), GaussianNoise()], ids=lambda objective: objective.objective
)
def test_adversarial_training_takes_the_cross_entropy_of_adversarial_images(
    objective: Objective, batch: tuple[Any, Any, Any]
) -> None:
    images, others, labels = batch
    network = plain_network()

    assert loss(objective, network, images, others, labels) == loss(CrossEntropy(), network, others, others, labels)


def test_gaussian_noise_is_not_clipped_and_differs_from_step_to_step(batch: tuple[Any, Any, Any]) -> None:
    images, _, labels = batch
    network = plain_network()

    first, other = (craft(GaussianNoise(sigma=0.5), network, images, labels, 0.0, seed) - images for seed in (0, 1))

    assert first.std() == pytest.approx(0.5, rel=0.03) and abs(first.mean()) < 0.02
    assert abs(np.corrcoef(first.ravel(), other.ravel())[0, 1]) < 0.05
    assert (images + first).min() < -0.5 and (images + first).max() > 1.5


@pytest.mark.parametrize("beta", [0, 1, 6])
def test_trades_is_the_published_formula(beta: float, batch: tuple[Any, Any, Any]) -> None:
    images, others, labels = batch
    network = plain_network()
    clean, moved = probabilities(network, images), probabilities(network, others)

    divergence = (clean * np.log(clean / moved)).sum(axis=1)
    expected = np.mean(WEIGHTS[labels] * (-np.log(of_labels(clean, labels)) + beta * divergence))

    assert divergence.mean() > 0.1
    assert loss(Trades(beta=beta), network, images, others, labels) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("beta", [0, 1, 5])
def test_mart_is_the_published_formula(beta: float, batch: tuple[Any, Any, Any]) -> None:
    images, others, labels = batch
    network = plain_network()
    clean, moved = probabilities(network, images), probabilities(network, others)

    rivals = moved.copy()
    rivals[np.arange(len(labels)), labels] = 0
    boosted = -np.log(of_labels(moved, labels)) - np.log(1 - rivals.max(axis=1))
    divergence = (clean * np.log(clean / moved)).sum(axis=1)
    expected = np.mean(WEIGHTS[labels] * (boosted + beta * divergence * (1 - of_labels(clean, labels))))

    assert loss(Mart(beta=beta), network, images, others, labels) == pytest.approx(expected, rel=1e-4)


def test_without_a_perturbation_trades_is_cross_entropy(batch: tuple[Any, Any, Any]) -> None:
    """Also with dropout and batch normalisation, which otherwise differ from call to call."""
    images, _, labels = batch

    of_trades = loss(Trades(beta=100), untrained(), images, images, labels)

    assert of_trades == pytest.approx(loss(CrossEntropy(), untrained(), images, images, labels), rel=1e-6)


def test_dropout_changes_from_one_step_to_the_next(batch: tuple[Any, Any, Any]) -> None:
    images, others, labels = batch
    network = untrained()

    assert loss(Trades(), network, images, others, labels) != loss(Trades(), network, images, others, labels)


def test_losses_stay_finite_where_a_network_is_certain(batch: tuple[Any, Any, Any]) -> None:
    """There 1 - p is zero in float32, and published code adds a small number to it."""
    images, others, labels = batch
    network = plain_network()
    network.set_weights([1000 * weight for weight in network.get_weights()])

    for objective in (CrossEntropy(), Trades(), Mart()):
        with tf.GradientTape() as tape:
            value = objective.loss(
                network, tf.constant(images), tf.constant(others), tf.constant(labels), tf.constant(WEIGHTS), seed_of(0)
            )
        assert np.isfinite(float(value))
        for gradient in tape.gradient(value, network.trainable_variables):
            assert np.isfinite(np.asarray(gradient)).all()


def test_every_objective_documents_its_paper() -> None:
    for member in OBJECTIVES.resolve_all():
        assert member is CrossEntropy or any(word in member.__doc__ for word in ("arXiv", "ICLR"))
