"""Attack on a model in memory: the function `dermrobust.attack`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
import numpy.typing as npt
from pydantic import ValidationError

from dermrobust.attacks.attack import Attack
from dermrobust.attacks.errors import UserError
from dermrobust.attacks.problem import Labels, Seeds
from dermrobust.attacks.selection import read_attack
from dermrobust.attacks.threat import Images, Norm, Pixels, ThreatModel
from dermrobust.attacks.transforms.registry import TRANSFORMS
from dermrobust.attacks.transforms.search import Search
from dermrobust.attacks.transforms.selection import read_search
from dermrobust.attacks.transforms.threat import TransformThreat, is_transform
from dermrobust.attacks.transforms.transform import Values
from dermrobust.components.evaluation.intervals import Interval, wilson_interval
from dermrobust.pipeline.api.arrays import collected
from dermrobust.pipeline.config_errors import explain


@dataclass(frozen=True)
class Result:
    """Outcome of an attack.

    Attributes:
        adversarial: adversarial images, of the shape and type of the clean ones, inside the budget.
        predictions: class predicted on each adversarial image, int64 [count].
        labels: true classes, int64 [count].
        clean_predictions: class predicted on each clean image, int64 [count].
        attack: the attack, or the search under a threat model beyond a norm, with its parameters.
        threat: the budget.
        parameters: values of each parameter of the transformation by its name, float32 [count], from which the images
            follow; empty for attacks under a norm.
    """

    adversarial: Images | Pixels
    predictions: Labels
    labels: Labels
    clean_predictions: Labels
    attack: Attack | Search
    threat: ThreatModel | TransformThreat
    parameters: Mapping[str, Values] = field(default_factory=dict)

    @property
    def success(self) -> npt.NDArray[np.bool_]:
        """Whether each image is misclassified, bool [count]; images that are misclassified when clean count."""
        return (self.predictions != self.labels) | (self.clean_predictions != self.labels)

    @property
    def n(self) -> int:
        """Number of images."""
        return len(self.labels)

    @property
    def clean_accuracy(self) -> float:
        """Fraction of clean images that are classified correctly."""
        return float((self.clean_predictions == self.labels).mean())

    @property
    def robust_accuracy(self) -> float:
        """Fraction of images that are classified correctly, clean and under the attack."""
        return float(1.0 - self.success.mean())

    @property
    def interval(self) -> Interval:
        """95 % Wilson interval of the robust accuracy."""
        return wilson_interval(self.robust_accuracy, self.n)

    def __repr__(self) -> str:
        """Robust accuracy with its interval; not the arrays."""
        lower, upper = self.interval
        return (
            f"Result({self.attack.name} at {self.threat}: robust accuracy {self.robust_accuracy:.3f} "
            f"[{lower:.3f}, {upper:.3f}], clean {self.clean_accuracy:.3f}, n={self.n})"
        )


def attack(
    model: Any,
    images: Any,
    labels: Any = None,
    attack: str | Mapping[str, Any] | Attack | Search = "auto",
    threat: str | float | ThreatModel | TransformThreat = "linf:4/255",
    *,
    input_range: str = "0..1",
    batch_size: int = 128,
    seed: int = 0,
    stop_at_success: bool = True,
    surrogates: Mapping[str, Any] | None = None,
) -> Result:
    """Attack a classifier through its own gradients.

    Args:
        model: a Keras model, or a differentiable function from images float32 [batch, height, width, 3] to logits
            [batch, class_count]. A last softmax or sigmoid of a Keras model is taken off, since probabilities saturate.
        images: uint8, or floats in [0, 1], [count, height, width, 3]; or a `tf.data.Dataset` of (image, label) pairs.
            Images in uint8 are attacked as files: the adversarial ones are 8-bit images inside the budget.
        labels: true classes, integers [count] or one-hot rows; left out for a data set.
        attack: name of an attack ("fgsm", "pgd", "auto", ...), or a mapping of its name and parameters:
            `{"attack": "pgd", "steps": 40, "restarts": 5}`. Under a threat model beyond a norm, a search: "adaptive",
            which "auto" stands for there, "random" or "grid", or `{"search": "random", "draws": 500}`.
        threat: budget such as "linf:4/255", "l2:0.5", "l1:12" or "l0:24" (pixels); a number is an L-infinity budget in
            1/255. Beyond a norm such as "colour:1", "geometry:0.5" or "patch:0.05", for images in uint8.
        input_range: values that the model takes for black and white: "0..1", "0..255" or "-1..1". The images are
            always given as described above.
        batch_size: images per gradient step.
        seed: seed of random starts.
        stop_at_success: leave an image as soon as it is misclassified: the same robust accuracy, several times faster.
        surrogates: models by name that the attack "transfer" crafts on.

    Raises:
        UserError: model, images, labels, attack or budget do not fit together; the message says how.
    """
    from dermrobust.attacks.engine import attack_images, attack_pixels
    from dermrobust.attacks.transforms.engine import transform_pixels

    budget = threat_model(threat)
    chosen = _read_attack(attack) if isinstance(budget, ThreatModel) else _read_search(attack)
    clean, classes = collected(images, labels)
    target = target_of(model, clean.shape[1:3], input_range, surrogates or {})
    seeds: Seeds = np.asarray(np.random.SeedSequence(seed).generate_state(len(clean), np.uint64), np.uint64)
    options: dict[str, Any] = {"threat": budget, "batch_size": batch_size, "stop_at_success": stop_at_success}
    parameters: Mapping[str, Values] = {}
    if isinstance(budget, ThreatModel):
        run: Callable[..., Any] = attack_pixels if clean.dtype == np.uint8 else attack_images
        adversarial = run(chosen, target, clean, classes, seeds, **options)
    else:
        found = transform_pixels(cast("Search", chosen), target, cast("Pixels", clean), classes, seeds, **options)
        names = (parameter.name for parameter in budget.transform.parameters)
        adversarial, parameters = found.pixels, dict(zip(names, found.values.T, strict=True))

    repeats = chosen.repeats if isinstance(chosen, Attack) else 1
    attacked, unchanged = (_predicted(target, some, classes, batch_size, repeats) for some in (adversarial, clean))
    return Result(adversarial, attacked, classes, unchanged, chosen, budget, parameters)


def _predicted(target: Any, some: Images | Pixels, labels: Labels, batch_size: int, repeats: int) -> Labels:
    """Return the predicted classes; where answers are random most of several decide, as they did in the attack."""
    from dermrobust.attacks.engine import to_images
    from dermrobust.attacks.repeated import majority_logits

    seen = to_images(np.asarray(some, np.uint8)) if some.dtype == np.uint8 else np.asarray(some, np.float32)
    return np.asarray(majority_logits(target, seen, labels, batch_size, repeats).argmax(axis=1), np.int64)


def threat_model(text: str | float | ThreatModel | TransformThreat) -> ThreatModel | TransformThreat:
    """Return the threat model that a text or number stands for.

    Args:
        text: "linf:4/255", "linf:0.0157", "l2:0.5", "l2:128/255", "l1:12", "l0:24" (pixels); a number is an L-infinity
            budget in 1/255. Beyond a norm: "colour:1", "geometry:0.5", "colour+geometry:1", "patch:0.05".

    Raises:
        UserError: it is no threat model.
    """
    if isinstance(text, ThreatModel | TransformThreat):
        return text
    try:
        if isinstance(text, str) and is_transform(text):
            return TransformThreat.parse(text)
        return ThreatModel.parse(text) if isinstance(text, str) else ThreatModel(float(text))
    except ValueError as error:
        unknown = isinstance(text, str) and text.partition(":")[0].strip() not in (*Norm, *TRANSFORMS.names)
        beyond = f"; beyond a norm a strength of {', '.join(TRANSFORMS.names)}: 'colour:1'" if unknown else ""
        raise UserError(f"{error}{beyond}") from None


def norm_and_transforms(texts: Sequence[Any]) -> tuple[list[ThreatModel], list[TransformThreat]]:
    """Return budgets under a norm, and threat models beyond one; see `threat_model`."""
    threats = [threat_model(text) for text in texts]
    budgets = [threat for threat in threats if isinstance(threat, ThreatModel)]
    return budgets, [threat for threat in threats if isinstance(threat, TransformThreat)]


def target_of(model: Any, size: tuple[int, ...], input_range: str, surrogates: Mapping[str, Any]) -> Any:
    """Return what attacks see of a model that takes images of a size; see `attack` for the arguments."""
    import dataclasses

    import keras
    import tensorflow as tf

    from dermrobust.attacks.target import Target
    from dermrobust.models.classifier import attack_target

    others = {name: target_of(other, size, input_range, {}) for name, other in surrogates.items()}
    if isinstance(model, keras.Model):
        return dataclasses.replace(attack_target(as_classifier(model, size, input_range)), surrogates=others)
    if not callable(model):
        raise UserError(f"the model must be a Keras model or a function from images to logits, found {type(model)}")
    image_format = _input_format(input_range)

    def logits(weights: Any, batch: Any) -> Any:
        del weights
        return tf.cast(model(image_format.scaled(batch)), tf.float32)

    return Target(logits, (), surrogates=others)


def as_classifier(model: Any, size: tuple[int, ...], input_range: str) -> Any:
    """Return a Keras network from images in [0, 1] to logits that computes what a user's model does."""
    from dermrobust.models.foreign.networks import adopted_network, opened
    from dermrobust.models.foreign.spec import OutputKind
    from dermrobust.models.image_size import size_of

    found = opened(model, size_of(size[0], size[1]))
    # Outputs of unknown kind are taken for logits; the attack's own checks refuse probabilities.
    return adopted_network(found.network, _input_format(input_range), found.kind or OutputKind.LOGITS)


def _input_format(input_range: str) -> Any:
    from dermrobust.models.foreign.spec import InputFormat, InputRange

    if input_range not in list(InputRange):
        raise UserError(f"input_range is {input_range!r}; it must be one of {', '.join(InputRange)}")
    return InputFormat(range=InputRange(input_range))


def _read_search(value: str | Mapping[str, Any] | Attack | Search) -> Search:
    if isinstance(value, Attack):
        raise UserError(f"{value.name} is defined for budgets under a norm; name a search, such as 'adaptive'")
    try:
        return read_search("adaptive" if value == "auto" else value)
    except ValidationError as error:
        raise UserError(f"the search is not valid:\n{explain(error, Search, ('attack',))}") from None


def _read_attack(value: str | Mapping[str, Any] | Attack | Search) -> Attack:
    if isinstance(value, Search):
        raise UserError(f"{value.name} is a search under threat models beyond a norm, such as 'colour:1'")
    try:
        return read_attack(value)
    except ValidationError as error:
        raise UserError(f"the attack is not valid:\n{explain(error, Attack, ('attack',))}") from None
