"""Adversarial training examples: what is stored is what holds, whoever reads it again."""

from pathlib import Path

import keras
import numpy as np
import pytest

from dermrobust.attacks.cleverhans.fgsm import FGSM
from dermrobust.attacks.cleverhans.pgd import PGD
from dermrobust.attacks.threat import ThreatModel
from dermrobust.components import storage
from dermrobust.components.adversarial_shard import Crafting
from dermrobust.components.adversarial_spec import AdversarialSpec, shard_uris
from dermrobust.components.artifacts import Artifact, ArtifactStore, ArtifactType
from dermrobust.components.augment.component import AUGMENT, AugmentParams
from dermrobust.components.examples import ExamplesSpec, Split, read_shard, record_features
from dermrobust.components.examples import shard_uris as example_uris
from dermrobust.models.tasks.ham10000 import TASK
from tests.components.conftest import Records, Workshop, records

CRAFTED = {
    "fgsm": AugmentParams(attack=FGSM(), epsilon=ThreatModel(4)),
    "pgd": AugmentParams(attack=PGD(steps=5), epsilon=ThreatModel(2)),
}
every_attack = pytest.mark.parametrize("attack", CRAFTED)


@pytest.fixture(scope="module")
def crafted(workshop: Workshop, examples: Artifact, model: Artifact) -> dict[str, Artifact]:
    """For each attack its adversarial training examples."""
    return {
        name: workshop.make(AUGMENT, params, name, examples=examples, model=model)["adversarial"]
        for name, params in CRAFTED.items()
    }


@every_attack
def test_every_training_image_has_one_adversarial_image(
    attack: str, crafted: dict[str, Artifact], clean: dict[Split, Records]
) -> None:
    spec = AdversarialSpec.read(crafted[attack])
    made = list(records(shard_uris(crafted[attack], spec)))

    assert spec.split is Split.TRAIN
    assert spec.count == len(made) == len(clean[Split.TRAIN])
    assert [record["image/id"] for record in made] == [record["image/id"] for record in clean[Split.TRAIN]]


@every_attack
def test_shards_correspond_to_shards(attack: str, crafted: dict[str, Artifact], examples: Artifact) -> None:
    made = shard_uris(crafted[attack], AdversarialSpec.read(crafted[attack]))
    sources = example_uris(examples, ExamplesSpec.read(examples), Split.TRAIN)

    for one, other in zip(made, sources, strict=True):
        ids = [[record["image/id"] for record in records([uri])] for uri in (one, other)]
        assert ids[0] == ids[1]


@every_attack
def test_what_is_stored_is_within_the_budget_and_uses_it(
    attack: str, crafted: dict[str, Artifact], clean: dict[Split, Records]
) -> None:
    epsilon = CRAFTED[attack].epsilon.epsilon
    made = records(shard_uris(crafted[attack], AdversarialSpec.read(crafted[attack])))

    distances = [
        np.abs(record["pixels"].astype(int) - original["pixels"]).max()
        for record, original in zip(made, clean[Split.TRAIN], strict=True)
    ]

    assert set(distances) == {int(epsilon)}


@every_attack
def test_an_adversarial_record_keeps_what_is_known_and_says_how_it_was_made(
    attack: str, crafted: dict[str, Artifact], clean: dict[Split, Records], model: Artifact
) -> None:
    params = CRAFTED[attack]
    made = records(shard_uris(crafted[attack], AdversarialSpec.read(crafted[attack])))

    for record, original in zip(made, clean[Split.TRAIN], strict=True):
        assert record.keys() == {*record_features(TASK), "pixels", "attack", "norm", "epsilon", "source_model"}
        assert (record["attack"], record["norm"]) == (attack.encode(), b"linf")
        assert record["epsilon"] == params.epsilon.epsilon
        assert record["source_model"] == model.fingerprint.encode()
        for name in TASK.record_features:
            assert record[name] == original[name] or record[name] != record[name]  # an unknown age is NaN


