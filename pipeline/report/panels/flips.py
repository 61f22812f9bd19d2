"""Gallery of flips, the most dangerous first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dermrobust.components.evaluation.reading import Evaluation
from dermrobust.components.evaluation.rows import Flip
from dermrobust.pipeline.report import tables
from dermrobust.pipeline.report.images import Triptych, triptych
from dermrobust.pipeline.report.panel import ReportPanel

BUDGET = 3_000_000
"""Characters that all images of a page may take; a report is to stay below 5 MB."""
_KINDS = {
    "missed": "Malignant called benign",
    "alarm": "Benign called malignant",
    "confused": "Confused within a group",
}


@dataclass(frozen=True)
class Exhibit:
    """A flip with its images; `kind` says how it matters: missed, alarm or confused."""

    flip: Flip
    images: Triptych
    kind: str
    headline: str


@dataclass(frozen=True)
class Gallery:
    """Exhibits, the number of images that an attack changed, controls that filter them, and the number of flips."""

    exhibits: tuple[Exhibit, ...]
    images: int
    filters: tuple[tables.Selector, ...]
    total: int

    @property
    def left_out(self) -> int:
        """Images that the page does not show."""
        return self.images - len(self.exhibits)


def gallery(evaluation: Evaluation) -> Gallery:
    """Return the most dangerous flip of each image, as far as the images fit into the page."""
    flips = evaluation.gallery or ()
    exhibits, used = list[Exhibit](), 0
    for flip in _one_of_each_image(evaluation, flips):
        images = triptych(flip.clean, flip.adversarial)
        if images is None:
            continue
        used += images.size
        if used > BUDGET:
            break
        kind = _kind(evaluation, flip)
        exhibits.append(Exhibit(flip, images, kind, _headline(evaluation, flip, kind)))
    changed = len({flip.image_id for flip in flips})
    return Gallery(tuple(exhibits), changed, _filters(evaluation, exhibits), len(flips))


def _one_of_each_image(evaluation: Evaluation, flips: Sequence[Flip]) -> list[Flip]:
    """Return the flip of each image that says most, the most dangerous first: of the candidate where it has one.

    The same image falls under several attacks and of several models; showing it each time shows nothing new.
    """
    candidate = evaluation.candidate
    chosen: dict[str, Flip] = {}
    for flip in sorted(flips, key=lambda flip: (flip.model != candidate, -flip.danger)):
        chosen.setdefault(flip.image_id, flip)
    return sorted(chosen.values(), key=lambda flip: (flip.model != candidate, -flip.danger))


def _headline(evaluation: Evaluation, flip: Flip, kind: str) -> str:
    task = evaluation.about.task
    if kind == "missed" and flip.truth in task.critical:
        return f"{task.critical_title or flip.truth} called benign".capitalize()
    return _KINDS[kind]


def _kind(evaluation: Evaluation, flip: Flip) -> str:
    malignant = evaluation.about.task.malignant
    was, is_called = flip.truth in malignant, flip.predicted_after in malignant
    if was == is_called:
        return "confused"
    return "missed" if was else "alarm"


def _filters(evaluation: Evaluation, exhibits: list[Exhibit]) -> tuple[tables.Selector, ...]:
    task = evaluation.about.task
    flips = [exhibit.flip for exhibit in exhibits]
    columns = (
        ("model", "Model", [flip.model for flip in flips]),
        ("attack", "Attack", [flip.attack for flip in flips]),
        ("truth", task.slice_title(task.class_key), [flip.truth for flip in flips]),
    )
    named = [
        tables.Selector(name, label, {"": "all"} | {each: each for each in found}, "") for name, label, found in columns
    ]
    kinds = {kind: text for kind, text in _KINDS.items() if any(each.kind == kind for each in exhibits)}
    return (*named, tables.Selector("kind", "What happened", {"": "all"} | kinds, ""))


PANEL = ReportPanel("Gallery of flips", "flips.html", lambda evaluation, _: {"gallery": gallery(evaluation)})
