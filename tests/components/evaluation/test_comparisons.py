"""Paired differences: what they say of models that do differ, and of models that do not."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from dermrobust.components.measure.comparisons import Outcomes, comparisons_table, holm, mcnemar
from dermrobust.models.task import Task


def outcomes(right: dict[str, Any], classes: int = 3, seed: int = 0) -> Outcomes:
    count = len(next(iter(right.values())))
    random = np.random.default_rng(seed)
    clusters = np.asarray(random.integers(0, 2**63, count), np.uint64)
    return Outcomes(random.integers(0, classes, count), clusters, {name: np.asarray(ok) for name, ok in right.items()})


def compared(found: dict[tuple[str, float], Outcomes], models: tuple[str, ...] = ("a", "b")) -> list[dict[str, Any]]:
    return comparisons_table(
        found, models, "a", Task(name="letters", class_names=("x", "y", "z"), class_key="dx")
    ).to_pylist()


def overall(rows: list[dict[str, Any]], metric: str = "accuracy") -> dict[str, Any]:
    (row,) = (row for row in rows if (row["slice"], row["metric"]) == ("overall", metric))
    return row


def test_a_clear_gain_is_significant_and_its_interval_holds_the_difference() -> None:
    random = np.random.default_rng(0)
    worse = random.random(400) < 0.5
    row = overall(compared({("pgd", 4.0): outcomes({"a": worse, "b": worse | (random.random(400) < 0.5)})}))
    assert row["significant"]
    assert row["lower"] > 0
    assert row["lower"] < row["change"] < row["upper"]


def test_models_that_are_right_on_the_same_images_do_not_differ() -> None:
    right = np.random.default_rng(0).random(100) < 0.5
    for row in compared({("none", 0.0): outcomes({"a": right, "b": right})}):
        assert row["change"] == 0
        assert row["p_value"] == 1
        assert not row["significant"]
        assert row["lower"] < 0 < row["upper"]  # that no image differs does not prove that none would


def test_pairs_matter_more_than_rates() -> None:
    """The same two rates, on the same images or not: pairing makes the interval narrow."""
    first = np.arange(300) < 150
    near = overall(compared({("none", 0.0): outcomes({"a": first, "b": np.arange(300) < 165})}))
    far = overall(compared({("none", 0.0): outcomes({"a": first, "b": np.arange(300) >= 135})}))
    assert near["change"] == far["change"] == pytest.approx(0.05)
    assert near["upper"] - near["lower"] < (far["upper"] - far["lower"]) / 2
    assert near["p_value"] < 0.001 < far["p_value"]


def test_intervals_of_the_difference_cover_it() -> None:
    hits = {"accuracy": 0, "balanced_accuracy": 0}
    for trial in range(200):
        random = np.random.default_rng(trial)
        both = random.random(150) < 0.5
        other = np.where(random.random(150) < 0.3, random.random(150) < 0.7, both)  # 0.06 better
        rows = compared({("none", 0.0): outcomes({"a": both, "b": other}, seed=trial)})
        for metric in hits:
            row = overall(rows, metric)
            hits[metric] += row["lower"] <= 0.06 <= row["upper"]
    assert all(0.90 <= count / 200 <= 1 for count in hits.values())


def test_many_comparisons_of_nothing_find_nothing() -> None:
    random = np.random.default_rng(0)
    found = {
        ("pgd", float(epsilon)): outcomes(
            {name: random.random(120) < 0.5 for name in ("a", "b", "c", "d")}, seed=epsilon
        )
        for epsilon in range(1, 9)
    }
    rows = compared(found, ("a", "b", "c", "d"))
    assert min(row["p_value"] for row in rows) < 0.05  # one of them would have been reported
    assert not any(row["significant"] for row in rows)


@settings(max_examples=100)
@given(arrays(np.int8, st.integers(1, 40), elements=st.integers(-1, 1)))
def test_mcnemar_is_the_binomial_test_of_the_discordant_images(difference: Any) -> None:
    gained, lost = int((difference == 1).sum()), int((difference == -1).sum())
    expected = 1.0 if gained + lost == 0 else stats.binomtest(gained, gained + lost).pvalue
    assert mcnemar(difference) == pytest.approx(expected)
    assert mcnemar(-difference) == pytest.approx(expected)


@settings(max_examples=100)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_holm_keeps_the_order_and_never_falls_below_what_was_found(p_values: list[float]) -> None:
    adjusted = holm(p_values)
    assert all(found <= after <= 1 for found, after in zip(p_values, adjusted, strict=True))
    assert min(adjusted) == pytest.approx(min(1.0, len(p_values) * min(p_values)))
    order = np.argsort(p_values, kind="stable")
    assert list(np.asarray(adjusted)[order]) == sorted(adjusted)


def test_recall_of_a_lesion_class_is_compared_on_its_images() -> None:
    found = outcomes({"a": np.zeros(90, bool), "b": np.ones(90, bool)})
    found = Outcomes(found.labels, found.clusters, {"a": found.right["a"], "b": found.labels == 1})
    rows = {row["slice"]: row for row in compared({("none", 0.0): found}) if row["metric"] == "accuracy"}
    assert rows["dx=y"]["change"] == 1
    assert rows["dx=x"]["change"] == rows["dx=z"]["change"] == 0
    assert rows["dx=y"]["n"] == int((found.labels == 1).sum())
    balanced = overall(compared({("none", 0.0): found}), "balanced_accuracy")
    assert balanced["change"] == pytest.approx(1 / 3)
