"""Ensembles: an image is robust if no member breaks it; each member runs on the images that still stand."""

import dataclasses
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pytest
from pydantic import TypeAdapter, ValidationError

from dermrobust.attacks.apgd import APGDCE
from dermrobust.attacks.attack import Attack
from dermrobust.attacks.auto import Auto
from dermrobust.attacks.cleverhans.bim import BIM
from dermrobust.attacks.cleverhans.fgsm import FGSM
from dermrobust.attacks.cleverhans.mim import MIM
from dermrobust.attacks.cleverhans.pgd import PGD
from dermrobust.attacks.ensemble import Ensemble
from dermrobust.attacks.kinds import Kind
from dermrobust.attacks.logits import logits_of, margins
from dermrobust.attacks.noise import Noise
from dermrobust.attacks.problem import Problem
from dermrobust.attacks.registry import SUITES
from dermrobust.attacks.restarts import worst_of
from dermrobust.attacks.selection import NamedAttacks, read_attack, read_suite
from dermrobust.attacks.square import Square
from dermrobust.attacks.threat import Images, Norm, ThreatModel
from dermrobust.attacks.transfer import Transfer
from tests.attacks.conftest import SURROGATE, Victim

BUDGETS = {Norm.LINF: ThreatModel(8), Norm.L2: ThreatModel(80, Norm.L2)}
every_norm = pytest.mark.parametrize("norm", [Norm.LINF, Norm.L2])
MEMBERS = (Noise(), FGSM(), BIM(steps=3), Transfer(source=SURROGATE, crafted_with=FGSM()))

named = TypeAdapter(NamedAttacks)


def robust(attack: Attack, victim: Victim, threat: ThreatModel, *, stop: bool = True) -> npt.NDArray[np.bool_]:
    """Which images an attack leaves standing."""
    return victim.robust(victim.attacked_images(attack, threat, batch_size=32, stop_at_success=stop))


@every_norm
@pytest.mark.parametrize("stop", [True, False])
def test_what_an_ensemble_leaves_standing_is_what_every_member_leaves_standing(
    norm: Norm, stop: bool, victim: Victim
) -> None:
    each = [robust(member, victim, BUDGETS[norm], stop=stop) for member in MEMBERS]

    together = robust(Ensemble(members=MEMBERS), victim, BUDGETS[norm], stop=stop)

    np.testing.assert_array_equal(together, np.logical_and.reduce(each))
    assert 0 < together.mean() < 1


class Recording(Attack):
    """Does what another attack does, and remembers the images that it got."""

    kind: ClassVar[Kind] = Kind.NOISE

    inner: Attack
    seen: list[Any]

    def perturb(self, problem: Problem) -> Images:
        self.seen.append(problem.seeds)
        return self.inner.perturb(problem)


def test_a_member_sees_only_what_the_members_before_it_left_standing(victim: Victim) -> None:
    members = [Recording(inner=inner, seen=[]) for inner in (Noise(), FGSM(), BIM(steps=3))]
    threat = BUDGETS[Norm.LINF]
    problem = victim.problem(threat, batch_size=32, stop_at_success=True)

    Ensemble.model_construct(members=tuple(members)).perturb(problem)

    standing = victim.seeds
    for member in members:
        (seen,) = member.seen
        np.testing.assert_array_equal(seen, standing)
        chosen = np.isin(victim.seeds, standing)
        fallen = ~robust(member.inner, victim.take(np.flatnonzero(chosen)), threat)
        standing = standing[~fallen]
    assert len(standing) < len(victim.seeds)


def test_without_stopping_every_member_sees_every_image_and_the_worst_result_counts(few: Victim) -> None:
    members = [Recording(inner=inner, seen=[]) for inner in MEMBERS]
    problem = few.problem(BUDGETS[Norm.LINF])

    found = Ensemble.model_construct(members=tuple(members)).perturb(problem)

    assert all(len(member.seen[0]) == len(few.labels) for member in members)
    each = [margins(few.logits(member.perturb(problem)), few.labels) for member in MEMBERS]
    np.testing.assert_allclose(margins(few.logits(found), few.labels), np.min(each, axis=0), atol=1e-4)


def test_when_nothing_stands_no_member_is_asked_again(few: Victim) -> None:
    last = Recording(inner=Noise(), seen=[])
    problem = few.problem(ThreatModel(80), stop_at_success=True)

    Ensemble.model_construct(members=(APGDCE(steps=20), last)).perturb(problem)

    assert last.seen == []


def test_where_no_try_changes_anything_the_image_is_the_clean_one(few: Victim) -> None:
    problem = few.problem(BUDGETS[Norm.LINF])

    np.testing.assert_array_equal(worst_of(problem, []), few.images)
    np.testing.assert_array_equal(worst_of(problem, [lambda part: part.images.copy()]), few.images)


