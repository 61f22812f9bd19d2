"""Two audits of one model: what the stronger one breaks of what the weaker one left."""

import functools
from collections.abc import Sequence
from pathlib import Path

import pytest

from benchmarks.strength import main
from dermrobust.components.artifacts import ArtifactStore, ArtifactType, Provenance
from dermrobust.components.evaluation.intervals import wilson_interval
from dermrobust.pipeline.config import PipelineConfig
from tests.benchmarks.roots import COUNT, note_run, published, write_examples, write_predictions


def audit(
    root: Path, auto: int, queries: int, *, model: bytes = b"network", lesions: Sequence[str] = ("",) * COUNT
) -> str:
    """Return the root of an audit under whose `auto` every image stands whose number is even and divided by `auto`."""
    config, store = PipelineConfig(root=str(root)), ArtifactStore(str(root))
    origin = Provenance("test", {"attacks": {"auto": {"attack": "auto", "queries": queries}}}, {}, {})
    made = {
        "adopt[data]": published(
            store, ArtifactType.EXAMPLES, "examples", functools.partial(write_examples, lesions=lesions)
        ),
        "adopt[model]": published(store, ArtifactType.MODEL, "model", lambda folder: (folder / "a").write_bytes(model)),
        "predict[model]": published(
            store, ArtifactType.PREDICTIONS, "predictions", functools.partial(write_predictions, auto=auto), origin
        ),
    }
    note_run(config, "run1", made)
    return str(root)


def test_images_that_the_stronger_attack_breaks_are_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # Even numbers divided by 3, and by 4: 0, 6, 12, ... and 0, 4, 8, ...; both: 0, 12, 24, ...
    weak, strong = audit(tmp_path / "weak", 3, 500), audit(tmp_path / "strong", 4, 5000)

    assert main([weak, strong, "--epsilon", "linf:8/255"]) == 0

    *_, first, second, _, compared = capsys.readouterr().out.splitlines()
    lower, upper = wilson_interval(1 / 6, COUNT)
    assert f'{{"attack":"auto","queries":500}} | 96 | 16 | 0.167 [{lower:.3f}, {upper:.3f}]' in first
    assert '{"attack":"auto","queries":5000} | 96 | 24 | 0.250 ' in second
    # Of the 16 and 24, eight stand in both.
    assert compared == "8 of 16 images that stand in the first audit fall in the second, 16 the other way round"


def test_audits_of_two_models_are_not_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    audits = [audit(tmp_path / name, 3, 500, model=name.encode()) for name in ("one", "another")]

    with pytest.raises(SystemExit, match="2"):
        main([*audits, "--epsilon", "linf:8/255"])

    assert "of different models" in capsys.readouterr().err


def test_audits_of_other_images_are_not_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    audits = [audit(tmp_path / name, 3, 500, lesions=[name] * COUNT) for name in ("one", "another")]

    with pytest.raises(SystemExit, match="2"):
        main([*audits, "--epsilon", "linf:8/255"])

    assert "of different images" in capsys.readouterr().err


def test_a_budget_that_an_audit_does_not_have_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    audits = [audit(tmp_path / name, 3, 500) for name in ("one", "another")]

    with pytest.raises(SystemExit, match="2"):
        main([*audits, "--epsilon", "linf:1/255"])

    assert "has not attacked by 'auto' at" in capsys.readouterr().err
