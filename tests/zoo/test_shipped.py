"""The zoo of this project: its limits, and that every model is whole and can be trained again."""

import json

import numpy as np
import pytest

from dermrobust.models.classifier import load_network
from dermrobust.models.foreign.networks import adopted_network, opened, read_network
from dermrobust.models.foreign.spec import InputFormat, OutputKind
from dermrobust.pipeline.config_files import load_config
from dermrobust.pipeline.zoo.adding import folder_size
from dermrobust.pipeline.zoo.card_text import render_card_text
from dermrobust.pipeline.zoo.catalog import model_names, zoo_folder
from dermrobust.pipeline.zoo.verifying import verify_folder

ZOO = zoo_folder()


def test_it_is_small() -> None:
    assert len(model_names(ZOO)) <= 6
    assert folder_size(ZOO) < 40_000_000


@pytest.mark.parametrize("name", model_names(ZOO))
def test_a_model_is_whole(name: str) -> None:
    card = verify_folder(ZOO / name)

    assert (ZOO / name / "card.md").read_text(encoding="utf-8") == render_card_text(card)
    assert card.license == "CC-BY-NC-4.0"
    assert card.training.command.partition("--config ")[2].startswith(f"zoo/{name}/config.json")
    config = ZOO / name / "config.json"
    # The folders are on whoever's machine it is.
    assert load_config(config).ingest.path == "${HAM10000_DIR}"
    assert json.loads(config.read_text(encoding="utf-8"))["root"] == f"output/{name.partition('/')[2]}"


@pytest.mark.parametrize("name", model_names(ZOO))
def test_a_model_is_adopted_by_an_audit_as_it_is(name: str) -> None:
    path = ZOO / name / "model.keras"
    network = load_network(path)
    height, width = network.input_shape[1:3]
    images = np.random.default_rng(0).random((2, height, width, 3), np.float32)

    found = opened(read_network(path), (height, width))

    assert found.kind is OutputKind.LOGITS
    adopted = adopted_network(found.network, InputFormat(), found.kind)
    np.testing.assert_allclose(adopted(images, training=False), network(images, training=False), rtol=1e-5, atol=1e-5)
