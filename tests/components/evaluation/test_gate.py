import subprocess
import sys
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from dermrobust.attacks.errors import UserError
from dermrobust.components.evaluation import files
from dermrobust.components.evaluation.blessing import Blessing, Verdict
from dermrobust.components.evaluation.checks import Check, Checks, Status
from dermrobust.components.evaluation.description import Description
from dermrobust.components.evaluation.reading import Evaluation, read_evaluation
from dermrobust.components.evaluation.rows import Comparison, Figure, Place
from dermrobust.components.evaluation.schemas import COMPARISONS_SCHEMA
from dermrobust.components.evaluation.thresholds import Gate, Threshold
from dermrobust.components.gate import registry
from dermrobust.components.gate.judging import bless
from dermrobust.components.gate.ruling import Ruling
from dermrobust.components.measure.table import metrics_table
from dermrobust.models.task import Task
from dermrobust.models.tasks.ham10000 import lesion_task

TASK = lesion_task(("bkl", "mel", "nv", "vasc"))
SKILL = {"vanilla": 1.0, "robust": 1.5, "same": 1.5}
PGD: dict[str, Any] = {"attack": "pgd", "epsilon": 4}

HOLD = {
    "min": Threshold(metric="accuracy", min=0.2),
    "max": Threshold(metric="attack_success_rate", **PGD, max=0.99),
    "both": Threshold(metric="balanced_accuracy", **PGD, min=0.01, max=0.99),
    "min_change": Threshold(metric="accuracy", **PGD, min_change=-0.9),
    "max_change": Threshold(metric="macro_auc", **PGD, max_change=0.9),
    "worst_case": Threshold(metric="accuracy", attack="worst_case", epsilon=4, min=0),
    "class": Threshold(metric="accuracy", **PGD, class_name="mel", min=0, min_change=-1),
    "fractional epsilon": Threshold(metric="accuracy", attack="fgsm", epsilon=0.3, min=0.1),
}
FAIL = {
    "min": Threshold(metric="accuracy", min=0.99),
    "max": Threshold(metric="attack_success_rate", **PGD, max=0.01),
    "second on the same slice": Threshold(metric="accuracy", min=0.98),
    "both": Threshold(metric="balanced_accuracy", **PGD, min=0.98, max=0.99),
    "min_change": Threshold(metric="accuracy", **PGD, min_change=0.9),
    "max_change": Threshold(metric="macro_auc", **PGD, max_change=-0.9),
    "one of two": Threshold(metric="accuracy", **PGD, min=0.01, min_change=0.91),
    "worst_case": Threshold(metric="accuracy", attack="worst_case", epsilon=4, min=0.9),
    "class": Threshold(metric="accuracy", **PGD, class_name="mel", min=0.99),
    "fractional epsilon": Threshold(metric="accuracy", attack="fgsm", epsilon=0.3, min=0.99),
    "no such attack": Threshold(metric="accuracy", attack="square", epsilon=4, min=0),
    "no such epsilon": Threshold(metric="accuracy", attack="pgd", epsilon=5, max=1),
}


class Run:
    """An evaluation, as TFMA measured it, with a gate."""

    def __init__(self, folder: Path, output_uri: str, thresholds: list[Threshold], models: Sequence[str]) -> None:
        self.folder, self.output_uri, self.models = folder, output_uri, models
        baseline = "vanilla" if "vanilla" in models else None
        candidate = "robust" if "robust" in models else models[0]
        self.gate = Gate(candidate=candidate, baseline=baseline, thresholds=thresholds)
        self.table = metrics_table(output_uri, models, "linf", 1)
        self.blessing = self.bless()

    def bless(
        self,
        comparisons: Sequence[dict[str, Any]] = (),
        checks: Sequence[Check] = (),
        size: int = 1,
        asked: str = "no_failure",
        rules: tuple[str, ...] = (),
    ) -> Blessing:
        folder = self.folder / uuid.uuid4().hex
        folder.mkdir()
        pq.write_table(metrics_table(self.output_uri, self.models, "linf", size), folder / files.METRICS)
        pq.write_table(pa.Table.from_pylist(list(comparisons), schema=COMPARISONS_SCHEMA), folder / files.COMPARISONS)
        (folder / files.CHECKS).write_text(Checks(checks=tuple(checks)).model_dump_json())
        about = description(TASK, tuple(self.models), size)
        (folder / files.DESCRIPTION).write_text(about.model_dump_json())
        return bless(self.gate.model_copy(update={"checks": asked, "rules": rules}), read_evaluation(str(folder)))

    def verdict(self, threshold: Threshold) -> Verdict:
        return self.blessing.thresholds[self.gate.thresholds.index(threshold)]


