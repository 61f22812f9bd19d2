"""Other libraries' attacks behind one interface, each used as its documentation says.

They are no dependencies of the product: `pip install '.[benchmarks]'`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

Images = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int64]
AttackFn = Callable[[Images, Labels], Images]
"""(images float32 [count, height, width, 3], labels int64 [count]) -> adversarial images."""

BATCH = 128


def _inference(network: keras.Model) -> Callable[[Any], Any]:
    return lambda images: network(images, training=False)


def art_classifier(network: keras.Model, classes: int) -> Any:
    """Return ART's wrapper of a network that returns logits."""
    from art.estimators.classification import TensorFlowV2Classifier

    return TensorFlowV2Classifier(
        model=network,
        nb_classes=classes,
        input_shape=tuple(network.input_shape[1:]),
        loss_object=tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        clip_values=(0.0, 1.0),
    )


def art(name: str, network: keras.Model, classes: int, radius: float, steps: int, queries: int = 100) -> AttackFn:
    """Return an attack of ART 1.20 in L-infinity.

    Args:
        name: 'fgsm', 'pgd', 'apgd_ce', 'apgd_dlr', 'square' or 'auto'.
        network: from images in [0, 1] to logits.
        classes: how many.
        radius: the budget on images in [0, 1].
        steps: gradient steps.
        queries: of the square attack.
    """
    from art.attacks import evasion

    classifier = art_classifier(network, classes)
    common = {"estimator": classifier, "batch_size": BATCH}
    step = 2.5 * radius / steps

    def apgd(loss: str) -> Any:
        return evasion.AutoProjectedGradientDescent(
            **common, eps=radius, eps_step=2 * radius, max_iter=steps, nb_random_init=1, loss_type=loss, verbose=False
        )

    def square() -> Any:
        return evasion.SquareAttack(**common, eps=radius, max_iter=queries, nb_restarts=1, verbose=False)

    def auto() -> Any:
        members = [apgd("cross_entropy"), apgd("difference_logits_ratio"), square()]
        return evasion.AutoAttack(**common, eps=radius, eps_step=2 * radius, attacks=members)

    makers: dict[str, Callable[[], Any]] = {
        "fgsm": lambda: evasion.FastGradientMethod(**common, eps=radius),
        "pgd": lambda: evasion.ProjectedGradientDescent(
            **common, eps=radius, eps_step=step, max_iter=steps, num_random_init=1, verbose=False
        ),
        "apgd_ce": lambda: apgd("cross_entropy"),
        "apgd_dlr": lambda: apgd("difference_logits_ratio"),
        "square": square,
        "auto": auto,
    }
    attack = makers[name]()
    return lambda images, labels: np.asarray(attack.generate(images, labels))


def foolbox(name: str, network: keras.Model, radius: float, steps: int) -> AttackFn:
    """Return an attack of Foolbox 3.3: 'fgsm', 'pgd', 'mim' (L-infinity) or 'cw_l2' (L2); see `art`."""
    import foolbox as fb

    model = fb.TensorFlowModel(_inference(network), bounds=(0, 1), device="/CPU:0")
    relative = 2.5 / steps
    makers: dict[str, Callable[[], Any]] = {
        "fgsm": lambda: fb.attacks.LinfFastGradientAttack(),
        "pgd": lambda: fb.attacks.LinfProjectedGradientDescentAttack(rel_stepsize=relative, steps=steps),
        "mim": lambda: fb.attacks.LinfMomentumIterativeFastGradientMethod(abs_stepsize=relative * radius, steps=steps),
        "cw_l2": lambda: fb.attacks.L2CarliniWagnerAttack(
            steps=steps, binary_search_steps=5, stepsize=0.05, initial_const=0.01
        ),
    }
    attack = makers[name]()

    def run(images: Images, labels: Labels) -> Images:
        parts = []
        for start in range(0, len(images), BATCH):
            batch = slice(start, start + BATCH)
            found = attack(model, tf.constant(images[batch]), tf.constant(labels[batch]), epsilons=[radius])
            parts.append(found[1][0].numpy())
        return np.concatenate(parts)

    return run


def cleverhans(network: keras.Model, radius: float, steps: int) -> AttackFn:
    """Return CleverHans's PGD as published, with its random start and the true labels; see `art`."""
    from cleverhans.tf2.attacks.projected_gradient_descent import projected_gradient_descent

    logits = _inference(network)

    def run(images: Images, labels: Labels) -> Images:
        parts = []
        for start in range(0, len(images), BATCH):
            batch = slice(start, start + BATCH)
            moved = projected_gradient_descent(
                logits,
                tf.constant(images[batch]),
                radius,
                2.5 * radius / steps,
                steps,
                np.inf,
                clip_min=0.0,
                clip_max=1.0,
                y=tf.constant(labels[batch]),
                rand_init=True,
                sanity_checks=False,
            )
            parts.append(moved.numpy())
        return np.concatenate(parts)

    return run
