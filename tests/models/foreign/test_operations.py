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
from tests.foreign_models import SIZE, exported, learned

IMAGES = tf.TensorSpec([None, SIZE, SIZE, 3])


def scores(network: keras.Model, images: Any) -> dict[str, Any]:
    return {"scores": network(images, training=False)}


def with_effect(effect: Callable[[], Any]) -> Callable[[keras.Model, Any], dict[str, Any]]:
    """A signature that classifies, and does something else on the way."""

    def function(network: keras.Model, images: Any) -> dict[str, Any]:
        effect()
        return scores(network, images)

    return function


def of_value(effect: Callable[[], Any]) -> Callable[[keras.Model, Any], dict[str, Any]]:
    """A signature whose scores depend on what it read."""

    def function(network: keras.Model, images: Any) -> dict[str, Any]:
        read = tf.cast(tf.strings.length(tf.reshape(effect(), [-1])[:1]), tf.float32)
        return {"scores": network(images, training=False) + 0.0 * read}

    return function


def hidden_in_a_branch() -> None:
    tf.cond(tf.random.uniform([]) > 2.0, written, lambda: None)


def written() -> None:
    tf.io.write_file("/tmp/dermrobust-never", "written")


def printed() -> None:
    tf.print("x", output_stream="file:///tmp/dermrobust-never")


def hidden_in_a_loop() -> None:
    def body(index: Any) -> Any:
        printed()
        return [index + 1]

    tf.while_loop(lambda index: index < 1, body, [0])


def summarized() -> None:
    writer = tf.raw_ops.SummaryWriter()
    tf.raw_ops.CreateSummaryFileWriter(
        writer=writer, logdir="/tmp/dermrobust-never", max_queue=1, flush_millis=1, filename_suffix=""
    )


def dataset_lines() -> Any:
    lines = tf.data.TextLineDataset("/etc/hostname")
    return lines.reduce(tf.constant(""), lambda text, line: text + line)


HOSTILE: dict[str, tuple[Callable[[keras.Model, Any], dict[str, Any]], str]] = {
    "write_file": (with_effect(written), "WriteFile"),
    "print to a file": (with_effect(printed), "PrintV2"),
    "checkpoint written": (
        with_effect(
            lambda: tf.raw_ops.SaveV2(
                prefix="/tmp/dermrobust-never", tensor_names=["x"], shape_and_slices=[""], tensors=[tf.zeros([1])]
            )
        ),
        "SaveV2",
    ),
    "old checkpoint written": (
        with_effect(
            lambda: tf.raw_ops.Save(filename="/tmp/dermrobust-never", tensor_names=["x"], data=[tf.zeros([1])])
        ),
        "Save",
    ),
    "summary": (with_effect(summarized), "CreateSummaryFileWriter"),
    "debugger": (
        with_effect(
            lambda: tf.raw_ops.DebugIdentityV2(input=tf.zeros([1]), debug_urls=["file:///tmp/dermrobust-never"])
        ),
        "DebugIdentityV2",
    ),
    "read_file": (of_value(lambda: tf.io.read_file("/etc/hostname")), "ReadFile"),
    "matching files": (of_value(lambda: tf.io.matching_files("/etc/*")), "MatchingFiles"),
    "lines of a file": (of_value(dataset_lines), "TextLineDataset"),
    "memory map": (
        of_value(
            lambda: tf.strings.as_string(
                tf.raw_ops.ImmutableConst(dtype=tf.float32, shape=[1], memory_region_name="/etc/hostname")
            )
        ),
        "ImmutableConst",
    ),
    "checkpoint read": (
        of_value(
            lambda: tf.strings.as_string(tf.raw_ops.Restore(file_pattern="/tmp/x", tensor_name="x", dt=tf.float32))
        ),
        "Restore",
    ),
    "new checkpoint read": (
        of_value(
            lambda: tf.strings.as_string(
                tf.raw_ops.RestoreV2(prefix="/tmp/x", tensor_names=["x"], shape_and_slices=[""], dtypes=[tf.float32])[0]
            )
        ),
        "RestoreV2",
    ),
    "python": (of_value(lambda: tf.numpy_function(lambda: "x", [], tf.string)), "PyFunc"),
    "in a branch": (with_effect(hidden_in_a_branch), "WriteFile"),
    "in a loop": (with_effect(hidden_in_a_loop), "PrintV2"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_reaches_outside_is_refused_by_name(name: str, tmp_path: Path) -> None:
    function, operation = HOSTILE[name]
    folder = exported(tmp_path / "model", learned(), IMAGES, serving_default=function)

    with pytest.raises(UserError, match=rf"not known to be harmless: (.*, )?{operation}[,.].*--trust-model"):
        read_signature(folder)

    assert read_signature(folder, trusted=True).name == "serving_default"
    assert operation in unknown_operations(folder)
    assert not Path("/tmp/dermrobust-never").exists()


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
