"""Intervals cover the truth about as often as they say, and depend on nothing but the rows."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dermrobust.components.evaluation import weighted
from dermrobust.components.evaluation.intervals import (
    SAMPLES,
    group_weights,
    mean_of_rates_interval,
    percentile_interval,
    resampled,
    wilson_interval,
)
from dermrobust.components.evaluation.metrics.balanced_accuracy import balanced_accuracy
from dermrobust.components.evaluation.metrics.ece import calibration_error
from dermrobust.components.evaluation.metrics.macro_auc import macro_auc


def lesions(count: int, first: int = 0) -> npt.NDArray[np.uint64]:
    return np.asarray(np.random.default_rng(first).integers(0, 2**63, count), np.uint64)


def test_weights_are_poisson_with_mean_one_and_the_same_for_images_of_a_lesion() -> None:
    clusters = lesions(4000)
    weights = group_weights(np.concatenate([clusters, clusters[:10]]), range(50))
    np.testing.assert_array_equal(weights[:10], weights[4000:])
    shares = [float((weights[:4000] == count).mean()) for count in range(4)]
    assert shares == pytest.approx([0.3679, 0.3679, 0.1839, 0.0613], abs=0.005)


@settings(max_examples=50)
@given(st.permutations(list(range(12))), st.integers(1, 11))
def test_weights_do_not_depend_on_what_stands_beside_a_row(order: list[int], cut: int) -> None:
    clusters = lesions(12)
    whole = group_weights(clusters, range(20))
    np.testing.assert_array_equal(group_weights(clusters[order], range(20)), whole[order])
    np.testing.assert_array_equal(group_weights(clusters[:cut], range(20)), whole[:cut])
    np.testing.assert_array_equal(group_weights(clusters, range(7, 20)), whole[:, 7:])


def balanced(labels: Any, scores: Any, clusters: Any) -> Any:
    return resampled({"balanced": balanced_accuracy}, labels, scores, clusters)["balanced"]


def covered(interval: Any, truth: float) -> bool:
    return bool(interval[0] <= truth <= interval[1])


def test_the_bootstrap_covers_balanced_accuracy_about_95_times_in_100() -> None:
    random = np.random.default_rng(0)
    recalls = np.asarray([0.9, 0.6, 0.3])
    hits = 0
    for trial in range(200):
        labels = random.choice(3, 240, p=[0.6, 0.25, 0.15])
        right = random.random(240) < recalls[labels]
        predicted = np.where(right, labels, (labels + 1) % 3)
        scores = np.eye(3, dtype=np.float32)[predicted]
        estimate = float(balanced_accuracy(labels, scores, weighted.once(240))[0])
        samples = balanced(labels, scores, lesions(240, trial))
        hits += covered(percentile_interval(samples, estimate), float(recalls.mean()))
    assert 0.90 <= hits / 200 <= 0.99


def test_images_of_a_lesion_widen_the_interval() -> None:
    """Eight equal images of each lesion say no more than one."""
    random = np.random.default_rng(1)
    labels = np.repeat(random.integers(0, 2, 60), 8)
    right = np.repeat(random.random(60) < 0.7, 8)
    scores = np.eye(2, dtype=np.float32)[np.where(right, labels, 1 - labels)]
    alone = balanced(labels, scores, lesions(480))
    together = balanced(labels, scores, np.repeat(lesions(60), 8))
    assert len(alone) == SAMPLES
    assert np.std(together) / np.std(alone) == pytest.approx(np.sqrt(8), rel=0.25)


def test_many_rows_are_resampled_in_blocks_with_the_same_result(monkeypatch: pytest.MonkeyPatch) -> None:
    labels = np.random.default_rng(0).integers(0, 3, 100)
    scores = np.random.default_rng(1).dirichlet(np.ones(3), 100).astype(np.float32)
    metrics = {"auc": macro_auc, "error": calibration_error}
    whole = resampled(metrics, labels, scores, lesions(100))
    monkeypatch.setattr("dermrobust.components.evaluation.intervals._BLOCK", 1000)
    blocks = resampled(metrics, labels, scores, lesions(100))
    for name, samples in whole.items():
        np.testing.assert_allclose(blocks[name], samples, rtol=1e-6)


def test_a_mean_of_rates_has_an_interval_where_every_rate_is_the_same() -> None:
    lower, upper = mean_of_rates_interval(np.zeros(7), np.full(7, 20))
    assert lower == 0
    assert 0.02 < upper < wilson_interval(0.0, 20)[1]
    one = mean_of_rates_interval(np.asarray([0.4]), np.asarray([50]))
    assert one == pytest.approx(wilson_interval(0.4, 50))


def test_an_undefined_metric_has_no_interval() -> None:
    assert np.isnan(percentile_interval(np.full(SAMPLES, np.nan), 0.5)).all()
