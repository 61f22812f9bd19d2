"""Refer: the rejector follows from the validation split, and the attack that knows of it beats those that do not."""

from __future__ import annotations

import io

import keras
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import log_softmax, softmax

from dermrobust.attacks.cleverhans.pgd import PGD
from dermrobust.attacks.engine import attack_pixels
from dermrobust.attacks.selective.evading import Evading
from dermrobust.attacks.selective.rejecting import rejecting_target
from dermrobust.attacks.threat import ThreatModel
from dermrobust.components.artifacts import Artifact, ArtifactType
from dermrobust.components.attack_targets import classifier_of
from dermrobust.components.evaluation.params import PredictParams, Reading
from dermrobust.components.evaluation.predictions import prediction_uris
from dermrobust.components.evaluation.probes import PROBES_SCHEMA
from dermrobust.components.evaluation.referral_params import ReferParams
from dermrobust.components.evaluation.referrals import (
    EVADING,
    PROBED,
    Rejector,
    decisions,
    referral_uris,
    worst_of_images,
)
from dermrobust.components.evaluation.tables import read_tables
from dermrobust.components.examples import Split
from dermrobust.components.measure.selective import (
    constant_referrals,
    named,
    risk_coverage_table,
    selective_table,
)
from dermrobust.components.predict.component import PREDICT
from dermrobust.components.refer.component import REFER
from dermrobust.components.refer.fitting import fit_rejector
from dermrobust.models.tasks.ham10000 import TASK
from tests.components.conftest import Records, Workshop

RATES, EPSILON = (0.1, 0.5), 4.0
JUDGED = TASK.with_malignant(("bcc", "mel"))
"""The task with other malignant classes than its own."""
MALIGNANT = np.isin(np.arange(7), JUDGED.indices(JUDGED.malignant))
PARAMS = ReferParams.model_validate(
    {
        "rates": RATES,
        "epsilons": [EPSILON],
        "batch_size": 32,
        "slices": ("skin_tone",),
        "malignant": JUDGED.malignant,
        "attack": {"steps": 10, "targets": 3},
    }
)


@pytest.fixture(scope="module")
def referrals(workshop: Workshop, examples: Artifact, model: Artifact) -> Artifact:
    attacks = {"pgd": PGD(steps=5)}
    params = PredictParams(attacks=attacks, epsilons=(ThreatModel(EPSILON),), batch_size=32, slices=("skin_tone",))
    predictions = workshop.make(PREDICT, params, "referred", examples=examples, model=model)["predictions"]
    probes = workshop.publish(ArtifactType.PROBES, "referred", probe_files(predictions))
    made = workshop.make(
        REFER, PARAMS, "referred", examples=examples, model=model, predictions=predictions, probes=probes
    )
    return made["referrals"]


def probe_files(predictions: Artifact) -> dict[str, bytes]:
    """Probes of which one, on the first image, is certain of a wrong class; one image was not tried."""
    files = {}
    for uri in prediction_uris(predictions):
        table = read_tables([uri])
        sure = np.eye(7, dtype=np.float32)[(table["label"][0].as_py() + 1) % 7].tolist()
        probes = [
            {"image_id": table["image_id"][index].as_py(), "epsilon": EPSILON, "probabilities": values}
            for index, values in enumerate((sure, None))
        ]
        sink = io.BytesIO()
        pq.write_table(pa.Table.from_pylist(probes, schema=PROBES_SCHEMA), sink)
        files[f"probes/{uri.rpartition('/')[2]}"] = sink.getvalue()
    return files


@pytest.fixture(scope="module")
def rejector(referrals: Artifact) -> Rejector:
    return Rejector.read(referrals)


@pytest.fixture(scope="module")
def rows(referrals: Artifact) -> pa.Table:
    return read_tables(referral_uris(referrals))


def logits_of(network: keras.Model, records: Records) -> tuple[np.ndarray, np.ndarray]:
    pixels = np.stack([record["pixels"] for record in records])
    labels = np.asarray([record["label"] for record in records])
    return np.asarray(network(pixels / np.float32(255), training=False)), labels


