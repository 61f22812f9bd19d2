"""Traits: each attack declares them, and an attack that runs others derives its own."""

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dermrobust.attacks.attack import Attack, IterativeAttack
from dermrobust.attacks.cleverhans.carlini_wagner import CarliniWagnerL2
from dermrobust.attacks.cleverhans.fgsm import FGSM
from dermrobust.attacks.cleverhans.mim import MIM
from dermrobust.attacks.cleverhans.pgd import PGD
from dermrobust.attacks.cleverhans.spsa import SPSA
from dermrobust.attacks.ensemble import Ensemble
from dermrobust.attacks.kinds import WHITE_BOX, Kind, most_capable, named
from dermrobust.attacks.noise import Noise
from dermrobust.attacks.registry import ATTACKS
from dermrobust.attacks.square import Square
from dermrobust.attacks.threat import Norm
from dermrobust.attacks.transfer import Transfer
from dermrobust.attacks.universal import FixedPerturbation, Universal
from tests.attacks.attack_table import TABLE, every_attack

BOTH = (Norm.LINF, Norm.L2)
WITH_L1 = (*BOTH, Norm.L1)
TRAITS = {
    # kind, norms, needs gradients, steps can be raised
    "fgsm": (Kind.SINGLE_STEP, BOTH, True, False),
    "bim": (Kind.ITERATIVE, BOTH, True, True),
    "pgd": (Kind.ITERATIVE, BOTH, True, True),
    "mim": (Kind.ITERATIVE, BOTH, True, True),
    "cw_l2": (Kind.ITERATIVE, (Norm.L2,), True, True),
    "spsa": (Kind.BLACK_BOX, (Norm.LINF,), False, False),
    "apgd_ce": (Kind.ITERATIVE, WITH_L1, True, True),
    "apgd_dlr": (Kind.ITERATIVE, WITH_L1, True, True),
    "apgd_t": (Kind.ITERATIVE, WITH_L1, True, True),
    "square": (Kind.BLACK_BOX, (Norm.LINF,), False, False),
    "sparse_rs": (Kind.BLACK_BOX, (Norm.L0,), False, False),
    "fab": (Kind.ITERATIVE, BOTH, True, True),
    "fab_t": (Kind.ITERATIVE, BOTH, True, True),
    "ead": (Kind.ITERATIVE, (Norm.L1,), True, True),
    "hop_skip_jump": (Kind.BLACK_BOX, BOTH, False, False),
    "auto": (Kind.ITERATIVE, WITH_L1, True, True),
    "auto_screened": (Kind.ITERATIVE, BOTH, True, True),
    "auto_standard": (Kind.ITERATIVE, (Norm.LINF,), True, True),
    "auto_plus": (Kind.ITERATIVE, (Norm.LINF,), True, True),
    "auto_rand": (Kind.ITERATIVE, WITH_L1, True, True),
    "escalated": (Kind.ITERATIVE, WITH_L1, True, True),
    "minimal": (Kind.ITERATIVE, BOTH, True, True),
    "ensemble": (Kind.ITERATIVE, BOTH, True, False),
    "universal": (Kind.UNIVERSAL, BOTH, True, False),
    "noise": (Kind.NOISE, tuple(Norm), False, False),
    "transfer": (Kind.TRANSFER, BOTH, False, False),
}
MEMBERS = (FGSM(), PGD(), CarliniWagnerL2(), Universal(), Square(), SPSA(), Noise(), Transfer())
STRONGER_OTHERWISE = ("minimal", "auto_screened")
CAPABILITY = ("iterative", "single_step", "universal", "black_box", "transfer", "noise")


@every_attack
def test_an_attack_declares_its_traits(name: str) -> None:
    attack = TABLE[name].attack
    kind, norms, needs_gradients, can_be_stronger = TRAITS[name]

    assert attack.kind is kind
    assert attack.norms == norms
    assert attack.needs_gradients == needs_gradients
    assert (attack.stronger() is not None) == can_be_stronger


