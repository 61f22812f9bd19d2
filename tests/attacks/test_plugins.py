"""Registries of plug-ins: names are imported late, and mistakes in a config are told by path and allowed keys."""

from __future__ import annotations

import sys
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, field_validator

from dermrobust.attacks.plugins import UNKNOWN_KEY, Registry, Selected


class Shape(BaseModel):
    """Base of the plug-ins of these tests."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Size(BaseModel):
    """Nested parameters."""

    model_config = ConfigDict(extra="forbid")

    width: int = Field(1, ge=1)


class Square(Shape):
    shape: Literal["square"] = "square"
    side: int | Literal["unit"] = "unit"
    size: Size = Size()

    @field_validator("side")
    @classmethod
    def _not_thirteen(cls, side: Any) -> Any:
        if side == 13:
            raise ValueError("{side} brings bad luck")
        return side


class Group(Shape):
    shape: Literal["group"] = "group"
    members: tuple[AnyShape, ...] = ()


SHAPES = Registry("shape", {"square": f"{__name__}:Square", "group": f"{__name__}:Group"})
AnyShape = Annotated[Shape, Selected(SHAPES, "shape")]
Group.model_rebuild()
shape: TypeAdapter[Any] = TypeAdapter(AnyShape)


def mistakes(value: Any) -> list[tuple[tuple[int | str, ...], str, str]]:
    """Location, type and message of what is wrong with a value."""
    with pytest.raises(ValidationError) as caught:
        shape.validate_python(value)
    return [(error["loc"], error["type"], error["msg"]) for error in caught.value.errors()]


def test_a_plugin_is_imported_when_it_is_asked_for() -> None:
    late = Registry("thing", {"colors": "colorsys:rgb_to_hsv"})
    sys.modules.pop("colorsys", None)

    assert late.check("colors") == "colors"
    assert late.module("colors") == "colorsys"
    assert "colorsys" not in sys.modules
    assert late.resolve("colors") is sys.modules["colorsys"].rgb_to_hsv
    assert list(late.resolve_all()) == [late.resolve("colors")]
    assert late.names == ("colors",)


@pytest.mark.parametrize("name", ["blue", "", None, 3, ["colors"]])
def test_what_is_not_in_a_registry_is_refused_with_all_names(name: Any) -> None:
    with pytest.raises(ValueError, match=r"there is no shape .*; there are: square, group"):
        SHAPES.resolve(name)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("square", Square()),
        ({"shape": "square", "side": 4}, Square(side=4)),
        (Square(side=2), Square(side=2)),
        ({"shape": "group", "members": ["square", {"shape": "group"}]}, Group(members=(Square(), Group()))),
    ],
)
def test_a_plugin_is_read_from_its_name_or_from_a_mapping(value: Any, expected: Shape) -> None:
    found = shape.validate_python(value)

    assert found == expected
    assert type(found) is type(expected)
    assert shape.validate_json(shape.dump_json(found)) == found


def test_a_plugin_is_dumped_with_its_own_parameters() -> None:
    group = Group(members=(Square(side=3),))

    assert shape.dump_python(group, mode="json")["members"][0] == {"shape": "square", "side": 3, "size": {"width": 1}}


ALLOWED = "Allowed: shape, side, size."
BELOW_ONE = "Input should be greater than or equal to 1"


@pytest.mark.parametrize(
    ("value", "location", "kind", "message"),
    [
        ("blue", (), "value_error", "Value error, there is no shape 'blue'; there are: square, group"),
        ({"side": 1}, (), "value_error", "Value error, the key 'shape' must name one shape; there are: square, "),
        (3, (), "value_error", "Value error, expected the name of one shape, or a mapping of its name and"),
        ({"shape": "square", "sid": 1}, ("sid",), UNKNOWN_KEY, f"there is no such key. Did you mean 'side'? {ALLOWED}"),
        ({"shape": "square", "{x}": 1}, ("{x}",), UNKNOWN_KEY, f"there is no such key. {ALLOWED}"),
        ({"shape": "square", "side": 13}, ("side",), "value_error", "{side} brings bad luck"),
        ({"shape": "square", "size": {"width": 0}}, ("size", "width"), "greater_than_equal", BELOW_ONE),
        (
            {"shape": "square", "size": {"widht": 1}},
            ("size", "widht"),
            UNKNOWN_KEY,
            "there is no such key. Did you mean 'width'? Allowed: width.",
        ),
        ({"shape": "group", "members": [{"shape": {"a": 1}}]}, ("members", 0), "value_error", "there is no shape {'a'"),
        (
            {"shape": "group", "members": ["square", {"shape": "square", "sid": 1}]},
            ("members", 1, "sid"),
            UNKNOWN_KEY,
            f"there is no such key. Did you mean 'side'? {ALLOWED}",
        ),
    ],
)
def test_a_mistake_has_its_path_and_says_what_is_allowed(
    value: Any, location: tuple[int | str, ...], kind: str, message: str
) -> None:
    ((found_location, found_kind, found_message),) = mistakes(value)

    assert (found_location, found_kind) == (location, kind)
    assert found_message.startswith(message)


def test_the_path_leaves_out_which_member_of_a_union_was_tried() -> None:
    found = mistakes({"shape": "group", "members": [{"shape": "square", "side": [1]}]})

    assert {location for location, _, _ in found} == {("members", 0, "side")}


def test_the_schema_has_the_parameters_of_every_plugin_and_ends_at_plugins_inside_plugins() -> None:
    names, plugins = shape.json_schema()["anyOf"]
    square, group = plugins["oneOf"]

    assert names == {"type": "string", "enum": ["square", "group"]}
    assert set(square["properties"]) == {"shape", "side", "size"}
    assert group["properties"]["members"]["items"]["anyOf"] == [
        names,
        {"type": "object", "properties": {"shape": names}, "required": ["shape"]},
    ]
