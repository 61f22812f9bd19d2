"""Pretrained weights that installed Python packages carry."""

from __future__ import annotations

import hashlib
import importlib.metadata
from dataclasses import dataclass
from pathlib import Path

from dermrobust.attacks.errors import UserError


@dataclass(frozen=True)
class PackagedFile:
    """File of a distribution from the Python Package Index.

    The digest pins the content, so that the network's source code determines its initial weights.

    Attributes:
        distribution: Name of the distribution.
        name: Name of the file in it.
        sha256: Digest of its content.
        install: Command that installs it.
    """

    distribution: str
    name: str
    sha256: str
    install: str

    def path(self) -> Path:
        """Return the path of the file. The package is not imported.

        Raises:
            UserError: The distribution is not installed, or its file is another one.
        """
        path = self._located()
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != self.sha256:
            raise UserError(
                f"'{path}' is not the file that this network was written for (SHA-256 {found}, expected "
                f"{self.sha256}); install it again: {self.install}"
            )
        return path

    def _located(self) -> Path:
        try:
            files = importlib.metadata.files(self.distribution) or []
        except importlib.metadata.PackageNotFoundError:
            files = []
        for file in files:
            if file.name == self.name and (path := Path(str(file.locate()))).is_file():
                return path
        raise UserError(f"the pretrained weights are not installed: {self.install}")
