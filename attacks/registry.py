"""The attacks that a config can name; adding one is its file and its line here."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from attacks.cleverhans.fgsm import FGSM
from attacks.cleverhans.pgd import PGD

AnyAttack = Annotated[FGSM | PGD, Field(discriminator="attack")]
