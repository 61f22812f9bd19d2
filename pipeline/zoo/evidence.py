"""Evidence of a run for a card: the trained model, its evaluation, and the images that it never saw."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from dermrobust.attacks.errors import UserError
from dermrobust.components import storage
from dermrobust.components.artifacts import MANIFEST, Artifact, ArtifactStore, ArtifactType, content_digest
from dermrobust.components.evaluation.reading import Evaluation
from dermrobust.pipeline.config import PipelineConfig
from dermrobust.pipeline.ledger import Ledger
from dermrobust.pipeline.local_files import ledger_path
from dermrobust.pipeline.report.lineage import ArtifactRecord
from dermrobust.pipeline.reporting import EvaluatedRun, evaluated_run


@dataclass(frozen=True)
class Evidence:
    """Records of a run about one of its models.

    Attributes:
        run: id of the run.
        name: name of the model in the run.
        config: config of the run.
        evaluation: evaluation of all models of the run.
        trained: record of the model artifact.
        predictions: record of the artifact of its predictions.
        model: the model artifact.
        dataset: the artifact that the test images come from.
        seconds: duration of the training.
        training: figures at the end of the training.
    """

    run: str
    name: str
    config: PipelineConfig
    evaluation: Evaluation
    trained: ArtifactRecord
    predictions: ArtifactRecord
    model: Artifact
    dataset: Artifact
    seconds: float
    training: Mapping[str, object]


def gather(root: str, model: str, run: str | None) -> Evidence:
    """Return the records of a model that a run trained and evaluated.

    Args:
        root: root of artifacts and ledger.
        model: name of the model, or of the node that trains it: "fast" or "train[fast]".
        run: id of the run; None: the latest that has evaluated something.

    Raises:
        UserError: there is no such run or model, or the evaluation is of another model.
    """
    name = model.removeprefix("train[").removesuffix("]")
    place = PipelineConfig(root=root)
    found = evaluated_run(place, run)
    ledger = Ledger(ledger_path(place))
    trained, predictions = _evaluated(found, name)
    _check_newest(ledger, found.run, name, trained)
    record = ledger.run(found.run)
    assert record is not None
    store = ArtifactStore(root)
    artifact = _whole(store, trained)
    measured = next(model for model in found.lineage.models if model.fingerprint == trained.fingerprint)
    return Evidence(
        run=found.run,
        name=name,
        config=PipelineConfig.model_validate(record["config"]),
        evaluation=found.evaluation,
        trained=trained,
        predictions=predictions,
        model=artifact,
        dataset=_dataset(store, found, predictions),
        seconds=ledger.duration(trained.fingerprint) or 0.0,
        training=measured.training,
    )


def _evaluated(found: EvaluatedRun, name: str) -> tuple[ArtifactRecord, ArtifactRecord]:
    """Return the records of the model that was evaluated by a name, and of its predictions.

    Names of producers would not do: an artifact keeps the name of the node that made it first.
    """
    evaluation = found.evaluation
    (measured,) = (each for each in found.lineage.artifacts if each.type == ArtifactType.EVALUATION.value)
    by_name = dict(zip(evaluation.about.models, measured.inputs["predictions"], strict=False))
    if name not in by_name:
        raise UserError(f"run '{found.run}' has evaluated no model '{name}'; it has: {', '.join(by_name)}")
    predictions = _record(found, ArtifactType.PREDICTIONS, by_name[name])
    trained = _record(found, ArtifactType.MODEL, predictions.inputs["model"][0])
    if "examples" not in trained.inputs or not trained.producer.startswith("train["):
        raise UserError(f"model '{name}' was not trained in '{found.run}': what it has seen is not known")
    if trained.inputs["examples"] != predictions.inputs["examples"]:
        raise UserError(f"model '{name}' was trained on another split than the evaluated one; it may have seen it")
    return trained, predictions


def _record(found: EvaluatedRun, type_: ArtifactType, fingerprint: str) -> ArtifactRecord:
    for record in found.lineage.artifacts:
        if (record.type, record.fingerprint) == (type_.value, fingerprint):
            return record
    raise UserError(f"artifact {type_.value}/{fingerprint} of run '{found.run}' is gone: run it again")


def _check_newest(ledger: Ledger, run: str, name: str, trained: ArtifactRecord) -> None:
    """Refuse a model that was trained anew after its evaluation."""
    newest = ledger.latest_fingerprint(f"train[{name}]", ArtifactType.MODEL.value)
    if newest not in (None, trained.fingerprint):
        raise UserError(
            f"the evaluation of run '{run}' is of another model: 'train[{name}]' has made {newest} since, and "
            f"{trained.fingerprint} was evaluated. Evaluate again, or name the run with --run"
        )


def _whole(store: ArtifactStore, trained: ArtifactRecord) -> Artifact:
    """Return the model artifact, whose files are those that were evaluated."""
    artifact = store.find(ArtifactType.MODEL, trained.fingerprint)
    if artifact is None:
        raise UserError(f"the model artifact {trained.fingerprint} is gone: train it again")
    files = [entry for entry in storage.entries(artifact.uri) if entry.path != MANIFEST]
    if content_digest(files) != trained.digest:
        raise UserError(f"the evaluation is of another model: files in '{artifact.uri}' were changed since")
    return artifact


def _dataset(store: ArtifactStore, found: EvaluatedRun, predictions: ArtifactRecord) -> Artifact:
    examples = _record(found, ArtifactType.EXAMPLES, predictions.inputs["examples"][0])
    artifact = store.find(ArtifactType.DATASET, examples.inputs["dataset"][0])
    if artifact is None:
        raise UserError(f"the data set of run '{found.run}' is gone from '{Path(store.root)}': run ingest again")
    return artifact
