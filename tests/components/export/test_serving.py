"""Programs that serve a SavedModel get from the exported one what the network returns."""

import platform
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from dermrobust.components.artifacts import Artifact
from dermrobust.components.examples import ExamplesSpec
from tests.components.conftest import IMAGE_SIZE
from tests.components.export.conftest import Classify, Floats
from tests.components.export.images import image

JAVA_CLIENT = Path(__file__).parents[3] / "examples" / "serving" / "java"


@pytest.mark.parametrize("loader", ["classify", "classify_in_session"])
@pytest.mark.parametrize("count", [1, None])
def test_photographs_get_the_probabilities_of_the_network(
    loader: str,
    count: int | None,
    photographs: list[bytes],
    expected: Floats,
    examples: Artifact,
    request: pytest.FixtureRequest,
) -> None:
    classify: Classify = request.getfixturevalue(loader)

    answers = classify(photographs[:count])

    labels = expected[:count].argmax(axis=1)
    np.testing.assert_allclose(answers["probabilities"], expected[:count], atol=1e-5)
    np.testing.assert_array_equal(answers["class_index"], labels)
    names = ExamplesSpec.read(examples).class_names
    assert [name.decode() for name in answers["class"]] == [names[label] for label in labels]
    assert set(answers["status"]) == {b"ok"}


def test_the_networks_own_input_is_served_under_pixels(served: Any, network: keras.Model) -> None:
    signature = served.signatures["pixels"]
    images = np.random.default_rng(0).random((5, IMAGE_SIZE, IMAGE_SIZE, 3), dtype=np.float32)

    answer = signature(images=tf.constant(images))

    assert signature.structured_input_signature[1] == {
        "images": tf.TensorSpec([None, IMAGE_SIZE, IMAGE_SIZE, 3], tf.float32, "images")
    }
    np.testing.assert_allclose(answer["probabilities"], tf.nn.softmax(network(images, training=False)), atol=1e-5)
    assert answer.keys() == {"probabilities", "class", "class_index"}


@pytest.mark.slow
def test_saved_model_cli_classifies(exported: Artifact, classify: Classify, tmp_path: Path) -> None:
    content = image("PNG")
    np.save(tmp_path / "images.npy", np.array([content]))  # the end of a PNG is not zero, so that no byte is lost
    program = Path(sys.executable).with_name("saved_model_cli")
    signature = ("--tag_set", "serve", "--signature_def", "serving_default")
    files = ("--inputs", f"image_bytes={tmp_path / 'images.npy'}", "--outdir", str(tmp_path))

    done = subprocess.run(
        [str(program), "run", "--dir", exported.path("saved_model"), *signature, *files],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )

    assert done.returncode == 0, done.stderr[-2000:]
    np.testing.assert_allclose(np.load(tmp_path / "probabilities.npy"), classify([content])["probabilities"], atol=1e-5)


def maven(folder: Path, *arguments: str, seconds: float) -> subprocess.CompletedProcess[str]:
    # Maven waits for half an hour by default for a server that does not answer.
    command = ["mvn", "--batch-mode", "--quiet", "-Dmaven.wagon.rto=10000", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=seconds, check=False)


@pytest.fixture
def java_client(tmp_path: Path) -> Path:
    """The folder of the compiled client."""
    if shutil.which("mvn") is None or shutil.which("java") is None:
        pytest.skip("needs Maven and a Java virtual machine")
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        pytest.skip("the client's pom.xml names TensorFlow's library for Linux on x86-64")
    folder = tmp_path / "java"
    shutil.copytree(JAVA_CLIENT, folder, ignore=shutil.ignore_patterns("target"))
    try:
        # The goal `exec:help` brings the plugin, so that the test itself needs no network.
        built = maven(folder, "compile", "exec:help", seconds=180)
    except subprocess.TimeoutExpired:
        pytest.skip("Maven could not download the client's dependencies in time")
    if built.returncode != 0 and any(word in built.stdout for word in ("resolve", "transfer", "repositories")):
        pytest.skip(f"Maven could not download the client's dependencies: {built.stdout[:500]}")
    assert built.returncode == 0, built.stdout
    return folder


@pytest.mark.slow
def test_tensorflow_java_returns_what_python_does(
    java_client: Path, exported: Artifact, classify: Classify, photographs: list[bytes], tmp_path: Path
) -> None:
    images = [photographs[0], image("PNG"), image("JPEG")[:-9], image("BMP"), image("WEBP"), image("GIF")]
    paths = [tmp_path / str(number) for number in range(len(images))]
    for path, content in zip(paths, images, strict=True):
        path.write_bytes(content)
    arguments = " ".join(str(path) for path in (exported.path("saved_model"), *paths))

    done = maven(java_client, "--offline", "exec:java", f"-Dexec.args={arguments}", seconds=600)

    assert done.returncode == 0, done.stdout + done.stderr
    printed = done.stdout.replace("\033[0m", "")  # Maven resets the terminal's colors
    status, names, *probabilities = zip(*(line.split("\t") for line in printed.splitlines()), strict=True)
    expected = classify(images)
    assert list(status) == [value.decode() for value in expected["status"]]
    assert list(names) == [name.decode() for name in expected["class"]]
    np.testing.assert_allclose(np.array(probabilities, np.float32).T, expected["probabilities"], atol=1e-5)
