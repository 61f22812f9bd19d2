"""Executor of augment: map each shard of training images to one shard of adversarial images."""

from __future__ import annotations

import functools

from dermrobust.components import storage
from dermrobust.components.adversarial_shard import Crafting
from dermrobust.components.adversarial_spec import SPEC, AdversarialSpec
from dermrobust.components.augment.component import AugmentParams
from dermrobust.components.component import Context
from dermrobust.components.crafting import craft
from dermrobust.components.examples import ExamplesSpec, Split, shard_name, shard_uris
from dermrobust.components.model_files import load_target


def run(context: Context) -> None:
    """Attack the training split on Beam and describe the result in `adversarial.json`."""
    params = context.params
    assert isinstance(params, AugmentParams)
    examples, model = context.input("examples"), context.input("model")
    spec = ExamplesSpec.read(examples)
    shards = shard_uris(examples, spec, Split.TRAIN)
    output = context.outputs["adversarial"]
    name = params.attack.name
    crafting = Crafting(
        name=name,
        attack=params.attack,
        threat=params.epsilon,
        batch_size=params.batch_size,
        seed=params.seed,
        source_model=model.fingerprint,
        # Training gains from images that use the whole budget, not from the nearest ones that fool the model.
        stop_at_success=False,
    )
    units = [
        (uri, index, crafting, storage.join(output, shard_name(Split.TRAIN, index, len(shards))))
        for index, uri in enumerate(shards)
    ]
    target = functools.partial(load_target, model.uri, model.digest, params.gradient_precision)
    craft(context, f"augment {name}", units, target, spec.task)
    described = AdversarialSpec(
        split=Split.TRAIN,
        shards=len(shards),
        count=spec.counts[Split.TRAIN],
        attack=params.attack.model_dump(mode="json"),
        threat=params.epsilon,
        source_model=model.fingerprint,
    )
    storage.write_bytes(storage.join(output, SPEC), described.model_dump_json(indent=1).encode())
