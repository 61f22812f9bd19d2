"""Minimal perturbations and threat models beyond a norm on a card, where an evaluation has them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from dermrobust.components.artifacts import Artifact, ArtifactType
from dermrobust.components.evaluation.reading import Evaluation, read_evaluation
from dermrobust.components.evaluation.rows import Figure, Place
from dermrobust.components.model_files import SPEC, ModelSpec
from dermrobust.models.preprocessing import Preprocessing
from dermrobust.models.tasks.ham10000 import TASK
from dermrobust.pipeline.zoo.card import Card
from dermrobust.pipeline.zoo.card_text import render_card_text
from dermrobust.pipeline.zoo.drafting import Stated, draft_card
from dermrobust.pipeline.zoo.reproducing import reproduction
from tests.pipeline.report.evaluations import EPSILONS, write_evaluation
from tests.zoo.cards import DIGEST
from tests.zoo.test_retraining import evidence

MODEL = "trades"
ACCURACY, RADIUS = Figure(0.25, 1930, 0.23, 0.27), Figure(1.5 / 255, 1930, 1 / 255, 2 / 255)


@pytest.fixture
def evaluation(tmp_path: Path) -> Evaluation:
    """An evaluation without radii, and under its norm alone."""
    write_evaluation(tmp_path / "evaluation")
    return read_evaluation(str(tmp_path / "evaluation"))


@pytest.fixture
def beyond(evaluation: Evaluation) -> Evaluation:
    """With radii, and with colour at a strength that is an evaluated budget as well."""
    figures = dict(evaluation.figures)
    for where, shift in {"overall": 0.0, "dx=mel": -0.1}.items():
        for name in ("random", "worst_case"):
            figures[Place(MODEL, f"colour/{name}", 1.0, where, "accuracy")] = replace(
                ACCURACY, value=ACCURACY.value + shift
            )
        radius = replace(RADIUS, value=RADIUS.value + shift / 255, small=where != "overall")
        figures[Place(MODEL, "minimal", max(EPSILONS), where, "median_robust_radius")] = radius
    searches = {"random": {"search": "random", "draws": 3}}
    about = evaluation.about.model_copy(update={"threats": ("colour:1",), "searches": searches})
    return replace(evaluation, figures=figures, about=about)


def draft(evaluation: Evaluation, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Card:
    """The card of a model of the evaluation."""
    spec = ModelSpec(class_names=TASK.class_names, preprocessing=Preprocessing(image_size=28))
    (folder / SPEC).write_text(spec.model_dump_json())
    found = evidence("robust", {})
    settings = {"stop_at_success": True, "gradient_precision": "float32", "batch_size": 8}
    given = replace(
        found,
        name=MODEL,
        evaluation=evaluation,
        model=Artifact(ArtifactType.MODEL, "f", "d", str(folder)),
        predictions=replace(found.predictions, parameters=settings),
    )
    monkeypatch.setattr("dermrobust.pipeline.zoo.drafting.dataset_digest", lambda _: (DIGEST, evaluation.about.images))
    return draft_card(given, "robust", {"network": "resnet"}, 1000, (), Stated(machine="2 cores"))


def test_a_card_has_the_radii_and_threat_models_of_its_evaluation(
    beyond: Evaluation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = draft(beyond, tmp_path, monkeypatch)

    assert [(each.attack, each.epsilon, each.slice, each.figure) for each in card.beyond] == [
        ("colour/worst_case", 1.0, "overall", ACCURACY),
        ("colour/worst_case", 1.0, "dx=mel", replace(ACCURACY, value=0.15)),
    ]
    assert [(each.attack, each.epsilon, each.slice) for each in card.radii] == [
        ("minimal", 8.0, "overall"),
        ("minimal", 8.0, "dx=mel"),
    ]
    assert card.evaluation.threats == ("colour:1",)
    read = Card.model_validate_json(card.to_json())
    assert read.model_copy(update={"digest": ""}) == card
    text = render_card_text(card)
    assert r"| all | minimal | 1.5/255 \[1/255 to 2/255\], n 1,930 |" in text
    assert r"| mel | minimal | 1.4/255 \[1/255 to 2/255\], n 1,930; too few to conclude from |" in text
    assert "| colour:1 | all | 0.250 (0.230 to 0.270; n 1,930) |" in text
    assert "Searches: random (search random, draws 3)." in text


def test_a_card_without_them_says_nothing_of_them(
    evaluation: Evaluation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = draft(evaluation, tmp_path, monkeypatch)

    # Cards that were written before keep their digest.
    assert not [name for name in (b'"radii"', b'"beyond"', b'"threats"', b'"searches"') if name in card.to_json()]
    text = render_card_text(card)
    assert "Median robust radius" not in text
    assert "beyond a norm" not in text


def test_an_audit_is_compared_with_them(beyond: Evaluation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    card = draft(beyond, tmp_path, monkeypatch)
    place = Place(MODEL, "colour/worst_case", 1.0, "overall", "accuracy")
    audited = replace(beyond, figures={**beyond.figures, place: Figure(0.4, 1930)})

    found = reproduction(card, audited, MODEL, DIGEST)
    unsearched = reproduction(
        card, replace(beyond, about=beyond.about.model_copy(update={"threats": ()})), MODEL, DIGEST
    )

    inside = {(each.card.attack, each.card.slice): each.inside for each in found.figures}
    assert inside["minimal", "overall"]
    assert inside["colour/worst_case", "overall"] is False
    assert found.differences == ()
    assert unsearched.differences == ("threats: (); card: ('colour:1',)",)
