"""docs/serving.md: its example runs, and it lists the statuses that the exported model returns."""

import re
from pathlib import Path

import pytest

from dermrobust.components.artifacts import Artifact
from tests.components.export.images import image
from tests.components.export.test_image_formats import BAD

TEXT = Path(__file__).parents[3].joinpath("docs", "serving.md").read_text(encoding="utf-8")


def test_the_python_example_classifies(
    exported: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "output" / "export").mkdir(parents=True)
    (tmp_path / "output" / "export" / "1").symlink_to(exported.path("saved_model"))
    (tmp_path / "photo.jpg").write_bytes(image("JPEG"))
    monkeypatch.chdir(tmp_path)
    code, _ = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)

    exec(code, {})

    assert capsys.readouterr().out.startswith("[b'ok'] [b'")


def test_every_status_is_listed() -> None:
    listed = set(
        re.findall(r"^\| `(.*?)` \| [A-Z]", TEXT.partition("| status |")[2].partition("\n\n")[0], re.MULTILINE)
    )
    # The table has one row for formats that are treated alike.
    returned = {
        re.sub(r"^(TIFF|HEIC) is", "WebP is", re.sub(r"damaged (PNG|BMP|GIF)", "damaged JPEG", reason))
        for reason in BAD.values()
    }

    assert listed == {"ok", *returned}
