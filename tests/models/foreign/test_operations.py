"""SavedModels that would touch files or run code are refused before anything of them is loaded."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import pytest
import tensorflow as tf

from dermrobust.attacks.errors import UserError
from dermrobust.models.foreign.operations import ALLOWED
from dermrobust.models.foreign.saved_models import read_signature, unknown_operations
from tests.corpus.saved_models import IMAGES, scores, written
from tests.foreign_models import SIZE, learned


def test_a_function_that_no_signature_calls_is_refused_too(tmp_path: Path) -> None:
    """Loading a SavedModel makes all functions of its objects callable, and runs some of them."""
    network = learned()
    signature = tf.function(lambda images: scores(network, images), input_signature=[IMAGES])
    module = tf.Module()
    module.variables_of_the_network = [variable.value for variable in network.variables]
    module.extra = tf.function(written, input_signature=[])
    tf.saved_model.save(module, str(tmp_path / "model"), signatures={"serving_default": signature})

    with pytest.raises(UserError, match="WriteFile"):
        read_signature(tmp_path / "model")


def test_a_gradient_that_writes_is_refused(tmp_path: Path) -> None:
    @tf.custom_gradient
    def passed(images: Any) -> Any:
        def gradient(upstream: Any) -> Any:
            written()
            return upstream

        return tf.identity(images), gradient

    folder = tmp_path / "model"
    network = learned()
    signature = tf.function(lambda images: scores(network, passed(images)), input_signature=[IMAGES])
    module = tf.Module()
    module.variables_of_the_network = [variable.value for variable in network.variables]
    options = tf.saved_model.SaveOptions(experimental_custom_gradients=True)
    tf.saved_model.save(module, str(folder), signatures={"serving_default": signature}, options=options)

    with pytest.raises(UserError, match="WriteFile"):
        read_signature(folder)


def preprocessing_layers() -> keras.Model:
    return keras.Sequential(
        [
            keras.Input((SIZE, SIZE, 3)),
            keras.layers.Rescaling(1 / 127.5, offset=-1),
            keras.layers.RandomFlip(),
            keras.layers.RandomRotation(0.1),
            keras.layers.Conv2D(8, 3, activation="gelu"),
            keras.layers.BatchNormalization(),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dropout(0.2),
            keras.layers.Dense(7, activation="softmax"),
        ]
    )


@pytest.mark.parametrize(
    "network",
    [
        preprocessing_layers,
        lambda: keras.applications.MobileNetV3Small((32, 32, 3), weights=None, classes=7),
    ],
    ids=["preprocessing", "mobilenet"],
)
def test_networks_that_keras_exports_are_accepted(network: Callable[[], keras.Model], tmp_path: Path) -> None:
    network().export(tmp_path / "model", verbose=False)

    assert unknown_operations(tmp_path / "model") == ()


def test_every_allowed_operation_exists() -> None:
    """A name with a mistake would allow what another version of TensorFlow may call so."""
    missing = {name for name in ALLOWED if not hasattr(tf.raw_ops, name)}
    assert missing == set()
