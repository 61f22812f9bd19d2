"""The self-checks on real networks: an honest one passes, each way to hide gradients fails the check made for it."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tensorflow as tf

from dermrobust.attacks.errors import UserError
from dermrobust.attacks.selection import read_attack
from dermrobust.attacks.threat import ThreatModel
from dermrobust.components.artifacts import Artifact, ArtifactType
from dermrobust.components.augment.component import AUGMENT, AugmentParams
from dermrobust.components.certify.component import CERTIFY
from dermrobust.components.craft.component import CRAFT, CraftParams
from dermrobust.components.escalate.component import ESCALATE
from dermrobust.components.evaluation.certificate_params import CertifyParams
from dermrobust.components.evaluation.escalation_params import EscalateParams
from dermrobust.components.evaluation.measure_params import MeasureParams
from dermrobust.components.evaluation.params import PredictParams, ProbeParams
from dermrobust.components.evaluation.thresholds import Gate
from dermrobust.components.evaluation.transform_params import TransformParams
from dermrobust.components.examples import encode_pixels
from dermrobust.components.gate.component import GATE, GateParams
from dermrobust.components.ingest.component import INGEST, IngestParams
from dermrobust.components.ingest.datasets.synthetic.source import SyntheticSource
from dermrobust.components.leakage.component import LEAKAGE, LeakageParams
from dermrobust.components.measure.component import EVALUATE
from dermrobust.components.model_files import NETWORK, SPEC, ModelSpec, load_network
from dermrobust.components.predict.component import PREDICT
from dermrobust.components.preprocess.component import PREPROCESS, PreprocessParams
from dermrobust.components.probe.component import PROBE
from dermrobust.components.train.component import TRAIN, TrainParams
from dermrobust.components.transform.component import TRANSFORM
from dermrobust.models.classifier import save_network
from tests.components.conftest import IMAGE_SIZE, Outputs, Workshop

pytestmark = pytest.mark.slow

ATTACKS: dict[str, Any] = {
    "fgsm": read_attack("fgsm"),
    "pgd": read_attack({"attack": "pgd", "steps": 10}),
    "transfer": read_attack({"attack": "transfer", "source": "control"}),
}
EPSILONS = (ThreatModel(4), ThreatModel(16))
ESCALATED = {"steps": 10, "restarts": 1, "draws": 4, "samples": 0, "queries": 0, "evaluations": 5}
SEARCHES = {
    "adaptive": {"search": "adaptive", "screened": 4, "restarts": 1, "steps": 4},
    "random": {"search": "random", "draws": 3},
}


@keras.saving.register_keras_serializable("tests")
class Quantised(keras.layers.Layer):
    """Rounds its input to few levels; the gradient is zero wherever there is one."""

    def call(self, images: Any) -> Any:
        return keras.ops.round(images * 8) / 8 + 0 * images


@keras.saving.register_keras_serializable("tests")
class Thermometer(keras.layers.Layer):
    """Says of each value above how many levels it is, in whole numbers: no gradient passes."""

    def call(self, images: Any) -> Any:
        levels = [keras.ops.cast(images > level / 8, "float32") for level in range(8)]
        return sum(levels) / 8


@keras.saving.register_keras_serializable("tests")
class Noisy(keras.layers.Layer):
    """Adds new noise to every image of every batch."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._seeds = keras.random.SeedGenerator(0)

    def call(self, images: Any) -> Any:
        return images + keras.random.normal(keras.ops.shape(images), stddev=0.2, seed=self._seeds)


def wrapped(workshop: Workshop, model: Artifact, name: str, before: Any = None, after: Any = None) -> Artifact:
    """A model artifact with a layer in front of a network or behind it."""
    network = load_network(model.uri, model.digest)
    images = keras.Input(network.input_shape[1:])
    inner = network(images if before is None else before(images))
    path = workshop.root / f"{name}.keras"
    save_network(keras.Model(images, inner if after is None else after(inner)), path)
    spec = ModelSpec.read(model).model_dump_json().encode()
    return workshop.publish(ArtifactType.MODEL, name, {NETWORK: path.read_bytes(), SPEC: spec})


