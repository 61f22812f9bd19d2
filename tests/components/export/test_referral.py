"""Referral in the SavedModel: `refer` is the fitted threshold on the confidence, whatever the signature and loader."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy.special import softmax

from dermrobust.attacks.errors import UserError
from dermrobust.components.artifacts import ArtifactType
from dermrobust.components.evaluation.referrals import REJECTOR, ReferralThreshold, Rejector
from dermrobust.components.export import canary
from dermrobust.components.export.component import EXPORT, ExportParams
from tests.components.conftest import IMAGE_SIZE, Inputs, Workshop
from tests.components.export.conftest import Floats
from tests.components.export.test_export import exports_nothing


def test_images_of_low_confidence_are_referred(
    workshop: Workshop,
    export_inputs: Inputs,
    network: keras.Model,
    photographs: list[bytes],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def ask(_: canary.Canary, saved_model: Path, encoded: Sequence[bytes], folder: Path) -> dict[str, Floats]:
        # Both ways of loading, without a process of its own.
        return {name: load(str(saved_model), list(encoded)) for name, load in canary._LOADERS.items()}

    monkeypatch.setattr(canary.Canary, "ask", ask)
    images = np.random.default_rng(0).uniform(size=(40, IMAGE_SIZE, IMAGE_SIZE, 3)).astype(np.float32)
    confidence = softmax(np.asarray(network(images, training=False)) / 0.4, axis=1).max(axis=1)
    median = float(np.median(confidence))
    thresholds = tuple(
        ReferralThreshold(rate=rate, threshold=each, referred=rate) for rate, each in ((0.1, 0.0), (0.5, median))
    )
    unknown = dict.fromkeys(("nll_before", "nll_after", "ece_before", "ece_after"), 0.0)
    fitted = Rejector(temperature=0.4, thresholds=thresholds, images=48, **unknown)
    referrals = workshop.publish(ArtifactType.REFERRALS, "fitted", {REJECTOR: fitted.model_dump_json().encode()})
    params = ExportParams(warmup_requests=1, canary_images=8, referral_rate=0.5)

    exported = workshop.make(EXPORT, params, "refers", **export_inputs, referrals=referrals)["exported_model"]

    served = tf.saved_model.load(exported.path("saved_model"))
    answers = {name: value.numpy() for name, value in served.signatures["pixels"](images=tf.constant(images)).items()}
    np.testing.assert_allclose(answers["confidence"], confidence, atol=1e-5)
    clear = np.abs(confidence - median) > 1e-5
    assert answers["refer"].dtype == np.bool_ and 0 < answers["refer"].mean() < 1
    assert (answers["refer"] == (confidence < median))[clear].all()
    answers = served.signatures["serving_default"](image_bytes=tf.constant([photographs[0], b"", b"no image"]))
    assert answers["refer"].numpy()[1:].all() and np.isnan(answers["confidence"].numpy()[1:]).all()
    assert answers["refer"].numpy()[0] == (answers["confidence"].numpy()[0] < median)
    description = exported.read_json("saved_model", "assets.extra", "dermrobust.json")
    assert description["referral"] == {"rate": 0.5, "temperature": 0.4, "threshold": median}
    assert description["signatures"]["pixels"]["outputs"]["refer"] == {"dtype": "bool", "shape": [None]}
    params = params.model_copy(update={"referral_rate": 0.2})
    exports_nothing(
        tmp_path, params, UserError, "rate of 0.2; there are: 0.1, 0.5", **export_inputs, referrals=referrals
    )
