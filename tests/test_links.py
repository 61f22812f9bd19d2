"""Links between pages of the documentation lead to files that exist, and the pages build as a site."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
PAGES = [*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").glob("*.md")]
_LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    targets = [target for target in _LINK.findall(page.read_text()) if "://" not in target]
    assert [target for target in targets if not (page.parent / target).exists()] == []


def test_every_page_is_linked_from_the_readme() -> None:
    readme = (REPOSITORY / "README.md").read_text()
    pages = [page.name for page in (REPOSITORY / "docs").glob("*.md") if page.name != "index.md"]
    assert [name for name in pages if f"](docs/{name})" not in readme] == []


def test_the_site_builds_without_a_warning_and_has_every_page(tmp_path: Path) -> None:
    """Sphinx warns of links to pages and headings that do not exist, and of pages that no table of contents holds."""
    command = [sys.executable, "-m", "sphinx", "--quiet", "--builder", "html", str(REPOSITORY / "docs"), str(tmp_path)]

    built = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)

    assert built.stderr == ""
    pages = {page.stem for page in (REPOSITORY / "docs").glob("*.md")}
    assert {page.stem for page in tmp_path.glob("*.html")} >= pages
