"""Sphinx: the pages of this folder as a site; `make docs` builds it."""

from __future__ import annotations

project = "dermrobust"
copyright = "the dermrobust authors"
extensions = ["myst_parser"]
html_theme = "alabaster"
html_theme_options = {"description": "How far an image classifier can be trusted under attack", "page_width": "80rem"}
# So that a link to a heading is checked.
myst_heading_anchors = 3
