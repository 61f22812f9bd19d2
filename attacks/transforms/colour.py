"""Colour and light: exposure, white balance, gamma, saturation and hue."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np

from dermrobust.attacks.transforms.parameter import Parameter
from dermrobust.attacks.transforms.transform import Transform

_JITTER = "Perez et al. 2018 (arXiv 1809.01442): color jitter of a skin lesion classifier"
_WHITE_BALANCE = "inside of the spread of white balance over HAM10000; see docs/threat_models.md"
_LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in the luma Y' of ITU-R BT.601."""
_DARKEST = 1e-6
"""Least value that is raised to a power: the derivative of a power of 0 is infinite. It is far below one level."""

# Y'IQ of NTSC: a rotation in the plane of I and Q changes the hue and keeps the luma.
_TO_YIQ = np.array([_LUMA, (0.595716, -0.274453, -0.321263), (0.211456, -0.522591, 0.311135)])
_FROM_YIQ = np.linalg.inv(_TO_YIQ)


class Colour(Transform):
    """Gains of all and of single channels, a power of the values, saturation and hue, in this order.

    They act on the stored, gamma-encoded values, as color jitter does, and the result is clipped to [0, 1].
    """

    name: ClassVar[str] = "colour"

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """See `Transform.parameters`."""
        return (
            Parameter("gain", 0.3, "brightness: all values times 1 + gain", _JITTER),
            Parameter("red", 0.15, "white balance: red times 1 + red", _WHITE_BALANCE),
            Parameter("blue", 0.1, "white balance: blue times 1 + blue", _WHITE_BALANCE),
            Parameter("gamma", math.log2(1.25), "values to the power 2 ** gamma, 0.8 to 1.25", "a choice"),
            Parameter("saturation", 0.3, "distance from gray times 1 + saturation", _JITTER),
            Parameter("hue", 18.0, "rotation of the hue in degrees", f"{_JITTER}, half of its 36 degrees: a choice"),
        )

    def apply(self, images: Any, values: Any, content: Any, strength: Any) -> Any:
        """See `Transform.apply`."""
        import tensorflow as tf

        del content, strength
        gain, red, blue, gamma, saturation, hue = (one[:, None, None] for one in tf.unstack(values, axis=1))
        balance = tf.stack([red, tf.zeros_like(red), blue], axis=-1)
        lit = images * (1 + gain)[..., None] * (1 + balance)
        # A sensor clips before its values are encoded.
        encoded = tf.clip_by_value(lit, _DARKEST, 1.0) ** (2 ** gamma[..., None])
        luma = tf.tensordot(encoded, tf.constant(_LUMA, images.dtype), 1)[..., None]
        saturated = luma + (1 + saturation[..., None]) * (encoded - luma)
        return tf.clip_by_value(_turned(saturated, hue[:, 0, 0] * (math.pi / 180)), 0.0, 1.0)


def _turned(images: Any, angle: Any) -> Any:
    """Return images with their hue rotated by angles [batch], in radians."""
    import tensorflow as tf

    to_yiq, from_yiq = (tf.constant(matrix, images.dtype) for matrix in (_TO_YIQ, _FROM_YIQ))
    zero, one, cosine, sine = tf.zeros_like(angle), tf.ones_like(angle), tf.cos(angle), tf.sin(angle)
    rows = [[one, zero, zero], [zero, cosine, -sine], [zero, sine, cosine]]
    rotation = tf.stack([tf.stack(row, axis=-1) for row in rows], axis=1)
    # One matrix for each image: three products of 3 x 3 are cheaper than three of every pixel.
    return tf.einsum("bij,bhwj->bhwi", from_yiq @ rotation @ to_yiq, images)
