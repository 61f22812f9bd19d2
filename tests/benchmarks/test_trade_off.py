"""Networks between a baseline and a hardened model."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pytest

from benchmarks.trade_off import SHARES, main
from dermrobust.components.artifacts import ArtifactStore, ArtifactType
from dermrobust.components.examples import Split
from dermrobust.components.model_files import NETWORK
from dermrobust.models.balanced_accuracy import mean_recall
from dermrobust.models.classifier import save_network
from dermrobust.pipeline.config import PipelineConfig
from tests.benchmarks.roots import LABELS, PIXELS, SIZE, note_run, published, write_examples
from tests.small_networks import CLASS_COUNT, colored_images, trained_network


def saving(network: keras.Model) -> Callable[[Path], None]:
    return lambda folder: save_network(network, folder / NETWORK)


def balanced_accuracy(network: keras.Model) -> float:
    predicted = np.argmax(network(PIXELS / np.float32(255), training=False), axis=1)
    return mean_recall(
        np.bincount(LABELS[predicted == LABELS], minlength=CLASS_COUNT), np.bincount(LABELS, minlength=CLASS_COUNT)
    )


def test_the_ends_are_the_models_and_attacks_only_lower_the_figures(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = PipelineConfig(root=str(tmp_path))
    store = ArtifactStore(config.root)
    networks = [trained_network(*colored_images(256, SIZE)) for _ in range(2)]
    networks[1].set_weights([0.1 * weight for weight in networks[0].get_weights()])
    networks[1].layers[-1].bias.assign(10.0 * np.eye(CLASS_COUNT)[0])
    models = [published(store, ArtifactType.MODEL, str(index), saving(each)) for index, each in enumerate(networks)]
    examples = published(
        store, ArtifactType.EXAMPLES, "examples", lambda folder: write_examples(folder, Split.VALIDATION)
    )
    note_run(config, "run", {"preprocess": examples, "train[vanilla]": models[0], "train[robust]": models[1]})
    path, figures = tmp_path / "config.json", tmp_path / "rows.json"
    path.write_text(json.dumps({"defences": {"robust": {}}, "root": config.root}))

    code = main(["--config", str(path), "--model", "robust", "--steps", "3", "--json", str(figures)])

    rows = json.loads(figures.read_text())
    assert code == 0
    assert [row["share"] for row in rows] == list(SHARES)
    assert rows[0]["clean"] == pytest.approx(balanced_accuracy(networks[0]))
    assert rows[-1]["clean"] == pytest.approx(balanced_accuracy(networks[1])) == pytest.approx(1 / CLASS_COUNT)
    assert rows[0]["clean"] > 0.8
    assert all(row["4/255"] <= row["2/255"] <= row["1/255"] <= row["clean"] for row in rows)
    assert len(re.findall(r"^\| \d", capsys.readouterr().out, re.M)) == len(SHARES)


def test_a_root_without_these_models_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"root": str(tmp_path)}))

    with pytest.raises(SystemExit) as stopped:
        main(["--config", str(path), "--model", "robust"])
    assert stopped.value.code == 2
