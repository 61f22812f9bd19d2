"""Rule on thresholds: bounds on a metric in a slice, or on its change from the baseline."""

from __future__ import annotations

from collections.abc import Iterator

from dermrobust.components.evaluation.blessing import Verdict
from dermrobust.components.evaluation.names import canonical_epsilon
from dermrobust.components.evaluation.reading import Evaluation
from dermrobust.components.evaluation.rows import Comparison, Figure
from dermrobust.components.evaluation.schemas import OVERALL
from dermrobust.components.evaluation.thresholds import Gate, Threshold
from dermrobust.components.gate.ruling import Ruling

TOLERANCE = 1e-9
"""Bounds include their value; without it 0.70 - 0.75 fails a `min_change` of -0.05 by rounding."""


def judge(gate: Gate, evaluation: Evaluation) -> Ruling:
    """Return a verdict for each threshold of the gate."""
    return Ruling(verdicts=tuple(_Judged(threshold, gate, evaluation).verdict() for threshold in gate.thresholds))


class _Judged:
    """A threshold with the figures that it is about."""

    def __init__(self, threshold: Threshold, gate: Gate, evaluation: Evaluation) -> None:
        task = evaluation.about.task
        self._threshold, self._evaluation = threshold, evaluation
        self._where = threshold.images(task.class_key) or OVERALL
        self._text = threshold.text(task.class_key)
        self._classes, self._chance = len(task.class_names), threshold.chance(task)
        self._epsilon = canonical_epsilon(threshold.epsilon)
        self._candidate = self._figure(gate.candidate)
        self._baseline = self._figure(gate.baseline)
        self._difference = self._compared(gate.candidate)
        self._exists = any(
            place[:4] == (gate.candidate, threshold.attack, self._epsilon, self._where) for place in evaluation.figures
        )

    def verdict(self) -> Verdict:
        """Return the verdict."""
        candidate, baseline, difference = self._candidate, self._baseline, self._difference
        value, before = _of(candidate, "value"), _of(baseline, "value")
        change = None if value is None or before is None else value - before
        defined = value is not None and (change is not None or not self._threshold.compares)
        judged = not (defined and candidate is not None and candidate.small)
        failures = list(self._failures(change))
        if not self._exists:
            reason = f"{self._text}: the test images have no such slice."
        elif not defined or candidate is None:
            whose = "candidate" if value is None else "baseline"
            reason = f"{self._text}: the metric is undefined for the {whose} in this slice."
        else:
            reason = self._sentence(candidate, change)
            if not judged:
                reason += " Too few images to conclude anything: this does not count."
            elif failures:
                reason += f" Not met: {'; '.join(failures)}."
        return Verdict(
            threshold=self._threshold,
            value=value,
            lower=_of(candidate, "lower"),
            upper=_of(candidate, "upper"),
            baseline_value=before,
            change=change,
            change_lower=_of(difference, "lower"),
            change_upper=_of(difference, "upper"),
            n=None if candidate is None else candidate.n,
            judged=judged,
            passed=judged and self._exists and defined and not failures,
            reason=reason,
        )

    def _failures(self, change: float | None) -> Iterator[str]:
        """Yield a phrase for each requirement that is not met; one on a figure that is not known is not."""
        threshold, figure, difference = self._threshold, self._candidate, self._difference
        low = high = _of(figure, "value")
        change_low = change_high = change
        lower = upper = "the "
        if threshold.on == "interval":
            low, high = _of(figure, "lower"), _of(figure, "upper")
            change_low, change_high = _of(difference, "lower"), _of(difference, "upper")
            lower, upper = "the lower end of the interval of the ", "the upper end of the interval of the "
        for name, found, bound, sign in (
            (f"{lower}value", low, threshold.min, 1),
            (f"{lower}change", change_low, threshold.min_change, 1),
            (f"{upper}value", high, threshold.max, -1),
            (f"{upper}change", change_high, threshold.max_change, -1),
        ):
            if bound is not None and not (found is not None and sign * (found - bound) >= -TOLERANCE):
                yield f"{name}, {_number(found)}, is not at {'least' if sign > 0 else 'most'} {bound:.4g}"
        if self._chance is not None and not (low is not None and low > self._chance):
            chance = f"{self._chance:.4g}, which guessing among {self._classes} classes reaches"
            yield f"{lower}value, {_number(low)}, is not above {chance}"

    def _figure(self, model: str | None) -> Figure | None:
        if model is None:
            return None
        threshold = self._threshold
        return self._evaluation.figure(model, threshold.attack, self._epsilon, threshold.metric, self._where)

    def _compared(self, model: str) -> Comparison | None:
        wanted = (model, self._threshold.attack, self._epsilon, self._where)
        found = {
            row.metric: row
            for row in self._evaluation.comparisons or ()
            if (row.model, row.attack, canonical_epsilon(row.epsilon), row.slice) == wanted
        }
        if self._threshold.class_name is not None and self._threshold.metric == "balanced_accuracy":
            # Within one class it is the class's recall, as accuracy is; differences are listed under that name.
            return found.get("balanced_accuracy") or found.get("accuracy")
        return found.get(self._threshold.metric)

    def _sentence(self, candidate: Figure, change: float | None) -> str:
        threshold, difference = self._threshold, self._difference
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
            interval = "" if difference is None else f" {_interval(difference.lower, difference.upper, '+')}"
            changed = f" ({change:+.4g}{interval} from the baseline)"
        value = f"{candidate.value:.4g} {_interval(candidate.lower, candidate.upper)}"
        return f"{self._text} is {value}{changed} on {candidate.n} images; the gate asks for {wanted}{whole}."


def _of(row: Figure | Comparison | None, name: str) -> float | None:
    """Return a number of a row; None where there is no row."""
    found: float | None = None if row is None else getattr(row, name)
    return found


def _interval(lower: float | None, upper: float | None, sign: str = "") -> str:
    return f"[{_number(lower, sign)}, {_number(upper, sign)}]"


def _number(value: float | None, sign: str = "") -> str:
    return "unknown" if value is None else format(value, f"{sign}.4g")
