"""What a model takes is measured on labelled images, and only said where it is clear."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pytest

from dermrobust.attacks.errors import UserError
from dermrobust.attacks.problem import Labels
from dermrobust.attacks.threat import Images
from dermrobust.models.balanced_accuracy import balanced_accuracy
from dermrobust.models.foreign.detection import LogitsIn, Trial, doubt, find_input, leads
from dermrobust.models.foreign.spec import CANDIDATES, IMAGENET, InputFormat
from tests.foreign_models import BYTES, SIGNED, UNIT

LABELS = np.arange(90) % 3
"""Of three classes; an image holds its own index, so that a fake model knows it."""
IMAGES = np.broadcast_to(np.arange(90, dtype=np.float32)[:, None, None, None] / np.float32(100), (90, 2, 2, 3)).copy()


def model(**right: float) -> LogitsIn:
    """A model that is right on a share of the images of each class, by the format's name."""

    def logits(images: Images, image_format: InputFormat) -> npt.NDArray[np.float32]:
        index = np.rint(images[:, 0, 0, 0] * 100).astype(int)
        share = right[_name(image_format)]
        known = (index // 3) < 30 * share
        return np.eye(3, dtype=np.float32)[(LABELS[index] + ~known) % 3]

    return logits


def _name(image_format: InputFormat) -> str:
    return {UNIT: "unit", BYTES: "bytes", SIGNED: "signed", IMAGENET: "imagenet"}[image_format]


@pytest.mark.parametrize("expected", CANDIDATES, ids=str)
def test_the_format_with_the_best_balanced_accuracy_is_taken(expected: InputFormat) -> None:
    shares = {"unit": 0.5, "bytes": 0.4, "signed": 0.3, "imagenet": 0.5, _name(expected): 0.9}

    found, finding = find_input(model(**shares), IMAGES, LABELS, None)

    assert found == expected
    assert (finding.name, finding.value, finding.how) == ("input", str(expected), "detected")
    assert f"{expected} 0.900" in finding.why


@pytest.mark.parametrize(
    "shares",
    [
        {"unit": 0.5, "bytes": 0.53, "signed": 0.0, "imagenet": 0.5},
        {"unit": 0.5, "bytes": 0.0, "signed": 0.0, "imagenet": 0.5},
        {"unit": 0.3, "bytes": 0.1, "signed": 0.1, "imagenet": 0.1},  # no better than chance
    ],
)
def test_a_lead_that_is_no_lead_is_not_taken_for_one(shares: dict[str, float]) -> None:
    with pytest.raises(UserError, match=r"not clear which values.*90 images.*--input-range 0\.\.1\|0\.\.255\|-1\.\.1"):
        find_input(model(**shares), IMAGES, LABELS, None)


def test_the_models_own_layers_have_the_word_where_measurement_does_not_contradict() -> None:
    found, finding = find_input(
        model(unit=0.5, bytes=0.5, signed=0.5, imagenet=0.5), IMAGES, LABELS, (SIGNED, "layer 'x'")
    )

    assert (found, finding.why) == (SIGNED, "layer 'x'")


def test_layers_that_measurement_contradicts_are_not_believed() -> None:
    with pytest.raises(UserError, match=r"layer 'x'.*-1\.\.1.*clearly better.*0\.\.255 0\.900.*--input-range"):
        find_input(model(unit=0.5, bytes=0.9, signed=0.5, imagenet=0.5), IMAGES, LABELS, (SIGNED, "layer 'x'"))


def test_what_the_user_says_is_doubted_where_something_else_is_clearly_better() -> None:
    shares = {"unit": 0.4, "bytes": 0.9, "signed": 0.4, "imagenet": 0.4}

    assert "0.900 against 0.400" in (doubt(model(**shares), IMAGES, LABELS, UNIT) or "")
    assert doubt(model(**shares), IMAGES, LABELS, BYTES) is None


def trial(right: Sequence[bool], labels: Labels) -> Trial:
    flags = np.array(right)
    return Trial(flags, balanced_accuracy(labels, flags))


def test_classes_count_equally_however_few_their_images() -> None:
    labels = np.array([0] * 98 + [1] * 2)

    assert balanced_accuracy(labels, labels == 0) == 0.5


def test_a_lead_on_few_images_is_not_sure() -> None:
    few, many = np.arange(12) % 2, np.arange(240) % 2
    better = [index // 2 % 3 < 2 for index in range(240)]
    worse = [index // 2 % 3 > 0 if index % 4 else False for index in range(240)]

    assert leads(trial(better, many), trial(worse, many), many)
    assert not leads(trial(better[:12], few), trial(worse[:12], few), few)


@pytest.mark.parametrize(
    "values",
    [{"mean": (0.5,)}, {"std": (0.5,)}, {"mean": (0.5,), "std": (0.0,)}, {"mean": (1, 2), "std": (1, 2)}],
)
def test_a_normalisation_is_complete(values: dict[str, tuple[float, ...]]) -> None:
    with pytest.raises(ValueError, match=r"mean and standard|above 0|one value for all channels"):
        InputFormat.model_validate(values)