def description(task: Task, models: tuple[str, ...], size: int = 1) -> Description:
    known: dict[str, Any] = {"norm": "linf", "epsilons": (0.3, 4.0), "attacks": {}, "seed": 0, "specificity": 0.9}
    counts: dict[str, Any] = {"min_slice_size": size, "images": 60, "groups": 30, "notes": (), "versions": {}}
    return Description(task=task, models=models, baseline=None, **known, **counts)


@pytest.fixture(scope="module")
def make_run(evaluate: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Run]:
    output_uri = evaluate(SKILL).output_uri
    return lambda thresholds: Run(tmp_path_factory.mktemp("gate"), output_uri, thresholds, list(SKILL))


@pytest.fixture(scope="module")
def passing(make_run: Callable[..., Run]) -> Run:
    return make_run(list(HOLD.values()))


@pytest.fixture(scope="module")
def mixed(make_run: Callable[..., Run]) -> Run:
    return make_run([*HOLD.values(), *FAIL.values()])


def test_a_candidate_that_holds_every_threshold_is_blessed(passing: Run) -> None:
    assert passing.blessing.blessed
    assert all(verdict.passed for verdict in passing.blessing.thresholds)


def test_a_blessing_names_the_budgets_that_no_threshold_covers(make_run: Callable[..., Run]) -> None:
    clean = Threshold(metric="accuracy", min=0)
    small, large = (Threshold(metric="accuracy", attack="pgd", epsilon=epsilon, min=0) for epsilon in (0.3, 4))
    assert make_run([clean]).blessing.uncovered == (0.3, 4.0)
    assert make_run([clean, large]).blessing.uncovered == (0.3,)
    assert make_run([small, large]).blessing.uncovered == ()


def test_one_failed_threshold_is_enough_to_refuse(mixed: Run) -> None:
    assert not mixed.blessing.blessed


@pytest.mark.parametrize("name", HOLD)
def test_thresholds_that_hold_pass_beside_others_that_fail(name: str, mixed: Run) -> None:
    verdict = mixed.verdict(HOLD[name])
    assert verdict.passed, verdict.reason


@pytest.mark.parametrize("name", FAIL)
def test_thresholds_that_do_not_hold_fail_each_on_its_own(name: str, mixed: Run) -> None:
    verdict = mixed.verdict(FAIL[name])
    assert not verdict.passed, verdict.reason


def test_verdicts_say_what_was_found(mixed: Run) -> None:
    values = {
        row["model"]: (row["value"], row["n"])
        for row in mixed.table.to_pylist()
        if (row["metric"], row["attack"], row["epsilon"], row["slice"]) == ("accuracy", "pgd", 4, "dx=mel")
    }
    verdict = mixed.verdict(HOLD["class"])
    assert (verdict.value, verdict.n) == values["robust"]
    assert verdict.baseline_value == values["vanilla"][0]
    assert verdict.change == values["robust"][0] - values["vanilla"][0]
    interval = f"[{verdict.lower:.4g}, {verdict.upper:.4g}]"
    found = f"accuracy under pgd at epsilon 4 (dx=mel) is {verdict.value:.4g} {interval}"
    assert verdict.reason.startswith(found)
    asked = f"{found} on {verdict.n} images; the gate asks for at least 0.99."
    missed = f"Not met: the value, {verdict.value:.4g}, is not at least 0.99."
    assert mixed.verdict(FAIL["class"]).reason == f"{asked} {missed}"


def test_a_slice_that_no_image_is_in_does_not_pass(mixed: Run) -> None:
    verdict = mixed.verdict(FAIL["no such attack"])
    assert verdict.reason == "accuracy under square at epsilon 4: the test images have no such slice."
    assert verdict.value is verdict.baseline_value is verdict.change is verdict.n is None


