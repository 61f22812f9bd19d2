"""How fast attacks and adversarial training are, beside ART, Foolbox and CleverHans as published.

    pip install '.[benchmarks]'
    python -m benchmarks.attacks [--quick] [--json FILE] [--root DIR]

The same Keras model, images, budget and steps for all; interleaved runs in one process, medians. A ratio above 1 says
that this project is faster; for `train_step` it is the cost over a clean training step.
"""

from __future__ import annotations

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import argparse
import functools
import json
import logging
import statistics
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from benchmarks import peers, training_steps
from benchmarks.hardware import has_bfloat16
from benchmarks.measure import machine
from benchmarks.victims import EPSILON, Victim, victims
from dermrobust.attacks.attack import Attack
from dermrobust.attacks.engine import attack_images
from dermrobust.attacks.selection import read_attack
from dermrobust.attacks.target import Precision, Target
from dermrobust.attacks.threat import ThreatModel
from dermrobust.models.classifier import attack_target
from dermrobust.models.registry import NETWORKS

Row = dict[str, Any]
_STEPS, _AUTO_STEPS, _AUTO_QUERIES = 20, 20, 50
_THREAT = ThreatModel(EPSILON)
_BENCHMARKS = ("throughput", "time_to_robust_accuracy", "auto", "compile", "train_step")
_PGD = {"attack": "pgd", "steps": _STEPS}


@dataclass(frozen=True)
class _Extent:
    """How much is measured at an image size; the peers take nearly all of the time. No images: not measured."""

    runs: int
    images: int
    throughput_images: int
    auto_runs: int
    auto_images: int


_QUICK = {28: _Extent(runs=3, images=256, throughput_images=128, auto_runs=1, auto_images=128)}
_FULL = {
    28: _Extent(runs=5, images=1000, throughput_images=256, auto_runs=1, auto_images=256),
    64: _Extent(runs=3, images=250, throughput_images=128, auto_runs=1, auto_images=0),
}
_CASCADE = {"attack": "ensemble", "members": ["fgsm", _PGD]}


