"""Declaration of a task: what is refused, and how values of the metadata are read."""

from __future__ import annotations

import math
from typing import Any

import pytest
from pydantic import ValidationError

from dermrobust.models.task import Category, Derived, Number, Task
from dermrobust.models.tasks.ham10000 import AGE, SEX, TASK, lesion_task
from dermrobust.models.tasks.isic2019 import TASK as ISIC2019

PRESSURE = {"kind": "number", "name": "pressure", "grouped_as": "pressure_group", "edges": [5, 15, 25]}


def task(**values: Any) -> Task:
    return Task.model_validate({"name": "eyes", "class_names": ["normal", "referable"], **values})


@pytest.mark.parametrize("text", ["", " ", "na", "N/A", "NaN", "none", "NULL", "Unknown"])
def test_one_rule_tells_missing_values(text: str) -> None:
    assert SEX.parse(text) == {"sex": "unknown"}
    assert Category(name="device").parse(text) == {"device": "unknown"}
    number = AGE.parse(text)
    assert math.isnan(float(number["age"]))
    assert number["age_group"] == "unknown"
    assert TASK.parse_group({"lesion_id": text}) == ""


@pytest.mark.parametrize(
    ("text", "value"), [("m", "male"), ("F", "female"), (" Female ", "female"), ("MALE", "male"), ("x", "unknown")]
)
def test_values_of_a_category_have_aliases_and_any_case(text: str, value: str) -> None:
    assert SEX.parse(text) == {"sex": value}


def test_a_category_without_values_keeps_any() -> None:
    assert Category(name="device").parse(" Topcon X ") == {"device": "Topcon X"}


@pytest.mark.parametrize(
    ("text", "group"),
    [("0", "0-19"), ("19.9", "0-19"), ("20", "20-39"), ("79", "60-79"), ("80", "80+"), ("130", "80+")],
)
def test_numbers_are_grouped_by_where_ranges_begin(text: str, group: str) -> None:
    assert AGE.parse(text) == {"age": float(text), "age_group": group}


@pytest.mark.parametrize(
    ("number", "text", "said"),
    [
        (AGE, "forty", "age 'forty' is not a number"),
        (AGE, "131", "age '131' is not between 0 and 130 years"),
        (AGE, "-1", "age '-1' is not between 0 and 130 years"),
        (Number.model_validate(PRESSURE), "4", "pressure '4' is not 5 or more"),
        (Number.model_validate(PRESSURE), "inf", "pressure 'inf' is not 5 or more"),
    ],
)
def test_an_implausible_number_is_refused(number: Number, text: str, said: str) -> None:
    with pytest.raises(ValueError, match=f"^{said}$"):
        number.parse(text)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"class_names": ["a"]}, "at least 2 items"),
        ({"class_names": ["a", "A"]}, "two classes have the same name"),
        ({"critical": ["wart"]}, "critical: 'wart' is none of the classes: normal, referable"),
        ({"malignant": ["wart"]}, "malignant: 'wart'"),
        ({"labels": {"wart": "Wart"}}, "labels: 'wart'"),
        ({"class_key": "label"}, "'label' is the name of another feature"),
        ({"class_key": "image_id"}, "'image_id' is the name of another feature"),
        ({"class_key": "predicted"}, "'predicted' is the name of another feature"),
        ({"class_key": "device", "features": [{"kind": "category", "name": "device"}]}, "'device' is the name of"),
        ({"features": [PRESSURE, {"kind": "category", "name": "pressure_group"}]}, "'pressure_group' is the name of"),
        ({"group_key": "image/patient"}, "'image/patient' is the name of"),
        ({"group_key": "eye/id", "features": [{"kind": "category", "name": "eye_id"}]}, "is the name of another"),
        ({"group_key": "eye/id", "features": [{"kind": "category", "name": "eye"}]}, "'eye' is the name of another"),
        ({"group_key": "Patient ID"}, "group_key"),
        ({"features": [{"kind": "category", "name": "Device"}]}, "pattern"),
        ({"features": [PRESSURE | {"edges": [5, 5]}]}, "edges must ascend"),
        ({"features": [PRESSURE | {"maximum": 20}]}, "maximum 20 lies below the last range"),
        ({"features": [{"kind": "category", "name": "sex", "aliases": {"M": "male"}}]}, "'M' must be in lower case"),
        (
            {"features": [{"kind": "category", "name": "sex", "values": ["male"], "aliases": {"f": "female"}}]},
            "'female' is none of the values: male",
        ),
        ({"channels": 1}, "channels"),
    ],
)
def test_a_task_that_contradicts_itself_is_refused(values: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        task(**values)


def test_a_task_says_what_its_records_hold() -> None:
    eyes = task(
        group_key="patient/id",
        features=[{"kind": "category", "name": "device"}, PRESSURE, {"kind": "derived", "name": "sharpness"}],
    )
    assert eyes.record_features == {
        "image/id": str, "patient/id": str, "label": int, "class": str,
        "device": str, "pressure": float, "pressure_group": str,
    }  # fmt: skip
    assert eyes.slices == ("class", "device", "pressure_group", "sharpness")
    assert eyes.optional_columns == ("patient_id", "device", "pressure")
    assert eyes.derived == (Derived(name="sharpness"),)
    assert eyes.parse_metadata({"pressure": "16"}) == {
        "device": "unknown", "pressure": 16.0, "pressure_group": "15-24",
    }  # fmt: skip


@pytest.mark.parametrize("known", [TASK, ISIC2019], ids=lambda known: known.name)
def test_a_task_is_read_as_it_was_written(known: Task) -> None:
    assert Task.model_validate_json(known.model_dump_json()) == known
    assert set(known.labels) == set(known.class_names)


def test_other_classes_of_lesions_keep_what_is_known_of_them() -> None:
    assert lesion_task(TASK.class_names) is TASK
    other = lesion_task(("Melanoma", "mel", "nv", "bcc"))
    assert other.class_names == ("melanoma", "mel", "nv", "bcc")
    assert (other.critical, other.malignant) == (("mel",), ("bcc", "mel"))
    assert (other.features, other.group_key) == (TASK.features, TASK.group_key)
    assert set(other.labels) == {"mel", "nv", "bcc"}
    with pytest.raises(ValidationError, match="two classes have the same name"):
        lesion_task(("a", "A"))
