"""SavedModels from elsewhere: the right signature, its logits, and nothing that reaches outside."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from dermrobust.attacks.cleverhans.pgd import PGD
from dermrobust.attacks.engine import attack_pixels, record_seeds, to_images
from dermrobust.attacks.errors import UserError
from dermrobust.attacks.logits import logits_of
from dermrobust.attacks.threat import ThreatModel
from dermrobust.models.foreign.outputs import is_differentiable
from dermrobust.models.foreign.saved_models import load_outputs, read_signature, saved_model_target
from dermrobust.models.foreign.spec import ForeignSpec, InputFormat, OutputKind, Signature
from tests.foreign_models import BYTES, SIZE, UNIT, exported, learned, taking
from tests.small_networks import colored_images

PIXELS, LABELS = colored_images(40, SIZE, seed=5)


def scores(network: keras.Model, images: Any) -> dict[str, Any]:
    return {"scores": network(images, training=False)}


def spec_of(folder: Path, image_format: InputFormat, outputs: OutputKind) -> ForeignSpec:
    return ForeignSpec(
        format="saved_model",
        image_size=SIZE,
        input=image_format,
        outputs=outputs,
        signature=read_signature(folder),
    )


@pytest.mark.parametrize(
    ("network", "image_format", "outputs"),
    [(learned, UNIT, OutputKind.LOGITS), (lambda: taking(BYTES), BYTES, OutputKind.PROBABILITIES)],
)
def test_its_target_says_what_the_network_says(
    network: Callable[[], keras.Model], image_format: InputFormat, outputs: OutputKind, tmp_path: Path
) -> None:
    folder = exported(tmp_path / "model", network())
    target = saved_model_target(folder, spec_of(folder, image_format, outputs))

    found = tf.nn.softmax(logits_of(target, to_images(PIXELS), 16))

    expected = tf.nn.softmax(learned()(to_images(PIXELS), training=False))
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert saved_model_target(folder, spec_of(folder, image_format, outputs)) is target


def test_attacks_pass_through_it(tmp_path: Path) -> None:
    folder = exported(tmp_path / "model", taking(BYTES))
    target = saved_model_target(folder, spec_of(folder, BYTES, OutputKind.PROBABILITIES))
    threat = ThreatModel(16)
    seeds = record_seeds([str(index) for index in range(40)], attack="pgd", threat=threat, seed=0)

    attacked = attack_pixels(PGD(steps=10), target, PIXELS, LABELS, seeds, threat=threat, batch_size=16)

    right = [float((logits_of(target, to_images(x), 16).argmax(axis=1) == LABELS).mean()) for x in (PIXELS, attacked)]
    assert right[0] > 0.8
    assert right[1] < right[0] - 0.3


def test_keras_export_is_understood(tmp_path: Path) -> None:
    taking(BYTES).export(tmp_path / "model", verbose=False)

    found = read_signature(tmp_path / "model")

    assert (found.name, found.image_size, found.class_count) == ("serving_default", SIZE, 7)


@pytest.mark.parametrize(("declared", "size"), [((12, 20), (12, 20)), ((SIZE, SIZE), SIZE), ((None, None), None)])
def test_the_declared_size_is_found(
    declared: tuple[int | None, int | None], size: int | tuple[int, int] | None, tmp_path: Path
) -> None:
    def resized(network: keras.Model, images: Any) -> dict[str, Any]:
        return scores(network, tf.image.resize(images, (SIZE, SIZE)))

    folder = exported(tmp_path / "model", learned(), tf.TensorSpec([None, *declared, 3]), serving_default=resized)

    signature = read_signature(folder)
    assert signature.image_size == size
    assert Signature.model_validate_json(signature.model_dump_json()) == signature


def test_the_signature_that_takes_images_is_found_among_others(tmp_path: Path) -> None:
    def encoded(network: keras.Model, images: Any) -> dict[str, Any]:
        return {"text": tf.strings.as_string(tf.reduce_sum(network(images), axis=1))}

    def several(network: keras.Model, images: Any) -> dict[str, Any]:
        outputs = network(images)
        return {"class": tf.argmax(outputs, axis=-1), "features": outputs[:, :2], "probabilities": outputs}

    folder = exported(tmp_path / "model", taking(UNIT), serving_default=encoded, pixels=several)

    found = read_signature(folder)

    assert (found.name, found.input, found.output) == ("pixels", "images", "probabilities")
    assert read_signature(folder, "pixels") == found
    with pytest.raises(UserError, match="no signature 'nonesuch'; it has: pixels, serving_default"):
        read_signature(folder, "nonesuch")


def decoding(network: keras.Model, files: Any) -> dict[str, Any]:
    images = tf.map_fn(lambda file: tf.io.decode_jpeg(file, 3), files, fn_output_signature=tf.uint8)
    return scores(network, tf.image.resize(tf.cast(images, tf.float32), (SIZE, SIZE)))


def writing(network: keras.Model, images: Any) -> dict[str, Any]:
    tf.io.write_file("/tmp/never", "written")
    return scores(network, images)


def ambiguous(network: keras.Model, images: Any) -> dict[str, Any]:
    return {"one": network(images), "other": network(images)}


@pytest.mark.parametrize(
    ("function", "spec", "told"),
    [
        (decoding, tf.TensorSpec([None], tf.string), "takes string.*Export a signature that takes float images"),
        (
            lambda network, images: scores(network, tf.cast(images, tf.float32)),
            tf.TensorSpec([None, SIZE, SIZE, 3], tf.uint8),
            "takes uint8",
        ),
        (scores, tf.TensorSpec([1, SIZE, SIZE, 3]), r"takes \(1, 16, 16, 3\)"),
        (
            lambda network, images: scores(network, tf.image.resize(images, (SIZE, SIZE))),
            tf.TensorSpec([None, None, SIZE, 3]),
            "of which one side alone is free",
        ),
        (writing, tf.TensorSpec([None, SIZE, SIZE, 3]), "not known to be harmless: WriteFile"),
        (ambiguous, tf.TensorSpec([None, SIZE, SIZE, 3]), "several outputs that may be scores: one, other"),
    ],
)
def test_signatures_that_cannot_be_attacked_are_refused(
    function: Callable[..., Any], spec: tf.TensorSpec, told: str, tmp_path: Path
) -> None:
    folder = exported(tmp_path / "model", learned(), spec, serving_default=function)

    with pytest.raises(UserError, match=told):
        read_signature(folder)


@pytest.mark.parametrize(
    "between", [tf.round, lambda images: tf.cast(tf.cast(images * 255, tf.uint8), tf.float32) / 255]
)
def test_a_model_that_no_gradient_passes_through_is_known(between: Callable[[Any], Any], tmp_path: Path) -> None:
    folder = exported(
        tmp_path / "model", learned(), serving_default=lambda network, images: scores(network, between(images))
    )
    outputs = load_outputs(folder, read_signature(folder))

    assert not is_differentiable(outputs, to_images(PIXELS[:2]))


def test_a_gradient_of_zero_is_one(tmp_path: Path) -> None:
    @tf.custom_gradient
    def flat(images: Any) -> Any:
        return images, tf.zeros_like

    assert is_differentiable(lambda images: learned()(flat(images)), to_images(PIXELS[:2]))