def main() -> None:
    """Print a line for each row and write all as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="28 pixels, fewer images and runs: some minutes")
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    parser.add_argument("--root", type=Path, default=Path("output/benchmarks"), help="where trained models are kept")
    parser.add_argument("--sizes", type=int, nargs="+", default=[28, 64], help="of images, in pixels")
    parser.add_argument("--models", nargs="+", default=["undefended", "hardened"])
    parser.add_argument("--benchmarks", nargs="+", default=_BENCHMARKS, choices=_BENCHMARKS)
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    rows = []
    print(f"{machine()}; bfloat16 in hardware: {'yes' if has_bfloat16() else 'no'}", flush=True)
    for row in _rows(options):
        rows.append(row)
        print(_line(row), flush=True)
        if options.json:
            # After every row: it takes long, and what is measured is not lost to what fails later.
            options.json.parent.mkdir(parents=True, exist_ok=True)
            options.json.write_text(json.dumps(rows, indent=1))


def _rows(options: argparse.Namespace) -> Iterator[Row]:
    extents, root = (_QUICK, options.root / "quick") if options.quick else (_FULL, options.root / "full")
    for size, extent in extents.items():
        if size not in options.sizes:
            continue
        if set(options.benchmarks) & {"throughput", "time_to_robust_accuracy", "auto"}:
            for victim in victims(size, extent.images, quick=options.quick, root=root):
                if victim.name in options.models:
                    rows = _rows_of(victim, extent, options.benchmarks)
                    yield from ({**row, "image_size": size, "model": victim.name} for row in rows)
        if "compile" in options.benchmarks:
            yield {**compile_time(size), "image_size": size, "model": "undefended"}
        if "train_step" in options.benchmarks:
            yield from ({**row, "image_size": size} for row in training_steps.rows(size, extent.runs))


def _rows_of(victim: Victim, extent: _Extent, benchmarks: Sequence[str]) -> Iterator[Row]:
    if "throughput" in benchmarks:
        yield from throughput(victim, extent.runs, extent.throughput_images)
    if "time_to_robust_accuracy" in benchmarks:
        yield from time_to_robust_accuracy(victim, extent.runs)
    if "auto" in benchmarks and extent.auto_images:
        yield from auto(victim, extent.auto_runs, extent.auto_images)


def _precision() -> Precision:
    return "bfloat16" if has_bfloat16() else "float32"


def _ours(attack: Any, target: Target, *, stop: bool) -> peers.AttackFn:
    parsed: Attack = read_attack(attack)

    def run(images: Any, labels: Any) -> Any:
        seeds = np.arange(len(images), dtype=np.uint64)
        return attack_images(
            parsed, target, images, labels, seeds, threat=_THREAT, batch_size=peers.BATCH, stop_at_success=stop
        )

    return run


def _floor(target: Target, steps: int) -> peers.AttackFn:
    """Return the compiled input gradient, called in a bare loop as often as PGD calls it; no attack is made of it."""

    @tf.function
    def gradient(weights: Any, images: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            tape.watch(images)
            logits = target.logits(weights, images)
            loss = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits)
        return tape.gradient(loss, images)

    def run(images: Any, labels: Any) -> Any:
        for start in range(0, len(images), peers.BATCH):
            batch, truth = (tf.constant(values[start : start + peers.BATCH]) for values in (images, labels))
            for _ in range(steps):
                found = gradient(target.weights, batch, truth)
            found.numpy()
        return images

    return run


def _timed(
    cases: Mapping[str, peers.AttackFn], images: Any, labels: Any, runs: int
) -> tuple[dict[str, list[float]], dict[str, Any]]:
    """Return the seconds of each run and what the last run returned, for each case; one batch first to warm up."""
    results = {name: case(images[: peers.BATCH], labels[: peers.BATCH]) for name, case in cases.items()}
    seconds: dict[str, list[float]] = {name: [] for name in cases}
    for _ in range(runs):
        for name, case in cases.items():
            started = time.perf_counter()
            results[name] = case(images, labels)
            seconds[name].append(time.perf_counter() - started)
    return seconds, results


def throughput(victim: Victim, runs: int, count: int) -> Iterator[Row]:
    """Yield rows for the gradient steps a second of PGD-20 on every image to its end."""
    network, radius, precision = victim.network, _THREAT.radius, _precision()
    classes = network.output_shape[-1]
    exact, fast = attack_target(network), attack_target(network, precision=precision)
    cases = {
        "ours": _ours(_PGD, fast, stop=False),
        "ours float32": _ours(_PGD, exact, stop=False),
        "floor": _floor(fast, _STEPS),
        "floor float32": _floor(exact, _STEPS),
        "floor unfolded": _floor(attack_target(network, folding=False), _STEPS),
        "art": peers.art("pgd", network, classes, radius, _STEPS),
        "foolbox": peers.foolbox("pgd", network, radius, _STEPS),
        "cleverhans": peers.cleverhans(network, radius, _STEPS),
    }
    images, labels = victim.images[:count], victim.labels[:count]
    seconds, results = _timed(cases, images, labels, runs)
    middle = {name: statistics.median(times) for name, times in seconds.items()}
    robust = {name: victim.robust_accuracy(found) for name, found in results.items() if "floor" not in name}
    for peer in ("floor", "art", "foolbox", "cleverhans"):
        yield {
            "benchmark": "throughput",
            "peer": peer,
            "ratio": middle[peer] / middle["ours"],
            "ratio_float32": middle["floor float32" if peer == "floor" else peer] / middle["ours float32"],
            "precision": precision,
            "images": len(images),
            "steps": _STEPS,
            "gradients_per_second": {name: len(images) * _STEPS / value for name, value in middle.items()},
            "seconds": seconds,
            "robust_accuracy": robust,
        }


def time_to_robust_accuracy(victim: Victim, runs: int) -> Iterator[Row]:
    """Yield rows for the seconds that FGSM, then PGD-20 on what still stands, take beside the peers' PGD-20."""
    network, radius = victim.network, _THREAT.radius
    cases = {
        "ours": _ours(_CASCADE, attack_target(network, precision=_precision()), stop=True),
        "ours float32": _ours(_CASCADE, attack_target(network), stop=True),
        "art": peers.art("pgd", network, network.output_shape[-1], radius, _STEPS),
        "foolbox": peers.foolbox("pgd", network, radius, _STEPS),
        "cleverhans": peers.cleverhans(network, radius, _STEPS),
    }
    yield from _robust_rows(victim, cases, runs, len(victim.images), ("art", "foolbox", "cleverhans"), "pgd-20")


