"""Weight averaging: a moving average of the weights, which generalizes better than those of the last step."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import keras
import tensorflow as tf


class WeightAverage:
    """Moving average of all variables of a network (Polyak & Juditsky 1992), batch statistics included."""

    def __init__(self, network: keras.Model, decay: float) -> None:
        """Average the weights of a network with a decay in [0, 1); 0 keeps the weights of the last step."""
        self._decay = decay
        # Integers are counters and seeds of random numbers, not weights.
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
        # Shorter memory in the first steps, as in TensorFlow's ExponentialMovingAverage with `num_updates`: the random
        # initial weights would otherwise stay in the average for long.
        decay = tf.minimum(self._decay, (1.0 + count) / (10.0 + count)) if self._decay else 0.0
        for average, variable in zip(self.variables, self._followed, strict=True):
            average.assign(decay * average.value + (1.0 - decay) * variable.value)

    @contextlib.contextmanager
    def in_place(self) -> Iterator[None]:
        """Give the network the averaged weights inside the context, and its own again afterwards."""
        present = [variable.numpy() for variable in self._followed]
        for average, variable in zip(self.variables, self._followed, strict=True):
            variable.assign(average.value)
        try:
            yield
        finally:
            for value, variable in zip(present, self._followed, strict=True):
                variable.assign(value)
