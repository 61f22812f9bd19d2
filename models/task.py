"""Task: everything that makes a classification problem a particular one.

Attacks, training and evaluation are the same for skin lesions, chest radiographs or fundus photographs. The classes,
the ones that must not be missed, the key of the split and the slices differ; they are declared here, once.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

UNKNOWN = "unknown"
"""Value of a feature that the metadata do not give."""
IMAGE, IMAGE_ID, LABEL = "image/encoded", "image/id", "label"
"""Features of every record: the encoded image, its name, and the index of its class."""
_RESERVED = frozenset({IMAGE, IMAGE_ID, LABEL, "attack", "norm", "epsilon", "source_model"})
_MISSING = frozenset({"", "na", "n/a", "nan", "none", "null", UNKNOWN})

Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*$", max_length=64)]
"""Name of a feature: it becomes a column and the left side of a slice, as in "sex=female"."""
ClassName = Annotated[str, StringConstraints(min_length=1, max_length=64, to_lower=True, strip_whitespace=True)]


def column(feature: str) -> str:
    """Return the name that a record's feature has as a column of a table: "lesion_id" for "lesion/id"."""
    return feature.replace("/", "_")


class _Declared(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Category(_Declared):
    """Metadata feature with a few values, each a slice.

    Attributes:
        values: the values that count; others are read as unknown. None: any.
        aliases: other spellings of a value, in lower case.
    """

    kind: Literal["category"] = "category"
    name: Name = Field(description="Column of the metadata, and name of the slices.")
    title: str = Field("", description="Name for readers; default: made from the name.")
    values: tuple[str, ...] | None = Field(None, description="Values that count; null: any.")
    aliases: dict[str, str] = Field({}, description="Other spellings of a value, in lower case.")

    @property
    def sliced_by(self) -> str:
        """Name of the feature that slices go by."""
        return self.name

    def parse(self, text: str) -> dict[str, str | float]:
        """Return the record's features for a text of the metadata."""
        text = text.strip()
        if text.lower() in _MISSING:
            return {self.name: UNKNOWN}
        value = self.aliases.get(text.lower(), text)
        return {self.name: value if self.values is None or value in self.values else UNKNOWN}


class Number(_Declared):
    """Metadata feature that is a number; slices are ranges of it.

    Attributes:
        grouped_as: name of the feature that holds the range, such as "age_group".
        edges: where ranges begin, ascending; the last range is open.
    """

    kind: Literal["number"] = "number"
    name: Name = Field(description="Column of the metadata.")
    title: str = Field("", description="Name for readers; default: made from the name of the slices.")
    grouped_as: Name = Field(description="Name of the slices.")
    edges: tuple[int, ...] = Field(min_length=1, description="Where the ranges begin, ascending.")
    maximum: float | None = Field(None, description="Largest plausible value; null: any.")
    unit: str = Field("", description="Unit for messages, such as years.")

    @property
    def sliced_by(self) -> str:
        """Name of the feature that slices go by."""
        return self.grouped_as

    def parse(self, text: str) -> dict[str, str | float]:
        """Return the record's features for a text of the metadata.

        Raises:
            ValueError: the text is no number, or outside the plausible range.
        """
        text = text.strip()
        value = math.nan
        if text.lower() not in _MISSING:
            value = float(text)
            if not self.edges[0] <= value <= (math.inf if self.maximum is None else self.maximum):
                limits = (
                    f"{self.edges[0]:g} or more" if self.maximum is None else f"{self.edges[0]:g} to {self.maximum:g}"
                )
                raise ValueError(f"{self.name} '{text}' is not {limits} {self.unit}".rstrip())
        return {self.name: value, self.grouped_as: self.group(value)}

    def group(self, value: float) -> str:
        """Return the range of a value, such as "40-59" or "80+"; "unknown" for NaN."""
        if math.isnan(value):
            return UNKNOWN
        index = max(i for i, edge in enumerate(self.edges) if value >= edge or i == 0)
        low = self.edges[index]
        return f"{low}+" if index + 1 == len(self.edges) else f"{low}-{self.edges[index + 1] - 1}"

    @model_validator(mode="after")
    def _ascending(self) -> Self:
        if list(self.edges) != sorted(set(self.edges)):
            raise ValueError(f"edges must ascend, found {list(self.edges)}")
        return self


class Derived(_Declared):
    """Slice feature that is computed from the pixels; `name` is an entry of the registry of slice features."""

    kind: Literal["derived"] = "derived"
    name: Name = Field(description="Name in the registry of slice features, and name of the slices.")
    title: str = Field("", description="Name for readers; default: made from the name.")

    @property
    def sliced_by(self) -> str:
        """Name of the feature that slices go by."""
        return self.name


Feature = Annotated[Category | Number | Derived, Field(discriminator="kind")]


class Task(_Declared):
    """A classification problem: classes, critical groups, the key of the split, slice features, corruptions."""

    name: Name = Field(description="Short name, such as ham10000.")
    title: str = Field("", description="Name for readers.")
    subject: str = Field("image", description="Noun for what an image shows, such as lesion.")
    class_names: tuple[ClassName, ...] = Field(min_length=2, description="Classes, in the order of their labels.")
    labels: dict[ClassName, str] = Field({}, description="Titles of classes for readers.")
    class_key: Name = Field("class", description="Feature with the name of the class, and name of its slices.")
    group_key: str | None = Field(
        None, description="Feature by which the split groups images, such as lesion/id; null: each image by itself."
    )
    critical: tuple[ClassName, ...] = Field((), description="Classes whose miss is the worst error.")
    critical_title: str = Field("", description="Noun for the critical classes, such as melanoma.")
    malignant: tuple[ClassName, ...] = Field((), description="Classes that must not be taken for the others.")
    features: tuple[Feature, ...] = Field((), description="Slice features.")
    corruptions: tuple[str, ...] = Field((), description="Natural corruptions, by name.")
    channels: Literal[3] = Field(3, description="Color channels of an image.")

    @property
    def metadata(self) -> tuple[Category | Number, ...]:
        """Slice features that the metadata give."""
        return tuple(feature for feature in self.features if not isinstance(feature, Derived))

    @property
    def derived(self) -> tuple[Derived, ...]:
        """Slice features that are computed from the pixels."""
        return tuple(feature for feature in self.features if isinstance(feature, Derived))

    @property
    def record_features(self) -> dict[str, type[str] | type[int] | type[float]]:
        """Features of a record beside its image, in their order, each with its type."""
        found: dict[str, type[str] | type[int] | type[float]] = {IMAGE_ID: str}
        if self.group_key is not None:
            found[self.group_key] = str
        found |= {LABEL: int, self.class_key: str}
        for feature in self.metadata:
            if isinstance(feature, Number):
                found |= {feature.name: float, feature.grouped_as: str}
            else:
                found[feature.name] = str
        return found

    @property
    def slices(self) -> tuple[str, ...]:
        """Names of the features that slices go by, the class first."""
        return (self.class_key, *(feature.sliced_by for feature in self.features))

    @property
    def others(self) -> tuple[str, ...]:
        """Classes that are not malignant."""
        return tuple(name for name in self.class_names if name not in self.malignant)

    def indices(self, names: Sequence[str]) -> tuple[int, ...]:
        """Return the labels of classes, in the order of the classes."""
        return tuple(index for index, name in enumerate(self.class_names) if name in names)

    def class_title(self, name: str) -> str:
        """Return the title of a class, or nothing where it has none."""
        return self.labels.get(name, "")

    def slice_title(self, name: str) -> str:
        """Return the name of a slice feature for readers."""
        titles = {feature.sliced_by: feature.title for feature in self.features}
        if name == self.class_key:
            return f"{self.subject} class".capitalize()
        return titles.get(name) or name.replace("_", " ").capitalize()

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if len(set(self.class_names)) < len(self.class_names):
            raise ValueError("two classes have the same name (case does not count)")
        for field in ("critical", "malignant", "labels"):
            if strange := [name for name in getattr(self, field) if name not in self.class_names]:
                known = ", ".join(self.class_names)
                raise ValueError(f"{field}: '{strange[0]}' is none of the classes: {known}")
        names = [self.class_key, *([] if self.group_key is None else [self.group_key])]
        for feature in self.features:
            names += [feature.name, *([feature.grouped_as] if isinstance(feature, Number) else [])]
        for name in names:
            if names.count(name) > 1 or name in _RESERVED:
                raise ValueError(f"'{name}' is the name of another feature of a record; choose another")
        return self
