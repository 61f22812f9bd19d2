"""docs/data.md does what it says: its configs are valid, and its data set is ingested."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest

from dermrobust.components.ingest import datasets
from dermrobust.components.ingest.component import IngestParams
from dermrobust.components.ingest.registry import DATASETS
from dermrobust.pipeline.config import PipelineConfig
from tests.datasets import FUNDUS, draw, encoded, ingest, write_files

PAGE = Path(__file__).parents[1] / "docs" / "data.md"


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


def test_the_configs_of_the_page_are_valid() -> None:
    configs = [PipelineConfig.model_validate(json.loads(text)) for text in blocks("json")]
    assert [config.ingest.dataset.dataset for config in configs] == ["synthetic", "folder", "folder"]
    assert configs[-1].ingest.task == FUNDUS


def test_the_page_names_every_data_set_with_its_parameters() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \|.*\|([^|]*)\|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE))
    for name in DATASETS.names:
        fields = [field for field in DATASETS.resolve(name).model_fields if field != "dataset"]
        assert re.findall(r"`(\w+)`", rows[name]) == fields


@pytest.fixture
def class_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The data set of the page, as if its folder and its line were there; return its name."""
    source, builder, entry = blocks("python")
    files = {"__init__.py": "", "source.py": source, "builder.py": builder}
    write_files(tmp_path / "datasets/class_folders", {name: text.encode() for name, text in files.items()})
    monkeypatch.setattr(datasets, "__path__", [*datasets.__path__, str(tmp_path / "datasets")])
    ((name, reference),) = re.findall(r'^ {8}"(\w+)": "(\S+)",\n$', entry)
    monkeypatch.setitem(DATASETS.entries, name, reference)
    for module in ("", ".source", ".builder"):
        # So that nothing is left of it after the test.
        monkeypatch.delitem(sys.modules, f"{datasets.__name__}.{name}{module}", raising=False)
    return str(name)


def test_the_data_set_of_the_page_works(class_folders: str, tmp_path: Path) -> None:
    for seed, name in enumerate(("cat", "dog")):
        images = {f"{index}.png": encoded(draw(2 * index + seed)) for index in range(30)}
        write_files(tmp_path / "raw" / name, images)
    params = IngestParams.model_validate({"dataset": class_folders, "path": str(tmp_path / "raw")})
    assert params.task.class_names == ("cat", "dog")
    assert ingest(params, tmp_path).quarantine() == []
