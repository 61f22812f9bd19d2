"""A workshop that runs components on drawn images, and what they make, once for all tests."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import pytest
import tensorflow as tf

from dermrobust.components.artifacts import Artifact, ArtifactStore, ArtifactType, Provenance
from dermrobust.components.component import Component, Context, Params
from dermrobust.components.examples import ExamplesSpec, Split
from dermrobust.components.examples import shard_uris as example_uris
from dermrobust.components.fingerprint import library_versions
from dermrobust.components.ingest.component import INGEST, IngestParams
from dermrobust.components.ingest.datasets.synthetic.source import SyntheticSource
from dermrobust.components.model_files import load_network
from dermrobust.components.preprocess.component import PREPROCESS, PreprocessParams
from dermrobust.components.progress import Progress, Silent
from dermrobust.components.train.component import TRAIN, TrainParams

IMAGE_SIZE = 16

Outputs = Mapping[str, Artifact]
Inputs = Mapping[str, Any]
"""Artifacts, or tuples of them, by the name of a component's input."""
Make = Callable[..., Artifact]
Records = list[dict[str, Any]]


def records(uris: list[str]) -> Iterator[dict[str, Any]]:
    """Every record of shards with its image decoded, read without the project's own reader."""
    for serialized in tf.data.TFRecordDataset(uris).as_numpy_iterator():
        features = tf.train.Example.FromString(serialized).features.feature
        values = {name: getattr(feature, feature.WhichOneof("kind")).value[0] for name, feature in features.items()}
        yield {**values, "pixels": tf.io.decode_png(values["image/encoded"]).numpy()}


@dataclass(frozen=True)
class Workshop:
    """Runs components and publishes what they make, as a pipeline would, without one."""

    root: Path

    def make(
        self,
        component: Component,
        params: Params,
        name: str,
        *,
        progress: Progress | None = None,
        **inputs: Artifact | tuple[Artifact, ...],
    ) -> Outputs:
        """Return what a component makes; `name` stands for the fingerprint, and gives the folder of its work."""
        given: dict[str, tuple[Artifact, ...]] = dict.fromkeys(component.inputs, ())
        given |= {key: value if isinstance(value, tuple) else (value,) for key, value in inputs.items()}
        store = ArtifactStore(str(self.root))
        staged = {
            key: store.stage(type_, name, resumable=component.resumable) for key, type_ in component.outputs.items()
        }
        work = self.root / "work" / name
        work.mkdir(parents=True, exist_ok=True)
        component.execute(Context(params, given, staged, str(work), progress=progress or Silent()))
        versions = library_versions(component.libraries)
        origin = Provenance(component.name, params.model_dump(mode="json"), given, versions)
        return {key: store.publish(staged[key], type_, name, origin) for key, type_ in component.outputs.items()}

    def publish(self, type_: ArtifactType, name: str, files: Mapping[str, bytes]) -> Artifact:
        """Return an artifact of given files."""
        store = ArtifactStore(str(self.root))
        staged = store.stage(type_, name)
        for path, content in files.items():
            Path(staged, path).parent.mkdir(parents=True, exist_ok=True)
            Path(staged, path).write_bytes(content)
        return store.publish(staged, type_, name, Provenance("test", {}, {}, {}))


@pytest.fixture(scope="session")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    return Workshop(tmp_path_factory.mktemp("workshop"))


@pytest.fixture(scope="session")
def dataset(workshop: Workshop) -> Artifact:
    params = IngestParams(dataset=SyntheticSource(count=240, height=32, width=40))
    return workshop.make(INGEST, params, "drawn")["dataset"]


@pytest.fixture(scope="session")
def examples(workshop: Workshop, dataset: Artifact) -> Artifact:
    params = PreprocessParams(image_size=IMAGE_SIZE)
    return workshop.make(PREPROCESS, params, "drawn", dataset=dataset)["examples"]


@pytest.fixture(scope="session")
def train_params(tiny_in_registry: None) -> TrainParams:
    """Few epochs of the tiny network."""
    return TrainParams(
        network="tiny", epochs=4, batch_size=32, learning_rate=0.01, warmup_epochs=0.5, patience=8, xla=False, seed=3
    )


@pytest.fixture(scope="session")
def model(workshop: Workshop, examples: Artifact, train_params: TrainParams) -> Artifact:
    return workshop.make(TRAIN, train_params, "model", examples=examples, adversarial=())["model"]


@pytest.fixture
def train_model(workshop: Workshop, examples: Artifact) -> Make:
    """A function that trains with parameters under a name."""

    def make(
        params: TrainParams,
        name: str,
        progress: Progress | None = None,
        adversarial: tuple[Artifact, ...] = (),
        baseline: tuple[Artifact, ...] = (),
    ) -> Artifact:
        return workshop.make(
            TRAIN, params, name, progress=progress, examples=examples, adversarial=adversarial, baseline=baseline
        )["model"]

    return make


@pytest.fixture(scope="session")
def clean(examples: Artifact) -> dict[Split, Records]:
    spec = ExamplesSpec.read(examples)
    return {split: list(records(example_uris(examples, spec, split))) for split in Split}


@pytest.fixture(scope="session")
def network(model: Artifact) -> keras.Model:
    return load_network(model.uri, model.digest)
