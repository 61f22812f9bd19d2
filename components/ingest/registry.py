"""Registry of data sets. Adding one is its line here and its folder in `datasets`."""

from __future__ import annotations

from dermrobust.attacks.plugins import Registry

DATASETS = Registry(
    "data set",
    {
        "synthetic": "dermrobust.components.ingest.datasets.synthetic.source:SyntheticSource",
        "ham10000": "dermrobust.components.ingest.datasets.ham10000.source:Ham10000Source",
        "isic2019": "dermrobust.components.ingest.datasets.isic2019.source:Isic2019Source",
        "folder": "dermrobust.components.ingest.datasets.folder.source:FolderSource",
    },
)
"""Subclasses of `dermrobust.components.ingest.source.Source` by the name that a config selects them by."""
