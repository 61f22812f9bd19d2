"""The attacks that a config can name, and what it is told when it names another or gives a wrong parameter."""

import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import TypeAdapter, ValidationError

from dermrobust.attacks.apgd import APGDCE
from dermrobust.attacks.cleverhans.pgd import PGD
from dermrobust.attacks.registry import ATTACKS
from dermrobust.attacks.selection import AnyAttack, read_attack

config = TypeAdapter(AnyAttack)


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
    assert APGDCE.model_fields["steps"].description in str(schema)
