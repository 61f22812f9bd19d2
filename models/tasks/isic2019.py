"""Task of ISIC 2019: eight classes of skin lesions (https://challenge.isic-archive.com/landing/2019)."""

from __future__ import annotations

from dermrobust.models.task import Category, Task
from dermrobust.models.tasks.ham10000 import AGE, SEX, SKIN_TONE
from dermrobust.models.tasks.ham10000 import TASK as HAM10000

ANATOMIC_SITE = Category(name="localization", title="Anatomic site")

TASK = Task(
    name="isic2019",
    title="Skin lesions",
    subject="lesion",
    class_names=("mel", "nv", "bcc", "ak", "bkl", "df", "vasc", "scc"),
    labels={
        "mel": "melanoma",
        "nv": "melanocytic nevus",
        "bcc": "basal cell carcinoma",
        "ak": "actinic keratosis",
        "bkl": "benign keratosis",
        "df": "dermatofibroma",
        "vasc": "vascular lesion",
        "scc": "squamous cell carcinoma",
    },
    class_key="dx",
    group_key="lesion/id",
    critical=("mel",),
    critical_title="melanoma",
    # Actinic keratosis is a precursor of squamous cell carcinoma; HAM10000 has both in its malignant class akiec.
    malignant=("mel", "bcc", "ak", "scc"),
    features=(AGE, SEX, ANATOMIC_SITE, SKIN_TONE),
    corruptions=HAM10000.corruptions,
)
"""Classes in the order of the columns of `ISIC_2019_Training_GroundTruth.csv`."""
