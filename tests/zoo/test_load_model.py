"""`dermrobust.load_model`: from a name or a folder to a network that attacks take."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dermrobust
from dermrobust.models.classifier import save_network
from tests.small_networks import accuracy, colored_images, trained_network
from tests.zoo.cards import card, write_model


@pytest.fixture(scope="module")
def images() -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    return colored_images(48)


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory, images: Any) -> Path:
    """A zoo with a model that has learned the images."""
    folder = tmp_path_factory.mktemp("stored")
    save_network(trained_network(*images), folder / "model.keras")
    write_model(folder / "zoo", card(), (folder / "model.keras").read_bytes())
    return folder / "zoo"


def test_a_model_maps_images_in_0_to_1_to_logits_and_is_attacked_as_it_is(stored: Path, images: Any) -> None:
    pixels, labels = images

    model = dermrobust.load_model("ham10000/robust", zoo=stored)
    result = dermrobust.attack(model, pixels, labels, "fgsm", "linf:8/255")

    logits = model.predict(pixels / np.float32(255), verbose=0)
    assert logits.shape == (48, 7)
    assert logits.min() < 0
    assert accuracy(model, pixels, labels) == result.clean_accuracy > 0.9
    assert result.robust_accuracy < result.clean_accuracy


def test_a_model_is_also_loaded_by_its_folder(stored: Path) -> None:
    first = dermrobust.load_model(stored / "ham10000" / "robust")
    second = dermrobust.load_model("robust", zoo=stored)

    for one, other in zip(first.get_weights(), second.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_file_that_the_card_does_not_describe_is_not_loaded(zoo: Path) -> None:
    (zoo / "ham10000" / "robust" / "model.keras").write_bytes(b"other weights")

    with pytest.raises(dermrobust.UserError, match=r"model\.keras' differs from its card"):
        dermrobust.load_model("ham10000/robust", zoo=zoo)


def test_an_unknown_model_is_answered_with_those_that_exist(zoo: Path, tmp_path: Path) -> None:
    with pytest.raises(dermrobust.UserError, match="there are: ham10000/plain, ham10000/robust"):
        dermrobust.load_model("ham10000/nonesuch", zoo=zoo)
    with pytest.raises(dermrobust.UserError, match="no zoo in"):
        dermrobust.load_model("ham10000/robust", zoo=tmp_path / "nonesuch")
