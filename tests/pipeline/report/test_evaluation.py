"""Reading an evaluation: all of it, an earlier one that holds less, and one that is broken."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dermrobust.attacks.errors import UserError
from dermrobust.pipeline.report.evaluation import Evaluation, read_evaluation
from dermrobust.pipeline.report.headline import headline
from dermrobust.pipeline.report.html import ordered, render_page
from dermrobust.pipeline.report.lineage import Lineage
from tests.pipeline.report.evaluations import EPSILONS, MODELS, blessing, metric_rows, write_evaluation


def earlier(folder: Path) -> Path:
    """Write the only file that the first evaluations had, without the column `small`."""
    folder.mkdir(exist_ok=True)
    rows = [{k: v for k, v in row.items() if k != "small"} for row in metric_rows()]
    pq.write_table(pa.Table.from_pylist(rows), folder / "metrics.parquet")
    return folder


def gated(tmp_path: Path, **changes: object) -> Evaluation:
    write_evaluation(tmp_path)
    (tmp_path / "blessing.json").write_text(json.dumps({**blessing("trades", blessed=True), **changes}))
    return read_evaluation(str(tmp_path), str(tmp_path))


def test_everything_is_read(evaluation: Evaluation) -> None:
    assert evaluation.about.models == MODELS
    assert evaluation.conditions == ("none", "fgsm", "pgd", "auto", "transfer", "worst_case")
    figure = evaluation.figure("trades", "pgd", 4.0, "accuracy", "dx=df")
    assert figure is not None and figure.small and figure.n == 22
    for part in (evaluation.corruptions, evaluation.comparisons, evaluation.checks, evaluation.gallery):
        assert part
    assert evaluation.blessing is not None and not evaluation.blessing.blessed


def test_what_is_measured_over_all_attacks_is_left_out(evaluation: Evaluation) -> None:
    assert {place.attack for place in evaluation.figures} == set(evaluation.conditions)


def test_an_earlier_evaluation_is_shown_and_says_what_it_lacks(tmp_path: Path, lineage: Lineage) -> None:
    evaluation = read_evaluation(str(earlier(tmp_path)))
    assert evaluation.about.models == MODELS
    assert evaluation.about.epsilons == EPSILONS
    assert evaluation.about.malignant == ("akiec", "bcc", "mel")
    page = render_page(evaluation, lineage)
    assert "Not gated" in page
    for file in ("gallery.parquet", "comparisons.parquet", "corruptions.parquet", "checks.json"):
        assert f"({file})" in page


def test_slices_are_small_by_the_size_where_the_table_does_not_say(tmp_path: Path) -> None:
    (earlier(tmp_path) / "evaluation.json").write_text(json.dumps({"min_slice_size": 100, "malignant": []}))
    evaluation = read_evaluation(str(tmp_path))
    small = {place.slice for place, figure in evaluation.figures.items() if figure.small}
    assert {"dx=bcc", "dx=df"} <= small and "dx=mel" not in small
    assert evaluation.about.malignant == ()


@pytest.mark.parametrize("name", ["metrics.parquet", "checks.json", "evaluation.json"])
def test_a_broken_file_is_named(tmp_path: Path, name: str) -> None:
    write_evaluation(tmp_path)
    (tmp_path / name).write_text("no such thing")
    with pytest.raises(UserError, match=name):
        read_evaluation(str(tmp_path))


def test_no_metrics_at_all_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="dermrobust run --to evaluate"):
        read_evaluation(str(tmp_path))


def test_a_table_without_rows_says_what_to_run(tmp_path: Path) -> None:
    write_evaluation(tmp_path)
    pq.write_table(pq.read_table(tmp_path / "metrics.parquet").slice(0, 0), tmp_path / "metrics.parquet")
    with pytest.raises(UserError, match="empty"):
        read_evaluation(str(tmp_path))


def test_a_blessed_model_is_called_so(tmp_path: Path) -> None:
    verdict = headline(gated(tmp_path))
    assert (verdict.state, verdict.model) == ("blessed", "trades")
    assert "(2)" in verdict.sentence  # the third threshold has too few images to be judged


def test_checks_that_refuse_are_the_reason(tmp_path: Path) -> None:
    verdict = headline(gated(tmp_path, blessed=False, thresholds=[], checks=["Gradients: fail."]))
    assert verdict.state == "refused"
    assert "1 checks" in verdict.sentence or "1 check" in verdict.sentence


def test_a_gate_that_asks_nothing_gates_nothing(tmp_path: Path) -> None:
    assert headline(gated(tmp_path, thresholds=[])).state == "not-gated"


def test_a_failing_check_of_the_candidate_is_said_beside_the_verdict(tmp_path: Path) -> None:
    assert headline(gated(tmp_path)).failing == ()
    (tmp_path / "checks.json").write_text(
        json.dumps({"checks": [{"name": "gradients", "model": "trades", "status": "fail", "sentence": "Masked."}]})
    )
    evaluation = read_evaluation(str(tmp_path), str(tmp_path))
    assert [check.sentence for check in headline(evaluation).failing] == ["Masked."]


def test_checks_are_ordered_by_how_bad_they_are(evaluation: Evaluation) -> None:
    assert [check.status for check in ordered(evaluation.checks)][:2] == ["fail", "warn"]


def test_a_refusal_counts_the_thresholds_that_were_missed(evaluation: Evaluation) -> None:
    """Of three, one holds, one is missed and one has too few images to be judged; a second miss is counted, too."""
    verdict = headline(evaluation)
    assert (verdict.state, "misses 1 of 2 thresholds" in verdict.sentence) == ("refused", True)
    assert evaluation.blessing is not None
    held, missed, small = evaluation.blessing.thresholds
    worse = evaluation.blessing.model_copy(update={"thresholds": (missed, missed, held, small)})
    assert "misses 2 of 3 thresholds" in headline(replace(evaluation, blessing=worse)).sentence
