"""Random numbers of TensorFlow that depend on a key and a counter alone.

TensorFlow's stateless generators take one seed for a whole batch, so an image's numbers would depend on its place
in it.
"""

from __future__ import annotations

import tensorflow as tf


def mixed(key: tf.Tensor, counter: tf.Tensor) -> tf.Tensor:
    """Return random bits, uint64 of the shape that keys and counters (uint64) have together.

    SplitMix64 (Steele, Lea & Flood 2014) of the key and a counter.
    """
    bits = key + (counter + 1) * constant(0x9E3779B97F4A7C15)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        bits = tf.bitwise.bitwise_xor(bits, tf.bitwise.right_shift(bits, constant(shift))) * constant(factor)
    return tf.bitwise.bitwise_xor(bits, tf.bitwise.right_shift(bits, constant(31)))


def constant(value: int) -> tf.Tensor:
    """Return a constant: uint64 []."""
    return tf.constant(value, tf.uint64)


def noise_of(images: tf.Tensor, draw: tf.Tensor) -> tf.Tensor:
    """Return numbers in [-1, 1), float32 like images, from the image itself and the number of the draw, int32 [].

    A function of the image: the same for it in any batch, and different at every step of an attack.
    """
    values = tf.reshape(images, [tf.shape(images)[0], -1])
    places = tf.cast(tf.range(tf.shape(values)[1]), tf.uint64)
    # Each value is mixed with its place first: a plain sum would be the same for permuted images.
    bits = mixed(tf.cast(tf.bitcast(values, tf.uint32), tf.uint64), places[None, :])
    key = tf.reduce_sum(bits, axis=1, keepdims=True) + mixed(tf.cast(draw, tf.uint64), constant(0))
    return tf.reshape(2.0 * unit(mixed(key, places[None, :])) - 1.0, tf.shape(images))


def unit(bits: tf.Tensor) -> tf.Tensor:
    """Return numbers in [0, 1), float32, made of random bits."""
    # The upper 24 bits, which is what float32 holds exactly: more would round up to 1.
    return tf.cast(tf.bitwise.right_shift(bits, constant(40)), tf.float32) / float(2**24)
