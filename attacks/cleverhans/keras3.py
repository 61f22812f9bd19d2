"""Adapters that let attacks of CleverHans 4.0.0 run on Keras 3."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf
from cleverhans.tf2.attacks import spsa
from cleverhans.tf2.attacks.carlini_wagner_l2 import CarliniWagnerL2


class VariableAdam:
    """Adam (Kingma & Ba 2015, arXiv 1412.6980) for one `tf.Variable`, with the interface that `CarliniWagnerL2` calls.

    CleverHans 4.0.0 resets the optimizer by setting all of `optimizer.variables()` to zero. In Keras 3 `variables` is a
    property and includes the learning rate.
    """

    def __init__(self, learning_rate: float, beta_1: float = 0.9, beta_2: float = 0.999, epsilon: float = 1e-7) -> None:
        """Take the learning rate, the decay rates of both moments, and the term that avoids a division by zero."""
        self._constants = (learning_rate, beta_1, beta_2, epsilon)
        self._steps = tf.Variable(0.0, trainable=False)
        self._moments: list[tf.Variable] = []

    def variables(self) -> list[tf.Variable]:
        """Return all state: the number of steps and both moments."""
        return [self._steps, *self._moments]

    def apply_gradients(self, gradients: list[tuple[tf.Tensor, tf.Variable]]) -> None:
        """Move a variable against its gradient; a variable of another shape resets the state."""
        ((gradient, variable),) = gradients
        if not self._moments or self._moments[0].shape != variable.shape:
            self._moments = [tf.Variable(tf.zeros_like(variable), trainable=False) for _ in range(2)]
            self._steps.assign(0.0)
        learning_rate, beta_1, beta_2, epsilon = self._constants
        step = float(self._steps.assign_add(1.0))
        # TensorFlow's kernel updates the variable and both moments in one pass over memory.
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=self._moments[0].handle,
            v=self._moments[1].handle,
            beta1_power=tf.constant(beta_1**step, tf.float32),
            beta2_power=tf.constant(beta_2**step, tf.float32),
            lr=learning_rate,
            beta1=beta_1,
            beta2=beta_2,
            epsilon=epsilon,
            grad=gradient,
        )


class PerImageConstant:
    """First trade-off constant of `CarliniWagnerL2`, one for each image.

    CleverHans 4.0.0 computes `tf.ones(images.shape) * initial_const`, where the rest of the attack needs the shape
    [batch]. This stands for `initial_const` and corrects the shape in the multiplication.
    """

    def __init__(self, value: float) -> None:
        """Take the value."""
        self._value = value

    def __rmul__(self, ones: tf.Tensor) -> tf.Tensor:
        """Return the value for each image: float32 [batch]."""
        return tf.fill(tf.shape(ones)[:1], self._value)


class LabelledCarliniWagner(CarliniWagnerL2):
    """`CarliniWagnerL2` with given classes, untargeted too, for any number of batches.

    CleverHans 4.0.0 takes given classes for targets, and predicted ones for the true classes.
    """

    def __init__(self, logits: Any, *, initial_const: float, **parameters: Any) -> None:
        """Take a logits function and CleverHans's parameters."""
        super().__init__(logits, initial_const=PerImageConstant(initial_const), **parameters)
        self.optimizer = VariableAdam(self.learning_rate)

    def attack_batch(self, images: tf.Tensor, classes: np.ndarray[Any, Any], *, targeted: bool) -> tf.Tensor:
        """Return adversarial images of one batch, and the clean images where none was found."""
        # Set per batch: CleverHans takes classes in the constructor only.
        self.y, self.targeted = classes, targeted
        return self._attack(images)


class SPSAAdam(spsa.SPSAAdam):
    """CleverHans's `SPSAAdam` with a constructor for Keras 3.

    That of CleverHans 4.0.0 passes `lr`, which Keras 3 calls `learning_rate`.
    """

    def __init__(self, lr: float, delta: float, num_samples: int, num_iters: int) -> None:
        """Take the arguments that `spsa.spsa` passes."""
        # Past CleverHans's constructor, whose attributes are set here.
        super(spsa.SPSAAdam, self).__init__(learning_rate=lr)
        self.lr = lr
        self._delta = delta
        self._num_samples = num_samples // 2
        self._num_iters = num_iters
        self._compare_to_analytic_grad = False
