"""Models of the zoo: the function `dermrobust.load_model`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from dermrobust.pipeline.zoo.catalog import model_folder, zoo_folder
from dermrobust.pipeline.zoo.verifying import verified_model

if TYPE_CHECKING:
    import keras


def load_model(name: str | Path, *, zoo: str | Path | None = None) -> keras.Model:
    """Return a trained network of the zoo.

    It maps images float32 [n, height, width, 3] in [0, 1] to logits float32 [n, class_count], in the order of the
    card's `task.class_names`, as `dermrobust.attack(model, images, labels)` expects. Photographs must first be cropped
    and resized as the card's `preprocessing` says. Batch normalization and dropout are in inference mode with
    `model(images, training=False)` or `model.predict(images)`.

    Args:
        name: "<task>/<name>" as `dermrobust zoo list` prints it, the name alone where it is unique, or the path of a
            model's folder.
        zoo: folder of the zoo; default: the models that come with the package.

    Raises:
        UserError: there is no such model, or its file is not the one that its card describes.
    """
    path = verified_model(model_folder(zoo_folder(zoo), str(name)))
    from dermrobust.models.classifier import load_network

    return load_network(path)
