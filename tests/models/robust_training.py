"""Training on drawn images and attacking the outcome, without a data set or a component."""

import functools
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from dermrobust.attacks.engine import to_images
from dermrobust.attacks.problem import Labels
from dermrobust.attacks.threat import Images, ThreatModel
from dermrobust.models.objectives.crafting import Ball, ascend
from dermrobust.models.objectives.objective import Objective
from tests.small_networks import CLASS_COUNT, colored_images, tiny_network

BUDGET = ThreatModel(10)
"""About a third of the way from one class to the next: a network can be robust, and standard training is not."""


def images_and_labels(count: int, seed: int = 0) -> tuple[Images, Labels]:
    pixels, labels = colored_images(count, seed=seed)
    return to_images(pixels), labels


def untrained(seed: int = 0) -> keras.Model:
    return tiny_network((8, 8, 3), CLASS_COUNT, seed)


def seed_of(index: int) -> tf.Tensor:
    return tf.constant([0, index], tf.int32)


@functools.lru_cache(maxsize=32)
def compiled_craft(objective: Objective, network: keras.Model) -> Any:
    return tf.function(functools.partial(objective.craft, network), autograph=False)


def craft(
    objective: Objective, network: keras.Model, images: Images, labels: Labels, radius: float, seed: int = 0
) -> Images:
    """What an objective makes of images."""
    given = (tf.constant(images), tf.constant(labels), tf.constant(radius, tf.float32), seed_of(seed))
    return np.asarray(compiled_craft(objective, network)(*given))


def robust_accuracy(network: keras.Model, images: Images, labels: Labels, threat: ThreatModel = BUDGET) -> float:
    """Under PGD from a random start."""
    radius = tf.constant(threat.radius, tf.float32)
    ball = Ball(tf.constant(images), radius, threat.norm.order)
    attacked = ascend(
        network, ball, ball.random_point(seed_of(9)), tf.constant(labels), step_length=radius / 4, steps=20
    )
    return float((np.asarray(network(attacked, training=False)).argmax(axis=1) == labels).mean())