BALANCED: dict[str, tuple[Threshold, tuple[float, float], tuple[float, float], str]] = {
    "estimate above, lower end below": (
        Threshold(metric="balanced_accuracy", min=0.5),
        *((0.45, 0.6), (0, 0), "interval of the value, 0.45, is not at least 0.5"),
    ),
    "lower end above": (Threshold(metric="balanced_accuracy", min=0.45), (0.45, 0.6), (0, 0), ""),
    "lower end at chance": (
        Threshold(metric="balanced_accuracy", min=0),
        *((0.25, 0.6), (0, 0), "value, 0.25, is not above 0.25, which guessing among 4 classes reaches"),
    ),
    "change above, but value at chance": (
        Threshold(metric="balanced_accuracy", min_change=0.2),
        *((0.24, 0.6), (0.2, 0.4), "value, 0.24, is not above 0.25"),
    ),
    "change below": (
        Threshold(metric="balanced_accuracy", min_change=0.2),
        *((0.3, 0.6), (0.15, 0.4), "the interval of the change, 0.15, is not at least 0.2"),
    ),
    "both above": (Threshold(metric="balanced_accuracy", min_change=0.2), (0.3, 0.6), (0.2, 0.4), ""),
    "at most, below chance": (Threshold(metric="balanced_accuracy", max=0.5), (0.1, 0.3), (0, 0), ""),
    "recall of one class": (Threshold(metric="balanced_accuracy", class_name="mel", min=0.1), (0.1, 0.3), (0, 0), ""),
}


@pytest.mark.parametrize("name", BALANCED)
def test_balanced_accuracy_is_held_to_its_interval_and_to_more_than_chance(name: str) -> None:
    threshold, (lower, upper), change, message = BALANCED[name]
    slice_ = threshold.images("dx") or "overall"
    place = Place("a", "none", 0.0, slice_, "balanced_accuracy")
    figures = {place: Figure(0.55, 100, lower, upper), place._replace(model="b"): Figure(0.2, 100, 0.1, 0.3)}
    row = Comparison("a", "b", "none", 0.0, slice_, "balanced_accuracy", 100, 0.35, *change, 0.01, 0.01, True)
    evaluation = Evaluation("", description(TASK, ("a", "b")), figures, None, (row,), None, None, None, None)
    blessing = bless(Gate(candidate="a", baseline="b", thresholds=[threshold]), evaluation)
    assert blessing.blessed is not bool(message)
    assert message in blessing.thresholds[0].reason


@pytest.mark.parametrize(("candidate", "holds"), [(0.70, True), (0.69, False)])
def test_a_change_of_exactly_the_bound_holds(candidate: float, holds: bool) -> None:
    assert 0.70 - 0.75 < -0.05  # in floating point
    gate = Gate(candidate="a", baseline="b", thresholds=[Threshold(metric="accuracy", min_change=-0.05)])
    figures = {
        Place(model, "none", 0.0, "overall", "accuracy"): Figure(value, 100, value, value)
        for model, value in (("a", candidate), ("b", 0.75))
    }
    evaluation = Evaluation("", description(TASK, ("a", "b")), figures, None, None, None, None, None, None)
    assert bless(gate, evaluation).blessed is holds


def test_an_undefined_metric_does_not_pass(evaluate: Callable[..., Any], tmp_path: Path) -> None:
    threshold = Threshold(metric="attack_success_rate", **PGD, max=1)
    blessing = Run(tmp_path, evaluate({"hopeless": -50.0}).output_uri, [threshold], ["hopeless"]).blessing
    assert not blessing.blessed
    assert blessing.thresholds[0].reason == (
        "attack_success_rate under pgd at epsilon 4: the metric is undefined for the candidate in this slice."
    )


