"""Geometry: rotation, translation and scale, with bilinear sampling."""

from __future__ import annotations

import math
from typing import Any, ClassVar

from dermrobust.attacks.transforms.parameter import Parameter
from dermrobust.attacks.transforms.transform import Transform

_AFFINE = "Perez et al. 2018 (arXiv 1809.01442): affine augmentation of a skin lesion classifier"
_SHIFT = "Engstrom et al. 2019 (arXiv 1712.02779): about a tenth of the side"


class Geometry(Transform):
    """Rotation about the center, scale, and translation of the camera.

    What the camera sees beyond the border is the image mirrored at its edge (symmetric padding), so no black corner can
    decide the result. Values between pixels are interpolated bilinearly.
    """

    name: ClassVar[str] = "geometry"

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """See `Transform.parameters`."""
        return (
            Parameter("rotation", 90.0, "degrees, counterclockwise", _AFFINE),
            Parameter("down", 0.1, "translation, fraction of the height", _SHIFT),
            Parameter("right", 0.1, "translation, fraction of the width", _SHIFT),
            Parameter("scale", 0.2, "size of the lesion times 1 + scale", _AFFINE),
        )

    def apply(self, images: Any, values: Any, content: Any, strength: Any) -> Any:
        """See `Transform.apply`."""
        import tensorflow as tf

        del content, strength
        height, width = images.shape[1], images.shape[2]
        rotation, down, right, scale = (one[:, None, None] for one in tf.unstack(values, axis=1))
        # Where the camera takes each pixel of the result from, in pixels from the center.
        y = tf.range(height, dtype=images.dtype)[None, :, None] - (height - 1) / 2 - down * height
        x = tf.range(width, dtype=images.dtype)[None, None, :] - (width - 1) / 2 - right * width
        angle = rotation * (math.pi / 180)
        cosine, sine = tf.cos(angle) / (1 + scale), tf.sin(angle) / (1 + scale)
        # Rows count downwards, so this turns the lesion counterclockwise.
        from_y, from_x = y * cosine + x * sine, x * cosine - y * sine
        return _sampled(images, from_y + (height - 1) / 2, from_x + (width - 1) / 2)


def _sampled(images: Any, y: Any, x: Any) -> Any:
    """Return images [batch, height, width, 3] at places in pixels, both [batch, height, width]."""
    import tensorflow as tf

    height, width = images.shape[1], images.shape[2]
    low_y, low_x = tf.floor(y), tf.floor(x)
    part_y, part_x = (y - low_y)[..., None], (x - low_x)[..., None]
    flat = tf.reshape(images, [-1, height * width, 3])

    def at(row: Any, column: Any) -> Any:
        index = _mirrored(row, height) * width + _mirrored(column, width)
        chosen = tf.gather(flat, tf.reshape(index, [-1, height * width]), batch_dims=1)
        return tf.reshape(chosen, [-1, height, width, 3])

    # The values, not the places, are mirrored: the weights then need no case for the border.
    upper = at(low_y, low_x) * (1 - part_x) + at(low_y, low_x + 1) * part_x
    lower = at(low_y + 1, low_x) * (1 - part_x) + at(low_y + 1, low_x + 1) * part_x
    return upper * (1 - part_y) + lower * part_y


def _mirrored(places: Any, length: int) -> Any:
    """Return indices of pixels, int32, for whole places on an axis that is mirrored at both ends again and again."""
    import tensorflow as tf

    wrapped = tf.math.floormod(tf.cast(places, tf.int32), 2 * length)
    return tf.minimum(wrapped, 2 * length - 1 - wrapped)
