"""Each self-check on evidence that is as it should be, but for what the check is about."""

import dataclasses
from typing import Any

import pyarrow as pa
import pytest

from dermrobust.attacks.kinds import Kind
from dermrobust.attacks.selection import read_attack
from dermrobust.attacks.threat import Norm, ThreatModel
from dermrobust.attacks.transforms.selection import read_search
from dermrobust.attacks.transforms.threat import TransformThreat
from dermrobust.components.artifacts import ArtifactType, Manifest
from dermrobust.components.evaluation.adaptive import AdaptiveLoss
from dermrobust.components.evaluation.checks import Check
from dermrobust.components.evaluation.leakage import Leakage, NearDuplicate
from dermrobust.components.evaluation.probes import HEALTH_SCHEMA, LARGE, MORE_RESTARTS, MORE_STEPS, PROBES_SCHEMA
from dermrobust.components.examples import Split
from dermrobust.components.measure.checks.evidence import Evidence
from dermrobust.components.measure.checks.running import run_checks

IMAGES = 400
ATTACKS = {"fgsm": read_attack("fgsm"), "pgd": read_attack("pgd")}
ACCURACY = {("none", 0.0): 0.8, ("fgsm", 1.0): 0.5, ("pgd", 1.0): 0.4, ("worst_case", 1.0): 0.39} | {
    ("fgsm", 8.0): 0.2,
    ("pgd", 8.0): 0.1,
    ("worst_case", 8.0): 0.1,
}


def table(accuracy: dict[tuple[str, float], float], model: str = "a") -> list[dict[str, Any]]:
    place = {"model": model, "slice": "overall", "metric": "accuracy", "n": IMAGES}
    return [{**place, "attack": attack, "epsilon": epsilon, "value": v} for (attack, epsilon), v in accuracy.items()]


def probed(probe: str, fell: int, stood: int = 100, attack: str = "pgd", epsilon: float = 1.0) -> pa.Table:
    """A probe of 200 images of class 0, of which `stood` stood before and `fell` fell."""
    rows = [
        {
            **{"image_id": str(index), "label": 0, "epsilon": epsilon, "probe": probe, "attack": attack},
            **{"stood": index < stood, "probabilities": None},
            "predicted": None if index >= stood else int(index < fell),
        }
        for index in range(200)
    ]
    return pa.Table.from_pylist(rows, schema=PROBES_SCHEMA)


def health(**first: Any) -> pa.Table:
    """What a sound network returns for 100 images; `first` is said of the first of them."""
    sound = {"gradient": 0.1, "repeated": 0.0, "reordered": 1e-6}
    flags = {"like_probabilities": False, "from_probabilities": False, "black_box": False}
    rows = [{"image_id": str(index), **sound, **flags} for index in range(100)]
    rows[0] |= first
    return pa.Table.from_pylist(rows, schema=HEALTH_SCHEMA)


MANIFEST = Manifest(
    type=ArtifactType.PREDICTIONS,
    fingerprint="f",
    digest="d",
    producer="predict[a]",
    parameters={
        **{"attacks": {"fgsm": {}, "pgd": {}}, "epsilons": ["linf:1/255"], "seed": 0},
        **{"gradient_precision": "float32", "stop_at_success": True},
    },
    inputs={},
    versions={"python": "3.11", "tensorflow": "2", "keras": "3", "cleverhans": "4"},
    files=[],
)
SOUND = Evidence(
    models=("a",),
    control="a",
    class_names=("x", "y", "z", "w"),
    attacks=ATTACKS,
    epsilons=(ThreatModel(8), ThreatModel(1)),
    rows=table(ACCURACY),
    probes={"a": pa.concat_tables([probed(MORE_STEPS, 0), probed(LARGE, 100, epsilon=64.0)])},
    health={"a": health()},
    stored=[{"model": "a", "attack": "pgd", "epsilon": 1.0, "images": IMAGES, "outside": 0, "farthest": 1.0}],
    manifests={"a": MANIFEST},
    leakage=Leakage(shared_groups=(), near_duplicates=(), images={Split.TRAIN: 900, Split.TEST: 100}),
    losses=(),
)


def concerns(**changes: Any) -> dict[str, str]:
    """What does not pass when the sound evidence is changed."""
    checks = run_checks(dataclasses.replace(SOUND, **changes)).checks
    return {check.name: str(check.status) for check in checks if check.status != "pass"}


def accuracy(**changes: float) -> list[dict[str, Any]]:
    """The table with other accuracies: pgd_8=0.3."""
    named = {(name.rpartition("_")[0], float(name.rpartition("_")[2])): value for name, value in changes.items()}
    return table(ACCURACY | named)


