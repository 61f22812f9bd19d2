"""Registry of natural corruptions. Adding one is its function and its line here."""

from dermrobust.attacks.plugins import Registry

CORRUPTIONS = Registry(
    "corruption",
    {
        "brightness_up": "dermrobust.components.corruptions.natural:brightness_up",
        "brightness_down": "dermrobust.components.corruptions.natural:brightness_down",
        "defocus_blur": "dermrobust.components.corruptions.natural:defocus_blur",
        "jpeg": "dermrobust.components.corruptions.natural:jpeg",
        "gaussian_noise": "dermrobust.components.corruptions.natural:gaussian_noise",
        "marker": "dermrobust.components.corruptions.natural:marker",
        "bubble": "dermrobust.components.corruptions.natural:bubble",
    },
)
"""Functions of type `dermrobust.components.corruptions.natural.Corruption`, in the order of reports."""
