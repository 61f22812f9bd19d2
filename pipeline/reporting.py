"""Report of a run: an evaluation with its lineage, written as a page and a model card."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from dermrobust.attacks.errors import UserError
from dermrobust.components import storage
from dermrobust.components.artifacts import MANIFEST, ArtifactStore, ArtifactType, Manifest
from dermrobust.components.evaluation.reading import Evaluation, read_evaluation
from dermrobust.components.foreign_files import ADOPTION
from dermrobust.components.ingest.registry import DATASETS
from dermrobust.components.integrity import check
from dermrobust.pipeline import local_files
from dermrobust.pipeline.config import PipelineConfig
from dermrobust.pipeline.history import REMAKE
from dermrobust.pipeline.ledger import Ledger
from dermrobust.pipeline.report.card import render_card
from dermrobust.pipeline.report.html import render_page
from dermrobust.pipeline.report.lineage import ArtifactRecord, DataRecord, Lineage, ModelRecord, NodeRecord
from dermrobust.pipeline.stages import STAGES
from dermrobust.version import __version__

REPORT = "report.html"
CARD = "model_card.md"
_AUDIT = "audit"
"""Key of the settings of a run that audited a model from elsewhere."""
_ENDED_WELL = ("done", "cached")
_TO_EVALUATE = STAGES[: STAGES.index("evaluate") + 1]


@dataclass(frozen=True)
class EvaluatedRun:
    """A run with its evaluation and its lineage."""

    run: str
    evaluation: Evaluation
    lineage: Lineage


def write_report(config: PipelineConfig, run_id: str | None, folder: Path, name: str = REPORT) -> tuple[Path, Path]:
    """Write the report of a run and the model card beside it.

    Args:
        config: of the pipeline; it says where the root is.
        run_id: a run, or None for the latest that evaluated something.
        folder: where to write; it is created.
        name: of the page.

    Returns:
        The paths of the page and of the card.

    Raises:
        UserError: the run evaluated nothing; the message says what is missing and what to run.
    """
    found = evaluated_run(config, run_id)
    page, card = folder / name, folder / CARD
    try:
        folder.mkdir(parents=True, exist_ok=True)
        page.write_text(render_page(found.evaluation, found.lineage), encoding="utf-8")
        card.write_text(render_card(found.evaluation, found.lineage), encoding="utf-8")
    except OSError as error:
        raise UserError(f"the report cannot be written to '{folder}': {error.strerror}") from error
    return page, card


def report_folder(config: PipelineConfig) -> Path:
    """Return where reports go: beside the artifacts, or on this machine when those are on an object store."""
    return local_files.local_root(config) / "report"


def evaluated_run(config: PipelineConfig, run_id: str | None) -> EvaluatedRun:
    """Return an evaluated run, or the latest one.

    Raises:
        UserError: there is none, or its artifacts are gone.
    """
    path = local_files.ledger_path(config)
    if not path.exists():
        raise UserError(f"there are no runs in '{config.root}' yet; start one with: dermrobust run")
    ledger = Ledger(path)
    latest = ledger.latest_output(ArtifactType.EVALUATION.value, run_id)
    if latest is None:
        raise UserError(_what_is_missing(ledger, config, run_id))
    record = ledger.run(latest[0])
    assert record is not None
    return _gathered(config.root, record)


def _what_is_missing(ledger: Ledger, config: PipelineConfig, run_id: str | None) -> str:
    recent = ledger.runs(1)
    record = ledger.run(run_id or (recent[0]["id"] if recent else ""))
    if record is None:
        which = f"there is no run '{run_id}'" if run_id else "there are no runs"
        return f"{which} in '{config.root}'; see: dermrobust runs"
    named = (
        f"run '{record['id']}'"
        if run_id
        else f"no run in '{config.root}' has evaluated anything; the latest, '{record['id']}',"
    )
    stage, why = _missing_stage(record)
    going = " It is still running, or was stopped." if record["finished"] is None else ""
    return (
        f"{named} has no evaluation: stage '{stage}' {why}.{going} A report needs all stages up to evaluate; "
        f"finish them with: {'dermrobust audit' if _AUDIT in record['config'] else 'dermrobust run --to evaluate'}"
    )


def _missing_stage(record: Mapping[str, Any]) -> tuple[str, str]:
    bad = [node for node in record["nodes"] if node["status"] not in _ENDED_WELL]
    if bad:
        # What failed, rather than what was skipped because of it.
        first = min(bad, key=lambda node: node["status"] == "skipped")
        return first["stage"], f"did not finish ({first['node']}: {first['status']})"
    begun = {node["stage"] for node in record["nodes"]}
    return next((stage for stage in _stages(record) if stage not in begun), "evaluate"), "did not run"


def _stages(record: Mapping[str, Any]) -> tuple[str, ...]:
    return ("adopt", "evaluate") if _AUDIT in record["config"] else _TO_EVALUATE


def _gathered(root: str, record: Mapping[str, Any]) -> EvaluatedRun:
    store, made = ArtifactStore(root), {output["type"]: output["fingerprint"] for output in record["outputs"]}
    found = {
        type_: store.find(type_, made[type_.value])
        for type_ in (ArtifactType.EVALUATION, ArtifactType.BLESSING)
        if type_.value in made
    }
    evaluated, blessing = found[ArtifactType.EVALUATION], found.get(ArtifactType.BLESSING)
    if evaluated is None:
        raise UserError(
            f"the evaluation of run '{record['id']}' is no longer in '{root}': stage 'evaluate' has to run again: "
            "dermrobust run --to evaluate"
        )
    for artifact in (evaluated, blessing):
        if artifact is not None:
            check(artifact, REMAKE)
    evaluation = read_evaluation(evaluated.uri, None if blessing is None else blessing.uri)
    return EvaluatedRun(record["id"], evaluation, _lineage(root, record, dict(_walk(root, evaluated.uri)), evaluation))


def _rebased(root: str, uri: str) -> str:
    """Return where an artifact lies below this root: a manifest or ledger names the place of when it was made."""
    head, separator, tail = uri.rpartition("artifacts/")
    return storage.join(root, "artifacts", tail) if separator else head + tail


def _walk(root: str, uri: str) -> Iterator[tuple[str, Manifest]]:
    """Yield the manifests of an artifact and of all that it was made from, each once; what is gone is left out."""
    waiting, seen = [uri], set[str]()
    while waiting:
        place = waiting.pop(0)
        if place in seen:
            continue
        seen.add(place)
        if not storage.exists(storage.join(place, MANIFEST)):
            continue
        try:
            manifest = Manifest.model_validate_json(storage.read_bytes(storage.join(place, MANIFEST)))
        except ValidationError as error:
            raise UserError(f"'{storage.join(place, MANIFEST)}' is no manifest of an artifact: {error}") from error
        yield place, manifest
        waiting += [_rebased(root, made) for inputs in manifest.inputs.values() for made in inputs]


def _lineage(
    root: str, record: Mapping[str, Any], manifests: Mapping[str, Manifest], evaluation: Evaluation
) -> Lineage:
    config = dict(record["config"])
    about = evaluation.about
    return Lineage(
        run=record["id"],
        started=record["started"],
        finished=record["finished"] or "",
        status=record["status"],
        version=__version__,
        config=json.dumps(config, indent=1, sort_keys=True, ensure_ascii=False),
        commands=_commands(record["id"], root, config),
        nodes=tuple(
            NodeRecord(node["node"], node["stage"], node["status"], node["seconds"], node["fingerprint"])
            for node in record["nodes"]
        ),
        artifacts=tuple(_artifact(manifest) for manifest in manifests.values()),
        models=tuple(_models(manifests)),
        data=_data(manifests),
        attacks=about.attacks,
        seed=about.seed,
        notes=(*_notes(record), *_adoption_notes(manifests)),
    )


def _notes(record: Mapping[str, Any]) -> tuple[str, ...]:
    bad = [f"{node['node']} {node['status']}" for node in record["nodes"] if node["status"] not in _ENDED_WELL]
    return (f"In this run not everything ended well: {', '.join(bad)}.",) if bad else ()


def _adoption_notes(manifests: Mapping[str, Manifest]) -> Iterator[str]:
    """Yield what was remarked on audited models."""
    for uri, manifest in manifests.items():
        if manifest.type is ArtifactType.MODEL:
            for note in _read_json(storage.join(uri, ADOPTION)).get("notes", ()):
                yield f"{manifest.producer}: {note}."


def _commands(run: str, root: str, config: Mapping[str, Any]) -> tuple[str, ...]:
    report = f"dermrobust report --set root={shlex.quote(root)} --run {run}"
    if audit := config.get(_AUDIT):
        given = " ".join(f"--{name} {shlex.quote(str(audit[name]))}" for name in ("model", "data", "labels"))
        given += " --trust-model" if audit.get("trust_model") else ""
        return (
            f"# dermrobust {__version__}; other options as the configuration below says",
            f"dermrobust audit {given} --seed {audit['seed']} --output {shlex.quote(root)}",
            report,
        )
    return (
        f"# dermrobust {__version__}; save the configuration below as config.json",
        "dermrobust run --config config.json",
        report,
    )


def _artifact(manifest: Manifest) -> ArtifactRecord:
    return ArtifactRecord(
        type=manifest.type.value,
        producer=manifest.producer,
        fingerprint=manifest.fingerprint,
        digest=manifest.digest,
        size=sum(file.size for file in manifest.files),
        parameters=manifest.parameters,
        inputs={name: tuple(uri.rpartition("/")[2] for uri in uris) for name, uris in manifest.inputs.items()},
        versions=manifest.versions,
    )


def _models(manifests: Mapping[str, Manifest]) -> Iterator[ModelRecord]:
    for uri, manifest in manifests.items():
        if manifest.type is ArtifactType.MODEL:
            name = manifest.producer.partition("[")[2].rstrip("]") or manifest.producer
            training = _read_json(storage.join(uri, "metrics.json"))
            yield ModelRecord(name, manifest.fingerprint, manifest.digest, manifest.parameters, training)


def _data(manifests: Mapping[str, Manifest]) -> DataRecord | None:
    """Return what is known of the images: of the data set where there is one, else of the examples."""
    examples = _first(manifests, ArtifactType.EXAMPLES)
    if examples is None:
        return None
    uri, prepared = examples
    dataset = _first(manifests, ArtifactType.DATASET)
    source = prepared if dataset is None else dataset[1]
    counted = _read_json(storage.join(uri, "examples.json"))
    selected = source.parameters.get("dataset")
    name = selected.get("dataset") if isinstance(selected, dict) else selected
    return DataRecord(
        name=str(name or source.parameters.get("images") or source.producer),
        class_names=tuple(counted.get("task", {}).get("class_names", ())),
        counts=counted.get("counts", {}),
        class_counts={split: tuple(counts) for split, counts in counted.get("class_counts", {}).items()},
        preparation=prepared.parameters,
        parameters=source.parameters,
        digest=source.digest,
        drawn=name in DATASETS.names and DATASETS.resolve(name).drawn,
    )


def _read_json(uri: str) -> dict[str, Any]:
    """Return the content of a JSON file; nothing where there is no such file."""
    return dict(storage.read_json(uri)) if storage.exists(uri) else {}


def _first(manifests: Mapping[str, Manifest], type_: ArtifactType) -> tuple[str, Manifest] | None:
    return next(((uri, manifest) for uri, manifest in manifests.items() if manifest.type is type_), None)
