"""Distribution of the tests over processes: pytest-xdist's scheduler, with units that build no fixture twice."""

from xdist.scheduler import LoadScopeScheduling

TOGETHER = ("tests/components/export", "tests/spark")
"""Folders whose files share a fixture that takes longer to build than their tests take."""


class FilesTogether(LoadScopeScheduling):
    """Gives each worker whole files, or whole folders of `TOGETHER`."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return next((folder for folder in TOGETHER if file.startswith(f"{folder}/")), file)
