"""From TFMA's validation, paired differences and self-checks to a blessing: may the candidate be exported, and why."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
import tensorflow_model_analysis as tfma
from pydantic import BaseModel, ConfigDict
from tensorflow_model_analysis.proto import config_pb2, validation_result_pb2
from tensorflow_model_analysis.slicer import slicer_lib

from dermrobust.components.evaluation.checks import Check, Status
from dermrobust.components.evaluation.thresholds import Gate, Threshold, canonical_epsilon
from dermrobust.components.measure.table import OVERALL
from dermrobust.components.measure.tfma_run import TOLERANCE, metric_thresholds, slicing_spec


class Verdict(BaseModel):
    """What one threshold asked for and what was found.

    Attributes:
        threshold: What was asked.
        value: The candidate's metric; None if it is undefined or the slice has no images.
        lower, upper: Its 95 % interval.
        baseline_value: The baseline's metric; None also if there is no baseline.
        change: The candidate's metric minus the baseline's.
        change_lower, change_upper: The 95 % interval of the change; None where none is computed.
        n: Number of images that the candidate's metric was measured on.
        judged: Whether there were enough images to conclude anything; if not, the threshold neither passed nor failed.
        passed: Whether the threshold was found to hold.
        reason: The verdict in one sentence.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    threshold: Threshold
    value: float | None
    lower: float | None
    upper: float | None
    baseline_value: float | None
    change: float | None
    change_lower: float | None
    change_upper: float | None
    n: int | None
    judged: bool
    passed: bool
    reason: str


