import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import tensorflow_model_analysis as tfma
from scipy import stats
from sklearn import metrics as reference

from dermrobust.components.evaluation.intervals import wilson_interval
from dermrobust.components.evaluation.metrics.registry import METRICS
from dermrobust.components.evaluation.schemas import METRICS_SCHEMA
from dermrobust.components.measure.table import metrics_table

SKILL = {"vanilla": 1.0, "robust": 1.5}
MIN_SLICE = 10
COMPARED = ("accuracy", "balanced_accuracy", "macro_auc", "attack_success_rate")


@pytest.fixture(scope="module")
def evaluated(evaluate: Callable[..., Any]) -> Any:
    return evaluate(SKILL)


@pytest.fixture(scope="module")
def table(evaluated: Any) -> pa.Table:
    return metrics_table(evaluated.output_uri, list(SKILL), "linf", MIN_SLICE)


def with_worst_case(predictions: pa.Table) -> list[dict[str, Any]]:
    """The predictions of one model row by row, with `right_when_clean`, and the worst case by a plain loop."""
    rows: list[dict[str, Any]] = predictions.to_pylist()
    for row in rows:
        true, others = row["probabilities"][row["label"]], np.delete(row["probabilities"], row["label"])
        row["margin"], row["predicted"] = true - others.max(), int(np.argmax(row["probabilities"]))
        row["epsilon"] = round(row["epsilon"], 6)
    clean = {row["image_id"]: row for row in rows if row["attack"] == "none"}
    for epsilon in sorted({row["epsilon"] for row in rows} - {0}):
        for image, at_rest in clean.items():
            same = [row for row in rows if row["image_id"] == image and row["epsilon"] == epsilon]
            worst = min([at_rest, *same], key=lambda row: row["margin"])
            rows.append({**worst, "attack": "worst_case", "epsilon": epsilon})
    for row in rows:
        row["right_when_clean"] = clean[row["image_id"]]["predicted"] == row["label"]
    return rows


def expected_values(rows: list[dict[str, Any]]) -> Iterator[tuple[str, float, int]]:
    labels = np.array([row["label"] for row in rows])
    scores = np.array([row["probabilities"] for row in rows])
    predicted = scores.argmax(axis=1)
    yield "accuracy", reference.accuracy_score(labels, predicted), len(rows)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield "balanced_accuracy", reference.balanced_accuracy_score(labels, predicted), len(rows)
    present = np.unique(labels)
    if len(present) > 1:
        areas = [reference.roc_auc_score(labels == index, scores[:, index]) for index in present]
        yield "macro_auc", float(np.mean(areas)), len(rows)
    at_risk = np.array([row["attack"] != "none" and row["right_when_clean"] for row in rows])
    if at_risk.any():
        yield "attack_success_rate", (predicted != labels)[at_risk].mean(), int(at_risk.sum())


def expected_slices(rows: list[dict[str, Any]]) -> dict[tuple[Any, ...], list[dict[str, Any]]]:
    slices: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in rows:
        here = (row["attack"], row["epsilon"])
        # Localization is unknown of every image: there are no slices by it.
        keys = [
            (*here, "overall"),
            *((*here, f"{name}={row[name]}") for name in ("dx", "sex", "age_group", "skin_tone")),
        ]
        for key in keys:
            slices.setdefault(key, []).append(row)
    return slices


@pytest.mark.parametrize("model", SKILL)
def test_every_value_equals_scikit_learn_on_the_same_rows(model: str, evaluated: Any, table: pa.Table) -> None:
    expected = {
        (*place, metric): (value, n)
        for place, rows in expected_slices(with_worst_case(evaluated.tables[model])).items()
        for metric, value, n in expected_values(rows)
    }
    found = {
        (row["attack"], row["epsilon"], row["slice"], row["metric"]): (row["value"], row["n"])
        for row in table.to_pylist()
        if row["model"] == model and row["metric"] in COMPARED
    }
    assert found.keys() == expected.keys()
    for place, (value, n) in expected.items():
        assert found[place] == (pytest.approx(value), n), place


def test_worst_case_is_no_better_than_any_attack(table: pa.Table) -> None:
    accuracy = {
        (row["model"], row["attack"], row["epsilon"]): row["value"]
        for row in table.to_pylist()
        if row["metric"] == "accuracy" and row["slice"] == "overall" and row["epsilon"] is not None
    }
    for (model, attack, epsilon), value in accuracy.items():
        if attack in ("fgsm", "pgd"):
            assert accuracy[model, "worst_case", epsilon] <= min(value, accuracy[model, "none", 0])


def test_rows_are_typed_and_ordered_by_model(table: pa.Table, evaluated: Any) -> None:
    assert table.schema == METRICS_SCHEMA
    models = table["model"].to_pylist()
    assert models == sorted(models, key=list(SKILL).index)
    backwards = metrics_table(evaluated.output_uri, ["robust", "vanilla"], "linf", MIN_SLICE)
    assert backwards.sort_by("model").equals(table.sort_by("model"))


def test_every_figure_has_an_interval_and_small_ones_are_marked(table: pa.Table) -> None:
    rows = table.to_pylist()
    for row in rows:
        assert 0 <= row["lower"] <= row["value"] <= row["upper"] <= 1
        assert row["small"] == (row["n"] < MIN_SLICE)
        if row["metric"] in ("accuracy", "attack_success_rate", "malignant_to_benign"):
            assert (row["lower"], row["upper"]) == wilson_interval(row["value"], row["n"])
    others = {metric.name for metric in METRICS.resolve_all() if not metric.of_predictions}
    # No attack there minimizes.
    assert {row["metric"] for row in rows} == set(METRICS.names) - {"median_robust_radius"} - others
    assert {row["small"] for row in rows} == {True, False}


@pytest.mark.parametrize(("successes", "n"), [(0, 5), (5, 5), (3, 7), (812, 1000)])
def test_the_interval_is_wilsons(successes: int, n: int) -> None:
    expected = stats.binomtest(successes, n).proportion_ci(method="wilson")
    assert wilson_interval(successes / n, n) == pytest.approx((expected.low, expected.high))


def test_tfmas_own_loaders_read_each_model(evaluated: Any, table: pa.Table) -> None:
    for model in SKILL:
        result = tfma.load_eval_result(evaluated.output_uri, model_name=model)
        by_slice = {key: values[""][""] for key, values in result.slicing_metrics}
        accuracy = by_slice[("attack", "pgd"), ("epsilon", 4.0)]["accuracy"]["doubleValue"]
        rows = [row for row in table.to_pylist() if row["model"] == model and row["attack"] == "pgd"]
        assert accuracy in [row["value"] for row in rows if row["epsilon"] == 4 and row["slice"] == "overall"]
    assert len(tfma.load_eval_results(evaluated.output_uri).get_results()) == len(SKILL)


def test_a_model_without_results_is_named(evaluated: Any) -> None:
    with pytest.raises(ValueError, match="has no metrics of other"):
        metrics_table(evaluated.output_uri, ["vanilla", "other"], "linf", MIN_SLICE)


def test_one_model_alone_can_be_evaluated(evaluate: Callable[..., Any], table: pa.Table) -> None:
    alone = metrics_table(evaluate({"vanilla": SKILL["vanilla"]}).output_uri, ["vanilla"], "linf", MIN_SLICE)
    assert alone.equals(table.filter(pa.array([model == "vanilla" for model in table["model"].to_pylist()])))
