"""Task of HAM10000: seven classes of pigmented skin lesions (Tschandl et al. 2018, doi:10.1038/sdata.2018.161)."""

from __future__ import annotations

from collections.abc import Sequence

from dermrobust.models.task import Category, Derived, Number, Task

AGE = Number(
    name="age",
    title="Age group",
    grouped_as="age_group",
    edges=(0, 20, 40, 60, 80),
    maximum=130,
    unit="years",
)
SEX = Category(
    name="sex",
    title="Sex",
    values=("male", "female"),
    aliases={"m": "male", "f": "female"},
)
LOCALIZATION = Category(name="localization", title="Localization")
SKIN_TONE = Derived(name="skin_tone", title="Skin tone")

TASK = Task(
    name="ham10000",
    title="Pigmented skin lesions",
    subject="lesion",
    class_names=("akiec", "bcc", "bkl", "df", "mel", "nv", "vasc"),
    labels={
        "akiec": "actinic keratosis / intraepithelial carcinoma",
        "bcc": "basal cell carcinoma",
        "bkl": "benign keratosis",
        "df": "dermatofibroma",
        "mel": "melanoma",
        "nv": "melanocytic nevus",
        "vasc": "vascular lesion",
    },
    class_key="dx",
    group_key="lesion/id",
    critical=("mel",),
    critical_title="melanoma",
    malignant=("akiec", "bcc", "mel"),
    features=(AGE, SEX, LOCALIZATION, SKIN_TONE),
    corruptions=("brightness_up", "brightness_down", "defocus_blur", "jpeg", "gaussian_noise", "marker", "bubble"),
)
"""Classes in the order of the labels 0 to 6."""


def lesion_task(class_names: Sequence[str]) -> Task:
    """Return the task of skin lesions with other classes; metadata, slices and corruptions are those of HAM10000.

    Classes that HAM10000 has, too, keep their titles and count as critical or malignant as there.

    Args:
        class_names: in the order of the labels.

    Raises:
        ValueError: two classes have the same name.
    """
    names = tuple(name.strip().lower() for name in class_names)
    if names == TASK.class_names:
        return TASK
    known = {
        "name": "skin_lesions",
        "title": "Skin lesions",
        "class_names": names,
        "labels": {name: title for name, title in TASK.labels.items() if name in names},
        "critical": tuple(name for name in TASK.critical if name in names),
        "malignant": tuple(name for name in TASK.malignant if name in names),
    }
    # A copy with other values would not be validated.
    return Task.model_validate(dict(TASK) | known)
