"""The configuration of a pipeline: what `pipeline_config.json` may say."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from pydantic import Field, ValidationError, field_validator, model_validator

from dermrobust.attacks.cleverhans.fgsm import FGSM
from dermrobust.attacks.cleverhans.pgd import PGD
from dermrobust.attacks.errors import UserError
from dermrobust.attacks.selection import NamedAttacks
from dermrobust.attacks.target import Precision
from dermrobust.attacks.threat import ThreatModel
from dermrobust.attacks.transfer import Transfer
from dermrobust.components.augment.component import AugmentParams
from dermrobust.components.budgets import StorableThreat
from dermrobust.components.component import Params
from dermrobust.components.evaluation.params import EvaluateParams, PredictParams, ProbeParams, ProbeSizes, Reading
from dermrobust.components.evaluation.thresholds import CLEAN, WORST_CASE, Gate, Threshold
from dermrobust.components.export.component import ExportParams
from dermrobust.components.gate.judging import check_slices
from dermrobust.components.gradient_precision import GRADIENT_PRECISION
from dermrobust.components.ingest.component import IngestParams
from dermrobust.components.preprocess.component import PreprocessParams
from dermrobust.components.runners.registry import REFUSED_RUNNERS
from dermrobust.components.train.component import TrainParams
from dermrobust.models.task import Task
from dermrobust.pipeline.config_errors import explain

BASELINE = "vanilla"
"""Name of the model that is trained on clean images."""
FILE_NAME = "pipeline_config.json"
_SEEDED = ("train", "augment", "evaluate")


class BeamConfig(Params):
    """Where data-parallel work runs."""

    runner: str = Field(
        "DirectRunner", min_length=1, description="A Beam runner; DirectRunner is Beam's in-process engine."
    )
    options: tuple[str, ...] = Field((), description='Options for the runner, such as "--job_endpoint=localhost:8099".')

    @field_validator("runner")
    @classmethod
    def _keeps_data(cls, runner: str) -> str:
        if runner in REFUSED_RUNNERS:
            raise ValueError(f"{runner} is refused: {REFUSED_RUNNERS[runner]}")
        return runner


def _default_attacks() -> dict[str, Any]:
    return {"fgsm": FGSM(), "pgd": PGD(steps=10)}


class AugmentConfig(Params):
    """Which adversarial examples are crafted against the baseline, and which models are hardened with them."""

    attacks: NamedAttacks = Field(
        default_factory=_default_attacks, description="Attacks by name, or the name of a suite: paper, standard, auto."
    )
    epsilon: StorableThreat = Field(
        ThreatModel(4), description='Budget: 4 (L-infinity, in 1/255), "linf:4/255" or "l2:0.5".'
    )
    batch_size: int = Field(128, ge=1, le=4096, description="Images a gradient step.")
    gradient_precision: Precision = GRADIENT_PRECISION
    seed: int = Field(0, ge=0, lt=2**31, description="Of random starts; default: the pipeline's seed.")
    models: dict[str, tuple[str, ...]] = Field(
        default_factory=lambda: {"fgsm": ("fgsm",), "pgd": ("pgd",), "mixed": ("fgsm", "pgd")},
        description="Hardened models by name, each with the attacks whose examples it sees beside the clean images.",
    )
    train: dict[str, Any] = Field(
        default_factory=dict, description="Parameters of train that differ for hardened models."
    )

    def params(self, attack: str) -> AugmentParams:
        """Return the parameters that craft one attack's examples."""
        return AugmentParams(
            attack=self.attacks[attack],
            epsilon=self.epsilon,
            batch_size=self.batch_size,
            gradient_precision=self.gradient_precision,
            seed=self.seed,
        )


def _default_gate() -> Gate:
    return Gate(
        candidate=BASELINE,
        thresholds=[
            Threshold(metric="balanced_accuracy", min=0.5),
            Threshold(metric="balanced_accuracy", attack="pgd", epsilon=1, min=0.2),
        ],
    )


class EvaluateConfig(PredictParams, Reading):
    """What every model is put through, how it is read, and what the candidate must reach."""

    probes: ProbeSizes = Field(default_factory=ProbeSizes, description="How much is tried to shake the figures.")
    gate: Gate = Field(default_factory=_default_gate, description="What the exported model must meet.")


class ExportConfig(ExportParams):
    """How and where a blessed model is published."""

    directory: str | None = Field(None, description="Where versions are published; default: <root>/export.")


