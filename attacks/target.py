"""What an attack sees of a classifier: a function from weights and images to logits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

LogitsFn = Callable[[Sequence[Any], Any], Any]
"""(weights, images float32 [batch, height, width, 3] in [0, 1]) -> logits float32 [batch, class_count]."""


@dataclass(frozen=True)
class Target:
    """A classifier under attack.

    The weights are an argument of `logits`, not part of it: models of one architecture then share one compiled
    attack, and compilation (seconds) is paid once for all of them.

    Attributes:
        logits: a pure function, in inference mode; the same object for all models of one architecture.
        weights: the tensors to call it with.
    """

    logits: LogitsFn
    weights: tuple[Any, ...]
