"""AutoAttack `rand`: an image is broken if most evaluations by a random model are wrong, not if one is."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from dermrobust.pipeline.api.attacking import attack

IMAGES = np.full((64, 4, 4, 3), 128, np.uint8)
LABELS = np.zeros(64, np.int64)


def flaky(images: Any) -> Any:
    """Logits that no perturbation changes, and that are wrong in one of ten evaluations."""
    wrong = tf.random.uniform([tf.shape(images)[0], 1]) < 0.1
    right = tf.constant([[2.0, 0.0, 0.0]]) + 0.0 * tf.reduce_sum(images, axis=[1, 2, 3])[:, None]
    return tf.where(wrong, right[:, ::-1], right)


def test_one_wrong_answer_of_many_breaks_no_image() -> None:
    once = attack(flaky, IMAGES, LABELS, {"attack": "pgd", "steps": 2}, "linf:4/255")
    often = attack(
        flaky, IMAGES, LABELS, {"attack": "auto_rand", "steps": 2, "draws": 2, "evaluations": 15}, "linf:4/255"
    )

    assert once.robust_accuracy < 1
    assert often.robust_accuracy == often.clean_accuracy == 1


def test_where_most_answers_are_wrong_the_image_is_broken() -> None:
    def shifted(images: Any) -> Any:
        """A class that a brighter image changes, behind noise that a single answer drowns in."""
        brightness = tf.reduce_mean(images, axis=[1, 2, 3])[:, None] - 128 / 255 - 0.008
        noise = tf.random.normal([tf.shape(images)[0], 1], stddev=0.004)
        return (brightness + noise) * tf.constant([[-1.0, 1.0, 0.0]]) * 100

    found = attack(shifted, IMAGES, LABELS, {"attack": "auto_rand", "steps": 5, "draws": 8}, "linf:8/255")

    assert found.clean_accuracy > 0.9
    assert found.robust_accuracy < 0.05
