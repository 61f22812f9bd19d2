"""What XLA changes: a training step and an attack's gradient step, compiled with and without it, in turn.

    python -m benchmarks.xla

Batches of 64 (training) and 128 (attack) random images; medians of interleaved runs.
"""

from __future__ import annotations

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import statistics
import time
from collections.abc import Callable

import keras
import tensorflow as tf

from benchmarks.measure import machine
from dermrobust.models.classifier import attack_target
from dermrobust.models.registry import NETWORKS

_RUNS = 15
_CASES = (("small_resnet", 32), ("small_resnet", 48), ("resnet", 64))


def _training_step(network: keras.Model, size: int, xla: bool) -> tuple[Callable[[], object], int]:
    images, labels = tf.random.uniform((64, size, size, 3)), tf.zeros((64,), tf.int64)
    optimizer = keras.optimizers.AdamW(1e-3)
    optimizer.build(network.trainable_variables)

    @tf.function(jit_compile=xla)
    def step() -> tf.Tensor:
        with tf.GradientTape() as tape:
            logits = network(images, training=True)
            loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits))
        gradients = tape.gradient(loss, network.trainable_variables)
        optimizer.apply_gradients(zip(gradients, network.trainable_variables, strict=True))
        return loss

    return step, 64


def _attack_step(network: keras.Model, size: int, xla: bool) -> tuple[Callable[[], object], int]:
    images, labels = tf.random.uniform((128, size, size, 3)), tf.zeros((128,), tf.int64)
    target = attack_target(network)

    @tf.function(jit_compile=xla)
    def step() -> tf.Tensor:
        with tf.GradientTape() as tape:
            tape.watch(images)
            logits = target.logits(target.weights, images)
            loss = tf.reduce_sum(tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits))
        return tape.gradient(loss, images)

    return step, 128


def _seconds(step: Callable[[], object]) -> float:
    started = time.perf_counter()
    step()
    return time.perf_counter() - started


def main() -> None:
    """Print the table."""
    print(machine())
    for name, size in _CASES:
        for kind, make in (("training", _training_step), ("attack", _attack_step)):
            steps = {
                xla: make(NETWORKS.resolve(name)().build((size, size, 3), 7, 0), size, xla) for xla in (False, True)
            }
            first = {xla: _seconds(step) for xla, (step, _) in steps.items()}
            taken: dict[bool, list[float]] = {False: [], True: []}
            for _ in range(_RUNS):
                for xla, (step, _) in steps.items():
                    taken[xla].append(_seconds(step))
            rates = {xla: steps[xla][1] / statistics.median(times) for xla, times in taken.items()}
            first_calls = f"first call {first[False]:.1f} and {first[True]:.1f} s"
            print(
                f"{name:12s} {size} px {kind:8s}: {rates[False]:6.0f} images/s without XLA, {rates[True]:6.0f} with it "
                f"(ratio {rates[True] / rates[False]:.2f}; {first_calls})",
                flush=True,
            )


if __name__ == "__main__":
    main()