@every_norm
@pytest.mark.parametrize(
    ("one", "more"),
    [
        (PGD(steps=3), PGD(steps=3, restarts=5)),
        (APGDCE(steps=3), APGDCE(steps=3, restarts=4)),
        (Noise(), Noise(draws=8)),
    ],
    ids=lambda attack: attack.attack,
)
@pytest.mark.parametrize("stop", [True, False])
def test_restarts_are_never_weaker_than_one_start(
    norm: Norm, one: Attack, more: Attack, stop: bool, victim: Victim
) -> None:
    threat = dataclasses.replace(BUDGETS[norm], epsilon=BUDGETS[norm].epsilon * 0.8)
    single, several = (robust(attack, victim, threat, stop=stop) for attack in (one, more))

    assert not (several & ~single).any()


def test_restarts_start_from_different_points(few: Victim) -> None:
    problem = few.problem(BUDGETS[Norm.LINF])

    assert (PGD(steps=1).perturb(problem) != PGD(steps=1).perturb(problem.with_seeds(1))).any()
    np.testing.assert_array_equal(problem.with_seeds(0).seeds, problem.seeds)


@every_norm
def test_auto_is_never_weaker_than_its_members(norm: Norm, victim: Victim) -> None:
    threat = dataclasses.replace(BUDGETS[norm], epsilon=BUDGETS[norm].epsilon * 0.8)
    together = robust(Auto(steps=6, targets=2, queries=30), victim, threat)

    assert not (together & ~robust(APGDCE(steps=6), victim, threat)).any()
    assert 0 < together.mean() < 1


def test_auto_stops_at_success_by_itself(victim: Victim) -> None:
    """What it tells is which images fall."""
    attack = Auto(steps=6, targets=2, queries=30)

    stopped, full = (robust(attack, victim, BUDGETS[Norm.LINF], stop=stop) for stop in (True, False))

    np.testing.assert_array_equal(stopped, full)


def test_auto_ends_with_the_square_attack_where_that_is_defined(few: Victim, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def perturb(self: Square, problem: Problem) -> Images:
        asked.append(self.queries)
        return problem.images.copy()

    monkeypatch.setattr(Square, "perturb", perturb)

    for norm in Auto().norms:
        Auto(steps=1, targets=1, queries=7).perturb(few.problem(ThreatModel(1, norm)))
    Auto(steps=1, targets=1, queries=0).perturb(few.problem(ThreatModel(1)))

    assert asked == [7]


# By name.


@pytest.mark.parametrize("suite", SUITES)
def test_a_suite_is_read_by_its_name(suite: str) -> None:
    assert named.validate_python(suite) == {name: read_attack(value) for name, value in SUITES[suite].items()}


def test_the_suites_hold_what_they_say() -> None:
    assert set(SUITES) == {
        "paper",
        "standard",
        "auto",
        "auto-screened",
        "auto-standard",
        "auto-plus",
        "auto-rand",
        "minimal",
        "black-box",
        "sparse",
    }
    assert read_suite("paper") == {"fgsm": FGSM(), "pgd": PGD(steps=20)}
    assert list(read_suite("standard")) == ["noise", "fgsm", "pgd", "mim"]
    assert read_suite("standard")["mim"] == MIM(steps=20)
    assert read_suite("auto") == {"auto": Auto()}


def test_an_unknown_suite_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(ValidationError, match="no suite 'all'; there are: paper, standard, auto, auto-screened"):
        named.validate_python("all")
    with pytest.raises(ValueError, match="no suite 'all'"):
        read_suite("all")
    with pytest.raises(ValidationError, match="no suite 'all'"):
        read_attack({"attack": "ensemble", "members": "all"})


def test_an_attack_alone_stands_for_its_defaults() -> None:
    found = named.validate_python({"quick": "pgd", "slow": {"attack": "pgd", "steps": 40}})

    assert found == {"quick": PGD(), "slow": PGD(steps=40)}
    assert read_attack("fgsm") == FGSM()
    assert read_attack({"attack": "transfer", "crafted_with": "mim"}) == Transfer(crafted_with=MIM())


def test_an_ensemble_is_read_from_attacks_or_from_a_suite() -> None:
    members = read_attack({"attack": "ensemble", "members": ["fgsm", {"attack": "pgd", "steps": 3}]})

    assert members == Ensemble(members=(FGSM(), PGD(steps=3)))
    assert read_attack({"attack": "ensemble", "members": "paper"}) == Ensemble(members=(FGSM(), PGD(steps=20)))
    with pytest.raises(ValidationError, match="at least 1"):
        read_attack({"attack": "ensemble", "members": []})


def test_what_an_attack_is_crafted_on_is_known_beforehand() -> None:
    inner = Transfer(source="a", crafted_with=FGSM())

    assert FGSM().sources == frozenset()
    assert inner.sources == {"a"}
    assert Ensemble(members=(FGSM(), inner, Transfer(source="b"))).sources == {"a", "b"}


def test_the_margin_is_the_true_logit_over_the_largest_other() -> None:
    logits = np.array([[3.0, 1.0, 2.0], [0.0, 5.0, 1.0]], np.float32)

    np.testing.assert_array_equal(margins(logits, np.array([0, 2])), [1.0, -4.0])


def test_logits_do_not_depend_on_the_size_of_a_batch(victim: Victim) -> None:
    expected = victim.logits(victim.images)

    for batch_size in (7, 96, 128):
        np.testing.assert_allclose(logits_of(victim.target, victim.images, batch_size), expected, atol=1e-4)
