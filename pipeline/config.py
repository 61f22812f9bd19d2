"""Configuration of a pipeline: the keys of `pipeline_config.json`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from pydantic import Field, ValidationError, model_validator

from dermrobust.attacks.transfer import Transfer
from dermrobust.components.component import Params
from dermrobust.components.evaluation.certificate_params import CertifyParams
from dermrobust.components.evaluation.measure_params import MeasureParams
from dermrobust.components.evaluation.params import PredictParams, ProbeParams, ProbeSizes
from dermrobust.components.evaluation.referral_params import ReferParams
from dermrobust.components.evaluation.transform_params import TransformParams
from dermrobust.components.ingest.component import IngestParams
from dermrobust.components.preprocess.component import PreprocessParams
from dermrobust.components.train.component import TrainParams
from dermrobust.models.task import Task
from dermrobust.pipeline.config_checks import (
    check_attacks,
    check_baseline,
    check_certificates,
    check_gate,
    check_models,
    check_referral,
    check_sources,
)
from dermrobust.pipeline.config_errors import explain
from dermrobust.pipeline.config_sections import (
    BASELINE,
    AugmentConfig,
    BeamConfig,
    EvaluateConfig,
    ExportConfig,
    Root,
)

_SEEDED = ("train", "augment", "evaluate")
"""Sections with a seed of their own."""


class PipelineConfig(Params):
    """Config of a pipeline; every key has a default."""

    description: str = Field("", description="Results, duration and hardware, for readers.")
    root: Root = Field(
        "output", min_length=1, validate_default=True, description="Folder or URI of artifacts, ledger and export."
    )
    seed: int = Field(0, ge=0, lt=2**31, description="Seed of every stage that has none of its own.")
    second_process: bool = Field(
        True,
        description="Train independent models in two processes, where the Beam runner is DirectRunner, images have at "
        "most 32 pixels a side, and there are two cores, 6 GiB of free memory and no GPU.",
    )
    beam: BeamConfig = Field(default_factory=BeamConfig, description="Beam runner of the data-parallel work.")
    ingest: IngestParams = Field(default_factory=IngestParams, description="Data set and its splits.")
    preprocess: PreprocessParams = Field(default_factory=PreprocessParams, description="Size of the images.")
    train: TrainParams = Field(default_factory=TrainParams, description="Training of the baseline.")
    defences: dict[str, dict[str, Any]] = Field(
        default_factory=dict,
        description="Models that are hardened while they train, by name, each with the parameters of train that differ "
        'from the baseline\'s, such as {"fast": {"objective": "fast"}}.',
    )
    augment: AugmentConfig = Field(default_factory=AugmentConfig, description="Adversarial examples, hardened models.")
    evaluate: EvaluateConfig = Field(default_factory=EvaluateConfig, description="Attacks, metrics and the gate.")
    export: ExportConfig = Field(default_factory=ExportConfig, description="The SavedModel.")

    @model_validator(mode="before")
    @classmethod
    def _spread_seed(cls, values: Any) -> Any:
        if isinstance(values, dict) and "seed" in values:
            spread = {
                stage: {"seed": values["seed"], **values.get(stage, {})}
                for stage in _SEEDED
                if isinstance(values.get(stage, {}), dict)
            }
            return {**values, **spread}
        return values

    @model_validator(mode="after")
    def _sections_fit(self) -> Self:
        # The parameters of hardened models are validated here; the graph builds them again.
        hardened = {"augment.train": self.hardened_train()}
        hardened |= {f"defences.{name}": self.defence_train(name) for name in self.defences}
        check_models(self.augment, self.defences)
        check_baseline(self.train, hardened)
        check_attacks(self.augment, self.evaluate, len(self.class_names()))
        check_certificates(self.evaluate, len(self.class_names()))
        check_referral(self.evaluate, self.export)
        check_sources(self.augment, self.evaluate, self.model_names())
        check_gate(self.evaluate, self.model_names(), self.task().with_derived(self.slices()))
        return self

    def hardened_train(self) -> TrainParams:
        """Return the training parameters of hardened models: the baseline's, changed by `augment.train`."""
        return self._changed(self.augment.train, ("augment", "train"))

    def defence_train(self, name: str) -> TrainParams:
        """Return the training parameters of a defence: the baseline's, changed by `defences`."""
        return self._changed(self.defences[name], ("defences", name))

    def _changed(self, differences: Mapping[str, Any], place: tuple[str, ...]) -> TrainParams:
        try:
            return TrainParams.model_validate({**self.train.model_dump(), **differences})
        except ValidationError as error:
            raise ValueError(explain(error, TrainParams, place)) from error

    def model_names(self) -> tuple[str, ...]:
        """Return the names of all models, the baseline first."""
        return (BASELINE, *self.augment.models, *self.defences)

    def transferred(self) -> tuple[str, ...]:
        """Return the names of the attacks whose examples are crafted once, on one model, and tried on all."""
        return tuple(
            name
            for name, attack in self.evaluate.attacks.items()
            if isinstance(attack, Transfer) and not attack.crafted_with.sources
        )

    def surrogates(self) -> tuple[str, ...]:
        """Return the names of the models that other attacks transfer from, in the order of `model_names`."""
        crafted = self.transferred()
        others = (attack for name, attack in self.evaluate.attacks.items() if name not in crafted)
        needed = frozenset[str]().union(*(attack.sources for attack in others))
        return tuple(name for name in self.model_names() if name in needed)

    def slices(self) -> tuple[str, ...]:
        """Return the names of the slice features that are derived from pixels, of the task and of `evaluate.slices`."""
        return tuple(dict.fromkeys([*(feature.name for feature in self.task().derived), *self.evaluate.slices]))

    def predict_params(self) -> PredictParams:
        """Return the parameters of the attacks on every model."""
        shared = {name: getattr(self.evaluate, name) for name in PredictParams.model_fields}
        found = {"surrogates": self.surrogates(), "transferred": self.transferred(), "slices": self.slices()}
        return PredictParams(**{**shared, **found})

    def probe_params(self, model: str) -> ProbeParams:
        """Return the parameters of the probes of a model; the baseline serves as their surrogate."""
        sizes = {name: getattr(self.evaluate.probes, name) for name in ProbeSizes.model_fields}
        sources = () if model == BASELINE else (BASELINE,)
        return ProbeParams(
            **{**dict(self.predict_params()), **sizes, "transferred": sources, "corruptions": self.task().corruptions}
        )

    def transform_params(self) -> TransformParams:
        """Return the parameters of the searches under threat models beyond a norm, on every model."""
        shared = {
            name: getattr(self.evaluate, name)
            for name in TransformParams.model_fields
            if name in EvaluateConfig.model_fields
        }
        return TransformParams(**{**shared, "slices": self.slices()})

    def certify_params(self) -> CertifyParams:
        """Return the parameters of the certificates of every model."""
        settings = {name: getattr(self.evaluate, name) for name in ("batch_size", "seed")}
        return CertifyParams(**dict(self.evaluate.certificates), **settings, slices=self.slices())

    def refer_params(self) -> ReferParams:
        """Return the parameters of the referrals of every model."""
        settings = {name: getattr(self.evaluate, name) for name in ("epsilons", "batch_size", "seed", "malignant")}
        return ReferParams(**dict(self.evaluate.referral), **settings, slices=self.slices())

    def evaluate_params(self) -> MeasureParams:
        """Return the parameters of the measurement of all models."""
        shared = {
            name: getattr(self.evaluate, name)
            for name in MeasureParams.model_fields
            if name in EvaluateConfig.model_fields
        }
        baseline = self.evaluate.gate.baseline or BASELINE
        shared |= {"baseline": baseline, "slices": self.slices()}
        return MeasureParams(**shared, models=self.model_names(), control=BASELINE)

    def task(self) -> Task:
        """Return the task of the data set."""
        return self.ingest.task

    def class_names(self) -> tuple[str, ...]:
        """Return the classes in the order of their labels."""
        return self.ingest.task.class_names
