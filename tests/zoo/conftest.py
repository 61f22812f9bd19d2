from pathlib import Path

import pytest

from tests.zoo.cards import card, write_model


@pytest.fixture
def zoo(tmp_path: Path) -> Path:
    """A zoo of two models."""
    folder = tmp_path / "zoo"
    for name in ("robust", "plain"):
        write_model(folder, card(name))
    return folder