def test_a_blessing_survives_json(mixed: Run) -> None:
    assert Blessing.model_validate_json(mixed.blessing.model_dump_json()) == mixed.blessing


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "give at least one of min, max, min_change, max_change"),
        ({"min": 60}, "less than or equal to 1"),
        ({"min": 0.6, "max": 0.5}, "min 0.6 is above max 0.5"),
        ({"min_change": 0.1, "max_change": 0}, "min_change 0.1 is above max_change 0"),
        ({"min": 0.5, "epsilon": 4}, "epsilon must be 0, not 4"),
        ({"min": 0.5, "attack": "pgd"}, "needs an epsilon above 0"),
        ({"min": 0.5, "metric": "attack_success_rate"}, "nothing succeeds on clean images"),
        ({"min": 0.5, "metric": "macro_auc", "class": "mel"}, "undefined within one class"),
        ({"min": 0.5, "metric": "recall"}, "accuracy.*balanced_accuracy"),
        ({"min": 0.5, "minimum": 1}, "Extra inputs"),
        ({"min": float("nan")}, "finite"),
        ({"min": 0.5, "metric": "malignant_to_benign"}, "nothing succeeds on clean images"),
        ({"min": 0.5, "slice": "hair is red"}, "String should match pattern"),
        ({"min": 0.5, "lesion": "mel"}, "the key 'lesion' is now 'class', such as {\"class\": \"mel\"}"),
        ({"min": 0.5, "slice": "sex=male", "class": "mel"}, "give a class or a slice, not both"),
        ({"min": 0.5, "metric": "balanced_accuracy", "on": "estimate"}, 'is held to its interval: leave out "on"'),
        ({"min_change": 0, "metric": "macro_auc", "on": "interval"}, "a change of macro_auc has no interval"),
        ({"min_change": 0, "slice": "sex=male", "on": "interval"}, "over all images and by class"),
    ],
)
def test_thresholds_without_sense_are_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Threshold.model_validate({"metric": "accuracy", **values})


def test_a_class_is_named_as_in_a_config() -> None:
    threshold = Threshold(metric="accuracy", min=0.5, class_name="mel")
    values = threshold.model_dump(mode="json", exclude_none=True)
    assert values["class"] == "mel"
    assert Threshold.model_validate(values) == threshold


def test_gates_without_sense_are_refused() -> None:
    compares, plain = Threshold(metric="accuracy", min_change=0), Threshold(metric="accuracy", min=0)
    with pytest.raises(ValidationError, match="need a baseline: accuracy on clean images"):
        Gate(candidate="a", thresholds=[compares])
    with pytest.raises(ValidationError, match="cannot be its own baseline"):
        Gate(candidate="a", baseline="a", thresholds=[plain])
    with pytest.raises(ValidationError, match="the gate asks for nothing"):
        Gate(candidate="a", checks="ignored")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"candidate": "c"}, "the candidate 'c' is not among the models: a, b"),
        ({"baseline": "c"}, "the baseline 'c' is not among the models"),
        ({"thresholds": [Threshold(metric="accuracy", class_name="df", min=0)]}, "'df' is no class; these are: bkl"),
        ({"thresholds": [Threshold(metric="accuracy", slice="hair=red", min=0)]}, "no slices by 'hair'.*sex"),
        ({"rules": ["nonesuch"]}, "no gate rule 'nonesuch'; there are: thresholds, checks"),
    ],
)
def test_names_are_checked_before_anything_is_judged(values: dict[str, Any], message: str) -> None:
    plain = [Threshold(metric="accuracy", min=0)]
    gate = Gate.model_validate({"candidate": "a", "thresholds": plain, **values})
    evaluation = Evaluation("", description(TASK, ("a", "b")), {}, None, None, None, None, None, None)
    with pytest.raises(UserError, match=message):
        bless(gate, evaluation)


def test_a_further_rule_can_object(passing: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry.RULES.entries, "no", f"{__name__}:no")
    blessing = passing.bless(rules=("no",))
    assert not blessing.blessed
    assert blessing.checks == ("No.",)


def no(gate: Gate, evaluation: Evaluation) -> Ruling:
    return Ruling(objections=("No.",))


def test_reading_a_configuration_does_not_load_tensorflow() -> None:
    code = "import sys, dermrobust.components.evaluation.thresholds; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"tensorflow", "tensorflow_model_analysis", "apache_beam"} & set(loaded)


def test_the_table_of_a_gate_has_every_model(passing: Run) -> None:
    assert isinstance(passing.table, pa.Table)
    assert set(passing.table["model"].to_pylist()) == set(SKILL)


