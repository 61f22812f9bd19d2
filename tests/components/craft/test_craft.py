"""Transferred examples: crafted once on their source, and the same to a model as if crafted for it alone."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from dermrobust.attacks.cleverhans.pgd import PGD
from dermrobust.attacks.selection import read_attack
from dermrobust.attacks.threat import ThreatModel
from dermrobust.components import storage
from dermrobust.components.adversarial_shard import Crafting
from dermrobust.components.artifacts import Artifact, ArtifactStore, ArtifactType
from dermrobust.components.craft.component import CRAFT, CraftParams
from dermrobust.components.evaluation.params import PredictParams
from dermrobust.components.evaluation.predictions import ADVERSARIAL, adversarial_name, prediction_uris
from dermrobust.components.evaluation.tables import read_tables
from dermrobust.components.examples import ExamplesSpec, Split
from dermrobust.components.predict.component import PREDICT
from dermrobust.components.train.component import TRAIN, TrainParams
from tests.components.conftest import Records, Workshop, records

EPSILONS = (ThreatModel(2), ThreatModel(6))
PARAMS = CraftParams(name="moved", attack=PGD(steps=3), epsilons=EPSILONS, batch_size=16, seed=5)
TRANSFER = read_attack({"attack": "transfer", "source": "other", "crafted_with": {"attack": "pgd", "steps": 3}})


@pytest.fixture(scope="module")
def other(workshop: Workshop, examples: Artifact, train_params: TrainParams) -> Artifact:
    """The model that examples are crafted on."""
    params = train_params.model_copy(update={"seed": 4, "epochs": 2})
    return workshop.make(TRAIN, params, "other", examples=examples, adversarial=())["model"]


@pytest.fixture(scope="module")
def crafted(workshop: Workshop, examples: Artifact, other: Artifact) -> Artifact:
    return workshop.make(CRAFT, PARAMS, "crafted", examples=examples, model=other)["adversarial"]


def scored(
    workshop: Workshop, name: str, examples: Artifact, model: Artifact, stop: bool, **inputs: Artifact
) -> Artifact:
    """Predictions on transferred examples, given as an artifact or crafted on a surrogate."""
    params = PredictParams(
        attacks={"moved": TRANSFER},
        epsilons=EPSILONS,
        batch_size=16,
        seed=5,
        stop_at_success=stop,
        surrogates=("other",) if "surrogates" in inputs else (),
        transferred=("moved",) if "transferred" in inputs else (),
    )
    given: dict[str, Any] = {"surrogates": (), "transferred": (), **inputs}
    return workshop.make(PREDICT, params, name, examples=examples, model=model, **given)["predictions"]


def table_of(predictions: Artifact) -> pa.Table:
    return read_tables(prediction_uris(predictions))


@pytest.mark.parametrize("stop", [True, False])
def test_scores_are_those_of_examples_that_are_crafted_for_the_model(
    stop: bool, workshop: Workshop, examples: Artifact, model: Artifact, other: Artifact, crafted: Artifact
) -> None:
    once = scored(workshop, f"once_{stop}", examples, model, stop, transferred=crafted)
    each = scored(workshop, f"each_{stop}", examples, model, stop, surrogates=other)

    # Images that the model errs on are left out of batches in the one case: sums may differ in their last digits, and
    # with them the sign of a gradient near zero.
    found, expected = table_of(once).to_pylist(), table_of(each).to_pylist()
    assert [(row["image_id"], row["attack"], row["epsilon"]) for row in found] == [
        (row["image_id"], row["attack"], row["epsilon"]) for row in expected
    ]
    assert [row["predicted"] for row in found] == [row["predicted"] for row in expected]
    np.testing.assert_allclose(
        [row["probabilities"] for row in found], [row["probabilities"] for row in expected], atol=1e-4
    )


def test_the_whole_budget_is_used_whatever_the_source_says(
    crafted: Artifact, clean: dict[Split, Records], examples: Artifact
) -> None:
    (count,) = {ExamplesSpec.read(examples).shards[Split.TEST]}

    for threat in EPSILONS:
        uris = [crafted.path(adversarial_name("moved", threat, index, count)) for index in range(count)]
        made = list(records(uris))
        distances = [
            np.abs(record["pixels"].astype(int) - original["pixels"]).max()
            for record, original in zip(made, clean[Split.TEST], strict=True)
        ]
        assert set(distances) == {int(threat.epsilon)}
        assert {record["attack"] for record in made} == {b"moved"}


def test_some_images_are_a_sample_of_all(
    workshop: Workshop, examples: Artifact, other: Artifact, crafted: Artifact
) -> None:
    few = workshop.make(CRAFT, PARAMS.model_copy(update={"images": 5}), "few", examples=examples, model=other)[
        "adversarial"
    ]
    count = ExamplesSpec.read(examples).shards[Split.TEST]
    names = [adversarial_name("moved", EPSILONS[0], index, count) for index in range(count)]

    sample, whole = (list(records([artifact.path(name) for name in names])) for artifact in (few, crafted))

    places = [-(-index * len(whole) // 5) for index in range(5)]
    assert [record["image/id"] for record in sample] == [whole[place]["image/id"] for place in places]


def test_finished_units_of_an_interrupted_execution_are_not_crafted_again(
    workshop: Workshop, examples: Artifact, other: Artifact, crafted: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    staged = ArtifactStore(str(workshop.root)).stage(ArtifactType.ADVERSARIAL_EXAMPLES, "interrupted", resumable=True)
    for name in storage.list_files(crafted.path(ADVERSARIAL)):
        storage.write_bytes(
            storage.join(staged, ADVERSARIAL, name), storage.read_bytes(crafted.path(ADVERSARIAL, name))
        )
    monkeypatch.setattr(Crafting, "craft", lambda *_: pytest.fail("crafted again"))

    made = workshop.make(CRAFT, PARAMS, "interrupted", examples=examples, model=other)["adversarial"]

    assert made.digest == crafted.digest


def test_examples_of_other_images_are_refused(
    workshop: Workshop, examples: Artifact, model: Artifact, other: Artifact
) -> None:
    few = workshop.make(CRAFT, PARAMS.model_copy(update={"images": 1}), "fewer", examples=examples, model=other)[
        "adversarial"
    ]

    with pytest.raises(Exception, match=r"predict: '.*moved-linf-2.*' does not hold the images of"):
        scored(workshop, "refused", examples, model, True, transferred=few)
