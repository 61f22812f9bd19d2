"""Registries of image transformations and of searches. Adding one is its file and its line here."""

from __future__ import annotations

from dermrobust.attacks.plugins import Registry

TRANSFORMS = Registry(
    "transformation",
    {
        "colour": "dermrobust.attacks.transforms.colour:Colour",
        "geometry": "dermrobust.attacks.transforms.geometry:Geometry",
        "patch": "dermrobust.attacks.transforms.patch:Patch",
    },
)
"""Subclasses of `dermrobust.attacks.transforms.transform.Transform` by the name that a config selects them by."""

SEARCHES = Registry(
    "search",
    {
        "adaptive": "dermrobust.attacks.transforms.adaptive:Adaptive",
        "random": "dermrobust.attacks.transforms.control:RandomSearch",
        "grid": "dermrobust.attacks.transforms.control:GridSearch",
    },
)
"""Subclasses of `dermrobust.attacks.transforms.search.Search` by the name that a config selects them by."""