INTERVALS = {
    "estimate above, interval below": Threshold(metric="accuracy", min=0.75, on="interval"),
    "interval above": Threshold(metric="accuracy", min=0.1, on="interval"),
    "upper end above": Threshold(metric="attack_success_rate", **PGD, max=0.6, on="interval"),
    "slice": Threshold(metric="accuracy", slice="sex=female", min=0.05),
    "missing slice": Threshold(metric="accuracy", slice="localization=back", min=0.05),
    "change": Threshold(metric="accuracy", **PGD, min_change=-0.1, on="interval"),
    "change of the estimate": Threshold(metric="accuracy", **PGD, min_change=-0.1),
    "recall's change": Threshold(metric="balanced_accuracy", **PGD, class_name="mel", min_change=-1, on="interval"),
}


@pytest.fixture(scope="module")
def intervals(make_run: Callable[..., Run]) -> Run:
    return make_run(list(INTERVALS.values()))


def change(lower: float, upper: float, **place: Any) -> dict[str, Any]:
    row = {"model": "robust", "baseline": "vanilla", "attack": "pgd", "epsilon": 4.0, "metric": "accuracy", "n": 60}
    figures = {"change": (lower + upper) / 2, "lower": lower, "upper": upper, "p_value": 0.5, "p_adjusted": 1.0}
    return {**row, "slice": "overall", **figures, "significant": False, **place}


def test_a_threshold_on_the_interval_is_held_to_its_end(intervals: Run) -> None:
    below = intervals.verdict(INTERVALS["estimate above, interval below"])
    assert below.lower is not None
    assert below.value is not None
    assert below.lower < 0.75 < below.value  # else the case shows nothing
    assert not below.passed
    lower = f"the lower end of the interval of the value, {below.lower:.4g}"
    assert below.reason.endswith(f"for the whole interval. Not met: {lower}, is not at least 0.75.")
    above = intervals.verdict(INTERVALS["upper end above"])
    assert above.upper is not None
    assert above.value is not None
    assert above.threshold.max is not None
    assert above.value < above.threshold.max < above.upper
    assert not above.passed
    assert intervals.verdict(INTERVALS["interval above"]).passed
    assert intervals.verdict(INTERVALS["slice"]).passed
    assert not intervals.verdict(INTERVALS["missing slice"]).passed


def test_a_change_on_the_interval_is_judged_by_paired_differences(intervals: Run) -> None:
    def verdicts(*rows: dict[str, Any]) -> dict[str, Verdict]:
        blessing = intervals.bless(comparisons=rows)
        return dict(zip(INTERVALS, blessing.thresholds, strict=True))

    melanoma = change(-0.5, 0.5, slice="dx=mel")
    good, bad = verdicts(change(-0.05, 0.2), melanoma), verdicts(change(-0.15, 0.3), melanoma)
    assert good["change"].passed
    assert (good["change"].change_lower, good["change"].change_upper) == (-0.05, 0.2)
    assert not bad["change"].passed
    assert "[-0.15, +0.3] from the baseline" in bad["change"].reason
    assert good["recall's change"].passed
    assert bad["change of the estimate"].passed == good["change of the estimate"].passed
    assert not verdicts()["change"].passed


def test_a_slice_with_too_few_images_neither_passes_nor_fails(mixed: Run, passing: Run) -> None:
    by_class = [verdict for verdict in mixed.bless(size=30).thresholds if verdict.threshold.class_name]
    assert by_class
    assert not any(verdict.judged or verdict.passed for verdict in by_class)
    assert all("Too few images" in verdict.reason for verdict in by_class)
    assert passing.bless(size=30).blessed
    assert not passing.bless(size=1000).blessed  # nothing could be judged


def check(status: Status, model: str | None) -> Check:
    return Check(name="noise", title="Noise", model=model, status=status, sentence="Why.", figures={})


@pytest.mark.parametrize(
    ("asked", "status", "model", "blessed"),
    [
        ("no_failure", Status.FAIL, "robust", False),
        ("no_failure", Status.FAIL, None, False),
        ("no_failure", Status.FAIL, "vanilla", True),
        ("no_failure", Status.WARN, "robust", True),
        ("all_pass", Status.WARN, "robust", False),
        ("ignored", Status.FAIL, "robust", True),
    ],
)
def test_checks_of_the_candidate_and_of_the_whole_can_refuse(
    asked: Any, status: Status, model: str | None, blessed: bool, passing: Run
) -> None:
    blessing = passing.bless(checks=[check(status, model)], asked=asked)
    assert blessing.blessed is blessed
    assert blessing.checks == (() if blessed else (f"Noise: {status}. Why.",))
