"""A small network that can be attacked, shared by the tests of attacks."""

import dataclasses
from dataclasses import dataclass

import keras
import pytest

from attacks.attack import Labels
from attacks.engine import to_images
from attacks.target import Target
from attacks.threat import Images, Pixels
from models.classifier import attack_target
from tests.small_networks import colored_images, trained_network


@dataclass(frozen=True, repr=False)
class Victim:
    """A trained network with images that it classifies well."""

    network: keras.Model
    target: Target
    pixels: Pixels
    labels: Labels

    @property
    def images(self) -> Images:
        return to_images(self.pixels)


@pytest.fixture(scope="session")
def victim() -> Victim:
    pixels, labels = colored_images(96)
    network = trained_network(pixels, labels)
    return Victim(network, attack_target(network), pixels, labels)


@pytest.fixture
def few(victim: Victim) -> Victim:
    """The same with few images: signs of gradients that are zero but for rounding are then unlikely."""
    return dataclasses.replace(victim, pixels=victim.pixels[:16], labels=victim.labels[:16])