def evaluated(
    workshop: Workshop, examples: Artifact, models: Mapping[str, Artifact], name: str, **changes: Any
) -> Outputs:
    """The evaluation of models, the first of which is the undefended control, and the last the gate's candidate."""
    shared = {"attacks": ATTACKS, "epsilons": EPSILONS, **changes}
    control = next(iter(models.values()))
    craft = CraftParams(name="transfer", attack=ATTACKS["transfer"].crafted_with, epsilons=shared["epsilons"])
    crafted = workshop.make(CRAFT, craft, f"{name}-craft", examples=examples, model=control)["adversarial"]
    leakage = workshop.make(LEAKAGE, LeakageParams(), f"{name}-leakage", examples=examples)["leakage"]
    predictions, probes, escalated = [], [], []
    for model_name, model in models.items():
        params = PredictParams(**shared, transferred=("transfer",), slices=("skin_tone",))
        inputs: dict[str, Any] = {"examples": examples, "model": model}
        place = f"{name}-{model_name}"
        made = workshop.make(PREDICT, params, place, **inputs, surrogates=(), transferred=(crafted,))["predictions"]
        predictions.append(made)
        probe = ProbeParams(
            **shared, images=48, queries=100, spsa_images=1, corruption_images=16, corruptions=("jpeg", "marker")
        )
        probed = workshop.make(PROBE, probe, place, **inputs, surrogates=(), transferred=(), predictions=made)
        probes.append(probed["probes"])
        params = EscalateParams(**shared, escalation={"attack": ESCALATED})
        given = {**inputs, "predictions": made, "probes": probes[-1]}
        escalated.append(workshop.make(ESCALATE, params, f"{place}-escalated", **given)["escalated"])
    measure = MeasureParams(
        **shared,
        models=tuple(models),
        control=next(iter(models)),
        slices=("skin_tone",),
    )
    measured = workshop.make(
        EVALUATE,
        measure,
        name,
        examples=examples,
        predictions=tuple(predictions),
        probes=tuple(probes),
        escalated=tuple(escalated),
        leakage=leakage,
    )
    gate = GateParams(gate=Gate(candidate=tuple(models)[-1]))
    return {**measured, **workshop.make(GATE, gate, f"{name}-gate", evaluation=measured["evaluation"])}


def statuses(evaluation: Artifact, model: str | None) -> dict[str, str]:
    checks = evaluation.read_json("checks.json")["checks"]
    return {check["name"]: check["status"] for check in checks if check["model"] == model}


def concerns(evaluation: Artifact, model: str | None) -> dict[str, str]:
    return {name: status for name, status in statuses(evaluation, model).items() if status != "pass"}


@pytest.fixture(scope="module")
def images(workshop: Workshop) -> Artifact:
    """More images than other tests take, so that a small network learns something that can be broken."""
    drawn = IngestParams(dataset=SyntheticSource(count=600, height=32, width=40))
    dataset = workshop.make(INGEST, drawn, "many drawn")["dataset"]
    return workshop.make(PREPROCESS, PreprocessParams(image_size=IMAGE_SIZE), "many drawn", dataset=dataset)["examples"]


@pytest.fixture(scope="module")
def undefended(workshop: Workshop, images: Artifact, train_params: TrainParams) -> Artifact:
    params = train_params.model_copy(update={"epochs": 25, "patience": 25})
    return workshop.make(TRAIN, params, "undefended", examples=images, adversarial=())["model"]


@pytest.fixture(scope="module")
def static(workshop: Workshop, images: Artifact, undefended: Artifact, train_params: TrainParams) -> Artifact:
    """Trained on stored images that were crafted on the undefended network: the defence that resists transfer."""
    crafting = AugmentParams(attack=ATTACKS["fgsm"], epsilon=ThreatModel(16))
    crafted = workshop.make(AUGMENT, crafting, "static", examples=images, model=undefended)["adversarial"]
    params = train_params.model_copy(update={"epochs": 25, "patience": 25})
    return workshop.make(TRAIN, params, "static", examples=images, adversarial=(crafted,))["model"]


@pytest.fixture(scope="module")
def evaluation(workshop: Workshop, images: Artifact, undefended: Artifact, static: Artifact) -> Artifact:
    models = {
        "control": undefended,
        "static": static,
        "quantised": wrapped(workshop, undefended, "quantised", before=Quantised()),
        "saturated": wrapped(workshop, undefended, "saturated", after=keras.layers.Rescaling(1e4)),
        "noisy": wrapped(workshop, undefended, "noisy", before=Noisy()),
    }
    return evaluated(workshop, images, models, "checked")["evaluation"]


def test_an_honest_network_and_an_honest_evaluation_pass(evaluation: Artifact) -> None:
    assert concerns(evaluation, "control") == {}
    assert concerns(evaluation, None) == {}
    names = set(statuses(evaluation, "control")) | set(statuses(evaluation, None))
    assert names == {
        *("recorded", "stored", "iterative", "converged", "budget", "large_budget", "black_box", "noise"),
        *("gradients", "logits", "deterministic", "worst_case", "control", "leakage", "clean"),
    }


