"""`dermrobust track`: a finished run in MLflow, whose store of files stands for a server."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import requests
from click.testing import CliRunner, Result

from dermrobust import load_evaluation
from dermrobust.components.artifacts import ArtifactType
from dermrobust.pipeline.cli.main import main
from tests.pipeline.report.evaluations import ATTACKS, DrawnRoot

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

RUN = "20261122T100000-aaaaaa"
MODELS = ("vanilla", "trades")


class Tracking:
    """A root with a run that exported a model, and a store to log it to."""

    def __init__(self, folder: Path) -> None:
        self.root, self.uri = folder / "root", (folder / "store").as_uri()
        self.drawn = DrawnRoot(self.root)
        self.drawn.run(RUN, MODELS, blessed=True, attacks={"pgd": ATTACKS["pgd"]})
        model = {"saved_model.pb": "graph", "SHA256SUMS": "digests"}
        self.model = self.drawn.publish(ArtifactType.EXPORTED_MODEL, "exported", "export", model)
        self.drawn.node(RUN, "export", "export", {"model": self.model})

    def track(self, *options: str) -> Result:
        return CliRunner().invoke(main, ["track", "--set", f"root={self.root}", "--uri", self.uri, *options])

    @property
    def client(self) -> MlflowClient:
        from mlflow import MlflowClient

        return MlflowClient(self.uri)

    def runs(self, experiment: str = "dermrobust") -> dict[str, Run]:
        found = self.client.get_experiment_by_name(experiment)
        return {run.info.run_name: run for run in self.client.search_runs([found.experiment_id])}


@pytest.fixture
def tracking(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tracking:
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return Tracking(tmp_path)


def test_a_run_is_logged_with_a_nested_run_for_each_model(tracking: Tracking) -> None:
    result = tracking.track()

    assert result.exit_code == 0, result.output
    runs = tracking.runs()
    assert set(runs) == {RUN, *MODELS, "constant"}
    parent = runs[RUN]
    assert {run.data.tags["mlflow.parentRunId"] for name, run in runs.items() if name != RUN} == {parent.info.run_id}
    assert {run.info.status for run in runs.values()} == {"FINISHED"}
    assert parent.data.tags["dermrobust.gate"] == "passed"
    assert parent.data.params["seed"] == "0"
    assert runs["trades"].data.params["objective.beta"] == "6.0"
    assert f"run {parent.info.run_id}" in result.stdout


def test_metrics_are_the_figures_of_every_slice_with_their_intervals(tracking: Tracking) -> None:
    tracking.track()

    evaluation, runs = load_evaluation(tracking.root), tracking.runs()
    figure = evaluation.figure("trades", "worst_case", 4.0, "balanced_accuracy")
    recall = evaluation.figure("trades", "none", 0.0, "accuracy", "dx=mel")
    assert figure is not None and recall is not None
    metrics = runs["trades"].data.metrics
    assert metrics["worst_case/linf:4/overall/balanced_accuracy"] == figure.value
    assert metrics["worst_case/linf:4/overall/balanced_accuracy_lower"] == figure.lower
    assert metrics["clean/dx:mel/accuracy"] == recall.value
    values = [key for key in metrics if not key.endswith(("_lower", "_upper"))]
    rows = evaluation.frame().query("model == 'trades' and attack.notna()")
    assert len(values) == len(rows)
    assert "clean/overall/accuracy" in runs["constant"].data.metrics


def test_report_card_tables_and_model_are_its_files(tracking: Tracking) -> None:
    tracking.track()

    client, run = tracking.client, tracking.runs()[RUN].info.run_id
    names = {file.path for file in client.list_artifacts(run)}
    assert {"report.html", "model_card.md", "config.json", "metrics.parquet", "model"} <= names
    fetched = Path(client.download_artifacts(run, "model/saved_model.pb", str(tracking.root)))
    assert fetched.read_text() == "graph"


def test_a_run_is_logged_once_for_an_experiment(tracking: Tracking) -> None:
    first, second = tracking.track(), tracking.track()
    other = tracking.track("--experiment", "clinic")

    assert second.stdout == first.stdout.replace("logged", "logged before", 1)
    assert len(tracking.runs()) == len(tracking.runs("clinic")) == len(MODELS) + 2
    assert other.exit_code == 0


def test_a_damaged_model_is_not_logged_and_the_run_can_be_logged_later(tracking: Tracking) -> None:
    file = Path(tracking.model.uri, "saved_model.pb")
    file.write_text("other")

    refused = tracking.track()

    assert refused.exit_code == 2
    assert "saved_model.pb" in refused.stderr
    assert tracking.runs()[RUN].info.status == "FAILED"
    file.write_text("graph")
    assert tracking.track().stdout.startswith("logged:")


def test_an_upload_that_is_refused_is_told_and_no_run_stays_open(
    tracking: Tracking, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow import MlflowClient

    real = MlflowClient.log_batch

    def refuse_metrics(self: MlflowClient, run_id: str, metrics: Any = (), **others: Any) -> None:
        if metrics:
            raise requests.HTTPError("413 Client Error: too large")
        real(self, run_id, **others)

    monkeypatch.setattr(MlflowClient, "log_batch", refuse_metrics)

    result = tracking.track()

    assert (result.exit_code, "Traceback" in result.output) == (2, False)
    assert f"run '{RUN}' could not be logged to " in result.stderr
    assert "413 Client Error: too large" in result.stderr
    assert {name: run.info.status for name, run in tracking.runs().items()} == {RUN: "FAILED", MODELS[0]: "FAILED"}


@pytest.mark.parametrize(
    ("uri", "says"),
    [("", "no tracking server is named"), ("http://127.0.0.1:9", "could not be logged to http://127.0.0.1:9")],
)
def test_a_server_that_is_not_there_is_named(
    tracking: Tracking, monkeypatch: pytest.MonkeyPatch, uri: str, says: str
) -> None:
    tracking.uri = uri
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")

    result = tracking.track()

    assert (result.exit_code, "Traceback" in result.output) == (2, False)
    assert says in result.stderr
