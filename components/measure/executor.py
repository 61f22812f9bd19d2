"""Executor of evaluate: one pass over the predictions of all models, then statistics and self-checks."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from typing import Any

import apache_beam as beam
import pyarrow as pa
from pydantic import BaseModel

from dermrobust.attacks.errors import UserError
from dermrobust.attacks.kinds import Kind, named
from dermrobust.components import storage
from dermrobust.components.artifacts import MANIFEST, Artifact, Manifest
from dermrobust.components.beam_runtime import BeamRuntime
from dermrobust.components.component import Context
from dermrobust.components.evaluation import files, schemas
from dermrobust.components.evaluation.adaptive import AdaptiveLosses, adaptive_losses
from dermrobust.components.evaluation.certificates import certificate_uris
from dermrobust.components.evaluation.checks import Checks
from dermrobust.components.evaluation.description import Description
from dermrobust.components.evaluation.escalation import Escalation
from dermrobust.components.evaluation.leakage import Leakage
from dermrobust.components.evaluation.measure_params import MeasureParams
from dermrobust.components.evaluation.names import CLEAN, CONSTANT, canonical_epsilon
from dermrobust.components.evaluation.predictions import prediction_uris
from dermrobust.components.evaluation.probes import CORRUPTED, HEALTH, PROBES, probe_uris
from dermrobust.components.evaluation.referrals import Rejector, referral_uris
from dermrobust.components.evaluation.tables import WriteTable, read_tables, write_table
from dermrobust.components.examples import ExamplesSpec, Split, shard_uris
from dermrobust.components.measure import certified, comparisons, constant, radii, selective, stored
from dermrobust.components.measure.checks.evidence import Evidence
from dermrobust.components.measure.checks.running import run_checks
from dermrobust.components.measure.corrupted import corruptions_table
from dermrobust.components.measure.stored_attacks import AttackReader
from dermrobust.components.measure.stored_transforms import TransformReader
from dermrobust.components.measure.table import metrics_table, unknown_groups
from dermrobust.components.measure.tfma_run import build_eval_config, joined_batches, order_results, run_tfma


def run(context: Context) -> None:
    """Measure, compare and check all models.

    Raises:
        UserError: the baseline was not evaluated, or the test images are all of one class.
    """
    params = context.params
    assert isinstance(params, MeasureParams)
    work = _Work(context, params)
    with context.progress.task("evaluate: metrics by slice (TFMA)", 1, "run") as task:
        work.measure()
        task.advance()
    table = metrics_table(storage.local_folder(work.uri(files.TFMA)), params.models, params.norm, params.min_slice_size)
    losses = adaptive_losses(table, named(params.attacks, Kind.TRANSFER))
    found: dict[str, pa.Table | BaseModel] = {
        files.METRICS: pa.concat_tables([table, work.constant(table), *work.certified(), *work.selective()]),
        files.COMPARISONS: work.compared(),
        files.CORRUPTIONS: work.corruptions(),
        files.ADAPTIVE: losses,
        files.CHECKS: work.checks(table, losses),
        files.DESCRIPTION: work.description(table),
    }
    if work.certificates is not None:
        found[files.CERTIFICATES] = work.certificates
    if work.referrals:
        found[files.REFERRALS] = pa.concat_tables(work.referrals.values())
        found[files.RISK_COVERAGE] = selective.risk_coverage_table(work.referrals, work.budgets)
    for name, content in found.items():
        if isinstance(content, BaseModel):
            storage.write_bytes(work.uri(name), content.model_dump_json(indent=1).encode())
        else:
            write_table(work.uri(name), content)


class _Work:
    """Inputs of an evaluation, and what a pass over them collects: little, whatever the number of images."""

    def __init__(self, context: Context, params: MeasureParams) -> None:
        self._context, self._params = context, params
        self._predictions = dict(zip(params.models, context.inputs["predictions"], strict=True))
        self._probes = dict(zip(params.models, context.inputs["probes"], strict=True))
        # Without threats beyond a norm nothing is transformed.
        transformed = context.inputs.get("transformed", ()) if params.threats else ()
        self._transformed = dict(zip(params.models, transformed, strict=bool(params.threats)))
        certificates = context.inputs.get("certificates", ()) if params.certificates.sigmas else ()
        self._certified = dict(zip(params.models, certificates, strict=bool(params.certificates.sigmas)))
        referrals = context.inputs.get("referrals", ()) if params.referral.rates else ()
        self._referred = dict(zip(params.models, referrals, strict=bool(params.referral.rates)))
        # Without the component nothing is escalated.
        escalated = context.inputs.get("escalated", ())
        self._escalated = dict(zip(params.models, escalated, strict=bool(escalated)))
        found = {model: Escalation.read(artifact) for model, artifact in self._escalated.items()}
        self._escalations = {model: escalation for model, escalation in found.items() if escalation.signs}
        self._spec = ExamplesSpec.read(context.input("examples"))
        # Predictions have the derived columns that predict was asked for, which may be more than the task declares.
        self._task = self._spec.task.with_derived(params.slices).with_malignant(params.malignant)
        self._shards = {name: prediction_uris(artifact) for name, artifact in self._predictions.items()}
        # The gate's baseline, else the undefended model.
        self._baseline = params.baseline or params.control
        present = sum(count > 0 for count in self._spec.class_counts[Split.TEST])
        if present < 2:
            raise UserError(
                f"evaluate: the test images are of {present} class(es); metrics need two at least. "
                "Add images of other classes."
            )
        self._most_frequent = constant.most_frequent(self._spec)
        if self._baseline is not None and self._baseline not in self._shards:
            raise UserError(f"evaluate: the baseline '{self._baseline}' is none of {', '.join(self._shards)}")

    def uri(self, name: str) -> str:
        """Return the URI of a file of the evaluation."""
        return storage.join(self._context.outputs["evaluation"], name)

    def measure(self) -> None:
        """Run TFMA; read the outcomes, the test images and the stored adversarial images in the same pipeline."""
        tfma_uri = self.uri(files.TFMA)
        # TFMA writes through TensorFlow, which knows local disks only: with a root elsewhere, its workers must be here.
        runtime = self._context.beam if storage.is_local(tfma_uri) else BeamRuntime()
        with storage.local_writing_folder(tfma_uri) as folder:
            self._run(runtime, folder)
            order_results(folder)

    def _run(self, runtime: BeamRuntime, tfma_folder: str) -> None:
        params, task = self._params, self._task
        config = build_eval_config(params.models, task, specificity=params.specificity)
        outcomes, images = schemas.outcomes_schema(params.models), schemas.images_schema(task)
        moved = {model: prediction_uris(artifact) for model, artifact in self._transformed.items()}
        with runtime.pipeline() as root:
            batches = joined_batches(root, self._shards, task, self._probed(PROBES), moved, self._escalated_uris())
            run_tfma(batches, config, tfma_folder)
            found = batches | "Outcomes" >> beam.ParDo(comparisons.OutcomesOfBatch(params.models))
            found | "Keep outcomes" >> WriteTable(self.uri(files.OUTCOMES), outcomes, outcomes.names)
            largest = max(canonical_epsilon(threat.epsilon) for threat in params.epsilons)
            nearest = batches | "Radii" >> beam.ParDo(radii.RadiiOfBatch(params.models, largest))
            by_model = schemas.radii_schema(params.models)
            nearest | "Keep radii" >> WriteTable(self.uri(files.RADII), by_model, by_model.names)
            tested = batches | "Test images" >> beam.FlatMap(constant.clean_images, images.names)
            tested | "Keep images" >> WriteTable(self.uri(files.IMAGES), images, images.names)
            self._verify(root, "stored", self._reader(), files.STORED, files.GALLERY)
            if params.threats:
                reader = self._transform_reader()
                self._verify(root, "transformed", reader, files.TRANSFORMED, files.TRANSFORMED_GALLERY)

    def _verify(self, root: beam.Pipeline, kind: str, reader: stored.Reader, table: str, gallery: str) -> None:
        """Read the images of every model and shard again; keep the results, and the worst flips of each model."""
        elements = [(model, index) for model in self._params.models for index in range(len(self._shards[model]))]
        found = (
            root
            | f"Models and shards of {kind} images" >> beam.Create(elements)
            | f"Spread {kind} images" >> beam.Reshuffle()
            | f"Read {kind} images" >> beam.ParDo(stored.ReadStored(reader)).with_outputs(stored.FLIPS, main="read")
        )
        keys = ["model", "attack", "epsilon", "shard"]
        found.read | f"Keep {kind} images" >> WriteTable(self.uri(table), schemas.STORED_SCHEMA, keys)
        worst = (
            found[stored.FLIPS]
            # A shard yields `gallery` flips at most.
            | f"Flips of {kind} images" >> beam.GroupByKey()
            | f"Worst of {kind} images"
            >> beam.FlatMap(lambda found, count: stored.worst(found[1], count), self._params.gallery)
        )
        worst | f"Keep flips of {kind} images" >> WriteTable(
            self.uri(gallery), schemas.FLIPS_SCHEMA, stored.WORST_FIRST
        )

    def compared(self) -> pa.Table:
        """Return the paired differences from the baseline; without one, an empty table."""
        if self._baseline is None:
            return schemas.COMPARISONS_SCHEMA.empty_table()
        return comparisons.comparisons_table(self._outcomes, self._params.models, self._baseline, self._task)

    def checks(self, table: pa.Table, losses: AdaptiveLosses) -> Checks:
        """Return the results of the self-checks."""
        params = self._params
        evidence = Evidence(
            models=params.models,
            control=params.control,
            class_names=self._task.class_names,
            attacks=params.attacks,
            epsilons=params.epsilons,
            rows=table.to_pylist(),
            probes={model: read_tables(uris) for model, uris in self._probed(PROBES).items()},
            health={model: read_tables(uris) for model, uris in self._probed(HEALTH).items()},
            stored=read_tables([self.uri(files.STORED)]).to_pylist(),
            threats=params.threats,
            searches=params.searches,
            transformed=read_tables([self.uri(files.TRANSFORMED)]).to_pylist() if params.threats else (),
            certificates=self.certificates if params.certificates.attacks else None,
            alpha=params.certificates.alpha,
            manifests={model: _manifest(artifact) for model, artifact in self._predictions.items()},
            leakage=Leakage.read(self._context.input("leakage")),
            losses=losses.losses,
            group_noun=self._spec.task.group_noun,
            escalations=self._escalations,
        )
        return run_checks(evidence)

    def constant(self, table: pa.Table) -> pa.Table:
        """Return the metrics of the constant classifier where `table` has those of the models."""
        images = read_tables([self.uri(files.IMAGES)])
        return constant.constant_table(images, table, self._task, self._most_frequent, self._params)

    @functools.cached_property
    def certificates(self) -> pa.Table | None:
        """Certificates of all models and of the constant classifier; None: there are none."""
        if not self._certified:
            return None
        tables = {model: read_tables(certificate_uris(artifact)) for model, artifact in self._certified.items()}
        return certified.joined_certificates(tables, self._most_frequent)

    def certified(self) -> Iterable[pa.Table]:
        """Yield the metrics of smoothed classifiers, where there are certificates."""
        if self.certificates is not None:
            params = self._params
            models = (*params.models, CONSTANT)
            yield certified.certified_table(self.certificates, self._task, models, params.certificates, params)

    @functools.cached_property
    def referrals(self) -> Mapping[str, pa.Table]:
        """Referrals of each model, by name, and last of the constant classifier; empty: nothing is referred."""
        if not self._referred:
            return {}
        tables = {
            model: selective.named(read_tables(referral_uris(artifact)), model)
            for model, artifact in self._referred.items()
        }
        floor = selective.constant_referrals(next(iter(tables.values())), self._task, self._most_frequent)
        return {**tables, CONSTANT: selective.named(floor, CONSTANT)}

    @property
    def budgets(self) -> tuple[float, ...]:
        """Budgets of the evaluation in 1/255, ascending."""
        return tuple(sorted(canonical_epsilon(threat.epsilon) for threat in self._params.epsilons))

    @functools.cached_property
    def _rejectors(self) -> Mapping[str, Rejector]:
        return {model: Rejector.read(artifact) for model, artifact in self._referred.items()}

    def selective(self) -> Iterable[pa.Table]:
        """Yield the metrics of classifiers that refer images, where there are some."""
        if self.referrals:
            params = self._params
            yield selective.selective_table(
                self.referrals, self._rejectors, self._task, str(params.norm), self.budgets, params
            )

    def corruptions(self) -> pa.Table:
        """Return metrics under natural corruptions."""
        corrupted = {model: read_tables(uris) for model, uris in self._probed(CORRUPTED).items()}
        corrupted[CONSTANT] = constant.always(self._most_frequent, next(iter(corrupted.values())))
        return corruptions_table(corrupted, self._task, self._params.specificity)

    def description(self, table: pa.Table) -> Description:
        """Return the description of the evaluation."""
        params = self._params
        clean = self._outcomes[CLEAN, 0.0]
        return Description(
            task=self._task,
            models=params.models,
            baseline=self._baseline,
            norm=str(params.norm),
            epsilons=self.budgets,
            attacks={name: attack.model_dump(mode="json") for name, attack in params.attacks.items()},
            seed=params.seed,
            min_slice_size=params.min_slice_size,
            specificity=params.specificity,
            images=len(clean.labels),
            groups=len(set(clean.clusters.tolist())),
            notes=tuple(self._notes(table)),
            versions=_manifest(next(iter(self._predictions.values()))).versions,
            threats=tuple(map(str, params.threats)),
            searches={name: search.model_dump(mode="json") for name, search in params.searches.items()}
            if params.threats
            else {},
            certificates=params.certificates.model_dump(mode="json") if params.certificates.sigmas else {},
            referral=params.referral.model_dump(mode="json") if params.referral.rates else {},
            rejectors={model: found.model_dump(mode="json") for model, found in self._rejectors.items()},
            constant_class=self._task.class_names[self._most_frequent],
        )

    @functools.cached_property
    def _outcomes(self) -> Mapping[comparisons.Place, comparisons.Outcomes]:
        return comparisons.outcomes_of(read_tables([self.uri(files.OUTCOMES)]), self._params.models)

    def _probed(self, folder: str) -> dict[str, list[str]]:
        """Return for each model the URIs of a folder of its probes, shard by shard."""
        return {model: probe_uris(artifact, folder) for model, artifact in self._probes.items()}

    def _escalated_uris(self) -> dict[str, list[str]]:
        """Return for each model the URIs of the results of escalated attacks; none if no model needed them."""
        if not self._escalations:
            return {}
        return {model: probe_uris(artifact, PROBES) for model, artifact in self._escalated.items()}

    def _notes(self, table: pa.Table) -> Iterable[str]:
        for name in unknown_groups(table, self._task.slices):
            yield f"{name} is unknown of every image: slices by it are left out."
        if not self._task.malignant:
            yield (
                "None of the classes is known to be malignant: flips between malignant and benign are left out. "
                "Name the malignant classes."
            )
        if not self._task.critical:
            yield "The task names no critical class: sensitivity to it is left out."
        for model, escalation in self._escalations.items():
            yield (
                f"Gradients of {model} are masked (self-checks: {', '.join(escalation.signs)}): attacks that pass "
                "through them were run as well. The worst case includes what they broke; 'before escalation' does not."
            )
        if self._baseline is None:
            yield "There is no baseline: models are not compared."
        if self._referred and not self._spec.counts[Split.TRAIN]:
            yield (
                f"Temperature and thresholds of rejectors are fitted to {self._spec.counts[Split.VALIDATION]} given "
                "validation images. Whether a model was trained on them is not known here; if it was, its confidence "
                "is too high there, and it refers more images than the rate says."
            )

    def _reader(self) -> AttackReader:
        params = self._params
        return AttackReader(
            **self._read,
            folders={model: artifact.uri for model, artifact in self._predictions.items()},
            attempts=[(name, threat) for name in params.attacks for threat in params.epsilons],
        )

    def _transform_reader(self) -> TransformReader:
        params = self._params
        return TransformReader(
            **self._read,
            folders={model: artifact.uri for model, artifact in self._transformed.items()},
            transformed={model: prediction_uris(artifact) for model, artifact in self._transformed.items()},
            attempts=[(threat, search) for threat in params.threats for search in params.searches],
        )

    @property
    def _read(self) -> dict[str, Any]:
        """What the readers of stored images have in common."""
        examples = shard_uris(self._context.input("examples"), self._spec, Split.TEST)
        return {"examples": examples, "predictions": self._shards, "task": self._task, "flips": self._params.gallery}


def _manifest(artifact: Artifact) -> Manifest:
    return Manifest.model_validate_json(storage.read_bytes(artifact.path(MANIFEST)))
