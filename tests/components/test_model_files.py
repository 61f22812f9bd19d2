"""Models are loaded once per process and content."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from dermrobust.components import model_files
from dermrobust.components.artifacts import Artifact
from dermrobust.models.classifier import load_network_bytes


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the threads that loaded a network; loading takes a moment, as it does."""
    threads: list[str] = []
    real = load_network_bytes

    def load(content: bytes) -> object:
        threads.append(threading.current_thread().name)
        time.sleep(0.2)
        return real(content)

    monkeypatch.setattr(model_files, "load_network_bytes", load)
    return threads


def test_threads_that_ask_at_once_get_the_same_network_loaded_once(model: Artifact, loads: list[str]) -> None:
    digest = f"{model.digest}, asked by threads"

    with ThreadPoolExecutor(4) as pool:
        networks = list(pool.map(lambda _: model_files.load_network(model.uri, digest), range(4)))

    assert len(loads) == 1
    assert all(network is networks[0] for network in networks)


def test_models_that_alternate_stay_loaded(model: Artifact, loads: list[str]) -> None:
    for _ in range(3):
        for digest in ("alternating one", "alternating two", "alternating three"):
            model_files.load_target(model.uri, digest, "float32")
            model_files.load_classifier(model.uri, digest)

    assert len(loads) == 3
