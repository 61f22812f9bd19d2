"""Configs that train a model again: they keep the models it needs, and no path of the machine that trained."""

from pathlib import Path
from typing import Any

import pytest

from dermrobust.attacks.errors import UserError
from dermrobust.pipeline.config import PipelineConfig
from dermrobust.pipeline.report.lineage import ArtifactRecord
from dermrobust.pipeline.zoo.evidence import Evidence
from dermrobust.pipeline.zoo.retraining import portable_parameters, retraining_command, retraining_config
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


def evidence(name: str, inputs: dict[str, tuple[str, ...]]) -> Evidence:
    """The records of a model; its parameters are those of the config."""
    config = PipelineConfig.model_validate(
        {
            "train": {"network": "resnet"},
            "defences": {
                "robust": {"objective": "n_fgsm", "initial_weights": "baseline"},
                "other": {"objective": "fast"},
            },
            "evaluate": {"attacks": {"pgd": "pgd", "of_other": {"attack": "transfer", "source": "other"}}},
        }
    )
    params = config.train if name == "vanilla" else config.defence_train(name)
    record = ArtifactRecord(
        type="model",
        fingerprint="f",
        digest="d",
        size=1,
        producer=f"train[{name}]",
        parameters=params.model_dump(mode="json"),
        inputs={"examples": ("e",), **inputs},
        versions={},
    )
    nothing: Any = None
    return Evidence("run", name, config, nothing, record, record, nothing, nothing, 60.0, {})


def test_a_model_that_was_trained_from_the_baseline_keeps_it_and_nothing_else(tmp_path: Path) -> None:
    config = retraining_config(evidence("robust", {"baseline": ("b",)}), "zoo_name", tmp_path)

    assert config.model_names() == ("vanilla", "robust")
    assert config.defence_train("robust").initial_weights == "baseline"
    assert config.evaluate.gate.candidate == "robust"
    assert list(config.evaluate.attacks) == ["pgd"]
    assert retraining_command(evidence("robust", {"baseline": ("b",)}), "ham10000", "x").endswith("--to train")


def test_a_model_that_was_trained_alone_is_the_only_one(tmp_path: Path) -> None:
    config = retraining_config(evidence("other", {}), "zoo_name", tmp_path)

    assert config.model_names() == ("vanilla",)
    assert config.train.objective.model_dump()["objective"] == "fast"


def test_a_model_that_was_trained_on_stored_examples_keeps_all_models(tmp_path: Path) -> None:
    given = evidence("other", {"adversarial": ("a",), "baseline": ("b",)})

    assert retraining_config(given, "zoo_name", tmp_path).model_names() == given.config.model_names()
    assert retraining_command(given, "ham10000", "x").endswith("--to augment")