class PipelineConfig(Params):
    """A whole pipeline. Every key has a default."""

    description: str = Field("", description="What this pipeline reaches, in what time, on what hardware.")
    root: str = Field("output", min_length=1, description="Folder or URI of artifacts, ledger and export.")
    seed: int = Field(0, ge=0, lt=2**31, description="Seed of every stage that has none of its own.")
    beam: BeamConfig = Field(default_factory=BeamConfig, description="Where data-parallel work runs.")
    ingest: IngestParams = Field(default_factory=IngestParams, description="Which images, and how they are split.")
    preprocess: PreprocessParams = Field(default_factory=PreprocessParams, description="What the network sees.")
    train: TrainParams = Field(default_factory=TrainParams, description="How the baseline is trained.")
    defences: dict[str, dict[str, Any]] = Field(
        default_factory=dict,
        description="Models that are hardened while they train, by name: the parameters of train that differ for each, "
        'such as {"fast": {"objective": "fast"}}.',
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
    def _names_fit(self) -> Self:
        self.hardened_train()
        for name in self.defences:
            self.defence_train(name)
        for name, attacks in self.augment.models.items():
            unknown = [attack for attack in attacks if attack not in self.augment.attacks]
            if unknown or not attacks:
                known = ", ".join(self.augment.attacks)
                raise ValueError(f"augment.models.{name}: {list(attacks)} must name some of augment.attacks ({known})")
        for place, models in (("augment.models", self.augment.models), ("defences", self.defences)):
            if BASELINE in models:
                raise ValueError(f"{place}: '{BASELINE}' is the name of the baseline; choose another")
        if twice := set(self.augment.models) & set(self.defences):
            raise ValueError(f"defences: augment.models has a model '{min(twice)}' as well; choose another name")
        self._check_attacks()
        self._check_sources()
        self._check_gate()
        return self

    def _check_attacks(self) -> None:
        count = len(self.class_names())
        stages = {
            "evaluate": (self.evaluate.attacks, self.evaluate.epsilons),
            "augment": (self.augment.attacks, (self.augment.epsilon,)),
        }
        for stage, (attacks, threats) in stages.items():
            for name, attack in attacks.items():
                try:
                    attack.check_classes(count)
                    for threat in threats:
                        attack.check_threat(threat)
                except UserError as error:
                    raise ValueError(f"{stage}.attacks.{name}: {error}") from error

    def _check_sources(self) -> None:
        known = ", ".join(self.model_names())
        for name, attack in self.evaluate.attacks.items():
            if unknown := attack.sources - set(self.model_names()):
                raise ValueError(
                    f"evaluate.attacks.{name}: there is no model '{min(unknown)}' to transfer from; there are: {known}"
                )
        for name, attack in self.augment.attacks.items():
            if attack.sources:
                raise ValueError(
                    f"augment.attacks.{name}: examples are crafted on the baseline already; name an attack"
                )

    def _check_gate(self) -> None:
        gate, models = self.evaluate.gate, self.model_names()
        for reserved in (CLEAN, WORST_CASE):
            if reserved in self.evaluate.attacks:
                raise ValueError(f"evaluate.attacks: '{reserved}' has a meaning of its own; choose another name")
        for role, name in (("candidate", gate.candidate), ("baseline", gate.baseline)):
            if name is not None and name not in models:
                raise ValueError(f"evaluate.gate.{role}: there is no model '{name}'; there are: {', '.join(models)}")
        for index, threshold in enumerate(gate.thresholds):
            place = f"evaluate.gate.thresholds.{index}"
            attacks = (CLEAN, WORST_CASE, *self.evaluate.attacks)
            if threshold.attack not in attacks:
                raise ValueError(
                    f"{place}.attack: '{threshold.attack}' is not evaluated; these are: {', '.join(attacks)}"
                )
            evaluated = [threat.epsilon for threat in self.evaluate.epsilons]
            if threshold.attack != CLEAN and threshold.epsilon not in evaluated:
                known = ", ".join(f"{epsilon:g}" for epsilon in evaluated)
                raise ValueError(f"{place}.epsilon: {threshold.epsilon:g} is not evaluated; these are: {known}")
        try:
            check_slices(gate, self.task())
        except ValueError as error:
            raise ValueError(f"evaluate.gate.{error}") from error

    def hardened_train(self) -> TrainParams:
        """Return how hardened models are trained: as the baseline, but for what `augment.train` says."""
        return self._as_baseline_but(self.augment.train, ("augment", "train"))

    def defence_train(self, name: str) -> TrainParams:
        """Return how a model is hardened while it trains: as the baseline, but for what `defences` says."""
        return self._as_baseline_but(self.defences[name], ("defences", name))

    def _as_baseline_but(self, differences: Mapping[str, Any], place: tuple[str, ...]) -> TrainParams:
        try:
            return TrainParams.model_validate({**self.train.model_dump(), **differences})
        except ValidationError as error:
            raise ValueError(explain(error, TrainParams, place)) from error

    def model_names(self) -> tuple[str, ...]:
        """Return the names of all models, the baseline first."""
        return (BASELINE, *self.augment.models, *self.defences)

    def transferred(self) -> tuple[str, ...]:
        """Return the names of the attacks whose examples are crafted once, on another model, for all models."""
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
        """Return the names of the slice features that are derived from the pixels: those of the task, and others."""
        return tuple(dict.fromkeys([*(feature.name for feature in self.task().derived), *self.evaluate.slices]))

    def predict_params(self) -> PredictParams:
        """Return what every model is put through."""
        shared = {name: getattr(self.evaluate, name) for name in PredictParams.model_fields}
        found = {"surrogates": self.surrogates(), "transferred": self.transferred(), "slices": self.slices()}
        return PredictParams(**{**shared, **found})

    def probe_params(self, model: str) -> ProbeParams:
        """Return what a model's figures must withstand; an attacker has the baseline to craft on."""
        sizes = {name: getattr(self.evaluate.probes, name) for name in ProbeSizes.model_fields}
        sources = () if model == BASELINE else (BASELINE,)
        return ProbeParams(
            **{**dict(self.predict_params()), **sizes, "transferred": sources, "corruptions": self.task().corruptions}
        )

    def evaluate_params(self) -> EvaluateParams:
        """Return how the predictions of all models are read."""
        shared = {
            name: getattr(self.evaluate, name)
            for name in EvaluateParams.model_fields
            if name in EvaluateConfig.model_fields
        }
        baseline = self.evaluate.gate.baseline or BASELINE
        shared |= {"baseline": baseline, "slices": self.slices()}
        return EvaluateParams(**shared, models=self.model_names(), control=BASELINE)

    def task(self) -> Task:
        """Return the task of the data set."""
        return self.ingest.task

    def class_names(self) -> tuple[str, ...]:
        """Return the classes in the order of their labels."""
        return self.ingest.task.class_names


def load_config(path: Path | None, overrides: Sequence[str] = ()) -> PipelineConfig:
    """Read a config and apply overrides.

    Args:
        path: a JSON file; None: `pipeline_config.json` in the current folder, else the embedded default.
        overrides: `key.key=value`; a value is read as JSON, else as text.

    Raises:
        UserError: the file is not there, is no JSON, or says something that is not allowed.
    """
    source = path or _default_path()
    values = _read(source)
    for override in overrides:
        _override(values, override)
    try:
        return PipelineConfig.model_validate(values)
    except ValidationError as error:
        raise UserError(f"{source}:\n{explain(error, PipelineConfig)}") from error


def _default_path() -> Path:
    here = Path(FILE_NAME)
    if here.is_file():
        return here
    module = Path(__file__).resolve()
    # Installed, the default lies beside this module (setup.py puts it there); in a checkout, at the top level.
    packaged = module.with_name(FILE_NAME)
    return packaged if packaged.is_file() else module.parents[1] / FILE_NAME


def _read(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"there is no config file '{path}'") from None
    except OSError as error:
        raise UserError(f"the config file '{path}' cannot be read: {error.strerror}") from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"'{path}' is not valid JSON: {error}") from error
    if not isinstance(values, dict):
        raise UserError(f"'{path}' must hold a JSON object, but holds a {type(values).__name__}")
    return values


def _override(values: dict[str, Any], override: str) -> None:
    key, separator, text = override.partition("=")
    if not separator or not key:
        raise UserError(f"--set {override}: expected key.key=value, such as evaluate.epsilons=[1,2]")
    try:
        value = json.loads(text)
    except json.JSONDecodeError:
        value = text
    *path, last = key.split(".")
    place: Any = values
    for part in path:
        place = _step(place, part, key)
    if isinstance(place, list):
        place[_index(place, last, key)] = value
    else:
        place[last] = value


def _step(place: Any, part: str, key: str) -> Any:
    child = place[_index(place, part, key)] if isinstance(place, list) else place.setdefault(part, {})
    if not isinstance(child, dict | list):
        raise UserError(f"--set {key}: '{part}' is not an object, so it has no keys")
    return child


def _index(place: list[Any], part: str, key: str) -> int:
    if not part.isdecimal() or int(part) >= len(place):
        raise UserError(f"--set {key}: '{part}' is no index of a list of {len(place)}")
    return int(part)


def dump(config: PipelineConfig) -> Mapping[str, Any]:
    """Return a config as JSON values, every default filled in."""
    return config.model_dump(mode="json")
