"""Weight averaging: an exponential moving average of the weights generalises better than the last step's."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import keras
import tensorflow as tf


class WeightAverage:
    """A moving average of all of a network's variables (Polyak & Juditsky 1992), batch statistics included."""

    def __init__(self, network: keras.Model, decay: float) -> None:
        """Average a network's weights with a decay in [0, 1); 0 keeps the weights of the last step."""
        self._decay = decay
        # Counters and seeds of random numbers are no weights.
        self._followed = [variable for variable in network.variables if "float" in variable.dtype]
        self.variables = [
            keras.Variable(variable.numpy(), trainable=False, name=f"average{index}")
            for index, variable in enumerate(self._followed)
        ]
        self.updates = keras.Variable(0.0, trainable=False, name="updates")

    def update(self) -> None:
        """Take in the present weights; called after each step, in its compiled function."""
        self.updates.assign_add(1.0)
        count = self.updates.value
        # Early on, a shorter memory: the first weights are random and would otherwise stay for long.
        decay = tf.minimum(self._decay, (1.0 + count) / (10.0 + count)) if self._decay else 0.0
        for average, variable in zip(self.variables, self._followed, strict=True):
            average.assign(decay * average.value + (1.0 - decay) * variable.value)

    @contextlib.contextmanager
    def in_place(self) -> Iterator[None]:
        """Give the network the averaged weights while the context runs."""
        present = [variable.numpy() for variable in self._followed]
        for average, variable in zip(self.variables, self._followed, strict=True):
            variable.assign(average.value)
        try:
            yield
        finally:
            for value, variable in zip(present, self._followed, strict=True):
                variable.assign(value)
