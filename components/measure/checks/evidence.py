"""Inputs of the self-checks."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from dermrobust.attacks.attack import Attack
from dermrobust.attacks.kinds import Kind
from dermrobust.attacks.threat import Norm, ThreatModel
from dermrobust.attacks.transforms.search import Search
from dermrobust.attacks.transforms.threat import TransformThreat
from dermrobust.components.artifacts import Manifest
from dermrobust.components.evaluation import masking
from dermrobust.components.evaluation.adaptive import AdaptiveLoss
from dermrobust.components.evaluation.escalation import Escalation
from dermrobust.components.evaluation.leakage import Leakage
from dermrobust.components.evaluation.masking import Tried
from dermrobust.components.evaluation.names import CLEAN, WORST_CASE, canonical_epsilon
from dermrobust.components.evaluation.schemas import OVERALL


@dataclass(frozen=True)
class Evidence:
    """Inputs of the self-checks.

    Attributes:
        models: names of the models.
        control: the undefended model among them, which the attacks must break; None: there is none.
        class_names: classes in the order of the labels.
        attacks: attacks on the models by name.
        epsilons: the budgets.
        rows: rows of the table of metrics.
        probes: results of each model's probes; see `probes.PROBES_SCHEMA`.
        health: diagnostics of each model's network; see `probes.HEALTH_SCHEMA`.
        stored: verification of the stored adversarial images; see `schemas.STORED_SCHEMA`.
        manifests: manifest of each model's predictions.
        leakage: leakage between the splits.
        losses: accuracy that adaptive attacks remove of robustness to transferred examples.
        group_noun: noun for a group of the split, such as lesion.
        threats: threat models beyond a norm.
        searches: searches under them by name.
        transformed: verification of the stored transformed images; see `schemas.STORED_SCHEMA`.
        certificates: certificates of the smoothed models by name; None: there are none.
        alpha: probability that a certificate is wrong.
        escalations: why attacks on a model escalated, for models on which they did.
    """

    models: Sequence[str]
    control: str | None
    class_names: Sequence[str]
    attacks: Mapping[str, Attack]
    epsilons: Sequence[ThreatModel]
    rows: Sequence[Mapping[str, Any]]
    probes: Mapping[str, pa.Table]
    health: Mapping[str, pa.Table]
    stored: Sequence[Mapping[str, Any]]
    manifests: Mapping[str, Manifest]
    leakage: Leakage
    losses: Sequence[AdaptiveLoss]
    group_noun: str = "image"
    threats: Sequence[TransformThreat] = ()
    searches: Mapping[str, Search] = field(default_factory=dict)
    transformed: Sequence[Mapping[str, Any]] = ()
    certificates: pa.Table | None = None
    alpha: float = 0.0
    escalations: Mapping[str, Escalation] = field(default_factory=dict)

    @property
    def budgets(self) -> list[float]:
        """Budgets in 1/255, ascending."""
        return sorted(canonical_epsilon(threat.epsilon) for threat in self.epsilons)

    @property
    def norm(self) -> Norm:
        """Norm of the budgets."""
        return self.epsilons[0].norm

    def written(self, epsilon: float) -> str:
        """Return a budget for readers; see `Norm.written`."""
        return self.norm.written(epsilon)

    @property
    def chance(self) -> float:
        """Accuracy of guessing."""
        return 1 / len(self.class_names)

    def black_box(self, model: str) -> bool:
        """Return whether only the answers of a model were available."""
        return bool(np.any(self.health[model]["black_box"].to_numpy(zero_copy_only=False)))

    def accuracy(self, model: str, attack: str, epsilon: float) -> float | None:
        """Return accuracy over all images."""
        return self._accuracies.get((model, attack, epsilon))

    def clean(self, model: str) -> float:
        """Return accuracy on clean images."""
        return self._accuracies[model, CLEAN, 0.0]

    def worst_case(self, model: str, epsilon: float) -> float:
        """Return per-example robust accuracy; the clean one where nothing attacked."""
        found = self.accuracy(model, WORST_CASE, epsilon)
        return self.clean(model) if found is None else found

    def strongest(self, model: str, epsilon: float, *kinds: Kind) -> float | None:
        """Return the lowest accuracy under an attack of these kinds; None where there is none."""
        return masking.strongest(self.attacks, functools.partial(self.accuracy, model), epsilon, *kinds)

    def gaps(self, model: str, first: Sequence[Kind], second: Sequence[Kind]) -> dict[float, float]:
        """Return by how much accuracy under the first kinds is above that under the second; see `masking.gaps`."""
        return masking.gaps(self.attacks, functools.partial(self.accuracy, model), self.budgets, first, second)

    def images(self, model: str) -> int:
        """Return the number of test images."""
        return max((int(row["n"]) for row in self._overall() if row["model"] == model), default=0)

    def tried(self, model: str, *probes: str) -> Iterator[Tried]:
        """Yield the results of these probes at each budget and for each attack."""
        return masking.tried(self.probes[model], *probes)

    def _overall(self) -> Iterator[Mapping[str, Any]]:
        return (row for row in self.rows if row["slice"] == OVERALL and row["metric"] == "accuracy")

    @functools.cached_property
    def _accuracies(self) -> dict[tuple[str, str, float], float]:
        return {(row["model"], row["attack"], row["epsilon"]): row["value"] for row in self._overall()}
