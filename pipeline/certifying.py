"""Certificates of every model: the work of `dermrobust certify`, and a summary of what was certified."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from dermrobust.attacks.errors import UserError
from dermrobust.attacks.threat import PIXEL_LEVELS
from dermrobust.components.certify.component import CERTIFY
from dermrobust.components.evaluation.certificate_params import CertificateSettings
from dermrobust.components.evaluation.certificates import (
    MODEL,
    certificate_uris,
    certificates_of,
    certified_accuracy,
    withstands,
)
from dermrobust.components.evaluation.tables import read_tables
from dermrobust.components.progress import Progress
from dermrobust.pipeline.config import PipelineConfig
from dermrobust.pipeline.graph import build_graph, with_upstream
from dermrobust.pipeline.outcomes import RunResult
from dermrobust.pipeline.runner import run_graph

NODE = "certify[{}]"
"""Id of the node that certifies a model, by its name."""


@dataclass(frozen=True)
class Bounds:
    """Accuracy of a smoothed classifier at a radius: what is certified, and what an attack leaves.

    Attributes:
        radius: L2 radius on the scale of images in [0, 1].
        lower: certified accuracy.
        upper: accuracy under the attack, at radius 0 on clean images; None: nothing attacked.
    """

    radius: float
    lower: float
    upper: float | None


@dataclass(frozen=True)
class Summary:
    """Certificates of a model with one deviation of the noise.

    Attributes:
        model: name of the model.
        sigma: standard deviation of the noise.
        images: number of certified images.
        accuracy: accuracy of the smoothed classifier on clean images; abstentions count as errors.
        abstained: share of images without a certificate.
        mean_radius: mean certified radius of the correct class, 0 without a certificate, where a pixel is 0 to 1.
        bounds: accuracy at radius 0 and at each radius.
    """

    model: str
    sigma: float
    images: int
    accuracy: float
    abstained: float
    mean_radius: float
    bounds: tuple[Bounds, ...]


def run_certificates(config: PipelineConfig, progress: Progress, *, force: bool) -> RunResult:
    """Certify every model of a pipeline; unchanged work is not repeated, and the models must exist.

    Args:
        config: config of the pipeline.
        progress: receiver of progress reports.
        force: whether to repeat the work even if nothing changed.

    Raises:
        UserError: the config has no noise to certify with.
    """
    nodes = build_graph(config)
    selected = frozenset(node.id for node in nodes if node.component is CERTIFY)
    if not selected:
        raise UserError(
            "the config has no evaluate.certificates.sigmas; name the deviations of the noise, such as "
            "--set evaluate.certificates.sigmas=[0.25]"
        )
    settings = config.model_dump(mode="json")
    return run_graph(
        config, with_upstream(nodes, selected), progress, settings=settings, selected=selected, force=force
    )


def certified_models(config: PipelineConfig, result: RunResult) -> list[Summary]:
    """Return the summaries of the models that a run has certified."""
    found = {name: result.output(NODE.format(name), "certificates") for name in config.model_names()}
    tables = [
        _named(read_tables(certificate_uris(artifact)), name)
        for name, artifact in found.items()
        if artifact is not None
    ]
    return list(summaries(pa.concat_tables(tables), config.evaluate.certificates)) if tables else []


def summaries(certificates: pa.Table, settings: CertificateSettings) -> Iterator[Summary]:
    """Yield the summary of each model and sigma.

    Args:
        certificates: certificates of models by name.
        settings: deviations of the noise, radii, and whether anything attacked.
    """
    for model in certificates[MODEL].unique().to_pylist():
        for sigma in settings.sigmas:
            found = certificates_of(certificates, model, sigma)
            correct = found["certified_class"].to_numpy() == found["label"].to_numpy()
            yield Summary(
                model=model,
                sigma=sigma,
                images=found.num_rows,
                accuracy=float(withstands(found, 0).mean()),
                abstained=float(np.mean(found["abstained"].to_numpy(zero_copy_only=False))),
                mean_radius=float(np.where(correct, found["radius"].to_numpy(), 0).mean() / PIXEL_LEVELS),
                bounds=tuple(
                    Bounds(
                        radius / PIXEL_LEVELS,
                        certified_accuracy(certificates, model, sigma, radius).value,
                        float(withstands(found, radius).mean()) if settings.attacks or not radius else None,
                    )
                    for radius in (0.0, *(threat.epsilon for threat in settings.radii))
                ),
            )


def _named(certificates: pa.Table, name: str) -> pa.Table:
    values: Any = pa.repeat(name, certificates.num_rows)
    return certificates.set_column(certificates.column_names.index(MODEL), MODEL, values)
