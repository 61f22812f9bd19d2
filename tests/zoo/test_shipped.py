"""The zoo of this project: its limits, and that every model is whole and can be trained again."""

import json

import pytest

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