@pytest.mark.parametrize("name", ATTACKS.names)
def test_the_name_in_the_registry_is_the_literal_of_the_class(name: str) -> None:
    plugin = ATTACKS.resolve(name)

    assert issubclass(plugin, Attack)
    assert get_args(plugin.model_fields["attack"].annotation) == (name,)
    assert plugin.model_fields["attack"].default == name


def test_an_attack_without_a_kind_cannot_be_made() -> None:
    class Kindless(Attack):
        def perturb(self, problem):  # type: ignore[no-untyped-def]
            return problem.images

    with pytest.raises(TypeError, match="kind"):
        Kindless()  # type: ignore[abstract]


@pytest.mark.parametrize("name", [name for name in TABLE if TRAITS[name][3] and name not in STRONGER_OTHERWISE])
def test_the_stronger_attack_has_twice_the_steps_and_is_else_the_same(name: str) -> None:
    attack = TABLE[name].attack
    assert isinstance(attack, IterativeAttack)

    stronger = attack.stronger()

    assert stronger.steps == 2 * attack.steps
    assert stronger.model_copy(update={"steps": attack.steps}) == attack


@pytest.mark.parametrize(
    ("members", "kind"),
    [
        ((Noise(), Square()), Kind.BLACK_BOX),
        ((PGD(), Transfer()), Kind.ITERATIVE),
        ((FGSM(), Transfer()), Kind.SINGLE_STEP),
        ((Transfer(), Noise()), Kind.TRANSFER),
        ((Transfer(crafted_with=PGD()), Square()), Kind.BLACK_BOX),
        ((Ensemble(members=(Noise(), MIM())), Square()), Kind.ITERATIVE),
    ],
    ids=lambda value: str(value) if isinstance(value, Kind) else "-".join(member.name for member in value),
)
def test_the_kind_of_an_ensemble_is_that_of_its_most_capable_member(members: tuple[Attack, ...], kind: Kind) -> None:
    assert Ensemble(members=members).kind is kind


@given(st.lists(st.sampled_from(MEMBERS), min_size=1, max_size=5), st.booleans())
def test_an_ensemble_derives_its_traits_from_its_members(members: list[Attack], nested: bool) -> None:
    ensemble = Ensemble(members=tuple(members))
    if nested:
        ensemble = Ensemble(members=(ensemble,))

    assert ensemble.kind == min((member.kind for member in members), key=CAPABILITY.index)
    assert set(ensemble.norms) == set(Norm).intersection(*(member.norms for member in members))
    assert ensemble.needs_gradients == any(member.needs_gradients for member in members)
    assert (ensemble.kind in WHITE_BOX) == any(member.kind in WHITE_BOX for member in members)


@given(st.permutations(MEMBERS))
def test_the_order_of_the_members_does_not_change_the_traits(members: list[Attack]) -> None:
    ordered, shuffled = (Ensemble(members=tuple(given)) for given in (MEMBERS, members))

    assert (shuffled.kind, shuffled.norms) == (ordered.kind, ordered.norms)


@pytest.mark.parametrize("crafted_with", MEMBERS, ids=lambda attack: attack.name)
def test_a_transfer_is_a_transfer_whatever_crafts_it(crafted_with: Attack) -> None:
    attack = Transfer(crafted_with=crafted_with)

    assert attack.kind is Kind.TRANSFER
    assert attack.norms == crafted_with.norms
    assert not attack.needs_gradients


def test_a_universal_perturbation_that_has_been_found_needs_no_gradients() -> None:
    assert FixedPerturbation(perturbation=0.0).kind is Kind.UNIVERSAL
    assert not FixedPerturbation(perturbation=0.0).needs_gradients


def test_attacks_are_named_by_kind_in_their_order() -> None:
    attacks = {"weak": FGSM(), "control": Noise(), "strong": PGD(), "blind": Square()}

    assert named(attacks, *WHITE_BOX) == ["weak", "strong"]
    assert named(attacks, Kind.TRANSFER) == []
    assert tuple(Kind) == CAPABILITY
    assert most_capable(attack.kind for attack in attacks.values()) is Kind.ITERATIVE
