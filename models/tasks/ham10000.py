"""Task of HAM10000: seven classes of pigmented skin lesions (Tschandl et al. 2018, doi:10.1038/sdata.2018.161)."""

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
    aliases={"m": "male", "male": "male", "f": "female", "female": "female"},
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
