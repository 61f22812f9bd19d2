import json
import math
import warnings
from typing import Any

import numpy as np
import pytest
from apache_beam.internal import pickler
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn import metrics as reference
from tensorflow_model_analysis.metrics import metric_specs, metric_types
from tensorflow_model_analysis.proto import config_pb2

from components.evaluate import metrics
from components.evaluate.joining import at_risk_feature

CLASSES = 4
# Few levels, so that ties are common.
scores_of = st.sampled_from(np.linspace(0, 1, 9, dtype=np.float32).tolist())


@st.composite
def predictions(draw: st.DrawFn) -> tuple[Any, Any, Any]:
    """Labels [n], scores [n, class] and at-risk flags [n]; often some classes are missing."""
    count = draw(st.integers(1, 30))
    present = draw(st.sets(st.integers(0, CLASSES - 1), min_size=1))
    labels = draw(arrays(np.int64, count, elements=st.sampled_from(sorted(present))))
    scores = draw(arrays(np.float32, (count, CLASSES), elements=scores_of))
    return labels, scores, draw(arrays(np.int64, count, elements=st.integers(0, 1)))


def confusion(labels: Any, predicted: Any) -> Any:
    return reference.confusion_matrix(labels, predicted, labels=range(CLASSES))


def element(labels: Any, scores: Any, at_risk: Any) -> metric_types.StandardMetricInputs:
    return metric_types.StandardMetricInputs(
        labels={"vanilla": labels}, predictions={"vanilla": scores}, features={at_risk_feature("vanilla"): at_risk}
    )


def computation() -> metric_types.MetricComputation:
    config = config_pb2.MetricConfig(
        class_name="RobustnessMetrics",
        module="components.evaluate.metrics",
        config=json.dumps({"class_count": CLASSES}),
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


@settings(max_examples=200, deadline=None)
@given(predictions())
def test_accuracy_and_balanced_accuracy_equal_scikit_learn(data: tuple[Any, Any, Any]) -> None:
    labels, scores, _ = data
    predicted = scores.argmax(axis=1)
    counts = confusion(labels, predicted)
    assert metrics.accuracy(counts) == pytest.approx(reference.accuracy_score(labels, predicted))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-learn warns of predicted classes that have no example
        expected = reference.balanced_accuracy_score(labels, predicted)
    assert metrics.balanced_accuracy(counts) == pytest.approx(expected)


@settings(max_examples=200, deadline=None)
@given(predictions())
def test_macro_auc_is_the_mean_over_classes_with_positives_and_negatives(data: tuple[Any, Any, Any]) -> None:
    labels, scores, _ = data
    areas = [
        reference.roc_auc_score(labels == index, scores[:, index])
        for index in range(CLASSES)
        if 0 < (labels == index).sum() < len(labels)
    ]
    found = metrics.macro_auc(labels, scores)
    assert math.isnan(found) if not areas else found == pytest.approx(np.mean(areas))


def test_macro_auc_equals_scikit_learn_multi_class_when_all_classes_are_there() -> None:
    random = np.random.default_rng(0)
    scores = random.dirichlet(np.ones(CLASSES), size=200)
    labels = random.integers(0, CLASSES, 200)
    expected = reference.roc_auc_score(labels, scores, multi_class="ovr", average="macro")
    assert metrics.macro_auc(labels, scores.astype(np.float32)) == pytest.approx(expected, abs=1e-6)


def test_in_a_slice_of_one_class_balanced_accuracy_is_its_recall_and_auc_is_undefined() -> None:
    labels = np.full(4, 2)
    scores = np.eye(CLASSES, dtype=np.float32)[[2, 2, 2, 0]]
    found = computed([element(labels, scores, np.array([1, 1, 0, 1]))])
    assert found["accuracy"] == found["balanced_accuracy"] == 0.75
    assert math.isnan(found["macro_auc"])
    assert found["attack_success_rate"] == pytest.approx(1 / 3)
    assert (found["example_count"], found["attack_success_rate_n"]) == (4, 3)


def test_attack_success_is_undefined_where_nothing_was_at_risk() -> None:
    found = computed([element(np.array([0, 1]), np.eye(CLASSES, dtype=np.float32)[[0, 0]], np.array([0, 0]))])
    assert math.isnan(found["attack_success_rate"])
    assert found["attack_success_rate_n"] == 0


def test_everything_is_undefined_without_examples() -> None:
    found = computed([])
    assert found.pop("example_count") == found.pop("attack_success_rate_n") == 0
    assert all(math.isnan(value) for value in found.values())


@settings(max_examples=100, deadline=None)
@given(predictions(), st.data())
def test_batching_and_merging_do_not_change_the_metrics(data: tuple[Any, Any, Any], draw: st.DataObject) -> None:
    labels, scores, at_risk = data
    cuts = sorted(draw.draw(st.lists(st.integers(0, len(labels)), max_size=4)))
    batches = list(zip(*(np.split(values, cuts) for values in data), strict=True))
    order = draw.draw(st.permutations(batches))
    split = computed([element(*batch) for batch in order], merged_at=draw.draw(st.integers(0, len(order))))
    whole = computed([element(labels, scores, at_risk)])
    np.testing.assert_equal(split, whole)

    wrong = scores.argmax(axis=1) != labels
    assert whole["accuracy"] == pytest.approx(1 - wrong.mean())
    if at_risk.any():
        assert whole["attack_success_rate"] == pytest.approx(wrong[at_risk == 1].mean())


def test_the_wrong_number_of_classes_is_refused() -> None:
    with pytest.raises(ValueError, match="'vanilla' has 3 probabilities per image for 4 lesion classes"):
        computed([element(np.array([0]), np.zeros((1, 3)), np.array([0]))])


def test_every_metric_is_present_in_every_slice() -> None:
    # TFMA fails a threshold on a metric for every slice that lacks it.
    names = {key.name for key in computation().keys}
    assert names == set(computed([])) >= set(metrics.DENOMINATORS) | set(metrics.DENOMINATORS.values())
