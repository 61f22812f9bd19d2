import itertools
import json
import math
import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest
from apache_beam.internal import pickler
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from isic_challenge_scoring.metrics import balanced_multiclass_accuracy
from sklearn import metrics as reference
from tensorflow_model_analysis.metrics import metric_specs, metric_types
from tensorflow_model_analysis.proto import config_pb2

from dermrobust.components.evaluation import weighted
from dermrobust.components.evaluation.metrics.balanced_accuracy import balanced_accuracy
from dermrobust.components.evaluation.metrics.critical_sensitivity import sensitivity as sensitivity_at
from dermrobust.components.evaluation.metrics.ece import calibration_error
from dermrobust.components.evaluation.metrics.macro_auc import macro_auc
from dermrobust.components.evaluation.metrics.median_robust_radius import median_radius
from dermrobust.components.evaluation.metrics.metric import Problem
from dermrobust.components.evaluation.metrics.registry import METRICS
from dermrobust.components.evaluation.schemas import CLUSTER
from dermrobust.components.measure import metrics
from dermrobust.components.measure.joining import clean_feature, radius_feature

CLASSES = 4
MALIGNANT, MELANOMA = [1, 2], 1
# Few levels, so that ties are common.
scores_of = st.sampled_from(np.linspace(0, 1, 9, dtype=np.float32).tolist())


@st.composite
def predictions(draw: st.DrawFn) -> tuple[Any, Any, Any]:
    """Labels [n], scores [n, class] and clean predictions [n]; often some classes are missing."""
    count = draw(st.integers(1, 30))
    present = draw(st.sets(st.integers(0, CLASSES - 1), min_size=1))
    labels = draw(arrays(np.int64, count, elements=st.sampled_from(sorted(present))))
    scores = draw(arrays(np.float32, (count, CLASSES), elements=scores_of))
    return labels, scores, draw(arrays(np.int64, count, elements=st.integers(-1, CLASSES - 1)))


def element(labels: Any, scores: Any, clean: Any) -> metric_types.StandardMetricInputs:
    """Rows of images, each a lesion of its own; `clean` is the class predicted on the clean image, -1 on clean rows."""
    return metric_types.StandardMetricInputs(
        labels={"vanilla": labels},
        predictions={"vanilla": scores},
        features={
            clean_feature("vanilla"): clean,
            radius_feature("vanilla"): np.where(clean < 0, np.nan, 16 * scores[:, 0]),
            CLUSTER: np.arange(len(labels)),
        },
    )


def computation() -> metric_types.MetricComputation:
    config = config_pb2.MetricConfig(
        class_name="RobustnessMetrics",
        module="dermrobust.components.measure.metrics",
        config=json.dumps({"class_count": CLASSES, "malignant": MALIGNANT, "critical": [MELANOMA], "specificity": 0.8}),
    )
    rebuilt = metric_specs.metric_instance(config)
    (only,) = rebuilt.computations(model_names=["vanilla"])
    return pickler.loads(pickler.dumps(only))


def computed(elements: list[Any], merged_at: int = 0) -> dict[str, float]:
    """The metrics when elements before `merged_at` are accumulated apart from the others."""
    combiner = computation().combiner
    accumulators = []
    for part in (elements[:merged_at], elements[merged_at:]):
        accumulator = combiner.create_accumulator()
        for one in part:
            accumulator = combiner.add_input(accumulator, one)
        accumulators.append(pickler.loads(pickler.dumps(combiner.compact(accumulator))))
    output = combiner.extract_output(combiner.merge_accumulators(accumulators))
    return {key.name: value for key, value in output.items()}


def value(metric: Any, labels: Any, scores: Any) -> float:
    """A metric of rows that count once each."""
    return float(metric(labels, scores, weighted.once(len(labels)))[0])


@settings(max_examples=200)
@given(predictions())
def test_balanced_accuracy_equals_scikit_learn(data: tuple[Any, Any, Any]) -> None:
    labels, scores, _ = data
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-learn warns of predicted classes that have no example
        expected = reference.balanced_accuracy_score(labels, scores.argmax(axis=1))
    assert value(balanced_accuracy, labels, scores) == pytest.approx(expected)