@pytest.mark.parametrize(
    ("model", "failing"),
    [
        ("quantised", {"gradients", "black_box", "noise"}),
        ("saturated", {"gradients", "black_box", "noise"}),
        ("noisy", {"deterministic", "black_box"}),
        ("static", {"adaptive"}),
    ],
)
def test_each_way_to_look_robust_fails_its_checks(model: str, failing: set[str], evaluation: Artifact) -> None:
    found = statuses(evaluation, model)
    assert {name for name in failing if found[name] == "fail"} == failing


def test_what_masks_gradients_passes_what_it_does_not_touch(evaluation: Artifact) -> None:
    for model in ("quantised", "saturated"):
        assert statuses(evaluation, model)["deterministic"] == "pass"
    assert statuses(evaluation, "static")["gradients"] == "pass"
    assert statuses(evaluation, "static")["black_box"] == "pass"


@pytest.mark.parametrize("model", ["control", "static", "quantised", "saturated", "noisy"])
def test_attacks_escalate_exactly_where_a_check_of_masked_gradients_fails(model: str, evaluation: Artifact) -> None:
    masked = {"iterative", "large_budget", "black_box", "noise", "gradients", "logits", "deterministic"}
    failed = {name for name, status in statuses(evaluation, model).items() if status == "fail"} & masked
    notes = evaluation.read_json("evaluation.json")["notes"]

    assert bool(failed) == (model in ("quantised", "saturated", "noisy"))
    # The probes had broken all that is broken of the saturated network; there is nothing left to change.
    expected = {"quantised": "warn", "noisy": "warn", "saturated": "pass"}
    assert statuses(evaluation, model).get("escalated") == expected.get(model)
    assert any(f"Gradients of {model} are masked" in note for note in notes) == bool(failed)


def test_both_figures_are_in_the_table(evaluation: Artifact) -> None:
    figures = {
        (row["model"], row["attack"], row["epsilon"]): row["value"]
        for row in pq.read_table(evaluation.path("metrics.parquet")).to_pylist()
        if (row["slice"], row["metric"]) == ("overall", "accuracy")
    }
    before, after = (
        {model: figures[model, attack, 4.0] for model in ("control", "static", "quantised", "noisy", "constant")}
        for attack in ("before_escalation", "worst_case")
    )

    assert {model for model in before if after[model] != before[model]} == {"quantised", "noisy"}
    assert all(after[model] <= before[model] for model in before)
    # Rounding protects nothing: no more is left than of the same network without it.
    assert after["quantised"] <= after["control"] < before["quantised"] < figures["quantised", "pgd", 4.0]


def test_checks_say_what_they_saw_in_a_sentence_with_figures(evaluation: Artifact) -> None:
    for check in evaluation.read_json("checks.json")["checks"]:
        assert check["sentence"].endswith(".")
        assert check["figures"]
        assert check["title"]


def test_a_model_without_gradients_is_refused_by_gradient_attacks_and_by_the_gate(
    workshop: Workshop, images: Artifact, undefended: Artifact
) -> None:
    models = {
        "control": undefended,
        "thermometer": wrapped(workshop, undefended, "thermometer", before=Thermometer()),
    }
    with pytest.raises(UserError, match="no gradient with respect to its images"):
        evaluated(workshop, images, models, "refused")
    blind = {"attacks": {"square": read_attack({"attack": "square", "queries": 2})}}
    made = evaluated(workshop, images, models, "blind", **blind)
    assert statuses(made["evaluation"], "thermometer")["gradients"] == "fail"
    blessing = made["blessing"].read_json("blessing.json")
    assert not blessing["blessed"]
    assert any(objection.startswith("Gradients exist: fail.") for objection in blessing["checks"])

    # Two queries break little; what the probes' hundred broke counts.
    accuracy = {
        row["attack"]: row["value"]
        for row in pq.read_table(made["evaluation"].path("metrics.parquet")).to_pylist()
        if (row["model"], row["slice"], row["metric"]) == ("thermometer", "overall", "accuracy")
        and row["epsilon"] in (0, 16)
    }
    assert accuracy["worst_case"] < accuracy["square"] <= accuracy["none"]


