"""Target: the classifier under attack, as a function from weights and images to logits."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

LogitsFn = Callable[[Sequence[Any], Any], Any]
"""(weights, images float32 [batch, height, width, 3] in [0, 1]) -> logits float32 [batch, class_count]."""

Precision = Literal["float32", "bfloat16"]
"""Precision of an attack's gradients."""


@dataclass(frozen=True)
class Target:
    """A classifier under attack.

    The weights are an argument of `logits`, not part of it. Models of one architecture then share one compiled attack,
    whose compilation takes seconds.

    Attributes:
        logits: a pure function, in inference mode; the same object for all models of one architecture.
        weights: tensors to call it with.
        exact: the exact classifier, if `logits` are an approximation that is cheaper to differentiate; it decides on
            success.
        slack: error of such logits as a fraction of their spread; an attack goes on until its success is clearer.
        surrogates: other models by name, for attacks that are crafted on one of them and transferred.
    """

    logits: LogitsFn
    weights: tuple[Any, ...]
    exact: Target | None = None
    slack: float = 0.0
    surrogates: Mapping[str, Target] = field(default_factory=dict)
