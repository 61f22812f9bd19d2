"""Models that a run trained or audited, and the examples that belong to them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc
import pyarrow.parquet as pq

from dermrobust.attacks.errors import UserError
from dermrobust.attacks.threat import ThreatModel
from dermrobust.components.artifacts import Artifact, ArtifactStore, ArtifactType
from dermrobust.components.evaluation.names import CLEAN
from dermrobust.components.evaluation.predictions import prediction_uris
from dermrobust.components.examples import Batch, ExamplesSpec, Split, first_records, shard_uris
from dermrobust.pipeline.config import PipelineConfig
from dermrobust.pipeline.ledger import Ledger
from dermrobust.pipeline.local_files import ledger_path

_EXAMPLES = "preprocess"
"""The node whose output the examples are."""
_RUNS = 1000
"""How many runs back models are looked for."""
_AUDITED = {
    "adopt[data]": ArtifactType.EXAMPLES,
    "adopt[model]": ArtifactType.MODEL,
    "predict[model]": ArtifactType.PREDICTIONS,
}
"""What an audit makes of an image folder and a model, by node."""


@dataclass(frozen=True)
class Audited:
    """Artifacts of an audit: the images, the model, and its predictions on them, clean and under its attacks."""

    examples: Artifact
    model: Artifact
    predictions: Artifact
    attacks: Mapping[str, Any]

    def effort(self, attack: str) -> str:
        """Return the parameters of one of its attacks as JSON."""
        return json.dumps(self.attacks[attack], separators=(",", ":"))

    def standing(self, batch: Batch, attack: str, threat: ThreatModel) -> npt.NDArray[np.bool_]:
        """Return which of the audit's images are classified correctly, clean and under an attack: bool [count].

        Raises:
            UserError: the audit has no such attack at this budget.
        """
        clean = self._predicted(pc.field("attack") == CLEAN)
        of_attack = (pc.field("attack") == attack) & (pc.field("norm") == threat.norm.value)
        attacked = self._predicted(of_attack & (pc.field("epsilon") == np.float32(threat.epsilon)))
        if clean.keys() != attacked.keys():
            raise UserError(f"the audit has not attacked by '{attack}' at {threat}; write a budget of the audit")
        images = zip(batch.columns["image/id"], batch.labels, strict=True)
        return np.array([clean[name] == attacked[name] == label for name, label in images], bool)

    def _predicted(self, rows: pc.Expression) -> Mapping[str, int]:
        """Return the predicted label of each image id in some rows of the predictions."""
        columns = ["image_id", "predicted"]
        shards = [pq.read_table(uri, columns=columns, filters=rows) for uri in prediction_uris(self.predictions)]
        return {row["image_id"]: row["predicted"] for shard in shards for row in shard.to_pylist()}


def trained_models(config: PipelineConfig, names: Sequence[str]) -> tuple[Artifact, dict[str, Artifact]]:
    """Return the examples and the models, by name, of the latest run that has all of them.

    Raises:
        UserError: there is no such run, or what it made is no longer there or cannot be read.
    """
    nodes = {name: f"train[{name}]" for name in names}
    wanted = {*nodes.values(), _EXAMPLES}
    made = next((made for made in _outputs_of_runs(config) if wanted <= made.keys()), None)
    if made is None:
        raise UserError(f"no run in '{config.root}' has all of {', '.join(names)}; run: dermrobust run --to augment")
    store = ArtifactStore(config.root)
    models = {name: _found(store, ArtifactType.MODEL, made[node]) for name, node in nodes.items()}
    examples = _found(store, ArtifactType.EXAMPLES, made[_EXAMPLES])
    # Examples of another version are refused here, not by a traceback in the middle of a measurement.
    ExamplesSpec.read(examples)
    return examples, models


def audited_model(root: str) -> Audited:
    """Return the artifacts of the latest audit below a root that has attacked its model.

    Raises:
        UserError: there is no such audit, or what it made is no longer there.
    """
    made = next((made for made in _outputs_of_runs(PipelineConfig(root=root)) if _AUDITED.keys() <= made.keys()), None)
    if made is None:
        raise UserError(f"no audit in '{root}' has attacked a model; run: dermrobust audit --output {root}")
    store = ArtifactStore(root)
    examples, model, predictions = (_found(store, type_, made[node]) for node, type_ in _AUDITED.items())
    return Audited(examples, model, predictions, store.manifest(predictions).parameters["attacks"])


def first_test_images(examples: Artifact, count: int | None = None) -> Batch:
    """Return the first so many test images; None: all of them."""
    spec = ExamplesSpec.read(examples)
    wanted = spec.counts[Split.TEST] if count is None else count
    return first_records(shard_uris(examples, spec, Split.TEST), wanted, spec.task)


def _outputs_of_runs(config: PipelineConfig) -> Iterator[dict[str, str]]:
    """Yield of each run, the latest first, the fingerprints of models, examples and predictions by node."""
    path = ledger_path(config)
    if not path.exists():
        return
    ledger = Ledger(path)
    for run in ledger.runs(_RUNS):
        made = (ledger.run(run["id"]) or {}).get("outputs", ())
        wanted = (ArtifactType.MODEL, ArtifactType.EXAMPLES, ArtifactType.PREDICTIONS)
        yield {output["node"]: output["fingerprint"] for output in made if output["type"] in wanted}


def _found(store: ArtifactStore, type_: ArtifactType, fingerprint: str) -> Artifact:
    # By fingerprint: where the run says that it lies may be relative to another folder.
    artifact = store.find(type_, fingerprint)
    if artifact is None:
        raise UserError(f"{type_.value} {fingerprint} is gone from '{store.root}'; make it again by the same command")
    return artifact
