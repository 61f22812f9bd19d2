"""Networks that start from pretrained weights of installed packages."""

import pickle
import struct
from collections import OrderedDict
from pathlib import Path
from typing import Literal

import keras
import numpy as np
import numpy.typing as npt
import onnx
import pytest
import tensorflow as tf
from onnx.reference import ReferenceEvaluator
from pydantic import ValidationError
from sklearn.datasets import load_sample_images

from dermrobust.attacks.errors import UserError
from dermrobust.models.networks import efficientnet_lite, thin_resnet50
from dermrobust.models.networks.efficientnet_lite import EfficientNetLite
from dermrobust.models.networks.network import HEAD
from dermrobust.models.networks.thin_resnet50 import ThinResNet50
from dermrobust.models.pretrained.packages import PackagedFile
from dermrobust.models.pretrained.torch_file import read_tensors

SIZE = 224
PALACE, DAISY = 698, 985
"""Classes of ImageNet that scikit-learn's two photographs show."""


@pytest.fixture(scope="module")
def photographs() -> npt.NDArray[np.float32]:
    images = [image[:426, 107:533] / 255.0 for image in load_sample_images().images]
    return np.stack([tf.image.resize(image, (SIZE, SIZE)).numpy() for image in images]).astype(np.float32)


@pytest.mark.parametrize("batch_normalization", ["folded", "trained"])
def test_efficientnet_lite_recognizes_photographs_with_its_published_head(
    photographs: npt.NDArray[np.float32], batch_normalization: Literal["folded", "trained"]
) -> None:
    network = EfficientNetLite(batch_normalization=batch_normalization).build((SIZE, SIZE, 3), 1000, 0)
    published = read_tensors(efficientnet_lite._file("lite0").path())
    network.get_layer(HEAD).set_weights([published["_fc.weight"].T, published["_fc.bias"]])

    assert np.argmax(network(photographs, training=False), axis=1).tolist() == [PALACE, DAISY]


def test_thin_resnet50_computes_what_the_onnx_reference_computes(photographs: npt.NDArray[np.float32]) -> None:
    model = onnx.load(thin_resnet50._OPEN_NSFW.path())
    tensors = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    dense = next(node for node in model.graph.node if node.op_type == "MatMul")
    bias = next(value for value in tensors.values() if value.shape == (2,))
    network = ThinResNet50().build((SIZE, SIZE, 3), 2, 0)
    network.get_layer(HEAD).set_weights([tensors[dense.input[1]], bias])

    blue_first = photographs[..., ::-1] * 255 - np.array([104, 117, 123], np.float32)
    (output,) = ReferenceEvaluator(model).run(None, {model.graph.input[0].name: blue_first.astype(np.float32)})
    expected = np.asarray(output)

    np.testing.assert_allclose(keras.ops.softmax(network(photographs, training=False)), expected, atol=1e-5)


def test_folding_batch_normalization_changes_features_by_rounding_alone() -> None:
    images = np.random.default_rng(0).random((2, 64, 64, 3), dtype=np.float32)
    networks = [EfficientNetLite(batch_normalization=each) for each in ("folded", "trained")]
    folded, trained = (
        keras.Model(net.input, net.layers[-2].output) for net in (n.build((64, 64, 3), 3, 0) for n in networks)
    )

    np.testing.assert_allclose(folded(images), trained(images, training=False), rtol=1e-3, atol=1e-4)
    assert not any(isinstance(layer, keras.layers.BatchNormalization) for layer in folded.layers)


def test_random_weights_without_batch_normalization_are_refused() -> None:
    with pytest.raises(ValidationError, match="set it to 'trained'"):
        EfficientNetLite(weights=None)


@pytest.mark.parametrize("network", [EfficientNetLite(), ThinResNet50()])
def test_only_the_head_depends_on_the_seed(network: EfficientNetLite | ThinResNet50) -> None:
    one, two = (network.build((32, 32, 3), 3, seed) for seed in (0, 1))

    assert network.pretrained
    for layer, other in zip(one.layers, two.layers, strict=True):
        same = all(np.array_equal(a, b) for a, b in zip(layer.get_weights()[:1], other.get_weights()[:1], strict=True))
        assert same == (layer.name != HEAD)


def test_weights_that_are_not_installed_are_named_with_the_command_that_installs_them() -> None:
    file = PackagedFile("no-such-distribution", "weights.pth", "0" * 64, "pip install weights")

    with pytest.raises(UserError, match="not installed: pip install weights"):
        file.path()


def test_other_weights_than_expected_are_refused() -> None:
    file = PackagedFile("click", "METADATA", "0" * 64, "pip install click")

    with pytest.raises(UserError, match=r"is not the file that this network was written for.*pip install click"):
        file.path()


def checkpoint(path: Path, *, state: object, storages: dict[str, npt.NDArray[np.float32]], magic: int) -> Path:
    """A PyTorch checkpoint whose object is already pickled or anything else."""
    with path.open("wb") as file:
        for value in (magic, 1001, {"little_endian": True}, state, list(storages)):
            pickle.dump(value, file, protocol=2)
        for storage in storages.values():
            file.write(struct.pack("<q", storage.size) + storage.tobytes())
    return path


MAGIC = 0x1950A86A20F9469CFC6C


class Runs:
    """Runs a function when it is unpickled."""

    def __reduce__(self) -> tuple[object, ...]:
        return print, ("code of the file ran",)


def test_a_checkpoint_that_would_run_code_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = checkpoint(tmp_path / "a.pth", state={"a": Runs()}, storages={}, magic=MAGIC)

    with pytest.raises(ValueError, match=r"__builtin__\.print, which is no tensor"):
        read_tensors(path)
    assert "ran" not in capsys.readouterr().out


@pytest.mark.parametrize("length", [0, 10, 40])
def test_a_damaged_checkpoint_is_refused(tmp_path: Path, length: int) -> None:
    path = checkpoint(tmp_path / "a.pth", state=OrderedDict(), storages={}, magic=MAGIC)
    path.write_bytes(path.read_bytes()[:length])

    with pytest.raises(ValueError, match="is not a PyTorch checkpoint"):
        read_tensors(path)


def test_a_file_of_another_format_is_refused(tmp_path: Path) -> None:
    path = checkpoint(tmp_path / "a.pth", state=OrderedDict(), storages={}, magic=1)

    with pytest.raises(ValueError, match="magic number"):
        read_tensors(path)


def test_a_truncated_storage_is_refused(tmp_path: Path) -> None:
    whole = efficientnet_lite._file("lite0").path()
    cut = tmp_path / "cut.pth"
    cut.write_bytes(whole.read_bytes()[:-1000])

    with pytest.raises(ValueError, match="ends within a storage"):
        read_tensors(cut)