@settings(max_examples=200)
@given(predictions())
def test_macro_auc_is_the_mean_over_classes_with_positives_and_negatives(data: tuple[Any, Any, Any]) -> None:
    labels, scores, _ = data
    areas = [
        reference.roc_auc_score(labels == index, scores[:, index])
        for index in range(CLASSES)
        if 0 < (labels == index).sum() < len(labels)
    ]
    found = value(macro_auc, labels, scores)
    assert math.isnan(found) if not areas else found == pytest.approx(np.mean(areas))


def test_macro_auc_equals_scikit_learn_multi_class_when_all_classes_are_there() -> None:
    random = np.random.default_rng(0)
    scores = random.dirichlet(np.ones(CLASSES), size=200)
    labels = random.integers(0, CLASSES, 200)
    expected = reference.roc_auc_score(labels, scores, multi_class="ovr", average="macro")
    assert value(macro_auc, labels, scores.astype(np.float32)) == pytest.approx(expected, abs=1e-6)


@settings(max_examples=200)
@given(predictions(), st.sampled_from([0.5, 0.8, 0.95]))
def test_sensitivity_is_the_highest_that_the_roc_curve_allows(data: tuple[Any, Any, Any], specificity: float) -> None:
    labels, scores, _ = data
    found = float(
        sensitivity_at(
            labels,
            scores,
            weighted.once(len(labels)),
            Problem(np.zeros(CLASSES, np.bool_), (MELANOMA,), specificity),
        )[0]
    )
    if not 0 < (labels == MELANOMA).sum() < len(labels):
        assert math.isnan(found)
        return
    false_alarms, sensitivity, _ = reference.roc_curve(labels == MELANOMA, scores[:, MELANOMA], drop_intermediate=False)
    assert found == pytest.approx(sensitivity[false_alarms <= 1 - specificity + 1e-9].max())


def test_calibration_error_is_the_mean_gap_between_confidence_and_accuracy() -> None:
    confident, unsure = [0.9, 0.1, 0, 0], [0.55, 0.45, 0, 0]
    scores = np.asarray([confident, confident, unsure, unsure], np.float32)
    found = value(calibration_error, np.asarray([0, 1, 0, 0]), scores)
    assert found == pytest.approx((2 * abs(0.9 - 0.5) + 2 * abs(0.55 - 1.0)) / 4)


@settings(max_examples=100)
@given(predictions(), st.data())
def test_a_row_of_weight_two_is_two_rows(data: tuple[Any, Any, Any], draw: st.DataObject) -> None:
    labels, scores, _ = data
    times = draw.draw(arrays(np.int64, len(labels), elements=st.integers(0, 3)))
    for metric in (balanced_accuracy, macro_auc, calibration_error):
        found = metric(labels, scores, times.astype(np.float32)[:, None])[0]
        if times.any():
            expected = value(metric, np.repeat(labels, times), np.repeat(scores, times, axis=0))
            np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_in_a_slice_of_one_class_balanced_accuracy_is_its_recall_and_auc_is_undefined() -> None:
    labels = np.full(4, 2)
    scores = np.eye(CLASSES, dtype=np.float32)[[2, 2, 2, 0]]
    found = computed([element(labels, scores, np.array([2, 2, 0, 2]))])
    assert found["accuracy"] == found["balanced_accuracy"] == 0.75
    assert math.isnan(found["macro_auc"])
    assert found["attack_success_rate"] == pytest.approx(1 / 3)
    assert (found["example_count"], found["attack_success_rate_n"]) == (4, 3)


def test_flips_count_only_images_that_were_on_the_right_side_when_clean() -> None:
    labels = np.asarray([1, 1, 2, 0, 3, 0])
    clean = np.asarray([1, 2, 0, 0, 0, -1])  # the third was missed before the attack; the last row is clean itself
    predicted = np.asarray([0, 1, 3, 1, 0, 2])
    found = computed([element(labels, np.eye(CLASSES, dtype=np.float32)[predicted], clean)])
    assert (found["malignant_to_benign"], found["malignant_to_benign_n"]) == (0.5, 2)
    assert (found["benign_to_malignant"], found["benign_to_malignant_n"]) == (0.5, 2)


