"""What is kept of a training's parameters: no path of the machine that trained."""

from pathlib import Path

import pytest

from dermrobust.attacks.errors import UserError
from dermrobust.pipeline.zoo.retraining import portable_parameters
from tests.zoo.cards import card, write_model


def test_initial_weights_are_those_of_the_zoo_where_it_has_them(tmp_path: Path) -> None:
    write_model(tmp_path / "zoo", card("clean"), b"clean weights")
    for name, content in (("clean.keras", b"clean weights"), ("other.keras", b"other weights")):
        (tmp_path / name).write_bytes(content)

    def kept(name: str) -> object:
        network = {"network": "keras_file", "path": str(tmp_path / name)}
        return portable_parameters({"network": network, "epochs": 3}, tmp_path / "zoo")

    known = {"network": "keras_file", "path": "zoo/ham10000/clean/model.keras"}
    assert kept("clean.keras") == {"network": known, "epochs": 3}
    assert kept("other.keras") == {"network": {**known, "path": "other.keras"}, "epochs": 3}
    with pytest.raises(UserError, match="cannot be read"):
        kept("nonesuch.keras")


@pytest.mark.parametrize("network", ["resnet", {"network": "resnet", "width": 32}])
def test_other_parameters_stay(network: object, tmp_path: Path) -> None:
    assert portable_parameters({"network": network}, tmp_path) == {"network": network}
