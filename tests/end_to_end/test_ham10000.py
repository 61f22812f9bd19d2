"""The whole pipeline on a slice of the real images."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner

from dermrobust.pipeline.cli.main import main

HERE = Path(__file__).resolve()
DATA = Path(os.environ.get("HAM10000_DIR") or HERE.parents[2].parent / "shared" / "data" / "ham10000")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.ham10000,
    pytest.mark.skipif(not (DATA / "HAM10000_metadata.csv").is_file(), reason="HAM10000_DIR has no HAM10000"),
]

PER_CLASS = 30


def slice_of_release(folder: Path) -> Path:
    """Make a release of a few dozen images a class: the real archives, fewer rows of metadata."""
    with (DATA / "HAM10000_metadata.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    chosen = [row for dx in {row["dx"] for row in rows} for row in [r for r in rows if r["dx"] == dx][:PER_CLASS]]
    with (folder / "HAM10000_metadata.tab").open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]), delimiter="\t")
        writer.writeheader()
        writer.writerows(chosen)
    for archive in DATA.glob("HAM10000_images_part_*.zip"):
        (folder / archive.name).symlink_to(archive)
    return folder


def test_the_papers_experiment_runs_on_real_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    release = tmp_path / "release"
    release.mkdir()
    monkeypatch.setenv("HAM10000_DIR", str(slice_of_release(release)))
    thresholds = (
        '[{"metric":"accuracy","min":0.01},{"metric":"accuracy","class":"mel","attack":"pgd","epsilon":4,"min":0}]'
    )
    result = CliRunner().invoke(
        main,
        [
            *("run", "--json", "--config", str(HERE.parents[2] / "configs" / "ham10000.json")),
            *("--set", f"root={tmp_path / 'output'}", "--set", "evaluate.epsilons=[4]"),
            *("--set", "train.network=tiny", "--set", "train.epochs=2", "--set", "augment.train.epochs=1"),
            *("--set", "preprocess.image_size=24"),
            *("--set", 'augment.models={"mixed": ["fgsm", "pgd"]}', "--set", "evaluate.gate.candidate=mixed"),
            *("--set", f"evaluate.gate.thresholds={thresholds}", "--set", "evaluate.gate.checks=ignored"),
            *("--set", "evaluate.probes.images=16", "--set", "evaluate.probes.queries=5"),
            *("--set", "evaluate.probes.spsa_images=0", "--set", "evaluate.probes.corruption_images=16"),
        ],
    )
    assert result.exit_code == 0, result.output
    summary = json.loads(result.stdout)
    assert {node["status"] for node in summary["nodes"]} == {"done"}
    assert Path(summary["exported"], "saved_model.pb").is_file()
    statistics = next((tmp_path / "output" / "artifacts" / "statistics").glob("*/statistics.json"))
    counts = [int(split["numExamples"]) for split in json.loads(statistics.read_text())["datasets"]]
    assert sum(counts) == PER_CLASS * 7
