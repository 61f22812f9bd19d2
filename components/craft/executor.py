"""Executor of craft: units of work are (shard, budget)."""

from __future__ import annotations

import functools

from dermrobust.components import storage
from dermrobust.components.adversarial_shard import Crafting
from dermrobust.components.attack_targets import target_of
from dermrobust.components.component import Context
from dermrobust.components.craft.component import CraftParams
from dermrobust.components.crafting import craft
from dermrobust.components.evaluation.predictions import adversarial_name
from dermrobust.components.examples import ExamplesSpec, Split, shard_uris
from dermrobust.components.samples import SplitOrder


def run(context: Context) -> None:
    """Craft adversarial examples of the test split at every budget, on Beam."""
    params = context.params
    assert isinstance(params, CraftParams)
    examples, model = context.input("examples"), context.input("model")
    spec = ExamplesSpec.read(examples)
    shards = shard_uris(examples, spec, Split.TEST)
    # Every image uses the whole budget: the source errs earlier than the models that the images are handed to.
    crafting = [
        Crafting(params.name, params.attack, threat, params.batch_size, params.seed, model.fingerprint, False)
        for threat in params.epsilons
    ]
    output = context.outputs["adversarial"]
    units = [
        (uri, index, made, storage.join(output, adversarial_name(made.name, made.threat, index, len(shards))))
        for index, uri in enumerate(shards)
        for made in crafting
    ]
    target = functools.partial(target_of, model, params.gradient_precision)
    order = SplitOrder.of(spec, Split.TEST)
    craft(context, "craft", units, target, spec.task, functools.partial(order.sample, images=params.images))
