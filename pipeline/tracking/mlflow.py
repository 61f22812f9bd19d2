"""A finished run in MLflow: parameters, figures by slice, report, model card and exported model."""

from __future__ import annotations

import contextlib
import json
import os
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dermrobust.attacks.errors import UserError
from dermrobust.components import storage
from dermrobust.components.artifacts import ArtifactStore, ArtifactType
from dermrobust.components.evaluation.conditions import family_of, is_of_referral, is_of_smoothing, rate_of, search_of
from dermrobust.components.evaluation.names import CLEAN
from dermrobust.components.integrity import check
from dermrobust.pipeline.config import PipelineConfig
from dermrobust.pipeline.history import REMAKE
from dermrobust.pipeline.ledger import Ledger
from dermrobust.pipeline.local_files import ledger_path
from dermrobust.pipeline.reporting import EvaluatedRun, evaluated_run, write_report

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from dermrobust.components.evaluation.reading import Evaluation
    from dermrobust.components.evaluation.rows import Place

EXPERIMENT = "dermrobust"
"""Experiment for runs that name no other."""
RUN_TAG = "dermrobust.run"
"""Tag with the id of the run here, by which a run is found that was logged before."""
_PARENT_TAG = "mlflow.parentRunId"
_METRICS_A_REQUEST, _PARAMETERS_A_REQUEST, _LONGEST_PARAMETER = 1000, 100, 6000
"""Limits of MLflow's REST interface."""
_NOT_IN_KEYS = re.compile(r"[^\w\-. :/]")


@dataclass(frozen=True)
class Tracked:
    """Where a run was logged.

    Attributes:
        experiment: id of the experiment in MLflow.
        run: id of the run in MLflow.
        new: whether it was logged now, rather than before.
    """

    experiment: str
    run: str
    new: bool


def track(
    config: PipelineConfig, run_id: str | None = None, *, uri: str | None = None, experiment: str = EXPERIMENT
) -> Tracked:
    """Log a finished run to MLflow; a run that is there already is not logged again.

    The run has its configuration as parameters, and report, model card, table of metrics and exported model as
    artifacts. Each of its models is a run nested in it, with the figures of every slice as metrics.

    Args:
        config: of the pipeline; it says where the root is.
        run_id: a run, or None for the latest that evaluated something.
        uri: of the tracking server, such as http://127.0.0.1:5000; None: the variable MLFLOW_TRACKING_URI.
        experiment: name of an experiment in MLflow; it is created.

    Raises:
        UserError: MLflow is not installed, no server is named or it does not answer, or the run evaluated nothing.
    """
    client = _client(uri or os.environ.get("MLFLOW_TRACKING_URI"))
    found = evaluated_run(config, run_id)
    from mlflow.exceptions import MlflowException

    try:
        return _logged(client, config, found, experiment)
    # Uploads of files raise the errors of requests, which are those of the system.
    except (MlflowException, OSError, ImportError) as error:
        reason = getattr(error, "message", error)
        raise UserError(f"run '{found.run}' could not be logged to {client.tracking_uri}: {reason}") from error


def _client(uri: str | None) -> MlflowClient:
    if not uri:
        raise UserError("no tracking server is named; give --uri or set the variable MLFLOW_TRACKING_URI")
    # What a clinic measures is reported to nobody, and a server that is not there is named within seconds.
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    try:
        from mlflow import MlflowClient
    except ImportError as error:
        raise UserError("MLflow is not installed; install it with: pip install 'dermrobust[mlflow]'") from error
    return MlflowClient(uri)


def _logged(client: MlflowClient, config: PipelineConfig, found: EvaluatedRun, experiment: str) -> Tracked:
    from mlflow.exceptions import MlflowException

    place = client.get_experiment_by_name(experiment)
    experiment_id = client.create_experiment(experiment) if place is None else place.experiment_id
    # A run that was not logged to its end is no obstacle: only those that ended well count.
    chosen = f"tags.`{RUN_TAG}` = '{found.run}' and attributes.status = 'FINISHED'"
    for before in client.search_runs([experiment_id], chosen):
        if _PARENT_TAG not in before.data.tags:
            return Tracked(experiment_id, before.info.run_id, new=False)
    started, ended = _milliseconds(found.lineage.started), _milliseconds(found.lineage.finished)
    parent = client.create_run(experiment_id, started, _tags(found), run_name=found.run).info.run_id
    open_runs = [parent]
    try:
        _log_parameters(client, parent, json.loads(found.lineage.config))
        _log_files(client, parent, config, found)
        for model in found.evaluation.models:
            tags = {RUN_TAG: found.run, _PARENT_TAG: parent, "dermrobust.model": model}
            nested = client.create_run(experiment_id, started, tags, run_name=model).info.run_id
            open_runs.append(nested)
            trained = next((record for record in found.lineage.models if record.name == model), None)
            _log_parameters(client, nested, {} if trained is None else trained.parameters)
            _log_figures(client, nested, found.evaluation, model, ended)
            client.set_terminated(nested, "FINISHED", ended)
            open_runs.remove(nested)
    except BaseException:
        for run in reversed(open_runs):
            # The server may not answer; the first error is the one to tell.
            with contextlib.suppress(MlflowException, OSError):
                client.set_terminated(run, "FAILED")
        raise
    client.set_terminated(parent, "FINISHED", ended)
    return Tracked(experiment_id, parent, new=True)


