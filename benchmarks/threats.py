"""Adaptive search under threat models beyond a norm, beside random draws of the same strength, on one class.

    HAM10000_DIR=… python -m benchmarks.threats [--model ham10000/robust] [--threat colour+geometry:0.5] [--class mel]
        [--images 500] [--draws 200] [--root DIR] [--json FILE]

The test images of the class come first, then those of validation and training where the test split has too few of them
(HAM10000's has 191 melanomas); the output says how many of each. The model has been trained on the latter, so
its accuracy on them says nothing about generalization; time and the difference between searches do not depend on it.
Images are read through `dermrobust run --to preprocess` with the model's own config, which is kept below the root.
Exit code 1 if the adaptive search leaves as much accuracy as random draws, or more.
"""

from __future__ import annotations

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import dermrobust
from benchmarks.measure import dermrobust as command
from benchmarks.measure import machine, measure
from dermrobust.attacks.engine import to_images
from dermrobust.attacks.logits import logits_of
from dermrobust.attacks.transforms.engine import search_seeds, transform_pixels
from dermrobust.attacks.transforms.search import Search
from dermrobust.attacks.transforms.selection import read_search
from dermrobust.attacks.transforms.threat import TransformThreat
from dermrobust.components.artifacts import Artifact, ArtifactType
from dermrobust.components.examples import Batch, ExamplesSpec, Split, read_shard, shard_uris
from dermrobust.models.classifier import attack_target
from dermrobust.models.task import IMAGE_ID
from dermrobust.pipeline.zoo.catalog import model_folder, zoo_folder

_CONFIG = "config.json"
"""Config beside a model of the zoo that repeats its training."""


def class_images(model: str, class_name: str, count: int, root: Path) -> tuple[dict[Split, Batch], int]:
    """Return at most so many images of a class by split, those of the test split first, and the class's label."""
    config = model_folder(zoo_folder(None), model) / _CONFIG
    options = ("--config", str(config), "--set", f"root={root.resolve()}", "--json")
    nodes = json.loads(measure(command("run", "--to", "preprocess", *options)).output)["nodes"]
    uri = next(node["outputs"]["examples"] for node in nodes if node["node"] == "preprocess")
    examples = Artifact(ArtifactType.EXAMPLES, "", "", uri)
    spec = ExamplesSpec.read(examples)
    label = spec.class_names.index(class_name)
    found: dict[Split, Batch] = {}
    for split in (Split.TEST, Split.VALIDATION, Split.TRAIN):
        missing = count - sum(len(batch.labels) for batch in found.values())
        if missing > 0:
            found[split] = _of_class(shard_uris(examples, spec, split), spec, label).first(missing)
    return found, label


def _of_class(uris: Sequence[str], spec: ExamplesSpec, label: int) -> Batch:
    pixels, ids = [], []
    for uri in uris:
        for batch in read_shard(uri, spec.task):
            chosen = np.flatnonzero(batch.labels == label)
            pixels.append(batch.pixels[chosen])
            ids += [batch.columns[IMAGE_ID][place] for place in chosen]
    return Batch(np.concatenate(pixels), np.full(len(ids), label), {IMAGE_ID: ids})


def searched(
    target: Any, threat: TransformThreat, searches: dict[str, Search], batch: Batch
) -> Iterator[dict[str, Any]]:
    """Yield for each search its accuracy on the images, and its seconds."""
    for name, search in searches.items():
        seeds = search_seeds(batch.columns[IMAGE_ID], search=name, threat=threat, seed=0)
        started = time.perf_counter()
        found = transform_pixels(search, target, batch.pixels, batch.labels, seeds, threat=threat)
        seconds = time.perf_counter() - started
        right = _right(target, found.pixels, batch)
        yield {"search": name, "right": int(right.sum()), "accuracy": float(right.mean()), "seconds": seconds}


def _right(target: Any, pixels: Any, batch: Batch) -> Any:
    return logits_of(target.exact or target, to_images(pixels), 128).argmax(axis=1) == batch.labels


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="ham10000/robust", help="Model of the zoo.")
    parser.add_argument("--threat", default="colour+geometry:0.5", help="Threat model beyond a norm.")
    parser.add_argument("--class", dest="class_name", default="mel", help="Class of the images.")
    parser.add_argument("--images", type=int, default=500, help="Number of images.")
    parser.add_argument("--draws", type=int, default=200, help="Random draws of each image.")
    parser.add_argument("--adaptive", type=json.loads, default={}, help="Parameters of the adaptive search, as JSON.")
    parser.add_argument("--root", type=Path, default=Path(tempfile.gettempdir(), "dermrobust-threats"))
    parser.add_argument("--json", type=Path, help="File to write the results to.")
    return parser.parse_args()


def main() -> int:
    """Measure, print, and compare."""
    arguments = _arguments()
    threat = TransformThreat.parse(arguments.threat)
    splits, _ = class_images(arguments.model, arguments.class_name, arguments.images, arguments.root)
    counts = {str(split): len(batch.labels) for split, batch in splits.items()}
    batch = Batch(
        np.concatenate([part.pixels for part in splits.values()]),
        np.concatenate([part.labels for part in splits.values()]),
        {IMAGE_ID: [name for part in splits.values() for name in part.columns[IMAGE_ID]]},
    )
    target = attack_target(dermrobust.load_model(arguments.model))
    searches = {
        "adaptive": read_search({"search": "adaptive", **arguments.adaptive}),
        "random": read_search({"search": "random", "draws": arguments.draws}),
        "grid": read_search("grid"),
    }
    clean = _right(target, batch.pixels, batch)
    print(f"{machine()}; {arguments.model}, {threat}, class {arguments.class_name}: {counts}, clean {clean.mean():.3f}")
    results = []
    for row in searched(target, threat, searches, batch):
        print(f"{row['search']:>9}: accuracy {row['accuracy']:.3f} ({row['right']} right), {row['seconds']:.1f} s")
        results.append(row)
    found = {row["search"]: row["accuracy"] for row in results}
    if arguments.json:
        about = {"machine": machine(), "model": arguments.model, "threat": str(threat), "images": counts}
        arguments.json.write_text(json.dumps({**about, "clean": float(clean.mean()), "results": results}, indent=1))
    return int(found["adaptive"] >= found["random"])


if __name__ == "__main__":
    sys.exit(main())
