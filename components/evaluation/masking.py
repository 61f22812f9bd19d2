"""Signs of masked gradients: the limits of the self-checks, and the checks that a model fails for them.

Both the self-checks and the component that escalates attacks judge by these functions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from dermrobust.attacks.kinds import WHITE_BOX, HasKind, Kind, named
from dermrobust.components.evaluation.intervals import wilson_interval
from dermrobust.components.evaluation.names import canonical_epsilon
from dermrobust.components.evaluation.probes import LARGE

POINTS = 0.005
"""Differences in accuracy below half a point are noise."""
MUCH = 0.02
FEW, MANY = 0.01, 0.1
"""Share of images without a gradient: from the first on in doubt, from the second on a failure."""
ROUNDING, RANDOM = 1e-4, 1e-3
"""Share of the logits' spread by which the order of sums changes them, and by which only chance does."""

Accuracy = Callable[[str, float], float | None]
"""(attack, epsilon in 1/255) -> accuracy of a model over all images; None where it was not attacked so."""


@dataclass(frozen=True)
class Tried:
    """Result of a probe.

    Attributes:
        probe: kind of the probe.
        attack: name of the attack.
        epsilon: budget in 1/255.
        images: number of images of the probe.
        stood: number of them that withstood all attacks before.
        fell: number of those that the probe broke.
    """

    probe: str
    attack: str
    epsilon: float
    images: int
    stood: int
    fell: int

    @property
    def share(self) -> float:
        """Robust accuracy that the probe removes, 0 to 1."""
        return self.fell / self.images if self.images else 0.0

    @property
    def left(self) -> int:
        """Number of images that withstand the probe, too."""
        return self.stood - self.fell


def tried(probes: pa.Table, *names: str) -> Iterator[Tried]:
    """Yield the results of these probes at each budget and for each attack; see `probes.PROBES_SCHEMA`."""
    columns = ["probe", "attack", "epsilon", "label", "stood", "predicted"]
    grouped: dict[tuple[str, str, float], list[tuple[int, bool, int | None]]] = {}
    table = probes.select(columns).to_pydict()
    for probe, attack, epsilon, label, stood, predicted in zip(*table.values(), strict=True):
        if probe in names:
            grouped.setdefault((probe, attack, canonical_epsilon(epsilon)), []).append((label, stood, predicted))
    for (probe, attack, epsilon), found in grouped.items():
        fell = sum(stood and predicted != label for label, stood, predicted in found)
        yield Tried(probe, attack, epsilon, len(found), sum(stood for _, stood, _ in found), fell)


def strongest(attacks: Mapping[str, HasKind], accuracy: Accuracy, epsilon: float, *kinds: Kind) -> float | None:
    """Return the lowest accuracy under an attack of these kinds; None where there is none."""
    found = (accuracy(attack, epsilon) for attack in named(attacks, *kinds))
    return min((value for value in found if value is not None), default=None)


def gaps(
    attacks: Mapping[str, HasKind],
    accuracy: Accuracy,
    budgets: Iterable[float],
    first: Sequence[Kind],
    second: Sequence[Kind],
) -> dict[float, float]:
    """Return by how much accuracy under the first kinds is above that under the second, at each budget with both."""
    return {
        epsilon: one - other
        for epsilon in budgets
        if (one := strongest(attacks, accuracy, epsilon, *first)) is not None
        and (other := strongest(attacks, accuracy, epsilon, *second)) is not None
    }


def slack(images: int) -> float:
    """Return the difference in accuracy that one image of so many makes by chance, with a margin."""
    return max(POINTS, 1.5 / max(1, images))


def is_random(health: pa.Table) -> bool:
    """Return whether a network answers differently each time, or at each place of a batch."""
    return any(bool(np.any(health[name].to_numpy() > RANDOM)) for name in ("repeated", "reordered"))


def masking_signs(
    probes: pa.Table,
    health: pa.Table,
    attacks: Mapping[str, HasKind],
    accuracy: Accuracy,
    budgets: Sequence[float],
    *,
    images: int,
    classes: int,
) -> tuple[str, ...]:
    """Return the names of the self-checks that a model fails and that tell of masked gradients, in their order.

    Args:
        probes: results of its probes.
        health: diagnostics of its network.
        attacks: attacks on it by name.
        accuracy: its accuracy under them.
        budgets: budgets in 1/255.
        images: number of test images.
        classes: number of classes.
    """
    largest = next(tried(probes, LARGE), None)
    low = 0.0 if largest is None else wilson_interval(largest.left / largest.images, largest.images)[0]
    blind = [each.share for each in tried(probes, Kind.BLACK_BOX, Kind.TRANSFER) if each.fell > 1]
    noise = [each.share for each in tried(probes, Kind.NOISE) if each.fell > 1]
    white_above = {
        kinds: gaps(attacks, accuracy, budgets, WHITE_BOX, kinds).values()
        for kinds in ((Kind.BLACK_BOX, Kind.TRANSFER), (Kind.NOISE,))
    }
    steps = gaps(attacks, accuracy, budgets, (Kind.ITERATIVE,), (Kind.SINGLE_STEP,)).values()
    gradient = health["gradient"].to_numpy()
    like = health["like_probabilities"].to_numpy(zero_copy_only=False)
    fails = {
        "iterative": max(steps, default=0.0) > slack(images),
        "large_budget": low > 1 / classes,
        "black_box": max([*blind, *white_above[Kind.BLACK_BOX, Kind.TRANSFER]], default=0.0) > MUCH,
        "noise": max([*noise, *white_above[Kind.NOISE,]], default=0.0) > MUCH,
        "gradients": len(gradient) > 0 and bool((gradient == 0).mean() >= MANY or not np.isfinite(gradient).all()),
        "logits": len(like) > 0 and bool(np.all(like)),
        "deterministic": is_random(health),
    }
    return tuple(name for name, failed in fails.items() if failed)
