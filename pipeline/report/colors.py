"""Colours of a heat map: viridis, which keeps its order for colour-blind readers and in print."""

from __future__ import annotations

STEPS = 20
_VIRIDIS = (
    *((68, 1, 84), (72, 40, 120), (62, 73, 137), (49, 104, 142), (38, 130, 142)),
    *((31, 158, 137), (53, 183, 121), (110, 206, 88), (181, 222, 43), (253, 231, 37)),
)
_DARK, _LIGHT = (0, 0, 0), (255, 255, 255)
_Color = tuple[int, int, int]


def step(value: float, more_is_better: bool = True) -> int:
    """Return the step of a value from 0 to 1; the lighter, the better."""
    good = value if more_is_better else 1 - value
    return round(min(max(good, 0.0), 1.0) * STEPS)


def contrast(one: _Color, other: _Color) -> float:
    """Return the contrast of two colours, 1 to 21, as WCAG 2.2 defines it."""
    lighter, darker = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def shade(index: int) -> tuple[_Color, _Color]:
    """Return background and text colour of a step; their contrast is at least 4.5."""
    place = index / STEPS * (len(_VIRIDIS) - 1)
    first = min(int(place), len(_VIRIDIS) - 2)
    part = place - first
    red, green, blue = (round(a + (b - a) * part) for a, b in zip(_VIRIDIS[first], _VIRIDIS[first + 1], strict=True))
    background = (red, green, blue)
    return background, max(_DARK, _LIGHT, key=lambda text: contrast(background, text))


def stylesheet() -> str:
    """Return a CSS class `h0` to `h20` for each step."""
    return "\n".join(
        f".h{index}{{background:{_css(background)};color:{_css(text)}}}"
        for index, (background, text) in ((index, shade(index)) for index in range(STEPS + 1))
    )


def _css(color: _Color) -> str:
    return f"rgb({color[0]},{color[1]},{color[2]})"


def _luminance(color: _Color) -> float:
    parts = [channel / 255 for channel in color]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