def _tags(found: EvaluatedRun) -> dict[str, str]:
    tags = {RUN_TAG: found.run, "dermrobust.version": found.lineage.version, "dermrobust.status": found.lineage.status}
    if (blessing := found.evaluation.blessing) is not None:
        tags |= {
            "dermrobust.candidate": blessing.candidate,
            "dermrobust.gate": "passed" if blessing.blessed else "refused",
        }
    return tags


def _log_parameters(client: MlflowClient, run: str, values: Mapping[str, Any]) -> None:
    from mlflow.entities import Param

    parameters = [Param(key, text[:_LONGEST_PARAMETER]) for key, text in _flat(values)]
    for start in range(0, len(parameters), _PARAMETERS_A_REQUEST):
        client.log_batch(run, params=parameters[start : start + _PARAMETERS_A_REQUEST])


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield (key, text) of nested values, with keys as `--set` takes them."""
    for name, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value if isinstance(value, str) else json.dumps(value)


def _log_figures(client: MlflowClient, run: str, evaluation: Evaluation, model: str, time: int) -> None:
    from mlflow.entities import Metric

    metrics: list[Metric] = []
    for place, figure in evaluation.figures.items():
        if place.model == model:
            bounds = {"": figure.value, "_lower": figure.lower, "_upper": figure.upper}
            key = metric_key(place, evaluation.about.norm)
            metrics += [Metric(key + end, value, time, 0) for end, value in bounds.items() if value is not None]
    for start in range(0, len(metrics), _METRICS_A_REQUEST):
        client.log_batch(run, metrics=metrics[start : start + _METRICS_A_REQUEST])


def metric_key(place: Place, norm: str) -> str:
    """Return the name of a figure in MLflow: attack, budget in 1/255 (L0: in pixels), slice and metric.

    The balanced accuracy of all images in the worst case at 4/255 is worst_case/linf:4/overall/balanced_accuracy, the
    recall of melanoma on clean images clean/dx:mel/accuracy. Beyond a norm the family and its strength stand in the
    place of norm and budget: worst_case/colour:0.5/overall/accuracy. What is certified with sigma 0.25 at an L2 radius
    of 127.5/255 is certified:0.25/l2:127.5/overall/accuracy, and what a classifier with a referral rate of 0.2 leaves
    referral:0.2/worst_case/linf:4/overall/coverage. No name is the beginning of another, since a store of files makes
    folders of them.
    """
    under = f"{family_of(place.attack) or norm}:{place.epsilon:g}"
    attack: Sequence[str] = ("clean",) if place.attack == CLEAN else (search_of(place.attack), under)
    if is_of_smoothing(place.attack):
        attack = (place.attack.replace("/", ":"), f"l2:{place.epsilon:g}")
    if is_of_referral(place.attack):
        attack = (f"referral:{rate_of(place.attack)}", search_of(place.attack), f"{norm}:{place.epsilon:g}")
    where = place.slice.replace("=", ":", 1)
    return "/".join(_NOT_IN_KEYS.sub("_", part) for part in (*attack, where, place.metric))


def _log_files(client: MlflowClient, run: str, config: PipelineConfig, found: EvaluatedRun) -> None:
    with tempfile.TemporaryDirectory() as folder:
        write_report(config, found.run, Path(folder))
        Path(folder, "config.json").write_text(found.lineage.config, encoding="utf-8")
        _copy(found.evaluation.uri, Path(folder), suffix=".parquet")
        record = Ledger(ledger_path(config)).run(found.run)
        assert record is not None
        for output in record["outputs"]:
            if output["type"] == ArtifactType.EXPORTED_MODEL.value:
                exported = ArtifactStore(config.root).find(ArtifactType.EXPORTED_MODEL, output["fingerprint"])
                if exported is None:
                    raise UserError(
                        f"the exported model of run '{found.run}' is gone; export it with: dermrobust export"
                    )
                check(exported, REMAKE)
                _copy(exported.uri, Path(folder, "model"))
        client.log_artifacts(run, folder)


def _copy(uri: str, folder: Path, suffix: str = "") -> None:
    """Copy the files of an artifact, which may lie on an object store."""
    for name in storage.list_files(uri):
        if name.endswith(suffix):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(storage.read_bytes(storage.join(uri, name)))


def _milliseconds(time: str) -> int:
    """Return a time in ISO 8601 as milliseconds since 1970."""
    return round(datetime.fromisoformat(time).timestamp() * 1000)
