"""Colours, curves and differences: what a picture says is what was measured."""

from __future__ import annotations

import base64
import io
import itertools

import numpy as np
import pytest
from PIL import Image

from dermrobust.components.evaluation.reading import Evaluation
from dermrobust.components.evaluation.rows import Figure
from dermrobust.pipeline.report import colors
from dermrobust.pipeline.report.charts import COLORS, Series, line_chart, look
from dermrobust.pipeline.report.images import triptych
from dermrobust.pipeline.report.panels.curve import robustness_chart
from tests.pipeline.report.evaluations import png


def pixels(uri: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.removeprefix("data:image/png;base64,")))))


def test_every_step_of_the_heat_map_can_be_read() -> None:
    for step in range(colors.STEPS + 1):
        background, text = colors.shade(step)
        assert colors.contrast(background, text) >= 4.5


def test_lighter_is_better_whichever_way_a_metric_goes() -> None:
    lightness = [colors.contrast(colors.shade(step)[0], (0, 0, 0)) for step in range(colors.STEPS + 1)]
    assert lightness == sorted(lightness)
    assert colors.step(0.9) > colors.step(0.2)
    assert colors.step(0.9, more_is_better=False) < colors.step(0.2, more_is_better=False)


def test_lines_stand_out_from_paper_and_no_two_look_alike() -> None:
    for color in COLORS:
        rgb = (int(color[1:3], 16), int(color[3:5], 16), int(color[5:7], 16))
        assert colors.contrast(rgb, (255, 255, 255)) >= 4.5
    assert len({look(index) for index in range(12)}) == 12


def test_a_curve_lies_where_the_figures_are(evaluation: Evaluation) -> None:
    chart = robustness_chart(evaluation, "accuracy", "worst_case")
    assert [line.name for line in chart.lines] == [*evaluation.about.models, "constant"]
    for line in chart.lines:
        for mark, (attack, epsilon) in zip(
            line.marks, [("none", 0.0), *(("worst_case", e) for e in evaluation.about.epsilons)], strict=True
        ):
            figure = evaluation.figure(line.name, attack, epsilon, "accuracy")
            assert figure is not None
            height = (chart.frame.bottom - mark.y) / (chart.frame.bottom - chart.frame.top)
            assert height == pytest.approx(figure.value, abs=0.001)
            assert f"{figure.value:.3f}" in mark.text
        assert line.band


def test_names_at_the_ends_of_lines_do_not_cover_each_other() -> None:
    series = [Series(f"model {i}", ((0, Figure(0.5, 9)), (1, Figure(0.01, 9)))) for i in range(6)]
    places = sorted(line.label_y for line in line_chart("t", "y", "x", series, [(0, "0"), (1, "1")]).lines)
    assert all(b - a >= 15 for a, b in itertools.pairwise(places))


def test_a_difference_is_amplified_around_grey() -> None:
    made = triptych(png(1), png(1, shift=4))
    assert made is not None
    assert (made.largest, made.amplification, made.reduced) == (4, 31, False)
    change = pixels(made.adversarial).astype(int) - pixels(made.clean).astype(int)
    assert np.array_equal(pixels(made.difference), 128 + 31 * change)


def test_images_that_did_not_change_are_grey() -> None:
    made = triptych(png(1), png(1))
    assert made is not None and made.amplification == 1
    assert (pixels(made.difference) == 128).all()


def test_large_images_are_shown_smaller() -> None:
    made = triptych(png(1, side=224), png(1, side=224, shift=2))
    assert made is not None and made.reduced
    assert pixels(made.clean).shape[0] == 96


@pytest.mark.parametrize("bad", [b"", b"not a png", png(2, side=32)])
def test_images_that_cannot_be_compared_are_left_out(bad: bytes) -> None:
    assert triptych(png(1), bad) is None
