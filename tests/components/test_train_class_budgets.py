"""Budgets of training that differ by class."""

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from dermrobust.attacks.errors import UserError
from dermrobust.attacks.threat import ThreatModel
from dermrobust.components.train.component import TrainParams
from dermrobust.components.train.step import compiled_step
from dermrobust.models.objectives.adversarial import AdversarialObjective
from dermrobust.models.objectives.fast import Fast
from dermrobust.models.objectives.mart import Mart
from dermrobust.models.objectives.mixed import Mixed
from dermrobust.models.objectives.n_fgsm import NFGSM
from dermrobust.models.objectives.pgd import PGDTraining
from dermrobust.models.objectives.trades import Trades
from tests.components.conftest import Make
from tests.components.trainings import changed, network_bytes
from tests.models.robust_training import images_and_labels, seed_of, untrained
from tests.small_networks import CLASS_COUNT

RADIUS = 0.1
FACTORS = np.array([0.0, 0.5, 1.0, 1.5, 0.25, 1.0, 1.0], np.float32)[:CLASS_COUNT]
REACH: dict[type, float] = {NFGSM: 3.0}
"""Distance that an objective may go, in budgets, where it is not 1."""


@pytest.mark.parametrize("order", ["linf:4/255", "l2:1"])
@pytest.mark.parametrize("kind", [Fast, PGDTraining, NFGSM, Mixed, Trades, Mart])
def test_each_image_stays_within_the_budget_of_its_class(kind: type[AdversarialObjective], order: str) -> None:
    objective = kind(epsilon=ThreatModel.parse(order))
    images, labels = images_and_labels(32)
    crafted: list[Any] = []

    class Watched(kind):  # type: ignore[misc, valid-type]
        def loss(self, network: Any, images: Any, adversarial: Any, *rest: Any) -> Any:
            tf.py_function(lambda moved: crafted.append(moved.numpy()), [adversarial], [])
            return super().loss(network, images, adversarial, *rest)

    network = untrained()
    optimizer = keras.optimizers.SGD(0.0)
    optimizer.build(network.trainable_variables)
    step = compiled_step(
        network,
        Watched(**dict(objective)),
        optimizer,
        np.ones(CLASS_COUNT, np.float32),
        class_budgets=FACTORS,
        xla=False,
    )
    step(tf.constant(images), tf.constant(labels), tf.constant(RADIUS), seed_of(0))

    moved = (crafted[0] - images).reshape(len(images), -1)
    distances = np.abs(moved).max(axis=1) if order.startswith("linf") else np.linalg.norm(moved, axis=1)
    allowed = RADIUS * FACTORS[labels] * REACH.get(kind, 1.0)
    assert (distances <= allowed + 1e-6).all()
    for label in set(labels[FACTORS[labels] > 0].tolist()):
        # Clipping to [0, 1] may keep single images from using all of it.
        assert distances[labels == label].max() > 0.6 * allowed[labels == label].max()


def test_budgets_of_classes_change_the_model(train_params: TrainParams, train_model: Make) -> None:
    plain = changed(train_params, objective="fast", epochs=1, class_weighting="none")
    factors = {"mel": 0.0, "nv": 2.0}

    models = [
        train_model(changed(plain, class_budgets=each), f"budgets{index}")
        for index, each in enumerate(({}, factors, {"mel": 1.0}))
    ]

    same, different, ones = (network_bytes(model) for model in models)
    assert same != different
    assert same == ones


def test_a_class_that_does_not_exist_is_refused(train_params: TrainParams, train_model: Make) -> None:
    with pytest.raises(UserError, match="class_budgets: 'wart' is no class; these are: "):
        train_model(changed(train_params, objective="fast", class_budgets={"wart": 1.0}), "wart")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"class_budgets": {"mel": 2.0}}, "class_budgets: this objective has no budget"),
        ({"objective": "fast", "class_budgets": {"mel": -1}}, "greater than or equal to 0"),
    ],
)
def test_impossible_budgets_are_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TrainParams.model_validate(values)
