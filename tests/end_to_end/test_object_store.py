"""The whole pipeline with its root in a bucket of an S3 server, which gives what a root on a local disk does."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
import tensorflow as tf
from click.testing import CliRunner, Result
from moto.server import ThreadedMotoServer

from dermrobust.components import storage
from dermrobust.components.artifacts import MANIFEST, ArtifactType, Manifest
from dermrobust.pipeline.cli.main import main

pytestmark = pytest.mark.slow

ROOT = "s3://lab/runs"
CONFIG: dict[str, Any] = {
    "ingest": {"dataset": {"dataset": "synthetic", "count": 150}},
    "preprocess": {"image_size": 16},
    "train": {"network": "tiny", "epochs": 1, "warmup_epochs": 0, "xla": False},
    "augment": {"attacks": {"fgsm": "fgsm"}, "models": {"fgsm": ["fgsm"]}, "train": {"epochs": 1}},
    "evaluate": {
        "epsilons": [4],
        "attacks": {"fgsm": "fgsm", "transfer": {"attack": "transfer", "source": "vanilla", "crafted_with": "fgsm"}},
        "probes": {"images": 8, "queries": 4, "spsa_images": 0, "corruption_images": 8},
        "gate": {
            "candidate": "fgsm",
            "thresholds": [{"metric": "accuracy", "attack": "fgsm", "epsilon": 4, "min": 0.0}],
            "checks": "ignored",
        },
    },
}
BY_TENSORFLOW = {ArtifactType.EXPORTED_MODEL}
"""Artifacts whose bytes TensorFlow does not determine: a SavedModel has a number of its own."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An empty working folder, beside a server with the bucket of `ROOT`."""
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        }.items():
            patch.setenv(name, value)
        boto3.client("s3").create_bucket(Bucket="lab")
        folder = tmp_path_factory.mktemp("object store")
        patch.chdir(folder)
        (folder / "config.json").write_text(json.dumps(CONFIG))
        yield folder
    server.stop()


def dermrobust(command: str, root: str | Path, *options: str) -> Result:
    return CliRunner().invoke(main, [command, "--config", "config.json", "--set", f"root={root}", *options])


@pytest.fixture(scope="module")
def remote(folder: Path) -> Result:
    return dermrobust("run", ROOT, "--json")


def digests(root: str) -> dict[tuple[str, str], str]:
    """The digest of the content of every artifact below a root."""
    places = [name for name in storage.list_files(storage.join(root, "artifacts")) if name.endswith(f"/{MANIFEST}")]
    found = [Manifest.model_validate_json(storage.read_bytes(storage.join(root, "artifacts", name))) for name in places]
    return {(one.type.value, one.fingerprint): one.digest for one in found if one.type not in BY_TENSORFLOW}


def test_the_artifacts_are_those_of_a_run_on_a_local_disk(remote: Result, folder: Path) -> None:
    assert remote.exit_code == 0, remote.output
    local = dermrobust("run", folder / "local", "--json")

    assert local.exit_code == 0, local.output
    made = digests(ROOT)
    assert len(made) > 10
    assert made == digests(str(folder / "local"))


def test_nothing_but_ledger_report_and_logs_is_written_here(remote: Result, folder: Path) -> None:
    assert {path.name for path in (folder / ".dermrobust").iterdir()} <= {"ledger.sqlite", "locks", "logs", "report"}
    assert not list(folder.glob("s3*"))
    assert not [name for name in storage.list_files(ROOT) if name.startswith("staging/")]


def test_a_second_run_does_nothing_and_the_files_are_as_they_were_written(remote: Result) -> None:
    again = json.loads(dermrobust("run", ROOT, "--json").stdout)

    assert {node["status"] for node in again["nodes"]} == {"cached"}
    verified = dermrobust("verify", ROOT)
    assert verified.exit_code == 0, verified.output


def test_the_exported_model_can_be_fetched_and_classifies(remote: Result) -> None:
    served = tf.saved_model.load(storage.local_folder(json.loads(remote.stdout)["exported"]))

    answer = served.signatures["serving_default"](
        image_bytes=tf.stack([tf.io.encode_png(tf.zeros((48, 48, 3), tf.uint8))])
    )

    assert answer["probabilities"].shape == (1, 7)


def test_a_bucket_that_is_not_there_is_a_clear_error(folder: Path) -> None:
    result = dermrobust("run", "s3://nobody/runs")

    assert result.exit_code == 2, result.output
    assert "s3://nobody/runs" in result.stderr
    assert "Traceback" not in result.output