def with_probe(*tables: pa.Table) -> dict[str, pa.Table]:
    return {"a": pa.concat_tables([SOUND.probes["a"], *tables])}


def copies(count: int, split: Split = Split.TEST) -> Leakage:
    found = [
        NearDuplicate(
            first=f"t{index}",
            first_split=Split.TRAIN,
            second=f"e{index}",
            second_split=split,
            distance=1,
            correlation=1,
        )
        for index in range(count)
    ]
    return Leakage(shared_groups=(), near_duplicates=tuple(found), images={Split.TRAIN: 900, Split.TEST: 100})


def loss(transferred: float, adaptive: float, epsilon: float = 1.0) -> AdaptiveLoss:
    return AdaptiveLoss(model="b", epsilon=epsilon, attack="transfer", transferred=transferred, adaptive=adaptive)


def test_sound_evidence_passes_every_check() -> None:
    assert concerns() == {}


def test_under_l0_no_attack_follows_gradients_which_is_said_and_budgets_are_pixels() -> None:
    sparse: dict[str, Any] = {
        "epsilons": (ThreatModel(8, Norm.L0), ThreatModel(1, Norm.L0)),
        "probes": with_probe(probed(Kind.BLACK_BOX, 20, attack="sparse_rs")),
    }

    assert concerns(**sparse) == {"access": "warn"}
    figures = {key for check in run_checks(dataclasses.replace(SOUND, **sparse)).checks for key in check.figures}
    assert {"farthest at 1 px", "worst case at 8 px"} <= figures
    assert not any("/255" in key for key in figures)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"manifests": {"a": MANIFEST.model_copy(update={"versions": {}})}}, {"recorded": "fail"}),
        ({"stored": [{**SOUND.stored[0], "outside": 1}]}, {"stored": "fail"}),
        ({"stored": []}, {"stored": "fail"}),
        ({"rows": accuracy(fgsm_1=0.39, worst_case_1=0.38)}, {"iterative": "fail"}),
        ({"rows": accuracy(worst_case_8=0.12)}, {"worst_case": "fail"}),
        ({"rows": accuracy(pgd_1=0.05, worst_case_1=0.05)}, {"budget": "fail"}),
        ({"rows": accuracy(fgsm_8=0.35, pgd_8=0.35, worst_case_8=0.35)}, {"control": "warn"}),
        ({"rows": table(dict.fromkeys(ACCURACY, 0.8))}, {"control": "fail"}),
        ({"control": None}, {"control": "warn"}),
        (
            {"rows": table({("none", 0.0): 0.8}), "attacks": {}},
            {"worst_case": "fail", "control": "fail", "clean": "fail"},
        ),
        ({"probes": with_probe(probed(MORE_RESTARTS, 1))}, {"converged": "warn"}),
        ({"probes": {"a": probed(LARGE, 0, stood=100, epsilon=64.0)}}, {"large_budget": "fail"}),
        ({"probes": {"a": probed(LARGE, 0, stood=55, epsilon=64.0)}}, {"large_budget": "warn"}),
        ({"probes": with_probe(probed(Kind.BLACK_BOX, 1, attack="square"))}, {}),
        ({"probes": with_probe(probed(Kind.BLACK_BOX, 3, attack="square"))}, {"black_box": "warn"}),
        ({"probes": with_probe(probed(Kind.TRANSFER, 9))}, {"black_box": "fail"}),
        ({"probes": with_probe(probed(Kind.NOISE, 3, attack="noise"))}, {"noise": "warn"}),
        ({"probes": with_probe(probed(Kind.NOISE, 9, attack="noise"))}, {"noise": "fail"}),
        ({"health": {"a": health(gradient=0.0)}}, {"gradients": "warn"}),
        ({"health": {"a": health(gradient=float("nan"))}}, {"gradients": "fail"}),
        ({"health": {"a": health(reordered=5e-4)}}, {"deterministic": "warn"}),
        ({"health": {"a": health(repeated=0.1)}}, {"deterministic": "fail"}),
        ({"health": {"a": health(from_probabilities=True)}}, {"logits": "warn"}),
        ({"health": {"a": health(black_box=True, gradient=0.0)}}, {"access": "fail"}),
        ({"leakage": copies(1)}, {"leakage": "warn"}),
        ({"leakage": copies(2)}, {"leakage": "fail"}),
        ({"leakage": copies(2, Split.VALIDATION)}, {"leakage": "warn"}),
        ({"leakage": copies(0).model_copy(update={"shared_groups": ("HAM_1",)})}, {"leakage": "fail"}),
        ({"leakage": copies(0).model_copy(update={"images": {Split.TEST: 100}})}, {"leakage": "warn"}),
        (
            {"leakage": copies(0).model_copy(update={"images": {Split.VALIDATION: 50, Split.TEST: 100}})},
            {"leakage": "warn"},
        ),
    ],
)
def test_what_is_wrong_concerns_the_check_that_is_about_it(changes: Any, expected: dict[str, str]) -> None:
    assert concerns(**changes) == expected


