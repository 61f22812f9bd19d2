"""What an evaluation found, read from its artifact into typed objects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, Literal, NamedTuple, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from dermrobust.attacks.errors import UserError
from dermrobust.components import storage
from dermrobust.pipeline.report import files

CLEAN = "none"
WORST_CASE = "worst_case"
OVERALL = "overall"

Shown = str | float | int | bool | None
_MALIGNANT = ("akiec", "bcc", "mel")
"""Of HAM10000's classes; for evaluations that do not say which of theirs are malignant."""


class _Read(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class Description(_Read):
    """As `evaluation.json`: what was evaluated, and how.

    Attributes:
        models: in the order in which they are shown.
        malignant: the classes whose confusion with the others is dangerous.
        epsilons: budgets in 1/255.
        attacks: parameters by the attack's name in results.
        min_slice_size: slices below are shown and never gate.
        specificity: at which melanoma sensitivity is measured.
    """

    models: tuple[str, ...] = ()
    baseline: str | None = None
    candidate: str | None = None
    class_names: tuple[str, ...] = ()
    malignant: tuple[str, ...] = ()
    norm: str | None = None
    epsilons: tuple[float, ...] = ()
    attacks: dict[str, Any] = {}
    seed: int | None = None
    min_slice_size: int | None = None
    specificity: float | None = None
    images: int | None = None
    lesions: int | None = None
    notes: tuple[str, ...] = ()
    versions: dict[str, str] = {}


class Threshold(_Read):
    """What the gate asks of one metric in one slice."""

    metric: str
    attack: str = CLEAN
    epsilon: float = 0.0
    lesion: str | None = None
    images: str | None = None
    min: float | None = None
    max: float | None = None
    min_change: float | None = None
    max_change: float | None = None


class Verdict(_Read):
    """What was found for a threshold; `judged` is false where the slice is too small to gate."""

    threshold: Threshold
    value: float | None = None
    baseline_value: float | None = None
    change: float | None = None
    n: int | None = None
    lower: float | None = None
    upper: float | None = None
    change_lower: float | None = None
    change_upper: float | None = None
    judged: bool = True
    passed: bool
    reason: str = ""


class Blessing(_Read):
    """As `blessing.json`: whether the candidate may be exported; `checks` names checks that refused it."""

    blessed: bool
    candidate: str
    baseline: str | None = None
    thresholds: tuple[Verdict, ...] = ()
    checks: tuple[str, ...] = ()


class Check(_Read):
    """A check of the evaluation itself, such as whether gradients are masked."""

    name: str
    title: str = ""
    model: str | None = None
    status: Literal["pass", "warn", "fail"]
    sentence: str = ""
    figures: dict[str, Shown] = {}


class AdaptiveLoss(_Read):
    """Accuracies of a model on transferred examples, and in the worst case over all attacks."""

    model: str
    epsilon: float
    attack: str
    transferred: float
    adaptive: float

    @property
    def removed(self) -> float:
        """The accuracy that is lost to an attacker who has the model."""
        return self.transferred - self.adaptive


class Place(NamedTuple):
    """Where a figure was measured."""

    model: str
    attack: str
    epsilon: float
    slice: str
    metric: str


@dataclass(frozen=True)
class Figure:
    """A measured number.

    Attributes:
        value: what was found.
        n: images it was measured on.
        lower, upper: 95 % interval; None where none was computed.
        small: whether n is below the smallest slice that may gate.
    """

    value: float
    n: int
    lower: float | None = None
    upper: float | None = None
    small: bool = False

    @property
    def has_interval(self) -> bool:
        """Whether the uncertainty is known."""
        return self.lower is not None and self.upper is not None


@dataclass(frozen=True)
class Corruption:
    """A metric under a corruption (noise, blur, JPEG ...) of a severity from 1 to 5."""

    model: str
    corruption: str
    severity: int
    metric: str
    value: float
    n: int
    lower: float | None = None
    upper: float | None = None


@dataclass(frozen=True)
class Comparison:
    """A paired comparison on the same images: `change` is model minus baseline, `p_adjusted` after Holm (1979)."""

    model: str
    baseline: str
    attack: str
    epsilon: float
    metric: str
    n: int
    change: float
    slice: str = OVERALL
    lower: float | None = None
    upper: float | None = None
    p_value: float | None = None
    p_adjusted: float | None = None
    significant: bool = False


@dataclass(frozen=True)
class Flip:
    """An image whose class an attack changed; PNG bytes of the clean and the adversarial image."""

    model: str
    attack: str
    epsilon: float
    image_id: str
    dx: str
    predicted_before: str
    predicted_after: str
    p_before: float
    p_after: float
    danger: int
    clean: bytes
    adversarial: bytes


@dataclass(frozen=True)
class Evaluation:
    """All that an evaluation says; a part that its artifact does not hold is None.

    Attributes:
        uri: where the artifact lies.
        about: what was evaluated.
        figures: every metric of every slice.
    """

    uri: str
    about: Description
    figures: Mapping[Place, Figure]
    corruptions: tuple[Corruption, ...] | None
    comparisons: tuple[Comparison, ...] | None
    checks: tuple[Check, ...] | None
    gallery: tuple[Flip, ...] | None
    adaptive: tuple[AdaptiveLoss, ...] | None
    blessing: Blessing | None

    def figure(self, model: str, attack: str, epsilon: float, metric: str, where: str = OVERALL) -> Figure | None:
        """Return a figure; None where the metric is undefined or was not measured."""
        return self.figures.get(Place(model, attack, 0.0 if attack == CLEAN else epsilon, where, metric))

    @cached_property
    def attacks(self) -> tuple[str, ...]:
        """The attacks in their order, without clean images and the worst case."""
        measured = dict.fromkeys(place.attack for place in self.figures)
        known = [name for name in self.about.attacks if name in measured]
        return tuple(dict.fromkeys([*known, *(name for name in measured if name not in (CLEAN, WORST_CASE))]))

    @cached_property
    def conditions(self) -> tuple[str, ...]:
        """Clean images, every attack, and the worst case, where they were measured."""
        measured = {place.attack for place in self.figures}
        return tuple(name for name in (CLEAN, *self.attacks, WORST_CASE) if name in measured)

    @cached_property
    def metrics(self) -> tuple[str, ...]:
        """The metrics that were measured."""
        return tuple(dict.fromkeys(place.metric for place in self.figures))

    @cached_property
    def slices(self) -> tuple[str, ...]:
        """The slices of the test images, `overall` among them."""
        return tuple(dict.fromkeys(place.slice for place in self.figures))


_Row = TypeVar("_Row", Corruption, Comparison, Flip)


def read_evaluation(evaluation_uri: str, blessing_uri: str | None = None) -> Evaluation:
    """Read an evaluation and the verdict of its gate.

    Args:
        evaluation_uri: folder of the evaluation artifact.
        blessing_uri: folder of the blessing artifact; None: nothing was gated.

    Raises:
        UserError: there are no metrics, or a file does not hold what it should.
    """
    rows = files.read_rows(storage.join(evaluation_uri, files.METRICS))
    if rows is None:
        raise UserError(
            f"there are no metrics in '{evaluation_uri}'; evaluate again with: dermrobust run --to evaluate"
        )

    def json(name: str, key: str | None = None) -> Any:
        content = files.read_json(storage.join(evaluation_uri, name))
        return content.get(key, []) if isinstance(content, dict) and key else content

    blessing = None if blessing_uri is None else files.read_json(storage.join(blessing_uri, files.BLESSING))
    try:
        verdict = None if blessing is None else Blessing.model_validate(blessing)
        checks = json(files.CHECKS, "checks")
        losses = json(files.ADAPTIVE, "losses")
        if not rows:
            raise UserError(f"the table of metrics in '{evaluation_uri}' is empty; evaluate again")
        about = _completed(Description.model_validate(json(files.DESCRIPTION) or {}), rows, verdict)
        return Evaluation(
            uri=evaluation_uri,
            about=about,
            figures=_figures(rows, about.min_slice_size),
            corruptions=_table(Corruption, storage.join(evaluation_uri, files.CORRUPTIONS)),
            comparisons=_table(Comparison, storage.join(evaluation_uri, files.COMPARISONS)),
            checks=None if checks is None else tuple(Check.model_validate(check) for check in checks),
            gallery=_table(Flip, storage.join(evaluation_uri, files.GALLERY)),
            adaptive=None if losses is None else tuple(AdaptiveLoss.model_validate(loss) for loss in losses),
            blessing=verdict,
        )
    except (ValidationError, KeyError, TypeError) as error:
        raise UserError(
            f"'{evaluation_uri}' does not hold what an evaluation holds ({error}); "
            "evaluate again with: dermrobust evaluate --force"
        ) from error


def _table(kind: type[_Row], uri: str) -> tuple[_Row, ...] | None:
    rows = files.read_rows(uri)
    if rows is None:
        return None
    names = [field.name for field in fields(kind)]
    return tuple(kind(**{name: row[name] for name in names if name in row}) for row in rows)


def _figures(rows: Sequence[Mapping[str, Any]], min_size: int | None) -> dict[Place, Figure]:
    found = {}
    for row in rows:
        if row["attack"] is None or row["epsilon"] is None or row["value"] is None:
            continue
        epsilon = 0.0 if row["attack"] == CLEAN else row["epsilon"]
        place = Place(row["model"], row["attack"], epsilon, row["slice"], row["metric"])
        small = row.get("small")
        if small is None:
            small = min_size is not None and row["n"] < min_size
        found[place] = Figure(row["value"], row["n"], row.get("lower"), row.get("upper"), bool(small))
    return found


def _completed(about: Description, rows: Sequence[Mapping[str, Any]], verdict: Blessing | None) -> Description:
    """Fill in from the metrics what `evaluation.json` does not say."""
    attacked = [row for row in rows if row["attack"] not in (None, CLEAN) and row["epsilon"] is not None]
    overall = [row for row in rows if row["slice"] == OVERALL and row["attack"] == CLEAN]
    classes = {
        row["slice"].removeprefix("dx=") for row in rows if row["slice"].startswith("dx=") and "," not in row["slice"]
    }
    class_names = about.class_names or tuple(sorted(classes))
    inferred = {
        "models": about.models or tuple(dict.fromkeys(row["model"] for row in rows)),
        "class_names": class_names,
        "malignant": about.malignant
        if "malignant" in about.model_fields_set
        else tuple(name for name in class_names if name in _MALIGNANT),
        "norm": about.norm or next((row["norm"] for row in attacked if row.get("norm")), None),
        "epsilons": about.epsilons or tuple(sorted({row["epsilon"] for row in attacked})),
        "candidate": about.candidate or (verdict.candidate if verdict else None),
        "baseline": about.baseline or (verdict.baseline if verdict else None),
        "images": about.images or max((row["n"] for row in overall), default=None),
    }
    return about.model_copy(update=inferred)
