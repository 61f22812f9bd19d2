"""Loss terms for each image of a batch.

Labels are int64 [batch], or probabilities, float32 [batch, class_count], where a teacher softened them.
"""

from __future__ import annotations

import keras
import tensorflow as tf


def cross_entropy(labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """Return the cross-entropy of each image: float32 [batch]."""
    if labels.dtype.is_floating:
        return tf.nn.softmax_cross_entropy_with_logits(labels=labels, logits=logits)
    return tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits)


def divergence(logits: tf.Tensor, others: tf.Tensor) -> tf.Tensor:
    """Return the Kullback-Leibler divergence of the predictions of `others` from those of `logits`: float32 [batch]."""
    expected, found = tf.nn.log_softmax(logits), tf.nn.log_softmax(others)
    return tf.reduce_sum(tf.exp(expected) * (expected - found), axis=-1)


def boosted_cross_entropy(labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """Return -log p(label) - log(1 - p(the likeliest other class)): float32 [batch] (Wang et al. 2020, equation 8).

    It is defined for int64 labels only.
    """
    others = _without(labels, logits)
    # log(1 - p) as the sum over all other classes: exact where p is so close to 1 that 1 - p is 0 in float32.
    rest = tf.reduce_logsumexp(_without(tf.argmax(others, axis=-1), logits), axis=-1)
    return cross_entropy(labels, logits) + tf.reduce_logsumexp(logits, axis=-1) - rest


def _without(labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """Return logits in which one class of each image has probability zero."""
    # Finite, so that no difference of infinities becomes NaN.
    chosen = tf.one_hot(labels, tf.shape(logits)[-1], on_value=True, off_value=False, dtype=tf.bool)
    return tf.where(chosen, logits.dtype.min, logits)


def weighted_mean(losses: tf.Tensor, labels: tf.Tensor, class_weights: tf.Tensor) -> tf.Tensor:
    """Return the mean over a batch of losses [batch], each times the (expected) weight of its class."""
    soft = labels.dtype.is_floating
    weights = tf.linalg.matvec(labels, class_weights) if soft else tf.gather(class_weights, labels)
    return tf.reduce_mean(losses * weights)


def logits_of_both(network: keras.Model, images: tf.Tensor, adversarial: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Return the logits of clean and of adversarial images in training mode, each with its own batch statistics.

    Dropout drops the same units for both, so that they differ by the perturbation alone.
    """
    # Variables that are not floats are counters and states of random number generators.
    generators = [variable for variable in network.non_trainable_variables if "float" not in variable.dtype]
    states = [tf.identity(generator.value) for generator in generators]
    clean = network(images, training=True)
    for generator, state in zip(generators, states, strict=True):
        generator.assign(state)
    return clean, network(adversarial, training=True)