def test_probabilities_in_place_of_logits_fail() -> None:
    rows = health().to_pylist()
    every = pa.Table.from_pylist([{**row, "like_probabilities": True} for row in rows], schema=HEALTH_SCHEMA)
    assert concerns(health={"a": every}) == {"logits": "fail"}


@pytest.mark.parametrize(
    ("losses", "status"),
    [
        ([loss(0.8, 0.6), loss(0.8, 0.5, 8.0)], None),
        ([loss(0.8, 0.6), loss(0.8, 0.15, 8.0)], "warn"),
        ([loss(0.8, 0.4), loss(0.8, 0.1, 8.0)], "fail"),
        ([loss(0.45, 0.39)], None),  # no gain to speak of, so none to lose
    ],
)
def test_a_defence_that_only_resists_transfer_fails(losses: Any, status: str | None) -> None:
    evidence = dataclasses.replace(
        SOUND,
        models=("a", "b"),
        rows=[*SOUND.rows, *table(ACCURACY, "b")],
        probes={"a": SOUND.probes["a"], "b": SOUND.probes["a"]},
        health={"a": health(), "b": health()},
        stored=[*SOUND.stored, {**SOUND.stored[0], "model": "b"}],
        manifests={"a": MANIFEST, "b": MANIFEST},
        losses=losses,
    )
    found: list[Check] = [check for check in run_checks(evidence).checks if check.status != "pass"]
    assert [(check.name, check.model, check.status) for check in found] == (
        [("adaptive", "b", status)] if status else []
    )


def beyond(
    adaptive: float = 0.4, random: float = 0.5, half: float = 0.5, images: int = IMAGES, outside: int = 0
) -> dict[str, str]:
    """What does not pass with colour in two strengths, searched twice: accuracies, and what is stored."""
    threats = (TransformThreat("colour", 0.5), TransformThreat("colour", 1.0))
    names = ("adaptive", "random")
    found = {("colour/worst_case", 0.5): half, ("colour/worst_case", 1.0): min(adaptive, random)}
    found |= {("colour/adaptive", 1.0): adaptive, ("colour/random", 1.0): random}
    row = {"model": "a", "images": images, "outside": 0, "farthest": 0.0}
    stored = [
        {**row, "attack": f"colour/{name}", "epsilon": threat.strength, "shard": 0}
        for threat in threats
        for name in names
    ]
    stored[0] |= {"outside": outside, "farthest": float(outside)}
    searches = {name: read_search(name) for name in names}
    return concerns(threats=threats, searches=searches, transformed=stored, rows=table(ACCURACY | found))


def test_threats_beyond_a_norm_are_checked_where_there_are_some() -> None:
    names = ("transformed", "search", "strength")
    assert not {check.name for check in run_checks(SOUND).checks} & set(names)
    assert beyond() == {}
    assert beyond(random=0.396) == {}
    assert beyond(random=0.39) == {"search": "warn"}
    assert beyond(random=0.3) == {"search": "fail"}
    assert beyond(half=0.35) == {"strength": "fail"}
    assert beyond(outside=1) == {"transformed": "fail"}
    assert beyond(images=IMAGES - 1) == {"transformed": "fail"}


def certified(crossed: int, attacked: float = 20.0) -> pa.Table:
    """Certificates within 30/255 of 200 images, of which an attack changed so many at a smaller radius."""
    rows = [
        {
            **{"model": "a", "label": 1, "certified_class": 1, "abstained": False, "radius": 30.0},
            "attacked": attacked if index < crossed else None,
        }
        for index in range(200)
    ]
    kinds = {"label": pa.int64(), "certified_class": pa.int64(), "radius": pa.float32(), "attacked": pa.float32()}
    return pa.Table.from_pylist(rows, schema=pa.schema({"model": pa.string(), "abstained": pa.bool_(), **kinds}))


def test_certificates_may_be_crossed_as_often_as_their_error_rate_allows() -> None:
    # 99.9 % of 200 draws with probability 0.002 are at most 3.
    for crossed, expected in ((0, {}), (3, {}), (4, {"certificates": "fail"})):
        assert concerns(certificates=certified(crossed), alpha=0.001) == expected
    # Beyond the radius nothing is promised, and an image that is wrong when clean was not attacked.
    for attacked in (30.0, 40.0, 0.0):
        assert concerns(certificates=certified(200, attacked), alpha=0.001) == {}
