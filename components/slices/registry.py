"""Registry of slice features that are derived from the pixels. Adding one is its file and its line here."""

from dermrobust.attacks.plugins import Registry

SLICES = Registry(
    "slice feature",
    {
        "skin_tone": "dermrobust.components.slices.skin_tone:skin_tones",
    },
)
"""Functions from pixels uint8 [count, height, width, 3] to the name of each image's group, by the feature's name."""