@every_attack
def test_the_spec_says_how_the_examples_were_made(attack: str, crafted: dict[str, Artifact], model: Artifact) -> None:
    spec = AdversarialSpec.read(crafted[attack])

    assert spec.attack == CRAFTED[attack].attack.model_dump(mode="json")
    assert (spec.threat, spec.source_model) == (CRAFTED[attack].epsilon, model.fingerprint)


@every_attack
def test_the_attacked_model_does_worse(
    attack: str, crafted: dict[str, Artifact], clean: dict[Split, Records], network: keras.Model
) -> None:
    made = list(records(shard_uris(crafted[attack], AdversarialSpec.read(crafted[attack]))))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)

    losses = []
    for rows in (made, clean[Split.TRAIN]):
        images = np.stack([row["pixels"] for row in rows]).astype(np.float32) / 255
        losses.append(float(loss(np.array([row["label"] for row in rows]), network(images, training=False))))

    assert losses[0] > losses[1] + 0.05


@every_attack
def test_crafting_again_gives_the_same_artifact(
    attack: str, crafted: dict[str, Artifact], workshop: Workshop, examples: Artifact, model: Artifact
) -> None:
    again = workshop.make(AUGMENT, CRAFTED[attack], f"{attack}_again", examples=examples, model=model)["adversarial"]

    assert again.digest == crafted[attack].digest


def test_an_interrupted_run_keeps_its_finished_shards_and_nothing_half_finished(
    crafted: dict[str, Artifact],
    workshop: Workshop,
    examples: Artifact,
    model: Artifact,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    staged = ArtifactStore(str(workshop.root)).stage(ArtifactType.ADVERSARIAL_EXAMPLES, "killed", resumable=True)
    (uri,) = shard_uris(crafted["pgd"], AdversarialSpec.read(crafted["pgd"]))
    finished = storage.join(staged, uri.rpartition("/")[2])
    for path in (finished, f"{finished}.partial-0123abcd"):
        storage.write_bytes(path, storage.read_bytes(uri))
    monkeypatch.setattr(Crafting, "craft", lambda *_: pytest.fail("crafted again"))

    made = workshop.make(AUGMENT, CRAFTED["pgd"], "killed", examples=examples, model=model)["adversarial"]

    assert made.digest == crafted["pgd"].digest


def test_another_seed_gives_other_random_starts(
    crafted: dict[str, Artifact], workshop: Workshop, examples: Artifact, model: Artifact
) -> None:
    params = CRAFTED["pgd"].model_copy(update={"seed": 1})

    other = workshop.make(AUGMENT, params, "pgd_other_seed", examples=examples, model=model)["adversarial"]

    assert other.digest != crafted["pgd"].digest


def test_a_shard_reads_as_the_records_that_it_has(examples: Artifact) -> None:
    (uri, *_) = example_uris(examples, ExamplesSpec.read(examples), Split.TRAIN)
    expected = list(records([uri]))

    (batch,) = read_shard(uri, TASK)

    np.testing.assert_array_equal(batch.pixels, [record["pixels"] for record in expected])
    np.testing.assert_array_equal(batch.labels, [record["label"] for record in expected])
    for name in ("image/id", "lesion/id", "dx"):
        assert batch.columns[name] == [record[name].decode() for record in expected]


def test_a_shard_without_records_has_no_batch(tmp_path: Path) -> None:
    (tmp_path / "empty.tfrecord").touch()

    assert not list(read_shard(str(tmp_path / "empty.tfrecord"), TASK))


@pytest.mark.parametrize("batch_size", [16, 100])
def test_the_size_of_a_batch_of_attacked_images_changes_next_to_nothing(
    batch_size: int, crafted: dict[str, Artifact], workshop: Workshop, examples: Artifact, model: Artifact
) -> None:
    """A processor may round otherwise in a batch of another shape, which turns the sign of a gradient near zero."""
    params = CRAFTED["pgd"].model_copy(update={"batch_size": batch_size})

    made = workshop.make(AUGMENT, params, f"pgd_batch_{batch_size}", examples=examples, model=model)["adversarial"]

    one, other = (
        np.stack([record["pixels"] for record in records(shard_uris(artifact, AdversarialSpec.read(artifact)))])
        for artifact in (made, crafted["pgd"])
    )
    assert (one != other).mean() < 1e-4