def test_the_gallery_shows_the_most_dangerous_flips_first(evaluation: Artifact) -> None:
    flips = pq.read_table(evaluation.path("gallery.parquet")).to_pylist()
    assert flips
    assert [flip["danger"] for flip in flips] == sorted((flip["danger"] for flip in flips), reverse=True)
    malignant = {"akiec", "bcc", "mel"}
    for flip in flips:
        assert flip["predicted_before"] == flip["truth"] != flip["predicted_after"]
        missed = flip["truth"] in malignant and flip["predicted_after"] not in malignant
        assert (flip["danger"] >= 2) == missed
        assert (flip["danger"] == 3) == (missed and flip["truth"] == "mel")
        clean, adversarial = (tf.io.decode_png(flip[name]).numpy().astype(int) for name in ("clean", "adversarial"))
        assert 0 < abs(clean - adversarial).max() <= flip["epsilon"]


def test_models_are_compared_with_the_control_on_the_same_images(evaluation: Artifact) -> None:
    rows = pq.read_table(evaluation.path("comparisons.parquet")).to_pylist()
    metrics = pq.read_table(evaluation.path("metrics.parquet")).to_pylist()
    values = {
        (row["model"], row["attack"], row["epsilon"], row["slice"], row["metric"]): row["value"] for row in metrics
    }
    assert {row["model"] for row in rows} == {"static", "quantised", "saturated", "noisy"}
    for row in rows:
        place = (row["attack"], row["epsilon"], row["slice"], row["metric"])
        assert row["change"] == pytest.approx(values[row["model"], *place] - values["control", *place])
        assert row["lower"] <= row["change"] <= row["upper"]
        assert row["p_value"] <= row["p_adjusted"]
        assert row["significant"] == (row["p_adjusted"] < 0.05)


def test_a_corruption_is_scored_at_every_severity(evaluation: Artifact) -> None:
    rows = pq.read_table(evaluation.path("corruptions.parquet")).to_pylist()
    assert {row["severity"] for row in rows} == {1, 2, 3, 4, 5}
    assert {row["model"] for row in rows} == {"control", "static", "quantised", "saturated", "noisy", "constant"}
    assert all(0 <= row["lower"] <= row["value"] <= row["upper"] <= 1 for row in rows)


def test_an_image_that_was_changed_in_storage_fails_its_check(
    workshop: Workshop, images: Artifact, undefended: Artifact
) -> None:
    attacks = {"attacks": {"fgsm": ATTACKS["fgsm"]}, "epsilons": (ThreatModel(1),)}
    model_inputs: dict[str, Any] = {"examples": images, "model": undefended, "surrogates": ()}
    params = PredictParams(**attacks)
    tampered = workshop.make(PREDICT, params, "tampered", **model_inputs)["predictions"]
    for path in Path(tampered.uri).rglob("*.tfrecord"):
        path.unlink()
        source = next(Path(images.uri).glob(path.name))
        lines = [brightened(record) for record in tf.data.TFRecordDataset([str(source)]).as_numpy_iterator()]
        with tf.io.TFRecordWriter(str(path)) as writer:
            for line in lines:
                writer.write(line)
    probe = ProbeParams(**attacks, images=8, queries=0, spsa_images=0, corruption_images=8)
    probes = workshop.make(PROBE, probe, "tampered", **model_inputs, predictions=tampered)["probes"]
    beyond = {"threats": ("colour:1",), "searches": SEARCHES}
    transforms = TransformParams(**beyond, batch_size=32)
    transformed = workshop.make(TRANSFORM, transforms, "tampered transforms", examples=images, model=undefended)
    forge(Path(transformed["predictions"].uri))
    certify = {"sigmas": (0.1,), "images": 8, "samples": 20, "radii": ("l2:0.25",), "attack": "fgsm", "attack_draws": 1}
    smoothing = CertifyParams.model_validate(certify)
    certificates = workshop.make(CERTIFY, smoothing, "tampered certificates", examples=images, model=undefended)
    cross(Path(certificates["certificates"].uri))
    evaluate = MeasureParams(**attacks, **beyond, models=("only",), certificates=certify)
    leakage = workshop.make(LEAKAGE, LeakageParams(), "tampered", examples=images)["leakage"]
    inputs: dict[str, Any] = {"examples": images, "predictions": tampered, "probes": probes, "leakage": leakage}
    inputs |= {"transformed": transformed["predictions"], "certificates": certificates["certificates"]}
    made = workshop.make(EVALUATE, evaluate, "tampered", **inputs)["evaluation"]
    assert statuses(made, "only")["stored"] == "fail"
    assert statuses(made, "only")["transformed"] == "fail"
    assert statuses(made, "only")["certificates"] == "fail"
    assert statuses(made, None)["control"] == "warn"
    # One level of one value of one image.
    verified = pq.read_table(made.path("transformed.parquet")).to_pylist()
    assert {row["attack"] for row in verified} == {"colour/adaptive", "colour/random"}
    assert sum(row["outside"] for row in verified) == 1
    assert max(row["farthest"] for row in verified) == 1
    figures = {
        (row["attack"], row["norm"], row["epsilon"]): row["value"]
        for row in pq.read_table(made.path("metrics.parquet")).to_pylist()
        if (row["model"], row["slice"], row["metric"]) == ("only", "dx=nv", "accuracy")
    }
    # Under the norm and under colour at the same number of 1/255 and of strength, each with its own worst case.
    worst = figures["colour/worst_case", "colour", 1.0]
    assert worst <= min(figures["none", None, 0.0], *(figures[row["attack"], "colour", 1.0] for row in verified))
    assert figures["worst_case", "linf", 1.0] > worst
    # What is certified has conditions of its own, of the images that were certified.
    smoothed = [row for row in pq.read_table(made.path("metrics.parquet")).to_pylist() if row["norm"] == "l2"]
    assert {row["attack"] for row in smoothed} == {"certified/0.1", "smoothed/0.1"}
    assert {(row["model"], row["n"]) for row in smoothed if row["slice"] == "overall"} == {("only", 8), ("constant", 8)}
    assert made.read_json("evaluation.json")["certificates"]["samples"] == 20


