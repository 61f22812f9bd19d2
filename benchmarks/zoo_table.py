"""Write the tables of the zoo into docs/results.md, from the cards.

python -m benchmarks.zoo_table
"""

from __future__ import annotations

from pathlib import Path

from dermrobust.pipeline.zoo.catalog import read_cards, zoo_folder
from dermrobust.pipeline.zoo.tables import with_tables

PAGE = Path(__file__).parents[1] / "docs" / "results.md"


def main() -> None:
    """Replace what stands between the markers."""
    page = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(with_tables(page, read_cards(zoo_folder())), encoding="utf-8")


if __name__ == "__main__":
    main()
