"""Task: everything that makes a classification problem a particular one.

Attacks, training and evaluation are the same for skin lesions, chest radiographs or fundus photographs. The classes,
those that must not be missed, the key of the split and the slices differ; they are declared here, once.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

UNKNOWN = "unknown"
"""Value of a feature that the metadata do not give."""
IMAGE, IMAGE_ID, LABEL = "image/encoded", "image/id", "label"
"""Features of every record: the encoded image, its name, and the index of its class."""
_RESERVED = frozenset(
    {"image", "image_encoded", "image_id", LABEL, "attack", "norm", "epsilon", "source_model"}
    | {"model", "probabilities", "predicted"}
)
"""Columns of records, adversarial records and predictions that are no features of a task."""
_MISSING = frozenset({"", "na", "n/a", "nan", "none", "null", UNKNOWN})

Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*$", max_length=64)]
"""Name of a feature: it becomes a column and the left side of a slice, as in "sex=female"."""
GroupKey = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*(/[a-z][a-z0-9_]*)?$", max_length=64)]
ClassName = Annotated[str, StringConstraints(min_length=1, max_length=200, to_lower=True, strip_whitespace=True)]
Metadata = dict[str, str | float]
"""Values of the features that the metadata give, by name: NaN and "unknown" where they are missing."""


def column(feature: str) -> str:
    """Return the name that a record's feature has as a column of a table: "lesion_id" for "lesion/id"."""
    return feature.replace("/", "_")


def given(text: str | None) -> str:
    """Return a value of a metadata table without its margins; empty where it stands for a missing one."""
    stripped = (text or "").strip()
    return "" if stripped.lower() in _MISSING else stripped


class _Declared(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Category(_Declared):
    """Metadata feature with a few values, each a slice.

    Attributes:
        values: the values that count, in any case; others are read as unknown. None: any.
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

    def parse(self, text: str) -> Metadata:
        """Return the record's features for a text of the metadata."""
        found = given(text)
        if not found:
            return {self.name: UNKNOWN}
        value = self.aliases.get(found.lower(), found)
        if self.values is None:
            return {self.name: value}
        spellings = {name.lower(): name for name in self.values}
        return {self.name: spellings.get(value.lower(), UNKNOWN)}

    @model_validator(mode="after")
    def _aliases_fit(self) -> Self:
        for alias, value in self.aliases.items():
            if alias != alias.lower():
                raise ValueError(f"aliases: '{alias}' must be in lower case")
            if self.values is not None and value not in self.values:
                raise ValueError(f"aliases: '{value}' is none of the values: {', '.join(self.values)}")
        return self


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

    def parse(self, text: str) -> Metadata:
        """Return the record's features for a text of the metadata.

        Raises:
            ValueError: the text is no number, or outside the plausible range.
        """
        found = given(text)
        value = self._number(found) if found else math.nan
        return {self.name: value, self.grouped_as: self.group(value)}

    def _number(self, text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            raise ValueError(f"{self.name} '{text}' is not a number") from None
        # Python reads "inf" and "1e999" as numbers; no measured quantity is infinite.
        maximum = math.inf if self.maximum is None else self.maximum
        if not math.isfinite(value) or not self.edges[0] <= value <= maximum:
            limits = f"{self.edges[0]} or more" if self.maximum is None else f"between {self.edges[0]} and {maximum:g}"
            raise ValueError(f"{self.name} '{text}' is not {limits} {self.unit}".rstrip())
        return value

    def group(self, value: float) -> str:
        """Return the range of a value, such as "40-59" or "80+"; "unknown" for NaN."""
        if math.isnan(value):
            return UNKNOWN
        index = max(i for i, edge in enumerate(self.edges) if value >= edge or i == 0)
        low = self.edges[index]
        # The upper limit is written as the last whole number below the next range, as age groups are.
        return f"{low}+" if index + 1 == len(self.edges) else f"{low}-{self.edges[index + 1] - 1}"

    @model_validator(mode="after")
    def _ascending(self) -> Self:
        if list(self.edges) != sorted(set(self.edges)):
            raise ValueError(f"edges must ascend, found {list(self.edges)}")
        if self.maximum is not None and self.maximum < self.edges[-1]:
            raise ValueError(f"maximum {self.maximum:g} lies below the last range, which begins at {self.edges[-1]}")
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
    group_key: GroupKey | None = Field(
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

    def with_derived(self, names: Sequence[str]) -> Task:
        """Return the task with these slice features derived from the pixels, in this order, in place of its own."""
        declared = {feature.name: feature for feature in self.derived}
        derived = tuple(declared.get(name) or Derived(name=name) for name in names)
        return self.model_copy(update={"features": (*self.metadata, *derived)})

    def with_malignant(self, names: Sequence[str] | None) -> Task:
        """Return the task with these of its classes malignant, in place of its own; None: its own."""
        if names is None:
            return self
        return self.model_copy(update={"malignant": tuple(name for name in self.class_names if name in names)})

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
    def optional_columns(self) -> tuple[str, ...]:
        """Columns of a metadata table beside the image's name and class: the group, and each slice feature."""
        group = () if self.group_key is None else (column(self.group_key),)
        return (*group, *(feature.name for feature in self.metadata))

    @property
    def slices(self) -> tuple[str, ...]:
        """Names of the features that slices go by, the class first."""
        return (self.class_key, *(feature.sliced_by for feature in self.features))

    @property
    def others(self) -> tuple[str, ...]:
        """Classes that are not malignant."""
        return tuple(name for name in self.class_names if name not in self.malignant)

    @property
    def group_noun(self) -> str:
        """Noun for a group of the split, such as "lesion" for lesion/id; "image" where each image is by itself."""
        return "image" if self.group_key is None else self.group_key.partition("/")[0]

    def parse_group(self, row: Mapping[str, str]) -> str:
        """Return the group of a row of the metadata, by column; empty where it is not given."""
        return "" if self.group_key is None else given(row.get(column(self.group_key)))

    def parse_metadata(self, row: Mapping[str, str]) -> Metadata:
        """Return the slice features of a row of the metadata, by column; a column may be absent.

        Raises:
            ValueError: a number is none, or outside its plausible range.
        """
        found: Metadata = {}
        for feature in self.metadata:
            found |= feature.parse(row.get(feature.name, ""))
        return found

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
    def _classes_exist(self) -> Self:
        if len(set(self.class_names)) < len(self.class_names):
            raise ValueError("two classes have the same name (case does not count)")
        for field in ("critical", "malignant", "labels"):
            if strange := [name for name in getattr(self, field) if name not in self.class_names]:
                known = ", ".join(self.class_names)
                raise ValueError(f"{field}: '{strange[0]}' is none of the classes: {known}")
        return self

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        names = [self.class_key, *([] if self.group_key is None else [self.group_key])]
        for feature in self.features:
            names += [feature.name, *([feature.grouped_as] if isinstance(feature, Number) else [])]
        columns = [column(name) for name in names]
        # A prepared data set nests "lesion/id" as the entry "id" of "lesion", which then cannot be a value itself.
        nested = {name.partition("/")[0] for name in names if "/" in name}
        for name in names:
            clash = columns.count(column(name)) > 1 or name in nested
            if clash or {column(name), name.partition("/")[0]} & _RESERVED:
                raise ValueError(f"'{name}' is the name of another feature of a record; choose another")
        return self
