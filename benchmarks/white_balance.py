"""Spread of white balance over HAM10000, from which the reach of `red` and `blue` of the threat `colour` is taken.

    HAM10000_DIR=… python -m benchmarks.white_balance [--images N]

The illuminant of an image is estimated by shades of gray (Minkowski norm of order 6), as Galdran et al. 2017 (arXiv
1703.03702) do to draw color augmentations of dermoscopic images. Prints percentiles of red and blue relative to green,
as factors of the median.
"""

from __future__ import annotations

import argparse
import os
import random
import zipfile
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

_ARCHIVES = ("HAM10000_images_part_1.zip", "HAM10000_images_part_2.zip")
_SIZE = (150, 112)
"""Images are decoded at a quarter of their size, which changes their mean color little and is quick."""
_ORDER = 6


def illuminants(folder: Path, count: int) -> npt.NDArray[np.float64]:
    """Return the estimated illuminants of so many images drawn at random: float64 [image, 3]."""
    archives = [zipfile.ZipFile(folder / name) for name in _ARCHIVES]
    files = [(archive, name) for archive in archives for name in sorted(archive.namelist()) if name.endswith(".jpg")]
    chosen = random.Random(0).sample(files, min(count, len(files)))
    return np.stack([_illuminant(archive, name) for archive, name in chosen])


def _illuminant(archive: zipfile.ZipFile, name: str) -> npt.NDArray[np.float64]:
    with archive.open(name) as file, Image.open(file) as image:
        image.draft("RGB", _SIZE)
        values = np.asarray(image.convert("RGB"), np.float64) / 255
    return np.asarray((values**_ORDER).mean(axis=(0, 1)) ** (1 / _ORDER))


def main() -> None:
    """Print the percentiles."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=1500, help="Number of images.")
    found = illuminants(Path(os.environ["HAM10000_DIR"]), parser.parse_args().images)
    percentiles = (5, 25, 75, 95)
    print(f"{len(found)} images; percentiles {percentiles} as factors of the median")
    for name, channel in (("red / green", 0), ("blue / green", 2)):
        ratio = found[:, channel] / found[:, 1]
        spread = np.percentile(ratio / np.median(ratio), percentiles)
        print(f"{name}: {', '.join(f'{value:.3f}' for value in spread)}")


if __name__ == "__main__":
    main()
