"""The record of an image before its pixels are read: what the metadata say, and where the image is."""

from __future__ import annotations

from dataclasses import dataclass, field

from dermrobust.models.task import IMAGE_ID, LABEL, Metadata, Task

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif")
"""Suffixes of files that are taken for images, in lower case."""


@dataclass(frozen=True)
class ImageRecord:
    """One row of a data set's metadata.

    Attributes:
        image_id: unique name of the image.
        class_name: class as the data set gives it, in lower case.
        group: what the image shares with others, such as the lesion that it shows; empty when unknown.
        metadata: slice features of the task, as `Task.parse_metadata` returns them.
        locator: what the reader of images needs to find the image.
    """

    image_id: str
    class_name: str
    group: str = ""
    metadata: Metadata = field(default_factory=dict)
    locator: str = ""

    def features(self, task: Task) -> dict[str, str | int | float]:
        """Return the features of the stored record beside its image, in the order of `Task.record_features`."""
        values = {
            IMAGE_ID: self.image_id,
            LABEL: task.class_names.index(self.class_name),
            task.class_key: self.class_name,
            **self.metadata,
        }
        if task.group_key is not None:
            values[task.group_key] = self.group
        return {name: values[name] for name in task.record_features}