def test_attack_success_is_undefined_where_nothing_was_at_risk() -> None:
    found = computed([element(np.array([0, 1]), np.eye(CLASSES, dtype=np.float32)[[0, 0]], np.array([-1, 0]))])
    assert math.isnan(found["attack_success_rate"])
    assert found["attack_success_rate_n"] == 0


def test_everything_is_undefined_without_examples() -> None:
    found = computed([])
    assert {found.pop(name) for name in set(map(metrics.count_of, METRICS.names))} == {0}
    assert all(math.isnan(value) for value in found.values())


@settings(max_examples=50)
@given(predictions(), st.data())
def test_batching_and_merging_do_not_change_the_metrics(data: tuple[Any, Any, Any], draw: st.DataObject) -> None:
    labels, scores, clean = data
    whole = computed([element(labels, scores, clean)])
    cuts = sorted(draw.draw(st.lists(st.integers(0, len(labels)), max_size=4)))
    cuts = [0, *cuts, len(labels)]
    batches = []
    for start, end in itertools.pairwise(cuts):
        part = element(labels[start:end], scores[start:end], clean[start:end])
        part["features"][CLUSTER] = np.arange(start, end)
        batches.append(part)
    order = draw.draw(st.permutations(batches))
    split = computed(order, merged_at=draw.draw(st.integers(0, len(order))))
    assert split.keys() == whole.keys()
    for name, expected in whole.items():
        np.testing.assert_allclose(split[name], expected, rtol=1e-5, err_msg=name)

    wrong, at_risk = scores.argmax(axis=1) != labels, clean == labels
    assert whole["accuracy"] == pytest.approx(1 - wrong.mean())
    if at_risk.any():
        assert whole["attack_success_rate"] == pytest.approx(wrong[at_risk].mean())


@settings(max_examples=50)
@given(predictions())
def test_every_interval_holds_its_estimate(data: tuple[Any, Any, Any]) -> None:
    found = computed([element(*data)])
    for name in METRICS.names:
        bounds = [found[end] for end in metrics.bounds_of(name)]
        if math.isnan(found[name]):
            assert all(map(math.isnan, bounds))
        else:
            assert 0 <= bounds[0] <= found[name] <= bounds[1] <= 1


@settings(max_examples=100)
@given(st.lists(st.sampled_from([0.0, 1.0, 2.0, 4.0, 8.0, math.nan]), min_size=1, max_size=9), st.data())
def test_the_median_radius_is_a_measured_one_and_counts_rows_by_weight(radii: list[float], draw: st.DataObject) -> None:
    times = draw.draw(arrays(np.int64, len(radii), elements=st.integers(0, 3)))
    found = median_radius(
        np.zeros(len(radii), np.int64), np.asarray(radii, np.float32)[:, None], times.astype(np.float32)[:, None]
    )[0]
    counted = [radius for radius, count in zip(radii, times, strict=True) for _ in range(count) if radius == radius]
    if counted:
        assert found == pytest.approx(np.percentile(counted, 50, method="inverted_cdf") / 255)
    else:
        assert math.isnan(found)


def test_the_wrong_number_of_classes_is_refused() -> None:
    with pytest.raises(ValueError, match="'vanilla' has 3 probabilities per image for 4 classes"):
        computed([element(np.array([0]), np.zeros((1, 3)), np.array([0]))])


def test_every_metric_is_present_in_every_slice() -> None:
    # TFMA fails a threshold on a metric for every slice that lacks it.
    names = {key.name for key in computation().keys}
    assert names == set(computed([])) >= set(METRICS.names) | set(map(metrics.count_of, METRICS.names))


def test_balanced_accuracy_is_that_of_the_isic_challenges_own_scorer() -> None:
    random = np.random.default_rng(0)
    labels = random.integers(0, 7, 300)
    scores = random.dirichlet(np.ones(7), size=300).astype(np.float32)
    names = ["MEL", "NV", "BCC", "AKIEC", "BKL", "DF", "VASC"]
    images = pd.Index([f"ISIC_{index}" for index in range(300)], name="image")
    truth = pd.DataFrame(np.eye(7)[labels], images, names)
    predicted = pd.DataFrame(scores.astype(np.float64), images, names)
    expected = balanced_multiclass_accuracy(truth, predicted, pd.Series(1.0, images))
    assert value(balanced_accuracy, labels, scores) == pytest.approx(expected)
