"""Executor of certify: units of work are (shard, sigma, block of images)."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dermrobust.attacks.engine import attack_pixels, record_seeds, to_images
from dermrobust.attacks.problem import Labels, Seeds
from dermrobust.attacks.smoothing.certificate import Smoothed, certify, predict
from dermrobust.attacks.smoothing.gaussian import Stream
from dermrobust.attacks.smoothing.smoothed import smoothed_target
from dermrobust.attacks.smoothing.voting import Voters, noise_seeds
from dermrobust.attacks.target import Target
from dermrobust.attacks.threat import Pixels, ThreatModel
from dermrobust.components.artifacts import Artifact
from dermrobust.components.attack_targets import classifier_of
from dermrobust.components.component import Context
from dermrobust.components.evaluation.certificate_params import CertifyParams
from dermrobust.components.evaluation.certificates import CERTIFICATES, certificates_table
from dermrobust.components.examples import Batch, ExamplesSpec, Split, read_shard, shard_uris
from dermrobust.components.samples import SplitOrder
from dermrobust.components.slices.derive import derived_features
from dermrobust.components.units import Unit, run_units
from dermrobust.models.task import IMAGE_ID, Task

_BLOCK = 16
"""Images of a unit, which takes minutes: a shard is the work of many workers, and little is lost by an interruption."""
_ATTACK = "smoothed"
"""Scope of the seeds of random starts."""


def run(context: Context) -> None:
    """Certify a sample of the test split on Beam; write class, radius and votes of each image."""
    params = context.params
    assert isinstance(params, CertifyParams)
    examples = context.input("examples")
    spec = ExamplesSpec.read(examples)
    shards = shard_uris(examples, spec, Split.TEST)
    order = SplitOrder.of(spec, Split.TEST)
    largest = max(order.size(index, params.images) for index in range(len(shards)))
    places = tuple(itertools.product(params.sigmas, range(0, largest, _BLOCK)))
    units = [
        Unit(uri, index, len(shards), CERTIFICATES, place)
        for index, uri in enumerate(shards)
        for place in range(len(places))
    ]
    certifier = Certifier(context.input("model"), params, order, places, spec.task)
    run_units(context.beam, context.progress, context.outputs["certificates"], units, certifier)


@dataclass(frozen=True)
class Certifier:
    """Certifies the images of a unit, and attacks the smoothed classifier on them.

    Attributes:
        model: the model, whose network as it is exported is the base classifier.
        params: parameters of the component.
        order: order of the test images, of which a sample is certified.
        places: deviation of the noise, and number of the first image of a shard's part of the sample, in the order
            of the results.
        task: the classification problem.
    """

    model: Artifact
    params: CertifyParams
    order: SplitOrder
    places: tuple[tuple[float, int], ...]
    task: Task

    def __call__(self, unit: Unit) -> pa.Table:
        """Return the unit's certificates."""
        sigma, start = self.places[unit.place]
        rows = [row for batch in self._images(unit, start) for row in self._rows(batch, sigma)]
        return certificates_table(rows, self.task, self.params.slices)

    def _images(self, unit: Unit, start: int) -> Iterator[Batch]:
        """Yield the images of a block; none where the shard's part of the sample ends before it."""
        for batch in read_shard(unit.source, self.task):
            part = self.order.sample(unit.shard, batch, self.params.images)
            places = np.arange(len(part.labels))
            if start < len(places):
                yield part.chosen((places >= start) & (places < start + _BLOCK))

    def _rows(self, batch: Batch, sigma: float) -> Iterator[dict[str, Any]]:
        params, ids = self.params, batch.columns[IMAGE_ID]
        # A seed for each image by its id: neither shards, bundles nor retries change its noise.
        seeds = noise_seeds(ids, sigma=sigma, seed=params.seed)
        voters = Voters(classifier_of(self.model), len(self.task.class_names), sigma, params.batch_size)
        images = to_images(batch.pixels)
        selection = voters.votes(images, seeds, draws=params.selection_samples)
        votes = voters.votes(images, seeds, draws=params.samples, first=params.selection_samples)
        found = certify(selection, votes, sigma, params.alpha)
        smoothed = predict(votes, params.alpha)
        attacked = self._attacked(batch, seeds, voters, smoothed)
        derived = derived_features(params.slices, batch.pixels)
        for index in range(len(batch.labels)):
            yield {
                **batch.record(index),
                **{name: values[index] for name, values in derived.items()},
                "model": self.model.fingerprint,
                "sigma": sigma,
                "predicted": None if smoothed.abstained[index] else int(smoothed.classes[index]),
                "certified_class": int(found.classes[index]),
                "abstained": bool(found.abstained[index]),
                "radius": float(255 * found.radius[index]),
                "attacked": float(attacked[index]) if np.isfinite(attacked[index]) else None,
                "votes": votes[index].tolist(),
            }

    def _attacked(self, batch: Batch, seeds: Seeds, voters: Voters, smoothed: Smoothed) -> npt.NDArray[np.float64]:
        """Return the smallest tried radius in 1/255 at which each image is misclassified; infinity where there is none.

        An attack succeeds where PREDICT, on other noise than the attack saw, is confident of a wrong class.
        """
        params, ids = self.params, batch.columns[IMAGE_ID]
        reached = np.where(~smoothed.abstained & (smoothed.classes == batch.labels), np.inf, 0.0)
        for threat in params.radii if params.attacks else ():
            standing = np.flatnonzero(np.isinf(reached))
            if not len(standing):
                break
            starts = record_seeds([ids[index] for index in standing], attack=_ATTACK, threat=threat, seed=params.seed)
            labels = batch.labels[standing]
            moved = self._moved(voters, batch.pixels[standing], labels, starts, threat)
            votes = voters.votes(to_images(moved), seeds[standing], draws=params.samples, stream=Stream.ATTACK)
            found = predict(votes, params.alpha)
            reached[standing[~found.abstained & (found.classes != labels)]] = threat.epsilon
        return reached

    def _moved(self, voters: Voters, pixels: Pixels, labels: Labels, seeds: Seeds, threat: ThreatModel) -> Pixels:
        """Return the stored images of an attack on the smoothed classifier at one radius."""
        params = self.params
        target: Target = smoothed_target(
            voters.target, sigma=voters.sigma, draws=params.attack_draws, shape=pixels.shape[1:], seed=params.seed
        )
        # Each image is as many noisy ones.
        size = max(1, params.batch_size // params.attack_draws)
        # Not stopped at success: what a few draws take for a success need not be one of the smoothed classifier.
        return attack_pixels(
            params.attack, target, pixels, labels, seeds, threat=threat, batch_size=size, stop_at_success=False
        )
