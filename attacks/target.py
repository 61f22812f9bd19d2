"""What an attacker knows: a function from weights and images to logits, and other models that he may have."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

LogitsFn = Callable[[Sequence[Any], Any], Any]
"""(weights, images float32 [batch, height, width, 3] in [0, 1]) -> logits float32 [batch, class_count]."""

Precision = Literal["float32", "bfloat16"]
"""In which an attack computes gradients."""


@dataclass(frozen=True)
class Target:
    """A classifier under attack.

    The weights are an argument of `logits`, not part of it: models of one architecture then share one compiled
    attack, and compilation (seconds) is paid once for all of them.

    Attributes:
        logits: a pure function, in inference mode; the same object for all models of one architecture.
        weights: the tensors to call it with.
        exact: where `logits` only come near the classifier's, being cheaper to differentiate: the classifier itself,
            which has the last word on what succeeds.
        slack: by what share of their spread such logits may be off; an attack goes on until an error is larger.
        surrogates: other models by name, for attacks that are crafted on one of them and transferred.
    """

    logits: LogitsFn
    weights: tuple[Any, ...]
    exact: Target | None = None
    slack: float = 0.0
    surrogates: Mapping[str, Target] = field(default_factory=dict)