@given(st.integers(2, 60), st.floats(0.01, 0.99), st.integers(0, 2**31))
def test_no_more_images_are_referred_than_asked_for(count: int, rate: float, seed: int) -> None:
    random = np.random.default_rng(seed)
    logits = random.integers(-3, 4, (count, 3)).astype(float)
    found = fit_rejector(softmax(logits, axis=1), random.integers(0, 3, count), (rate,))
    (threshold,) = found.thresholds
    confidence = softmax(logits / found.temperature, axis=1).max(axis=1)
    referred = np.mean(confidence < threshold.threshold - 1e-9)
    assert referred <= rate + 1e-9
    # The next larger confidence as threshold would refer more than asked for.
    assert np.mean(confidence < threshold.threshold + 1e-9) > rate - 1e-9
    assert found.nll_after <= found.nll_before + 1e-9


def test_rejector_is_fitted_to_the_validation_images(
    rejector: Rejector, rows: pa.Table, network: keras.Model, clean: dict[Split, Records]
) -> None:
    logits, labels = logits_of(network, clean[Split.VALIDATION])

    def nll(temperature: float) -> float:
        return float(-log_softmax(logits / temperature, axis=1)[np.arange(len(labels)), labels].mean())

    assert rejector.images == len(labels)
    assert rejector.nll_after == pytest.approx(nll(rejector.temperature), abs=1e-4)
    assert all(nll(rejector.temperature) <= nll(rejector.temperature * factor) for factor in (0.8, 0.95, 1.05, 1.25))
    confidence = softmax(logits / rejector.temperature, axis=1).max(axis=1)
    for found, rate in zip(rejector.thresholds, RATES, strict=True):
        assert np.mean(confidence < found.threshold - 1e-5) <= rate
        assert found.referred == pytest.approx(rate, abs=2 / len(labels))
    found = rows.filter(pc.equal(rows["attack"], "none"))
    logits, labels = logits_of(network, clean[Split.TEST])
    by_id = {row["image_id"]: row for row in found.to_pylist()}
    expected = softmax(logits / rejector.temperature, axis=1)
    for record, scores, label in zip(clean[Split.TEST], expected, labels, strict=True):
        row = by_id[record["image/id"].decode()]
        assert row["confidence"] == pytest.approx(scores.max(), abs=1e-4)
        assert (row["wrong"] is not None) == (scores.argmax() != label)
        assert (row["missed"] is not None) == (MALIGNANT[label] and not MALIGNANT[scores.argmax()])


def test_attack_beats_one_that_does_not_know_of_the_rejector(
    rejector: Rejector, model: Artifact, network: keras.Model, clean: dict[Split, Records]
) -> None:
    records, threat = clean[Split.TEST], ThreatModel(EPSILON)
    pixels = np.stack([record["pixels"] for record in records])
    labels = np.asarray([record["label"] for record in records], np.int64)
    threshold, target = rejector.at(0.5).threshold, classifier_of(model)
    seeds = np.arange(len(labels), dtype=np.uint64)

    def lost(moved: np.ndarray) -> np.ndarray:
        assert threat.contains(moved, pixels).all()
        scores = softmax(np.asarray(network(moved / np.float32(255), training=False)) / rejector.temperature, axis=1)
        return (scores.argmax(axis=1) != labels) & (scores.max(axis=1) >= threshold)

    plain = attack_pixels(
        PGD(steps=20), target, pixels, labels, seeds, threat=threat, batch_size=32, stop_at_success=True
    )
    knowing = rejecting_target(target, temperature=rejector.temperature, threshold=threshold)
    evading = Evading(steps=20)
    moved = attack_pixels(evading, knowing, pixels, labels, seeds, threat=threat, batch_size=32)
    # The same attack on a rejector that refers nothing: what it is for is the threshold in its loss.
    ignorant = rejecting_target(target, temperature=rejector.temperature, threshold=1e-6)
    misled = attack_pixels(evading, ignorant, pixels, labels, seeds, threat=threat, batch_size=32)
    assert lost(moved).sum() > max(lost(plain).sum(), lost(misled).sum()) + 5
    # Towards some classes: success is a confident answer among them.
    benign = tuple(np.flatnonzero(~MALIGNANT).tolist())
    aimed = evading.model_copy(update={"classes": benign})
    moved = attack_pixels(aimed, knowing, pixels, labels, seeds, threat=threat, batch_size=32)
    predicted = np.asarray(network(moved / np.float32(255), training=False)).argmax(axis=1)
    assert np.isin(predicted[lost(moved)], benign).mean() > 0.9


