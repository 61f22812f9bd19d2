"""Pictures of the README: the first screen of the default run's report, and a chart of its result.

    make run
    python -m benchmarks.pictures [--root output]

It needs Chromium.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import matplotlib as mpl
from PIL import Image

from dermrobust import Evaluation, load_evaluation
from dermrobust.components.evaluation.names import CLEAN, WORST_CASE
from dermrobust.pipeline.report.charts import COLORS

mpl.use("agg")
from matplotlib import pyplot as plt

FOLDER = Path(__file__).parents[1] / "docs" / "images"
_WIDTH, _HEIGHT = 1280, 800
_MODELS = {
    "vanilla": "undefended",
    "static": "trained on stored\nattacks (static)",
    "online": "trained against\nits own attacks (online)",
}
_ATTACKS = {
    CLEAN: "clean images",
    "transfer": "attacked on the undefended model",
    WORST_CASE: "attacked on the model itself",
}


def main() -> int:
    """Write `report.png` and `result.svg`."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=Path, default=Path("output"), help="root of a run of the embedded default")
    options = parser.parse_args()
    FOLDER.mkdir(exist_ok=True)
    draw_result(load_evaluation(options.root), FOLDER / "result.svg")
    photograph(options.root / "report" / "report.html", FOLDER / "report.png")
    return 0


def draw_result(evaluation: Evaluation, path: Path) -> None:
    """Draw balanced accuracy of the models with 95 % intervals, clean and under the largest budget."""
    budget = evaluation.about.epsilons[-1]
    # Without a date and with named elements, so that the same figures give the same file.
    mpl.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "dermrobust", "font.family": "sans-serif"})
    figure, axes = plt.subplots(figsize=(8, 3.2), layout="constrained")
    for index, (attack, label) in enumerate(_ATTACKS.items()):
        for place, model in enumerate(_MODELS):
            found = evaluation.figure(model, attack, 0.0 if attack == CLEAN else budget, "balanced_accuracy")
            assert found is not None and found.lower is not None and found.upper is not None
            across = place + 0.26 * (index - 1)
            error = [[found.value - found.lower], [found.upper - found.value]]
            axes.bar(
                across,
                found.value,
                width=0.24,
                yerr=error,
                label=label if place == 0 else None,
                color=COLORS[index],
                error_kw={"elinewidth": 1, "ecolor": "#1a2433"},
            )
            axes.text(across, 0.02, f"{found.value:.2f}", ha="center", color="white", fontsize=9)
    chance = 1 / len(evaluation.about.task.class_names)
    axes.axhline(chance, color="#1a2433", linewidth=1, linestyle="--")
    axes.text(2.44, chance + 0.01, "guessing", fontsize=8)
    axes.set_xticks(range(len(_MODELS)), list(_MODELS.values()))
    axes.set_ylabel("balanced accuracy")
    axes.set_ylim(0, 1)
    axes.set_title(
        f"Drawn images, L-infinity budget {budget:g}/255, {evaluation.about.images} test images", fontsize=10
    )
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_xlim(-0.5, 2.7)
    figure.legend(frameon=False, fontsize=8, ncols=3, loc="outside lower center")
    figure.savefig(path, metadata={"Date": None})


def photograph(page: Path, path: Path) -> None:
    """Save the first screen of a page as a PNG of 64 colors."""
    with tempfile.TemporaryDirectory() as folder:
        shot = Path(folder, "shot.png")
        arguments = ["--headless", "--no-sandbox", "--hide-scrollbars", f"--window-size={_WIDTH},{_HEIGHT}"]
        command = ["chromium", *arguments, f"--screenshot={shot}", page.resolve().as_uri()]
        subprocess.run(command, check=True, capture_output=True, timeout=120)
        with Image.open(shot) as image:
            image.convert("RGB").quantize(64).save(path, optimize=True)


if __name__ == "__main__":
    sys.exit(main())
