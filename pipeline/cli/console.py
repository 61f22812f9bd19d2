"""Console for tables and progress, whose text goes the way of `terminal.printable`."""

from __future__ import annotations

from typing import Any, TextIO

import rich.console
from rich.text import Text

from dermrobust.pipeline.cli.terminal import printable


class Console(rich.console.Console):
    """Console that shows text as it is: brackets are no markup, and what a terminal would obey is escaped."""

    def __init__(self, file: TextIO | None = None, **options: Any) -> None:
        """Write to a stream, default stdout; `options` are those of `rich.console.Console`."""
        super().__init__(file=file, markup=False, highlight=False, **options)

    def render_str(self, text: str, **options: Any) -> Text:
        """See `rich.console.Console.render_str`, through which go all texts, and those in the cells of tables."""
        return super().render_str(printable(text, lines=True), **options)