def test_figures_are_those_of_a_plain_loop(rejector: Rejector, rows: pa.Table) -> None:
    models = {"model": named(rows, "model")}
    models["constant"] = named(constant_referrals(rows, JUDGED, 5), "constant")
    table = selective_table(models, {"model": rejector}, JUDGED, "linf", [EPSILON], Reading(min_slice_size=10))
    found = {
        (row["model"], row["attack"], row["epsilon"], row["slice"], row["metric"]): row for row in table.to_pylist()
    }
    worst = worst_of_images(rows, EPSILON)
    images = {
        name: [row for row in rows.to_pylist() if row["image_id"] == name] for name in worst["image_id"].to_pylist()
    }
    for rate in RATES:
        threshold = rejector.at(rate).threshold
        states = []
        for answers in images.values():
            sure = [row["wrong"] is not None and row["wrong"] >= threshold for row in answers]
            missed = [row["missed"] is not None and row["missed"] >= threshold for row in answers]
            doubtful = [row["confidence"] < threshold for row in answers]
            state = "missed" if any(missed) else "lost" if any(sure) else "referred" if any(doubtful) else "right"
            states.append((answers[0]["label"], state))
        under = f"referral/{rate:g}/worst_case"

        def value(metric: str, where: str = "overall", under: str = under) -> float:
            return float(found["model", under, EPSILON, where, metric]["value"])

        kept = [state for _, state in states if state != "referred"]
        assert value("coverage") == pytest.approx(len(kept) / len(states))
        assert value("accuracy") == pytest.approx(kept.count("right") / len(kept))
        assert value("unreferred_errors") == pytest.approx(
            np.mean([state in ("lost", "missed") for _, state in states])
        )
        malignant = [state for label, state in states if MALIGNANT[label]]
        assert value("unreferred_missed") == pytest.approx(malignant.count("missed") / len(malignant))
        melanomas = [state for label, state in states if label == 4]
        assert value("unreferred_missed", "dx=mel") == pytest.approx(melanomas.count("missed") / len(melanomas))
        # The worst case holds all that was tried; the attack that knows of the rejector adds to it.
        alone = float(found["model", f"referral/{rate:g}/pgd", EPSILON, "overall", "unreferred_errors"]["value"])
        assert value("unreferred_errors") > alone
        floor = found["constant", under, EPSILON, "overall", "coverage"]
        assert (floor["value"], floor["n"], floor["norm"]) == (1.0, len(states), "linf")
    curve = risk_coverage_table(models, [EPSILON]).to_pylist()
    whole = [row for row in curve if row["model"] == "model" and row["coverage"] == 1.0]
    wrong = [any(row["wrong"] is not None for row in answers) for answers in images.values()]
    assert {row["attack"] for row in whole} == {"none", "worst_case"}
    assert next(row["risk"] for row in whole if row["attack"] == "worst_case") == pytest.approx(np.mean(wrong))
    assert {EVADING, PROBED} < set(rows["attack"].to_pylist())
    (probed, *_) = rows.filter(pc.equal(rows["attack"], PROBED)).to_pylist()
    assert probed["wrong"] == pytest.approx(1)
    assert ("model", "referral/0.5/none", 0.0, "skin_tone=unknown", "coverage") not in found
    assert not decisions(models["constant"], 0.0)["referred"].any()
