"""Conversion of images and labels from arrays or a `tf.data.Dataset`."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from dermrobust.attacks.errors import UserError
from dermrobust.attacks.problem import Labels
from dermrobust.attacks.threat import Images, Pixels


def collected(images: Any, labels: Any) -> tuple[Images | Pixels, Labels]:
    """Return images uint8 or float32 [count, height, width, 3] and labels int64 [count].

    Args:
        images: an array of that shape, or a `tf.data.Dataset` of (image, label) pairs, batched or not.
        labels: integers [count] or one-hot rows [count, class_count]; None if `images` is a data set.

    Raises:
        UserError: images and labels are not of this form.
    """
    if hasattr(images, "as_numpy_iterator"):
        if labels is not None:
            raise UserError("a tf.data.Dataset brings its own labels; leave 'labels' out")
        images, labels = _from_dataset(images)
    elif labels is None:
        raise UserError("images in an array need 'labels', one integer each")
    return _as_images(np.asarray(images)), _as_labels(np.asarray(labels))


def to_pixels(images: Images | Pixels) -> Pixels:
    """Return images as they are stored, in 8 bits; floats in [0, 1] are rounded to the nearest level."""
    if images.dtype == np.uint8:
        return images.astype(np.uint8, copy=False)
    return np.asarray(np.rint(np.clip(np.asarray(images, np.float32), 0.0, 1.0) * np.float32(255)), np.uint8)


def _from_dataset(dataset: Any) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    try:
        batched = len(dataset.element_spec[0].shape) == 4
    except (TypeError, IndexError, AttributeError, ValueError):
        raise UserError("the data set must yield (image, label) pairs of known rank") from None
    pairs = list(dataset.as_numpy_iterator())
    if not pairs:
        raise UserError("the data set is empty")
    join = np.concatenate if batched else np.stack
    return join([image for image, _ in pairs]), join([label for _, label in pairs])


def _as_images(images: npt.NDArray[Any]) -> Images | Pixels:
    if images.ndim != 4 or images.shape[-1] != 3:
        raise UserError(f"images must be [count, height, width, 3], found {list(images.shape)}")
    if images.dtype == np.uint8:
        return images
    if not np.issubdtype(images.dtype, np.floating):
        raise UserError(f"images must be uint8 (0 to 255) or floats in [0, 1], found {images.dtype}")
    return np.asarray(images, np.float32)


def _as_labels(labels: npt.NDArray[Any]) -> Labels:
    if labels.ndim == 2 and labels.shape[1] > 1:
        labels = labels.argmax(axis=1)
    flat = labels.reshape(-1) if labels.ndim == 2 else labels
    if flat.ndim != 1 or not np.array_equal(flat, flat.astype(np.int64)):
        raise UserError(f"labels must be integers [count] or one-hot rows, found {labels.dtype} {list(labels.shape)}")
    return flat.astype(np.int64)