def test_test_images_of_one_class_cannot_be_evaluated(
    workshop: Workshop, images: Artifact, evaluation: Artifact, undefended: Artifact
) -> None:
    spec = images.read_json("examples.json")
    spec["class_counts"]["test"] = [0, 0, 0, 0, 0, sum(spec["class_counts"]["test"]), 0]
    one = workshop.publish(ArtifactType.EXAMPLES, "one class", {"examples.json": json.dumps(spec).encode()})
    params = MeasureParams(attacks=ATTACKS, epsilons=EPSILONS, models=())
    with pytest.raises(UserError, match=r"test images are of 1 class.*Add images of other classes"):
        workshop.make(EVALUATE, params, "one class", examples=one, predictions=(), probes=())


def test_what_is_unknown_of_every_image_is_left_out_and_said(evaluation: Artifact) -> None:
    rows = pq.read_table(evaluation.path("metrics.parquet")).to_pylist()
    about = evaluation.read_json("evaluation.json")
    groups = {row["slice"].partition("=")[0] for row in rows} - {"overall"}
    unknown = {note.split()[0] for note in about["notes"] if "is unknown of every image" in note}
    assert groups | unknown == {"dx", "sex", "age_group", "localization", "skin_tone"}
    assert not groups & unknown
    assert about["images"] == max(row["n"] for row in rows)
    assert 1 < about["groups"] <= about["images"]


def forge(folder: Path) -> None:
    """Change one value of the first transformed image by one level."""
    path = sorted(folder.rglob("*adaptive/*.tfrecord"))[0]
    first, *others = tf.data.TFRecordDataset([str(path)]).as_numpy_iterator()
    example = tf.train.Example.FromString(first)
    image = example.features.feature["image/encoded"].bytes_list
    pixels = tf.io.decode_png(image.value[0]).numpy()
    pixels[0, 0, 0] ^= 1
    image.value[:] = [encode_pixels(pixels)]
    with tf.io.TFRecordWriter(str(path)) as writer:
        for record in (example.SerializeToString(), *others):
            writer.write(record)


def cross(folder: Path) -> None:
    """Say of every image that it is certified, and that an attack changed it at half of its radius."""
    (path,) = folder.rglob("*.parquet")
    table = pq.read_table(path)
    count = table.num_rows
    changed = {
        "certified_class": table["label"],
        "abstained": pa.repeat(False, count),
        "radius": pa.array([100.0] * count, pa.float32()),
        "attacked": pa.array([50.0] * count, pa.float32()),
    }
    for name, values in changed.items():
        table = table.set_column(table.column_names.index(name), name, values)
    pq.write_table(table, path)


def brightened(record: bytes) -> bytes:
    """The record with its image made brighter by more than any budget here."""
    example = tf.train.Example.FromString(record)
    (png,) = example.features.feature["image/encoded"].bytes_list.value
    pixels = np.clip(tf.io.decode_png(png).numpy().astype(int) + 30, 0, 255).astype(np.uint8)
    example.features.feature["image/encoded"].bytes_list.value[:] = [encode_pixels(pixels)]
    return bytes(example.SerializeToString())
