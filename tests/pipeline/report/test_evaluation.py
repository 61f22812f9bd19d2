"""Reading an evaluation: all of it, an earlier one that holds less, and one that is broken."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from dermrobust.attacks.errors import UserError
from dermrobust.components.evaluation.reading import Evaluation, read_evaluation
from dermrobust.components.evaluation.rows import Place
from dermrobust.components.evaluation.thresholds import Gate
from dermrobust.components.gate.judging import bless
from dermrobust.pipeline.report import wording
from dermrobust.pipeline.report.card import render_card
from dermrobust.pipeline.report.headline import headline
from dermrobust.pipeline.report.html import render_page
from dermrobust.pipeline.report.lineage import Lineage
from dermrobust.pipeline.report.panel import ReportPanel
from dermrobust.pipeline.report.panels.attacks import matrix
from dermrobust.pipeline.report.panels.checks import ordered
from dermrobust.pipeline.report.registry import PANELS
from tests.pipeline.report.evaluations import MODELS, blessing, check_rows, write_evaluation


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


def test_parts_that_are_missing_are_named_on_the_page(tmp_path: Path, lineage: Lineage) -> None:
    write_evaluation(tmp_path)
    files = ("gallery.parquet", "comparisons.parquet", "corruptions.parquet", "checks.json")
    for file in files:
        (tmp_path / file).unlink()
    page = render_page(read_evaluation(str(tmp_path)), lineage)
    assert "Not gated" in page
    for file in files:
        assert f"({file})" in page


def test_tables_are_returned_as_arrow_and_pandas(evaluation: Evaluation) -> None:
    assert evaluation.table().num_rows == len(evaluation.frame())
    with pytest.raises(UserError, match=r"there is no 'nonesuch\.parquet'"):
        evaluation.table("nonesuch.parquet")


def test_a_column_that_is_missing_is_named(tmp_path: Path) -> None:
    write_evaluation(tmp_path)
    pq.write_table(pq.read_table(tmp_path / "gallery.parquet").drop_columns(["truth"]), tmp_path / "gallery.parquet")
    with pytest.raises(UserError, match=r"gallery.parquet.*has no column truth"):
        read_evaluation(str(tmp_path))


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
        json.dumps({"checks": [{**check_rows()[0], "model": "trades", "status": "fail", "sentence": "Masked."}]})
    )
    evaluation = read_evaluation(str(tmp_path), str(tmp_path))
    assert [check.sentence for check in headline(evaluation).failing] == ["Masked."]


def test_robustness_below_the_constant_classifier_is_said_in_the_verdict(
    evaluation: Evaluation, lineage: Lineage
) -> None:
    """Of the drawn model 0.60 to 0.14 stand in the worst case, and 0.669 for always answering nv."""
    sentence = "Worst-case accuracy at ε 1/255, 2/255, 4/255, 8/255 is worse than always answering nv."
    assert headline(evaluation).floor == sentence
    assert sentence in render_page(evaluation, lineage)
    place = Place(MODELS[-1], "worst_case", 1.0, "overall", "accuracy")
    better = {**evaluation.figures, place: replace(evaluation.figures[place], value=0.67)}
    assert "at ε 2/255, 4/255, 8/255 is" in headline(replace(evaluation, figures=better)).floor


def test_the_verdict_says_up_to_which_budget_a_model_holds(evaluation: Evaluation, lineage: Lineage) -> None:
    def with_lower_ends(*ends: float) -> Evaluation:
        figures = dict(evaluation.figures)
        for epsilon, end in zip(evaluation.about.epsilons, ends, strict=True):
            place = Place(evaluation.candidate, "worst_case", epsilon, "overall", "balanced_accuracy")
            figures[place] = replace(figures[place], value=end + 0.1, lower=end)
        return replace(evaluation, figures=figures)

    def told(*ends: float) -> str:
        return headline(with_lower_ends(*ends)).holds

    assert (
        told(0.5, 0.4, 0.3, 0.2)
        == "It holds up to ε 8/255, with a worst-case balanced accuracy of 0.30, the largest budget tried."
    )
    assert told(0.5, 0.4, 0.1, 0.2) == (
        "It holds up to ε 2/255, with a worst-case balanced accuracy of 0.50; at ε 4/255 it is no better than always "
        "answering nv (balanced accuracy 0.20)."
    )
    assert told(0.1, 0.1, 0.1, 0.1).startswith(
        "It holds at no budget; at ε 1/255 it is no better than always answering nv"
    )
    assert told(0.1, 0.1, 0.1, 0.1) in render_page(with_lower_ends(0.1, 0.1, 0.1, 0.1), lineage)


def test_a_blessing_names_the_budgets_that_nothing_was_asked_at(tmp_path: Path) -> None:
    verdict = headline(gated(tmp_path, blessed=True, checks=[], uncovered=[4.0]))
    assert verdict.state == "blessed"
    assert "No threshold covers ε 4/255, where it classifies" in verdict.sentence
    assert "No threshold covers" not in headline(gated(tmp_path, blessed=True, checks=[])).sentence


def test_the_constant_classifier_is_in_the_tables_of_models_and_has_a_dash_where_it_means_nothing(
    evaluation: Evaluation,
) -> None:
    assert evaluation.models == (*MODELS, "constant")
    for table in matrix(evaluation).tables:
        row = table.rows[-1]
        assert (row.heading.key, row.heading.note) == ("constant", "always nv")
        known = table.keys["metric"] in ("accuracy", "balanced_accuracy")
        assert [cell is not None for cell in row.cells] == [known] * len(evaluation.conditions)


def test_an_evaluation_without_the_constant_classifier_is_shown(tmp_path: Path, lineage: Lineage) -> None:
    write_evaluation(tmp_path, constant_class=None)
    metrics = pq.read_table(tmp_path / "metrics.parquet")
    pq.write_table(metrics.filter(pc.not_equal(metrics["model"], "constant")), tmp_path / "metrics.parquet")
    evaluation = read_evaluation(str(tmp_path))
    assert evaluation.models == MODELS
    assert "always" not in render_card(evaluation, lineage)
    assert "always None" not in render_page(evaluation, lineage)


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


NEW = ReportPanel("Number of {subject}s", "<p>{{ about.groups }} of them</p>")


def test_a_new_panel_is_one_registered_object(
    evaluation: Evaluation, lineage: Lineage, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert isinstance(PANELS.entries, dict)
    monkeypatch.setitem(PANELS.entries, "number", f"{__name__}:NEW")
    page = render_page(evaluation, lineage)
    assert '<a href="#number">Number of Lesions</a>' in page
    assert "<p>1494 of them</p>" in page


def test_a_black_box_is_named_first_and_no_gate_passes_it(tmp_path: Path, lineage: Lineage) -> None:
    write_evaluation(tmp_path)
    title = "Access to the model"
    access = {"name": "access", "title": title, "model": "trades", "status": "fail", "sentence": "S.", "figures": {}}
    sound = [row for row in check_rows() if row["status"] == "pass"]
    (tmp_path / "checks.json").write_text(json.dumps({"checks": [*sound, access]}))
    evaluation = read_evaluation(str(tmp_path))

    asked = {"checks": "ignored", "thresholds": [{"metric": "accuracy", "attack": "pgd", "epsilon": 1, "min": 0.01}]}
    for settings in (asked, {"checks": "no_failure"}):
        refused = bless(Gate.model_validate({"candidate": "trades", **settings}), evaluation)
        assert not refused.blessed and refused.checks == (f"{title}: fail. S.",)
    assert bless(Gate.model_validate({"candidate": "vanilla", **asked}), evaluation).blessed

    (tmp_path / "blessing.json").write_text(refused.model_dump_json())
    found = headline(read_evaluation(str(tmp_path), str(tmp_path)))
    assert found.state == "refused" and found.holds == ""
    assert found.sentence.startswith(
        "Black box: every robust accuracy here is an upper bound, found without gradients."
    )
    page = render_page(read_evaluation(str(tmp_path), str(tmp_path)), lineage)
    assert page.index("Black box: every robust accuracy") < page.index('<section id="attacks"')


@pytest.mark.parametrize(
    ("epsilon", "norm", "text"),
    [
        (4, "linf", "4/255"),
        (127.5, "l2", "L2 0.5"),
        (3060, "l1", "L1 12"),
        (24, "l0", "L0 24"),
        (0, "l0", "0"),
    ],
)
def test_a_budget_is_written_in_the_unit_of_its_norm(epsilon: float, norm: str, text: str) -> None:
    assert wording.budget(epsilon, norm) == text
