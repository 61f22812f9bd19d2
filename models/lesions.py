"""The seven lesion classes of HAM10000, in the order of their labels."""

from __future__ import annotations

import enum


class LesionClass(enum.StrEnum):
    """Diagnosis codes (`dx`) of Tschandl et al. 2018, doi:10.1038/sdata.2018.161, in the order of labels 0 to 6."""

    AKIEC = "akiec"
    BCC = "bcc"
    BKL = "bkl"
    DF = "df"
    MEL = "mel"
    NV = "nv"
    VASC = "vasc"


HAM10000_CLASSES: tuple[str, ...] = tuple(lesion.value for lesion in LesionClass)
