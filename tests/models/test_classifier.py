"""Networks on disk and in memory: saved reproducibly, loaded safely, attacked as functions of their weights."""

import subprocess
import sys
import zipfile
from pathlib import Path

import keras
import numpy as np
import numpy.typing as npt
import pytest

from dermrobust.attacks.logits import compiled_logits
from dermrobust.models.classifier import attack_target, load_network, load_network_bytes, save_network
from dermrobust.models.foreign.networks import read_network
from tests.small_networks import CLASS_COUNT, tiny_network

SIZE = 8


def images(count: int = 4) -> npt.NDArray[np.float32]:
    return np.random.default_rng(0).random((count, SIZE, SIZE, 3), dtype=np.float32)


def saved(folder: Path, seed: int, name: str = "model.keras") -> Path:
    path = folder / name
    save_network(tiny_network((SIZE, SIZE, 3), CLASS_COUNT, seed), path)
    return path


def test_equal_networks_are_saved_as_equal_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = saved(tmp_path, 0).read_bytes()
    monkeypatch.setattr("time.localtime", lambda *_: (2001, 2, 3, 4, 5, 6, 0, 0, 0))

    assert saved(tmp_path, 0, "another_name.keras").read_bytes() == first
    assert saved(tmp_path, 1).read_bytes() != first


@pytest.mark.slow
def test_another_process_saves_the_same_bytes(tmp_path: Path) -> None:
    script = (
        "import sys, pathlib, dermrobust.models.classifier as c, tests.small_networks as s;"
        f"c.save_network(s.tiny_network(({SIZE}, {SIZE}, 3), {CLASS_COUNT}, 0), pathlib.Path(sys.argv[1]))"
    )
    root = Path(__file__).parents[2]

    subprocess.run([sys.executable, "-c", script, str(tmp_path / "theirs.keras")], cwd=root, check=True)

    assert (tmp_path / "theirs.keras").read_bytes() == saved(tmp_path, 0).read_bytes()


def test_a_saved_file_holds_no_time_of_day(tmp_path: Path) -> None:
    with zipfile.ZipFile(saved(tmp_path, 0)) as archive:
        assert {entry.date_time for entry in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        assert b"date_saved" not in archive.read("metadata.json")


def test_saving_leaves_one_file(tmp_path: Path) -> None:
    saved(tmp_path, 0)

    assert list(tmp_path.iterdir()) == [tmp_path / "model.keras"]


def test_a_loaded_network_is_the_saved_one(tmp_path: Path) -> None:
    network = tiny_network((SIZE, SIZE, 3), CLASS_COUNT, 3)
    save_network(network, tmp_path / "model.keras")

    for loaded in (
        load_network(tmp_path / "model.keras"),
        load_network_bytes((tmp_path / "model.keras").read_bytes()),
    ):
        assert loaded.to_json() == network.to_json()
        for found, expected in zip(loaded.get_weights(), network.get_weights(), strict=True):
            np.testing.assert_array_equal(found, expected)
        np.testing.assert_array_equal(loaded(images(), training=False), network(images(), training=False))


def test_weights_are_compressed_and_stay_what_they_are(tmp_path: Path) -> None:
    network = keras.Sequential([keras.Input((128,)), keras.layers.Dense(512, name="dense")])
    # 16 of 32 bits are zero, as in weights that were rounded to bfloat16.
    kernel = (network.get_weights()[0].view(np.uint32) & np.uint32(0xFFFF0000)).view(np.float32)
    network.set_weights([kernel, network.get_weights()[1]])

    save_network(network, tmp_path / "model.keras")

    assert (tmp_path / "model.keras").stat().st_size < 0.6 * kernel.nbytes
    for found, expected in zip(
        load_network(tmp_path / "model.keras").get_weights(), network.get_weights(), strict=True
    ):
        np.testing.assert_array_equal(found, expected)


def test_weights_that_would_look_like_an_archive_bomb_are_not_compressed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dermrobust.models.foreign.networks.SMALL", 0)
    dense = keras.layers.Dense(512, kernel_initializer="zeros", name="dense")

    save_network(keras.Sequential([keras.Input((128,)), dense]), tmp_path / "model.keras")

    assert not read_network(tmp_path / "model.keras").get_layer("dense").kernel.numpy().any()


@pytest.mark.parametrize("name", ["model.h5", "model.hdf5", "model.pkl", "model", "model.keras.h5"])
def test_only_keras_files_are_loaded(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(saved(tmp_path, 0).read_bytes())

    with pytest.raises(ValueError, match=r"not a \.keras file"):
        load_network(path)


def test_an_h5_file_under_another_name_is_refused(tmp_path: Path) -> None:
    tiny_network((SIZE, SIZE, 3), CLASS_COUNT, 0).save(tmp_path / "model.h5")
    (tmp_path / "model.h5").rename(tmp_path / "model.keras")

    with pytest.raises(ValueError, match=r"model\.keras"):
        load_network(tmp_path / "model.keras")


def test_code_inside_a_model_never_runs(tmp_path: Path) -> None:
    traces = tmp_path / "it_ran"
    layer = keras.layers.Lambda(
        lambda x, path: (open(path, "w"), x)[1],  # noqa: PTH123, SIM115
        output_shape=(2,),
        arguments={"path": str(traces)},
    )
    keras.Sequential([keras.Input((2,)), layer]).save(tmp_path / "hostile.keras")
    keras.models.load_model(tmp_path / "hostile.keras", safe_mode=False)(np.zeros((1, 2)))
    assert traces.exists()  # so hostile is what it would be
    traces.unlink()

    with pytest.raises(ValueError, match=r"[Ll]ambda"):
        load_network(tmp_path / "hostile.keras")

    assert not traces.exists()


def test_the_logits_under_attack_are_the_networks_in_inference_mode() -> None:
    network = tiny_network((SIZE, SIZE, 3), CLASS_COUNT, 0)
    for _ in range(3):  # batch statistics and dropout would now make another answer
        network(images(32), training=True)
    target = attack_target(network)

    expected = network(images(), training=False)

    np.testing.assert_allclose(target.logits(target.weights, images()), expected, atol=1e-6)
    np.testing.assert_allclose(compiled_logits(target.logits)(target.weights, images()), expected, atol=1e-6)


def test_models_of_one_architecture_share_their_logits_but_not_their_weights() -> None:
    one, two = (attack_target(tiny_network((SIZE, SIZE, 3), CLASS_COUNT, seed)) for seed in (0, 1))
    other = attack_target(tiny_network((2 * SIZE, 2 * SIZE, 3), CLASS_COUNT, 0))

    assert one.logits is two.logits
    assert compiled_logits(one.logits) is compiled_logits(two.logits)
    assert one.logits is not other.logits


def test_shared_logits_follow_the_weights_that_they_are_given() -> None:
    networks = [tiny_network((SIZE, SIZE, 3), CLASS_COUNT, 0) for _ in range(2)]
    networks[1].set_weights([weight + 0.1 for weight in networks[1].get_weights()])

    for network in networks:
        target = attack_target(network)
        answer = target.logits(target.weights, images())
        np.testing.assert_allclose(answer, network(images(), training=False), rtol=1e-6, atol=1e-6)


def test_a_target_keeps_the_weights_of_its_time() -> None:
    """A model under attack does not change while another epoch trains it."""
    network = tiny_network((SIZE, SIZE, 3), CLASS_COUNT, 0)
    target = attack_target(network)
    before = np.asarray(target.logits(target.weights, images()))

    network.set_weights([weight + 0.1 for weight in network.get_weights()])

    np.testing.assert_array_equal(target.logits(target.weights, images()), before)
