"""A user's model becomes a model artifact: what it takes and returns is found out, or it is refused."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops

from dermrobust.attacks.engine import to_images
from dermrobust.attacks.errors import UserError
from dermrobust.attacks.logits import logits_of
from dermrobust.components.artifacts import Artifact
from dermrobust.components.attack_targets import classifier_of, has_only_probabilities, target_of
from dermrobust.components.audit.component import ADOPT_MODEL, AdoptModelParams
from dermrobust.components.fingerprint import fingerprint
from dermrobust.components.foreign_files import ADOPTION, FOREIGN
from dermrobust.components.model_files import ModelSpec, load_classifier
from dermrobust.models.foreign.outputs import MASKS_GRADIENTS, NO_GRADIENT
from dermrobust.models.foreign.spec import CANDIDATES, Adoption, ForeignSpec, InputFormat, OutputKind
from dermrobust.models.tasks.ham10000 import TASK
from tests.components.conftest import Workshop
from tests.foreign_models import BYTES, SIGNED, SIZE, UNIT, exported, learned, taking
from tests.small_networks import colored_images

IMAGES = to_images(colored_images(12, SIZE, seed=5)[0])
EXPECTED = np.asarray(learned()(IMAGES, training=False))

Adopt = Callable[..., Artifact]


@pytest.fixture
def adopt(workshop: Workshop, adopted_images: Artifact, request: pytest.FixtureRequest, tmp_path: Path) -> Adopt:
    """A function that adopts a Keras model or a folder."""

    def adopt(model: keras.Model | Path, **params: Any) -> Artifact:
        path = model if isinstance(model, Path) else tmp_path / "model.keras"
        if not isinstance(model, Path):
            model.save(path)
        values = AdoptModelParams.model_validate({"model": str(path), **params})
        return workshop.make(ADOPT_MODEL, values, f"adopted {request.node.name}", examples=adopted_images)["model"]

    return adopt


def foreign(model: Artifact) -> ForeignSpec:
    return ForeignSpec.model_validate(model.read_json(FOREIGN))


def adoption(model: Artifact) -> Adoption:
    return Adoption.model_validate(model.read_json(ADOPTION))


def findings(model: Artifact) -> dict[str, tuple[str, str]]:
    return {finding.name: (finding.value, finding.how) for finding in adoption(model).findings}


@pytest.mark.parametrize("image_format", CANDIDATES, ids=str)
def test_a_keras_model_is_adopted_whatever_it_takes(image_format: InputFormat, adopt: Adopt) -> None:
    model = adopt(taking(image_format))

    logits = logits_of(load_classifier(model.uri, model.digest), IMAGES, 4)
    np.testing.assert_allclose(logits, EXPECTED, atol=2e-3)
    assert not has_only_probabilities(model)
    spec = ModelSpec.read(model)
    assert (spec.class_names, spec.preprocessing.image_size) == (TASK.class_names, SIZE)
    assert foreign(model).input == image_format
    assert adoption(model).balanced_accuracy > 0.8
    assert findings(model) == {
        "image_size": ("16 px", "detected"),
        "classes": (", ".join(TASK.class_names), "detected"),
        "input": (str(image_format), "detected"),
        "outputs": ("logits", "detected"),
    }
    assert adoption(model).notes == ()


def test_a_saved_model_is_adopted_as_it_is(adopt: Adopt, tmp_path: Path) -> None:
    model = adopt(exported(tmp_path / "exported", taking(BYTES)))

    spec = foreign(model)
    target = classifier_of(model)
    assert has_only_probabilities(model)
    np.testing.assert_allclose(
        np.exp(logits_of(target, IMAGES, 4)), keras.activations.softmax(ops.array(EXPECTED)), atol=1e-4
    )
    assert (spec.format, spec.outputs, spec.input) == ("saved_model", OutputKind.PROBABILITIES, BYTES)
    assert findings(model)["signature"] == ("serving_default", "detected")
    assert adoption(model).notes == (MASKS_GRADIENTS,)


def test_what_is_given_is_not_looked_for(adopt: Adopt) -> None:
    model = adopt(taking(SIGNED), input={"range": "-1..1"}, stated=("image_size", "classes"))

    assert {how for name, (_, how) in findings(model).items() if name != "outputs"} == {"given"}
    assert foreign(model).input == SIGNED


def test_what_is_given_against_all_evidence_is_done_and_doubted(adopt: Adopt) -> None:
    model = adopt(taking(BYTES), input={"range": "0..1"})

    assert foreign(model).input == UNIT
    assert "the model is clearly better with input 0..255 than with the given 0..1" in adoption(model).notes[0]


def test_saying_what_would_have_been_found_changes_no_content(adopt: Adopt, tmp_path: Path) -> None:
    taking(BYTES).save(tmp_path / "same.keras")

    found, given = adopt(tmp_path / "same.keras"), adopt(tmp_path / "same.keras", input={"range": "0..255"})

    assert found.digest == given.digest


def test_classes_in_another_order_are_suspected(adopt: Adopt) -> None:
    images = keras.Input((SIZE, SIZE, 3))
    turned = keras.Model(images, ops.roll(learned()(images), 1, axis=-1))

    model = adopt(turned, input={"range": "0..1"})

    assert "hardly more than chance" in adoption(model).notes[-1]


def plain(*before: Any, count: int = 7, **options: Any) -> keras.Model:
    return keras.Sequential([keras.Input((SIZE, SIZE, 3), **options), *before, layers.Flatten(), layers.Dense(count)])


def times(factor: float) -> keras.Model:
    """A network whose weights, and so its outputs, are the factor: 0 or NaN."""
    network = plain()
    network.set_weights([weight * factor for weight in network.get_weights()])
    return network


def sometimes_infinite() -> keras.Model:
    images = keras.Input((SIZE, SIZE, 3))
    brightness = ops.reshape(ops.mean(images, axis=(1, 2, 3)), (-1, 1))
    return keras.Model(images, learned()(images) / ops.cast(brightness < 0.53, "float32"))


def rounding() -> keras.Model:
    images = keras.Input((SIZE, SIZE, 3))
    return keras.Model(images, learned()(ops.round(images * 16) / 16))


@pytest.mark.parametrize(
    ("model", "params", "told"),
    [
        (lambda: plain(count=5), {}, r"tells 5 classes apart, but 7 are named \(akiec, .*--classes"),
        (lambda: times(np.nan), {}, r"not finite \(NaN or infinity\) on image 'P\d+' with any input"),
        (sometimes_infinite, {"input": {"range": "0..1"}}, r"not finite .* on image 'P\d+' with input 0\.\.1"),
        (lambda: times(0.0), {}, "not clear which values the model takes"),
        (plain, {"signature": "pixels"}, "is a Keras file, which has no signatures"),
    ],
)
def test_what_cannot_be_audited_is_refused(
    model: Callable[[], keras.Model], params: dict[str, Any], told: str, adopt: Adopt
) -> None:
    with pytest.raises(UserError, match=told):
        adopt(model(), **params)


def test_a_model_that_no_gradient_passes_through_is_attacked_as_if_it_were_zero(adopt: Adopt) -> None:
    model = adopt(rounding(), input={"range": "0..1"})

    assert adoption(model).notes == (NO_GRADIENT,)
    assert not foreign(model).differentiable
    target, images = target_of(model, "float32"), tf.constant(IMAGES)
    with tf.GradientTape() as tape:
        tape.watch(images)
        logits = target.logits(target.weights, images)
    np.testing.assert_allclose(logits, logits_of(classifier_of(model), IMAGES, 4), atol=1e-4)
    assert not np.any(tape.gradient(logits, images))


def test_a_model_that_is_not_there_is_refused(adopt: Adopt, tmp_path: Path, adopted_images: Artifact) -> None:
    params = AdoptModelParams(model=str(tmp_path / "nonesuch.keras"))

    with pytest.raises(UserError, match=r"nonesuch\.keras' cannot be read: No such file"):
        fingerprint(ADOPT_MODEL, params, {"examples": (adopted_images,)})
    with pytest.raises(UserError, match="there is no model"):
        adopt(tmp_path / "nonesuch.keras")


def test_the_fingerprint_hangs_on_the_content_of_the_model(tmp_path: Path, adopted_images: Artifact) -> None:
    def of(path: Path) -> str:
        return fingerprint(ADOPT_MODEL, AdoptModelParams(model=str(path)), {"examples": (adopted_images,)})

    (tmp_path / "one.keras").write_bytes(b"same")
    (tmp_path / "two.keras").write_bytes(b"same")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "saved_model.pb").write_bytes(b"same")
    assert of(tmp_path / "one.keras") == of(tmp_path / "two.keras") != of(tmp_path / "folder")

    before = of(tmp_path / "folder")
    (tmp_path / "folder" / "variables").write_bytes(b"other")
    assert of(tmp_path / "folder") != before
