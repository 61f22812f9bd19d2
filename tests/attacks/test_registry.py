"""Selection of attacks by a config: names, parameters, and messages for mistakes."""

import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import TypeAdapter, ValidationError

from dermrobust.attacks.apgd import APGDCE
from dermrobust.attacks.attack import Attack
from dermrobust.attacks.cleverhans.pgd import PGD
from dermrobust.attacks.registry import ATTACKS
from dermrobust.attacks.selection import AnyAttack, NamedAttacks, read_attack

config = TypeAdapter(AnyAttack)
named: TypeAdapter[dict[str, Attack]] = TypeAdapter(NamedAttacks)


LATE = """
import sys
from dermrobust.attacks.selection import ATTACKS, SUITES, read_suite

[*ATTACKS.resolve_all()], [read_suite(name) for name in SUITES]
print({"tensorflow", "keras", "cleverhans"} & set(sys.modules))
"""


def test_reading_attacks_imports_no_tensorflow() -> None:
    """The command line reads configs and answers at once: TensorFlow takes seconds to load."""
    done = subprocess.run(
        [sys.executable, "-c", LATE], cwd=Path(__file__).parents[2], capture_output=True, text=True, check=True
    )

    assert done.stdout.strip() == "set()"


@pytest.mark.parametrize("name", [name for name in ATTACKS.names if name != "ensemble"])  # it needs its members
def test_every_attack_is_read_by_its_name(name: str) -> None:
    assert type(read_attack(name)) is ATTACKS.resolve(name)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("fgm", "there is no attack 'fgm'; there are: fgsm, bim, pgd"),
        ({"attack": "fgm"}, "there is no attack 'fgm'; there are: fgsm, bim, pgd"),
        ({"attack": None}, "there is no attack None; there are: fgsm, bim, pgd"),
        ({"steps": 3}, "the key 'attack' must name one attack; there are: fgsm, bim, pgd"),
        (3, "expected the name of one attack, or a mapping of its name and parameters; found 3"),
    ],
)
def test_an_unknown_attack_is_refused_with_those_that_there_are(value: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_attack(value)


@pytest.mark.parametrize(
    ("values", "place"),
    [
        ({"attack": "pgd", "steps": 0}, "steps"),
        ({"attack": "pgd", "steps": 10_001}, "steps"),
        ({"attack": "pgd", "step_size": 0}, "step_size"),
        ({"attack": "pgd", "step_size": float("inf")}, "step_size"),
        ({"attack": "pgd", "random_start": "perhaps"}, "random_start"),
        ({"attack": "pgd", "restarts": 0}, "restarts"),
        ({"attack": "pgd", "iterations": 3}, "iterations"),
        ({"attack": "pgd", "goal": -1}, "goal"),
        ({"attack": "pgd", "goal": "likeliest"}, "goal"),
        ({"attack": "fgsm", "steps": 3}, "steps"),
        ({"attack": "apgd_dlr", "goal": 3}, "goal"),
        ({"attack": "mim", "decay": -0.1}, "decay"),
        ({"attack": "spsa", "samples": 5}, "samples"),
        ({"attack": "square", "queries": 0}, "queries"),
        ({"attack": "square", "initial_share": 1.5}, "initial_share"),
        ({"attack": "cw_l2", "binary_search_steps": 0}, "binary_search_steps"),
        ({"attack": "universal", "success_rate": 0}, "success_rate"),
        ({"attack": "transfer", "crafted_with": "fgm"}, "no attack 'fgm'"),
        ({"attack": "transfer", "source": ""}, "source"),
        ({"attack": "ensemble", "members": [{"attack": "pgd", "steps": 0}]}, "steps"),
    ],
)
def test_a_wrong_parameter_is_refused_by_its_name(values: dict[str, object], place: str) -> None:
    with pytest.raises(ValidationError, match=place):
        config.validate_python(values)


def test_parameters_cannot_be_changed_later() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        PGD().steps = 3  # type: ignore[misc]


def test_a_config_has_a_schema_that_editors_can_read() -> None:
    schema = config.json_schema()

    assert "apgd_ce" in str(schema)
    assert str(APGDCE.model_fields["steps"].description) in str(schema)


@pytest.mark.parametrize("name", ["pgd", "pgd_40", "a", "a" * 64])
def test_an_attack_may_have_any_identifier_as_its_name_in_results(name: str) -> None:
    assert named.validate_python({name: "pgd"}) == {name: PGD()}


@pytest.mark.parametrize(
    "name", ["", "PGD", "pgd-40", "pgd 40", "40", "_pgd", "../pgd", "pgd/40", "pgd\n", "a" * 65, 3]
)
def test_a_name_that_cannot_stand_in_a_path_is_refused(name: object) -> None:
    """Results are stored under these names."""
    with pytest.raises(
        ValidationError, match="cannot name an attack in results; use up to 64 lower-case letters"
    ) as it:
        named.validate_python({"fgsm": "fgsm", name: "pgd"})

    assert repr(name) in str(it.value)
