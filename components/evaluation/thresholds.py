"""Thresholds of the gate: requirements on a model that is exported.

Plain data without TensorFlow, so that reading a configuration stays quick.
"""

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from dermrobust.attacks.kinds import HasKind, Kind, named
from dermrobust.attacks.threat import ThreatModel
from dermrobust.attacks.transforms.threat import TransformThreat, is_transform
from dermrobust.components.evaluation.conditions import (
    CERTIFIED,
    condition_of,
    family_of,
    is_of_referral,
    is_of_smoothing,
    rate_of,
    search_of,
)
from dermrobust.components.evaluation.metrics.registry import METRICS
from dermrobust.components.evaluation.names import CLEAN, canonical_epsilon
from dermrobust.models.task import Task

MetricName = Annotated[str, AfterValidator(METRICS.check), Field(json_schema_extra={"enum": list(METRICS.names)})]
Rate = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Change = Annotated[float, Field(ge=-1, le=1, allow_inf_nan=False)]


def _in_levels(epsilon: Any) -> Any:
    return ThreatModel.parse(epsilon).epsilon if isinstance(epsilon, str) else epsilon


class Threshold(BaseModel):
    """Bounds on one metric in one slice of the test images.

    Every bound that is given must hold, bounds included. A slice without images, or in which the metric is undefined,
    does not pass; one with too few images is shown, but neither passes nor fails. `min` and `max` bound the candidate's
    own value; `min_change` and `max_change` bound the candidate's value minus the baseline's.

    A threshold on balanced accuracy is held to the interval, and asks for more than chance; see `Metric.chance`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, validate_by_name=True, serialize_by_alias=True)

    metric: MetricName = Field(description="The metric that is bounded.")
    attack: str = Field(
        default=CLEAN,
        min_length=1,
        description='The attack on the images: "none" for clean ones, "worst_case" for the worst attack on each image. '
        'Under a threat model beyond a norm a search, or "worst_case"; written out: "colour/worst_case". Of a smoothed '
        'classifier "certified/0.25" (what is certified with sigma 0.25) or "smoothed/0.25" (what attacks leave). '
        'Of a classifier that refers images "referral/0.2/none", "referral/0.2/pgd" or "referral/0.2/worst_case".',
    )
    epsilon: Annotated[float, BeforeValidator(_in_levels)] = Field(
        default=0.0,
        ge=0,
        le=1e6,
        allow_inf_nan=False,
        description='Budget of the attack in units of 1/255, or as evaluate.epsilons has it ("linf:4/255", "l0:24"); 0 '
        'for "none" and above 0 for every attack. Beyond a norm as evaluate.threats has it ("colour:1"). Of a smoothed '
        'classifier an L2 radius ("l2:0.5"), or 0 for clean images.',
    )
    class_name: str | None = Field(
        default=None,
        # `class` is a keyword of Python: the config has the alias, code the field's name.
        validation_alias="class",
        serialization_alias="class",
        min_length=1,
        description='Only images of this class, such as "mel".',
    )
    slice: str | None = Field(
        default=None,
        pattern=r"^[a-z][a-z0-9_]*=.+$",
        description='Only images of this slice of the task, such as "sex=female" or "age_group=60-79".',
    )
    on: Literal["estimate", "interval"] = Field(
        default="estimate",
        description="Figure that is held to the bounds: the estimate, or the end of its 95 % interval on the side of "
        "the bound (min by the lower end, max by the upper), so that chance alone does not pass. For "
        "balanced_accuracy always the interval.",
    )
    min: Rate | None = Field(default=None, description="The candidate reaches at least this value, in 0 to 1.")
    max: Rate | None = Field(default=None, description="The candidate reaches at most this value, in 0 to 1.")
    min_change: Change | None = Field(
        default=None, description="Candidate minus baseline is at least this, in -1 to 1 (-0.05: may lose 5 points)."
    )
    max_change: Change | None = Field(
        default=None, description="Candidate minus baseline is at most this, in -1 to 1 (-0.3: must fall by 30 points)."
    )

    @property
    def compares(self) -> bool:
        """Whether the threshold needs a baseline."""
        return self.min_change is not None or self.max_change is not None

    def chance(self, task: Task) -> float | None:
        """Return the value that the lower end of the candidate's interval must exceed, whatever the bounds; or None.

        Within one class there is none: a model that always answers this class has a recall of 1.
        """
        found = METRICS.resolve(self.metric).chance
        asks = self.min is not None or self.min_change is not None
        one_class = (self.images(task.class_key) or "").startswith(f"{task.class_key}=")
        return found(len(task.class_names)) if found and asks and not one_class else None

    def images(self, class_key: str) -> str | None:
        """Return the slice as the table of metrics names it, such as "dx=mel"; None: all images.

        Args:
            class_key: the task's feature with the name of the class.
        """
        return self.slice if self.class_name is None else f"{class_key}={self.class_name}"

    def text(self, class_key: str) -> str:
        """Return the threshold for readers: "accuracy under pgd at epsilon 4 (dx=mel)"."""
        family = family_of(self.attack)
        budget = f"epsilon {self.epsilon:g}" if family is None else f"{family}:{self.epsilon:g}"
        under = "on clean images" if self.attack == CLEAN else f"under {search_of(self.attack)} at {budget}"
        if is_of_smoothing(self.attack):
            under = f"of {self.attack} at l2:{self.epsilon / 255:g}"
        if is_of_referral(self.attack):
            attack = search_of(self.attack)
            where = "on clean images" if attack == CLEAN else f"under {attack} at epsilon {self.epsilon:g}"
            under = f"{where} with a referral rate of {rate_of(self.attack)}"
        images = self.images(class_key)
        return f"{self.metric} {under}" + (f" ({images})" if images else "")

    def __str__(self) -> str:
        """Return the threshold for messages that know no task."""
        return self.text("class")

    @model_validator(mode="before")
    @classmethod
    def _complete(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        if "lesion" in values:
            raise ValueError(f"the key 'lesion' is now 'class', such as {{\"class\": \"{values['lesion']}\"}}")
        if is_transform(values.get("epsilon")):
            values = _beyond_a_norm(values)
        metric = values.get("metric")
        return {"on": "interval", **values} if metric in METRICS.names and METRICS.resolve(metric).chance else values

    @model_validator(mode="after")
    def _has_consistent_bounds(self) -> Self:
        bounds = (self.min, self.max, self.min_change, self.max_change)
        if all(bound is None for bound in bounds):
            raise ValueError(f"{self}: give at least one of min, max, min_change, max_change")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"{self}: min {self.min:g} is above max {self.max:g}")
        if self.min_change is not None and self.max_change is not None and self.min_change > self.max_change:
            raise ValueError(f"{self}: min_change {self.min_change:g} is above max_change {self.max_change:g}")
        return self

    @model_validator(mode="after")
    def _has_consistent_slice(self) -> Self:
        if self.attack == CLEAN and self.epsilon != 0:
            raise ValueError(f'attack "{CLEAN}" means clean images: epsilon must be 0, not {self.epsilon:g}')
        clean = is_of_referral(self.attack) and search_of(self.attack) == CLEAN
        if clean and self.epsilon != 0:
            raise ValueError(f'attack "{self.attack}" means clean images: epsilon must be 0, not {self.epsilon:g}')
        if self.attack != CLEAN and self.epsilon == 0 and not (clean or is_of_smoothing(self.attack)):
            raise ValueError(f'attack "{self.attack}" needs an epsilon above 0 (in units of 1/255)')
        if self.class_name is not None and self.slice is not None:
            raise ValueError(f"{self.metric}: give a class or a slice, not both")
        return self

    @model_validator(mode="after")
    def _fits_a_smoothed_classifier(self) -> Self:
        metric, smoothed = METRICS.resolve(self.metric), is_of_smoothing(self.attack)
        if metric.of_certificates and not (family_of(self.attack) == CERTIFIED and self.epsilon == 0):
            raise ValueError(f'{self.metric} needs an attack such as "certified/0.25", with epsilon 0')
        if smoothed and not metric.of_certificates and self.metric not in ("accuracy", "balanced_accuracy"):
            raise ValueError(f"{self.metric} is not measured of smoothed classifiers; choose accuracy")
        if smoothed and self.compares and self.on == "interval":
            raise ValueError("a change of what a smoothed classifier reaches has no interval; bound its value")
        return self

    @model_validator(mode="after")
    def _fits_a_classifier_that_refers(self) -> Self:
        metric, refers = METRICS.resolve(self.metric), is_of_referral(self.attack)
        if metric.of_referral and not refers:
            raise ValueError(f'{self.metric} needs an attack such as "referral/0.2/worst_case", or "referral/0.2/none"')
        if refers and not metric.of_referral and self.metric not in ("accuracy", "balanced_accuracy"):
            raise ValueError(f"{self.metric} is not measured of classifiers that refer images; choose accuracy")
        if refers and self.compares and self.on == "interval":
            raise ValueError("a change under a referral rate has no interval; bound the value")
        return self

    @model_validator(mode="after")
    def _fits_the_metric(self) -> Self:
        metric = METRICS.resolve(self.metric)
        if not metric.may_gate:
            raise ValueError(f"{self.metric} is shown only; a threshold on it is not allowed")
        if self.attack == CLEAN and metric.needs_attack:
            raise ValueError(f"{self.metric} needs an attack: nothing succeeds on clean images")
        if metric.needs_other_classes and self.class_name is not None:
            raise ValueError(f"{self.metric} is undefined within one class: it needs positives and negatives")
        if metric.chance and self.on != "interval":
            raise ValueError(f'a threshold on {self.metric} is held to its interval: leave out "on"')
        if self.on == "interval" and self.compares:
            if not metric.compared:
                compared = ", ".join(each.name for each in METRICS.resolve_all() if each.compared)
                raise ValueError(f"a change of {self.metric} has no interval; of these it has: {compared}")
            if self.slice is not None:
                raise ValueError("a change has an interval over all images and by class, not in other slices")
        return self


def _beyond_a_norm(values: dict[str, Any]) -> dict[str, Any]:
    """Return the values of a threshold with the name of its condition written out, and the strength as a number."""
    threat = TransformThreat.parse(values["epsilon"])
    attack = values.get("attack", CLEAN)
    if attack == CLEAN or not isinstance(attack, str):
        raise ValueError(f'epsilon "{threat}" needs an attack, such as "worst_case"')
    if family_of(attack) not in (None, threat.family):
        raise ValueError(f'attack "{attack}" is none under "{threat}"; write "{search_of(attack)}"')
    return {**values, "attack": condition_of(threat.family, search_of(attack)), "epsilon": threat.strength}


class Gate(BaseModel):
    """Candidate for export, the baseline of changes, thresholds and further rules."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    candidate: str = Field(min_length=1, description="Name of the model that the thresholds apply to.")
    baseline: str | None = Field(
        default=None, min_length=1, description="Name of the model that changes are measured from; it is not judged."
    )
    rules: tuple[str, ...] = Field(
        default=(), description="Further rules, by their names in the registry of gate rules."
    )
    thresholds: list[Threshold] = Field(default=[], description="All must hold.")
    checks: Literal["no_failure", "all_pass", "ignored"] = Field(
        default="no_failure",
        description="Result that the self-checks of the candidate, and of the evaluation as a whole, must have: "
        "no failure, not even a warning, or anything.",
    )

    def covered(self, attacks: Mapping[str, HasKind]) -> frozenset[float]:
        """Return the budgets, in 1/255, at which a threshold asks for something under an attack on the model itself.

        Noise and images that were crafted on other models are no such attacks: a model that withstands them may fall.

        Args:
            attacks: the evaluated attacks by name.
        """
        harmless = named(attacks, Kind.NOISE, Kind.TRANSFER)
        asked = (each for each in self.thresholds if family_of(each.attack) is None)
        return frozenset(each.epsilon for each in asked if each.attack not in (CLEAN, *harmless))

    def uncovered_threats(
        self, threats: Iterable[TransformThreat], searches: Mapping[str, HasKind]
    ) -> tuple[TransformThreat, ...]:
        """Return the threat models beyond a norm at which no threshold asks for anything under more than a control.

        Args:
            threats: the evaluated threat models.
            searches: the searches under them by name.
        """
        controls = named(searches, Kind.NOISE)
        asked = [(each.attack, canonical_epsilon(each.epsilon)) for each in self.thresholds]
        covered = {
            (family_of(attack), epsilon)
            for attack, epsilon in asked
            if family_of(attack) is not None and search_of(attack) not in controls
        }
        return tuple(each for each in threats if (each.family, canonical_epsilon(each.strength)) not in covered)

    @model_validator(mode="after")
    def _can_compare(self) -> Self:
        if not self.thresholds and self.checks == "ignored":
            raise ValueError("the gate asks for nothing: give a threshold, or let checks count")
        if self.baseline == self.candidate:
            raise ValueError(f'candidate and baseline are both "{self.candidate}": a model cannot be its own baseline')
        comparing = [str(threshold) for threshold in self.thresholds if threshold.compares]
        if comparing and self.baseline is None:
            raise ValueError(f"min_change and max_change need a baseline: {'; '.join(comparing)}")
        return self
