"""Masked gradients are noticed by the self-checks and passed by the attacks that follow from them."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import tensorflow as tf

from dermrobust.attacks.cleverhans.fgsm import FGSM
from dermrobust.attacks.cleverhans.pgd import PGD
from dermrobust.attacks.escalated import Escalated
from dermrobust.attacks.threat import ThreatModel
from dermrobust.components.artifacts import Artifact
from dermrobust.components.audit.component import ADOPT_DATA, ADOPT_MODEL, AdoptDataParams, AdoptModelParams
from dermrobust.components.escalate.component import ESCALATE
from dermrobust.components.evaluation.escalation import Escalation
from dermrobust.components.evaluation.escalation_params import EscalateParams, EscalationSettings
from dermrobust.components.evaluation.params import PredictParams, ProbeParams
from dermrobust.components.evaluation.predictions import prediction_uris
from dermrobust.components.evaluation.probes import PROBES, probe_uris
from dermrobust.components.evaluation.tables import read_tables
from dermrobust.components.predict.component import PREDICT
from dermrobust.components.probe.component import PROBE
from dermrobust.models.tasks.ham10000 import lesion_task
from tests.components.conftest import Workshop
from tests.components.escalate.traps import CLASSES, FOOLING, RANDOM, SIZE, answers, faint_images, fragile
from tests.datasets import encoded, write_files, write_table
from tests.foreign_models import exported

COUNT = 48
SHARED: dict[str, Any] = {
    "attacks": {"fgsm": FGSM(), "pgd": PGD(steps=8)},
    "epsilons": (ThreatModel(8),),
    "batch_size": COUNT,
}
SIZES = {"queries": 10, "spsa_images": 0, "noise_draws": 1, "corruption_images": 0}
ATTACK = Escalated(steps=30, restarts=1, draws=8, samples=64, queries=50)

Judged = tuple[Escalation, float, float]
"""What escalation says, and the shares of images that withstand the attacks and all that follows from them."""


@pytest.fixture(scope="module")
def photos(workshop: Workshop, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return adopted_photos(workshop, tmp_path_factory.mktemp("faint"))


def adopted_photos(workshop: Workshop, folder: Path) -> Artifact:
    """Images that the fragile network knows."""
    pixels, labels = faint_images(COUNT, seed=5)
    write_files(folder / "images", {f"P{index:03d}.png": encoded(image) for index, image in enumerate(pixels)})
    rows = [{"image_id": f"P{index:03d}", "dx": CLASSES[label]} for index, label in enumerate(labels)]
    write_table(folder / "labels.csv", rows)
    params = AdoptDataParams(
        images=str(folder / "images"),
        labels=str(folder / "labels.csv"),
        task=lesion_task(CLASSES),
        preprocessing={"image_size": SIZE},
    )
    return workshop.make(ADOPT_DATA, params, "faint")["examples"]


def judged(trap: str, workshop: Workshop, photos: Artifact, folder: Path) -> Judged:
    """Audit a trap as far as the measurement, which needs no model."""
    name = f"trap {trap}"
    spec = tf.TensorSpec([None, SIZE, SIZE, 3], tf.float32, "images")
    saved = exported(folder / "model", fragile(), spec, serving_default=functools.partial(answers, trap))
    adopted = AdoptModelParams.model_validate({"model": str(saved), "input": {"range": "0..1"}})
    given: dict[str, Any] = {"examples": photos}
    given["model"] = workshop.make(ADOPT_MODEL, adopted, name, **given)["model"]
    given["predictions"] = workshop.make(PREDICT, PredictParams(**SHARED), name, **given)["predictions"]
    given["probes"] = workshop.make(PROBE, ProbeParams(**SHARED, **SIZES), name, **given)["probes"]
    params = EscalateParams(**SHARED, escalation=EscalationSettings(attack=ATTACK))
    found = workshop.make(ESCALATE, params, f"{name} escalated", **given)["escalated"]
    attacked, escalated = read_tables(prediction_uris(given["predictions"])), read_tables(probe_uris(found, PROBES))
    probed = read_tables(probe_uris(given["probes"], PROBES))
    return Escalation.read(found), standing(attacked), standing(attacked, probed, escalated)


def standing(*tables: pa.Table) -> float:
    """The share of images that are right wherever they were tried at the budget, or clean."""
    right: dict[str, bool] = {}
    for row in (row for table in tables for row in table.to_pylist() if row["epsilon"] <= 8):
        held = row["predicted"] in (None, row["label"])
        right[row["image_id"]] = right.get(row["image_id"], True) and held
    assert len(right) == COUNT
    return float(np.mean(list(right.values())))


def test_a_network_that_hides_nothing_is_not_attacked_again(
    workshop: Workshop, photos: Artifact, tmp_path: Path
) -> None:
    escalation, attacked, escalated = judged("plain", workshop, photos, tmp_path)

    assert escalation == Escalation()
    assert attacked == escalated < 0.05


@pytest.mark.parametrize("trap", FOOLING)
def test_what_masks_gradients_is_noticed_and_broken(
    trap: str, workshop: Workshop, photos: Artifact, tmp_path: Path
) -> None:
    escalation, attacked, escalated = judged(trap, workshop, photos, tmp_path)

    assert attacked > 0.5, "the attacks were not fooled"
    assert escalation.signs
    assert escalation.random == (trap == "rippling")
    assert escalated < 0.05


@pytest.mark.parametrize("trap", RANDOM)
def test_random_answers_are_noticed_and_broken(trap: str, workshop: Workshop, photos: Artifact, tmp_path: Path) -> None:
    escalation, _, escalated = judged(trap, workshop, photos, tmp_path)

    assert "deterministic" in escalation.signs
    assert (escalation.random, escalation.evaluations) == (True, ATTACK.evaluations)
    assert escalated < 0.05
