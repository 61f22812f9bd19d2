"""Certify: what is stored follows from the model, the images and the seed, whatever the batches."""

from __future__ import annotations

import keras
import numpy as np
import pyarrow as pa
import pytest
from scipy import stats

from dermrobust.attacks.smoothing.gaussian import gaussian_noise
from dermrobust.attacks.smoothing.voting import noise_seeds
from dermrobust.components.artifacts import Artifact
from dermrobust.components.certify.component import CERTIFY
from dermrobust.components.evaluation.certificate_params import CertificateSettings, CertifyParams
from dermrobust.components.evaluation.certificates import certificate_uris, certificates_of, certified_at
from dermrobust.components.evaluation.params import Reading
from dermrobust.components.evaluation.tables import read_tables
from dermrobust.components.examples import Split
from dermrobust.components.measure.certified import certified_table, joined_certificates
from dermrobust.models.tasks.ham10000 import TASK
from tests.components.conftest import Records, Workshop

SIGMAS, SEED, SAMPLES = (0.05, 0.2), 5, 60
SETTINGS = {
    "sigmas": SIGMAS,
    "radii": ("l2:0.1", "l2:3"),
    "images": 20,
    "selection_samples": 10,
    "samples": SAMPLES,
    "attack": {"attack": "pgd", "steps": 3},
    "attack_draws": 2,
}
PARAMS = CertifyParams.model_validate({**SETTINGS, "batch_size": 32, "seed": SEED, "slices": ("skin_tone",)})


@pytest.fixture(scope="module")
def certificates(workshop: Workshop, examples: Artifact, model: Artifact) -> pa.Table:
    made = workshop.make(CERTIFY, PARAMS, "certified", examples=examples, model=model)["certificates"]
    return read_tables(certificate_uris(made))


def test_certificates_are_those_of_the_stored_images_and_their_own_noise(
    certificates: pa.Table, clean: dict[Split, Records], network: keras.Model
) -> None:
    originals = {record["image/id"].decode(): record for record in clean[Split.TEST]}
    assert certificates.num_rows == 2 * 20
    assert set(certificates["image_id"].to_pylist()) <= set(originals)
    assert all(certificates["skin_tone"].to_pylist())
    for row in certificates.to_pylist()[::7]:
        original = originals[row["image_id"]]
        assert (row["label"], row["lesion_id"]) == (original["label"], original["lesion/id"].decode())
        (key,) = noise_seeds([row["image_id"]], sigma=row["sigma"], seed=SEED)
        # Directly as in the paper, from all draws at once.
        draws, shape = np.int64(10 + SAMPLES), original["pixels"].shape
        noise = np.asarray(gaussian_noise(key, np.int64(0), draws, shape, np.uint64(0)))
        noisy = original["pixels"] / np.float32(255) + np.float32(row["sigma"]) * noise
        predicted = np.asarray(network(noisy, training=False)).argmax(axis=1)
        first, votes = (np.bincount(part, minlength=7) for part in (predicted[:10], predicted[10:]))
        assert np.abs(votes - row["votes"]).sum() <= 2
        bound = stats.binomtest(row["votes"][first.argmax()], SAMPLES, alternative="greater").proportion_ci(0.999).low
        expected = max(0.0, row["sigma"] * stats.norm.ppf(bound))
        assert (row["certified_class"], row["abstained"]) == (first.argmax(), expected == 0)
        assert row["radius"] == pytest.approx(255 * expected, rel=1e-5)


def test_figures_are_bounds_from_both_sides(certificates: pa.Table) -> None:
    joined = joined_certificates({"model": certificates}, label=5)
    table = certified_table(
        joined, TASK, ("model", "constant"), CertificateSettings.model_validate(SETTINGS), Reading()
    )
    rows = {
        (row["model"], row["attack"], row["epsilon"], row["slice"], row["metric"]): row for row in table.to_pylist()
    }

    def value(name: str, epsilon: float, metric: str = "accuracy", model: str = "model") -> float:
        return float(rows[model, name, epsilon, "overall", metric]["value"])

    for sigma in SIGMAS:
        part = certificates_of(joined, "model", sigma)
        certified, smoothed = f"certified/{sigma:g}", f"smoothed/{sigma:g}"
        for radius in (25.5, 765.0):
            assert value(certified, radius) == certified_at(part, radius).mean() <= value(smoothed, radius)
        found = rows["model", certified, 25.5, "overall", "accuracy"]
        assert (found["n"], found["norm"], found["small"]) == (20, "l2", True)
        assert found["lower"] <= found["value"] <= found["upper"]
        correct = part["certified_class"].to_numpy() == part["label"].to_numpy()
        known = np.where(correct, part["radius"].to_numpy(), 0)
        assert value(certified, 0.0, "mean_certified_radius") == pytest.approx(known.mean() / 255)
        abstained = part["abstained"].to_numpy(zero_copy_only=False)
        assert value(certified, 0.0, "abstention_rate") == abstained.mean()
        # The attack is one: at the largest radius, of several times the noise, less is left.
        assert value(smoothed, 765.0) < value(smoothed, 0.0)
        floor = {value(certified, radius, model="constant") for radius in (0.0, 765.0)}
        assert floor == {np.mean(part["label"].to_numpy() == 5)}
    assert ("model", "certified/0.05", 25.5, "dx=mel", "accuracy") in rows
