"""Description of an evaluation: models, task, attacks and settings."""

from __future__ import annotations

from typing import Any

from dermrobust.components.evaluation.content import Content
from dermrobust.models.task import Task


class Description(Content):
    """Content of `evaluation.json`.

    Attributes:
        task: the classification problem.
        models: names of the models, in the order in which they are shown.
        baseline: the model that others are compared with.
        norm: norm of the budgets.
        epsilons: budgets in 1/255, ascending.
        attacks: parameters by the attack's name in results.
        seed: seed of random starts.
        min_slice_size: number of images below which a figure is marked as small.
        specificity: specificity at which sensitivity to the critical classes is measured.
        images: number of test images.
        groups: number of groups, such as lesions, that they come from.
        notes: remarks, such as on slices that are left out.
        versions: versions of the libraries that made the predictions.
        threats: threat models beyond a norm, such as "colour:1".
        searches: parameters of the searches under them by the search's name in results.
        certificates: settings of certificates by randomized smoothing; empty: there are none.
        referral: settings of selective prediction; empty: nothing is referred.
        rejectors: temperature and thresholds of each model, by name; see `referrals.Rejector`.
        constant_class: class that the constant classifier answers: the most frequent one of the training images, or of
            the test images where the former are not known; None: it was not measured.
    """

    task: Task
    models: tuple[str, ...]
    baseline: str | None
    norm: str
    epsilons: tuple[float, ...]
    attacks: dict[str, dict[str, Any]]
    seed: int
    min_slice_size: int
    specificity: float
    images: int
    groups: int
    notes: tuple[str, ...]
    versions: dict[str, str]
    threats: tuple[str, ...] = ()
    searches: dict[str, dict[str, Any]] = {}
    certificates: dict[str, Any] = {}
    referral: dict[str, Any] = {}
    rejectors: dict[str, dict[str, Any]] = {}
    constant_class: str | None = None
