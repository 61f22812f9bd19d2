"""Settings of an audit."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field, model_validator

from dermrobust.attacks.selection import NamedAttacks, read_suite
from dermrobust.attacks.target import Precision
from dermrobust.attacks.threat import ThreatModel
from dermrobust.components.evaluation.certificate_params import CertificateSettings
from dermrobust.components.evaluation.params import Threats
from dermrobust.components.evaluation.referral_params import ReferralSettings
from dermrobust.components.evaluation.transform_params import TransformSettings
from dermrobust.models.foreign.spec import InputFormat, OutputKind, is_url
from dermrobust.models.image_size import ImageSize
from dermrobust.models.preprocessing import Preprocessing
from dermrobust.models.task import ClassName
from dermrobust.pipeline.config_sections import BeamConfig, Root

MODEL, CONTROL = "model", "control"
"""Names of the audited model, and of an undefended one to compare with."""


def _location(value: Any) -> Any:
    return Path(value) if isinstance(value, str) and not is_url(value) else value


Location = Annotated[Path | str, BeforeValidator(_location)]
"""Path of a model, or as text the address of a served one."""


def _auto() -> dict[str, Any]:
    return read_suite("auto")


class Audit(TransformSettings):
    """Settings of an audit; properties of the model that are not given are detected."""

    model: Location = Field(
        description="A .keras or .onnx file, the folder of a SavedModel, or the address of a served model."
    )
    data: Path = Field(description="Folder of images.")
    labels: Path = Field(description="Table of the labels of the images.")
    validation_data: Path | None = Field(
        None, description="Folder of further images, which rejectors are fitted to; none of them is audited."
    )
    validation_labels: Path | None = Field(None, description="Table of their labels.")
    control: Location | None = Field(None, description="Undefended model to compare with.")
    root: Root = Field(
        "output/audit", min_length=1, validate_default=True, description="Folder of artifacts and ledger."
    )
    beam: BeamConfig = Field(default_factory=BeamConfig, description="Beam runner of the data-parallel work.")
    attacks: NamedAttacks = Field(default_factory=_auto, description="Attacks by name, or the name of a suite.")
    epsilons: Threats = Field(
        tuple(ThreatModel(epsilon) for epsilon in (1, 2, 4, 8)), min_length=1, description="Budgets."
    )
    certificates: CertificateSettings = Field(
        default_factory=CertificateSettings, description="Certificates by randomized smoothing; off without sigmas."
    )
    referral: ReferralSettings = Field(
        default_factory=ReferralSettings, description="Selective prediction; off without rates."
    )
    batch_size: int = Field(64, ge=1, le=4096, description="Images per gradient step.")
    gradient_precision: Precision = Field(
        "float32",
        description="Precision of an attack's gradients. bfloat16 is faster on CPUs with AMX or AVX-512-BF16; success "
        "is decided in float32 either way. A SavedModel computes in the precision that it was saved in.",
    )
    seed: int = Field(0, ge=0, lt=2**31, description="Seed of random starts.")
    limit: int | None = Field(None, ge=1, description="Number of images, drawn at random; default: all.")
    classes: tuple[ClassName, ...] | None = Field(None, description="Classes in the order of the model's outputs.")
    malignant: tuple[ClassName, ...] | None = Field(None, description="Classes that must not be taken for benign ones.")
    image_size: ImageSize | None = Field(None, description="Size of the model's input in pixels.")
    preprocessing: Preprocessing | None = Field(
        None, description="Preprocessing of the images; default: crop and resize to the size of the model's input."
    )
    input: InputFormat | None = Field(None, description="Range and scaling of the model's input.")
    outputs: OutputKind | None = Field(None, description="Kind of the model's outputs.")
    signature: str | None = Field(None, description="Signature of a SavedModel.")
    trust_model: bool = Field(
        False, description="Accept operations of a SavedModel that might touch files or run code: its origin is known."
    )

    @model_validator(mode="after")
    def _classes_differ(self) -> Self:
        if self.classes is not None and len(set(self.classes)) < len(self.classes):
            raise ValueError("two classes have the same name (case does not count)")
        return self

    @model_validator(mode="after")
    def _validation_is_there(self) -> Self:
        given = [path is not None for path in (self.validation_data, self.validation_labels)]
        if self.referral.rates and not all(given):
            raise ValueError(
                "referral: temperature and thresholds are fitted to images that are not audited; give such images and "
                "their labels: --validation-data and --validation-labels"
            )
        if any(given) and not self.referral.rates:
            raise ValueError("validation images serve selective prediction alone; add a rate: --refer 0.2")
        return self

    def models(self) -> dict[str, Path | str]:
        """Return the paths or addresses of the models by their names."""
        return {MODEL: self.model, **({} if self.control is None else {CONTROL: self.control})}