def auto(victim: Victim, runs: int, count: int) -> Iterator[Row]:
    """Yield rows for suite `auto` beside ART's AutoAttack and its members one after the other."""
    network, radius, classes = victim.network, _THREAT.radius, victim.network.output_shape[-1]
    suite = {"attack": "auto", "steps": _AUTO_STEPS, "queries": _AUTO_QUERIES}
    members = [
        peers.art(name, network, classes, radius, _AUTO_STEPS, _AUTO_QUERIES)
        for name in ("apgd_ce", "apgd_dlr", "square")
    ]

    def one_after_the_other(images: Any, labels: Any) -> Any:
        worst = images.copy()
        for member in members:
            found = member(images, labels)
            logits = np.asarray(network(found, training=False))
            wrong = logits.argmax(axis=1) != labels
            worst[wrong] = found[wrong]
        return worst

    cases = {
        "ours": _ours(suite, attack_target(network, precision=_precision()), stop=True),
        "ours float32": _ours(suite, attack_target(network), stop=True),
        "art": peers.art("auto", network, classes, radius, _AUTO_STEPS, _AUTO_QUERIES),
        "art one after the other": one_after_the_other,
    }
    others = ("art", "art one after the other")
    yield from _robust_rows(victim, cases, runs, count, others, f"auto, {_AUTO_STEPS} steps, {_AUTO_QUERIES} queries")


def _robust_rows(
    victim: Victim,
    cases: Mapping[str, peers.AttackFn],
    runs: int,
    count: int,
    others: tuple[str, ...],
    attack: str,
) -> Iterator[Row]:
    seconds, results = _timed(cases, victim.images[:count], victim.labels[:count], runs)
    middle = {name: statistics.median(times) for name, times in seconds.items()}
    robust = {name: victim.robust_accuracy(found) for name, found in results.items()}
    for peer in others:
        yield {
            "benchmark": "time_to_robust_accuracy",
            "peer": peer.split()[0],
            "against": peer,
            "attack": attack,
            "ratio": middle[peer] / middle["ours"],
            "ratio_float32": middle[peer] / middle["ours float32"],
            "precision": _precision(),
            "images": count,
            "clean_accuracy": float(victim.right[:count].mean()),
            "robust_accuracy": robust,
            "seconds": seconds,
        }


def compile_time(size: int) -> Row:
    """Return the row of first calls: PGD of 5 and of 100 steps on architectures that were never seen before."""
    images, labels = np.random.default_rng(0).random((8, size, size, 3), np.float32), np.zeros(8, np.int64)
    taken = {}
    for steps in (5, 100):
        network = _renamed(NETWORKS.resolve("resnet")().build((size, size, 3), 7, 0), steps)
        run = _ours({"attack": "pgd", "steps": steps}, attack_target(network, precision=_precision()), stop=False)
        call = functools.partial(run, images, labels)
        taken[steps] = (_seconds(call), _seconds(call))
    compiled = {steps: first - second for steps, (first, second) in taken.items()}
    return {
        "benchmark": "compile",
        "peer": "floor",
        "ratio": compiled[5] / compiled[100],
        "seconds_first_call": {steps: first for steps, (first, _) in taken.items()},
        "seconds_second_call": {steps: second for steps, (_, second) in taken.items()},
        "seconds_compiling": compiled,
    }


def _renamed(network: keras.Model, number: int) -> keras.Model:
    """Return the network under a name of its own, so that nothing compiled for another one is used."""
    return keras.Model(network.inputs, network.outputs, name=f"network_{size_of(network)}_{number}")


def size_of(network: keras.Model) -> int:
    """Return the height of the images that a network takes."""
    return int(network.input_shape[1])


def _seconds(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def _line(row: Row) -> str:
    text = f"{row['benchmark']:24s} {row['image_size']} px {row['model']:10s} {row.get('against', row['peer']):24s}"
    text += f" ratio {row['ratio']:6.2f}"
    if "ratio_float32" in row:
        text += f" (float32 {row['ratio_float32']:.2f})"
    if "robust_accuracy" in row:
        text += "  robust: " + ", ".join(f"{name} {value:.3f}" for name, value in row["robust_accuracy"].items())
    if "objective" in row:
        text += f"  {row['objective']}, input {row['input_share']:.1%} of a step's CPU time"
    if "seconds_first_call" in row:
        text += f"  first call {max(row['seconds_first_call'].values()):.1f} s"
    return text


if __name__ == "__main__":
    main()