class Blessing(BaseModel):
    """Whether the candidate may be exported.

    Attributes:
        blessed: Whether every threshold that could be judged holds, at least one could if any was asked, and the checks
            show what the gate asks of them.
        candidate: Name of the model that was gated.
        baseline: Name of the model it was compared with.
        thresholds: A verdict for each threshold of the gate, in its order.
        checks: A sentence for each self-check that stands in the way.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    blessed: bool
    candidate: str
    baseline: str | None
    thresholds: list[Verdict]
    checks: list[str]


def judge(gate: Gate, output_uri: str, table: pa.Table, comparisons: pa.Table, checks: Sequence[Check]) -> Blessing:
    """Reads TFMA's validation of the gate and returns the blessing.

    Args:
        gate: The gate that the TFMA run was configured with.
        output_uri: Folder that `run_tfma` wrote to.
        table: What `metrics_table` read from there, with candidate and baseline.
        comparisons: From `comparisons_table`, with the candidate against the baseline.
        checks: The evaluation's self-checks.
    """
    return bless(gate, tfma.load_validation_result(output_uri), table, comparisons, checks)


def bless(
    gate: Gate,
    validation: validation_result_pb2.ValidationResult,
    table: pa.Table,
    comparisons: pa.Table,
    checks: Sequence[Check],
) -> Blessing:
    """The blessing that TFMA's validation, the differences and the checks amount to; see `judge`.

    Whether a value or a change meets its bound is TFMA's verdict; a change that is held to its interval is judged by
    the interval in `comparisons`, which TFMA has not.
    """
    found = {tuple(row[name] for name in _PLACE): row for row in table.to_pylist()}
    changes = {tuple(row[name] for name in _PLACE): row for row in comparisons.to_pylist()}
    verdicts = [_verdict(threshold, gate, validation, found, changes) for threshold in gate.thresholds]
    standing = [_objection(check) for check in checks if _counts(check, gate)]
    judged = [verdict for verdict in verdicts if verdict.judged]
    return Blessing(
        blessed=all(verdict.passed for verdict in judged) and bool(judged or not verdicts) and not standing,
        candidate=gate.candidate,
        baseline=gate.baseline,
        thresholds=verdicts,
        checks=standing,
    )


_PLACE = ("model", "attack", "epsilon", "slice", "metric")
_Found = Mapping[tuple[Any, ...], Mapping[str, Any]]


def _counts(check: Check, gate: Gate) -> bool:
    refused = {"ignored": (), "no_failure": (Status.FAIL,), "all_pass": (Status.FAIL, Status.WARN)}[gate.checks]
    return check.model in (None, gate.candidate) and check.status in refused


def _objection(check: Check) -> str:
    return f"{check.title}: {check.status}. {check.sentence}"


def _verdict(
    threshold: Threshold,
    gate: Gate,
    validation: validation_result_pb2.ValidationResult,
    found: _Found,
    changes: _Found,
) -> Verdict:
    candidate = _row(found, gate.candidate, threshold, threshold.metric)
    baseline = _row(found, gate.baseline, threshold, threshold.metric)
    difference = _row(changes, gate.candidate, threshold, threshold.metric)
    value, before = candidate.get("value"), baseline.get("value")
    change = None if value is None or before is None else value - before
    defined = value is not None and (change is not None or not threshold.compares)
    exists = _has_slice(threshold, validation) if metric_thresholds(threshold) else bool(difference)
    judged = not (defined and candidate["small"])
    if not exists:
        reason = f"{threshold}: the test images have no such slice."
    elif not defined or value is None:
        whose = "candidate" if value is None else "baseline"
        reason = f"{threshold}: the metric is undefined for the {whose} in this slice."
    else:
        reason = _sentence(threshold, candidate, change, difference)
        if not judged:
            reason += " Too few images to conclude anything: this does not count."
    return Verdict(
        threshold=threshold,
        value=value,
        lower=candidate.get("lower"),
        upper=candidate.get("upper"),
        baseline_value=before,
        change=change,
        change_lower=difference.get("lower"),
        change_upper=difference.get("upper"),
        n=candidate.get("n"),
        judged=judged,
        passed=judged
        and exists
        and defined
        and not list(_failures(threshold, validation))
        and _interval_holds(threshold, difference),
        reason=reason,
    )


def _interval_holds(threshold: Threshold, difference: Mapping[str, Any]) -> bool:
    """Whether the interval of the change lies within the bounds, where the threshold is about that."""
    if threshold.on != "interval" or not threshold.compares:
        return True
    if not difference:
        return False
    least, most = threshold.min_change, threshold.max_change
    return (least is None or difference["lower"] >= least - TOLERANCE) and (
        most is None or difference["upper"] <= most + TOLERANCE
    )


def _row(found: _Found, model: str | None, threshold: Threshold, metric: str) -> Mapping[str, Any]:
    where = threshold.images or OVERALL
    if found and threshold.lesion is not None and metric == "balanced_accuracy":
        # Within one class it is the class's recall, as accuracy is; differences are listed under that name.
        by_class = (model, threshold.attack, canonical_epsilon(threshold.epsilon), where)
        return found.get((*by_class, metric)) or found.get((*by_class, "accuracy"), {})
    return found.get((model, threshold.attack, canonical_epsilon(threshold.epsilon), where, metric), {})


def _has_slice(threshold: Threshold, validation: validation_result_pb2.ValidationResult) -> bool:
    spec = slicing_spec(threshold)
    checked = any(
        details.slicing_spec == spec and details.num_matching_slices
        for details in validation.validation_details.slicing_details
    )
    return checked and spec not in validation.missing_slices


def _failures(
    threshold: Threshold, validation: validation_result_pb2.ValidationResult
) -> Iterator[config_pb2.MetricThreshold]:
    """Those TFMA thresholds that belong to this threshold of the gate and failed in its slice."""
    translated = metric_thresholds(threshold)
    for in_slice in validation.metric_validations_per_slice:
        key = dict(slicer_lib.deserialize_slice_key(in_slice.slice_key))
        if "epsilon" in key:
            key["epsilon"] = canonical_epsilon(key["epsilon"])
        if key == threshold.slice_values:
            for failure in in_slice.failures:
                if (failure.metric_key.name, failure.metric_threshold) in translated:
                    yield failure.metric_threshold


def _sentence(
    threshold: Threshold, candidate: Mapping[str, Any], change: float | None, difference: Mapping[str, Any]
) -> str:
    asked = (
        (threshold.min, "at least {:.4g}"),
        (threshold.max, "at most {:.4g}"),
        (threshold.min_change, "at least {:+.4g} from the baseline"),
        (threshold.max_change, "at most {:+.4g} from the baseline"),
    )
    wanted = " and ".join(text.format(bound) for bound, text in asked if bound is not None)
    whole = ", for the whole interval" if threshold.on == "interval" else ""
    changed = ""
    if threshold.compares and change is not None:
        interval = f" [{difference['lower']:+.4g}, {difference['upper']:+.4g}]" if difference else ""
        changed = f" ({change:+.4g}{interval} from the baseline)"
    value = f"{candidate['value']:.4g} [{candidate['lower']:.4g}, {candidate['upper']:.4g}]"
    return f"{threshold} is {value}{changed} on {candidate['n']} images; the gate asks for {wanted}{whole}."
