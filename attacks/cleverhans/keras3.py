"""What CleverHans 4.0.0's attacks need to run on Keras 3, whose optimizers have another interface."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf
from cleverhans.tf2.attacks import spsa
from cleverhans.tf2.attacks.carlini_wagner_l2 import CarliniWagnerL2


class VariableAdam:
    """Adam for a single `tf.Variable` at a time, with the interface that `CarliniWagnerL2` calls.

    Kingma & Ba 2015, arXiv 1412.6980, by TensorFlow's own kernel. `variables` is a method here, as it was before
    Keras 3; it returns what a caller may set to zero to begin anew.
    """

    def __init__(self, learning_rate: float, beta_1: float = 0.9, beta_2: float = 0.999, epsilon: float = 1e-7) -> None:
        """Start with a step length and the decays of the two moments."""
        self._constants = (learning_rate, beta_1, beta_2, epsilon)
        self._steps = tf.Variable(0.0, trainable=False)
        self._moments: list[tf.Variable] = []

    def variables(self) -> list[tf.Variable]:
        """Return the number of steps and both moments."""
        return [self._steps, *self._moments]

    def apply_gradients(self, gradients: list[tuple[tf.Tensor, tf.Variable]]) -> None:
        """Move a variable against its gradient; a variable of another shape begins anew."""
        ((gradient, variable),) = gradients
        if not self._moments or self._moments[0].shape != variable.shape:
            self._moments = [tf.Variable(tf.zeros_like(variable), trainable=False) for _ in range(2)]
            self._steps.assign(0.0)
        learning_rate, beta_1, beta_2, epsilon = self._constants
        step = float(self._steps.assign_add(1.0))
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
    """The first trade-off constant of `CarliniWagnerL2`, one for each image.

    CleverHans 4.0.0 computes `tf.ones(images.shape) * initial_const`, which has the shape of the images where the rest
    of the attack needs one number for each.
    """

    def __init__(self, value: float) -> None:
        """Stand for this value."""
        self._value = value

    def __rmul__(self, ones: tf.Tensor) -> tf.Tensor:
        """Return the value for each image: float32 [batch]."""
        return tf.fill(tf.shape(ones)[:1], self._value)


class LabelledCarliniWagner(CarliniWagnerL2):
    """`CarliniWagnerL2` that knows the true class without taking it for a target, on any number of batches."""

    def __init__(self, logits: Any, *, initial_const: float, **parameters: Any) -> None:
        """Attack logits with CleverHans's parameters."""
        super().__init__(logits, initial_const=PerImageConstant(initial_const), **parameters)
        self.optimizer = VariableAdam(self.learning_rate)

    def attack_batch(self, images: tf.Tensor, classes: np.ndarray[Any, Any], *, targeted: bool) -> tf.Tensor:
        """Return adversarial images of one batch, or the clean ones where none was found."""
        self.y, self.targeted = classes, targeted
        return self._attack(images)


class SPSAAdam(spsa.SPSAAdam):
    """CleverHans's `SPSAAdam`, whose constructor gives Keras an argument that it no longer has."""

    def __init__(self, lr: float, delta: float, num_samples: int, num_iters: int) -> None:
        """Take the arguments that `spsa.spsa` gives."""
        super(spsa.SPSAAdam, self).__init__(learning_rate=lr)
        self.lr = lr
        self._delta = delta
        self._num_samples = num_samples // 2
        self._num_iters = num_iters
        self._compare_to_analytic_grad = False
