"""What the exported model says of each image file, while others of the same batch are good."""

import io

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from dermrobust.components.export.decoding import decode_each
from dermrobust.models.pixels import from_encoded
from dermrobust.models.preprocessing import Preprocessing
from tests.components.export.conftest import Classify
from tests.components.export.images import claiming, image
from tests.small_networks import CLASS_COUNT

FORMATS = ("JPEG", "PNG", "BMP", "GIF")
GOOD = [image(format_) for format_ in FORMATS]

BAD = {
    b"": "empty",
    b"photograph": "not a JPEG, PNG, BMP or GIF image",
    b"\xff": "not a JPEG, PNG, BMP or GIF image",
    image("WEBP"): "WebP is not supported: send JPEG, PNG, BMP or GIF",
    image("TIFF"): "TIFF is not supported: send JPEG, PNG, BMP or GIF",
    b"MM\0*" + bytes(100): "TIFF is not supported: send JPEG, PNG, BMP or GIF",
    b"\0\0\0\x18ftypheic" + bytes(100): "HEIC is not supported: send JPEG, PNG, BMP or GIF",
    **{
        content[: len(content) // 2]: f"truncated or damaged {name} image"
        for name, content in zip(FORMATS, GOOD, strict=True)
    },
    **{content[:8]: f"truncated or damaged {name} image" for name, content in zip(FORMATS, GOOD, strict=True)},
    image("JPEG")[:-2]: "truncated or damaged JPEG image",
    image("PNG")[:-12]: "truncated or damaged PNG image",
    **{claiming(name, 9000, 9000): "too large: more than 50000000 pixels" for name in FORMATS},
    claiming("BMP", -9000, 9000): "too large: more than 50000000 pixels",
    claiming("PNG", 5000, 10_001): "too large: more than 50000000 pixels",
    claiming("PNG", 5000, 10_000): "truncated or damaged PNG image",
}


@pytest.fixture(params=["classify", "classify_in_session"])
def any_classify(request: pytest.FixtureRequest) -> Classify:
    classify: Classify = request.getfixturevalue(request.param)
    return classify


def test_a_bad_image_gets_its_reason_and_the_others_their_answers(any_classify: Classify) -> None:
    alone = any_classify(GOOD)

    answers = any_classify([GOOD[0], *BAD, *GOOD[1:]])

    assert [status.decode() for status in answers["status"]] == ["ok", *BAD.values(), "ok", "ok", "ok"]
    good = [0, *range(-3, 0)]
    for name, values in alone.items():
        np.testing.assert_array_equal(answers[name][good], values)
    bad = slice(1, 1 + len(BAD))
    assert np.isnan(answers["probabilities"][bad]).all()
    assert set(answers["class_index"][bad]) == {-1}
    assert set(answers["class"][bad]) == {b""}


def test_a_request_of_bad_images_alone_is_answered(any_classify: Classify) -> None:
    answers = any_classify([b"", b"x"])

    assert answers["status"].tolist() == [b"empty", b"not a JPEG, PNG, BMP or GIF image"]
    assert answers["probabilities"].shape == (2, CLASS_COUNT)


@pytest.mark.parametrize("format_", FORMATS)
@pytest.mark.parametrize(("height", "width"), [(30, 50), (50, 30), (8, 300), (1, 1)])
def test_images_of_each_format_and_shape_are_classified(
    format_: str, height: int, width: int, classify: Classify
) -> None:
    answers = classify([image(format_, height, width)])

    assert answers["status"].tolist() == [b"ok"]
    assert answers["probabilities"].sum() == pytest.approx(1, abs=1e-5)


def test_the_first_frame_of_a_gif_is_classified(classify: Classify) -> None:
    frames = [Image.new("RGB", (40, 30), color) for color in ("red", "blue")]
    buffer = io.BytesIO()
    frames[0].save(buffer, "GIF", save_all=True, append_images=frames[1:])
    first = io.BytesIO()
    frames[0].save(first, "GIF")

    moving, still = classify([buffer.getvalue(), first.getvalue()])["probabilities"]

    np.testing.assert_array_equal(moving, still)


@pytest.mark.parametrize(("size", "constancy"), [(24, "none"), (24, "shades_of_gray"), ((16, 40), "none")])
def test_preprocessing_is_that_of_training_to_the_bit(size: int | tuple[int, int], constancy: str) -> None:
    preprocessing = Preprocessing.model_validate({"image_size": size, "color_constancy": constancy})
    images = [*GOOD, image("JPEG", 200, 90), image("PNG", 7, 300)]

    pixels, status = decode_each(tf.constant([*images, b"bad"]), preprocessing)

    assert status.numpy().tolist() == [b"ok"] * len(images) + [b"not a JPEG, PNG, BMP or GIF image"]
    np.testing.assert_array_equal(pixels[:-1], [from_encoded(tf.constant(one), preprocessing) for one in images])
    assert not pixels[-1].numpy().any()


@settings(max_examples=40)
@given(data=st.data())
def test_no_damage_makes_a_request_fail(data: st.DataObject, classify: Classify) -> None:
    content = bytearray(data.draw(st.sampled_from(GOOD)))
    for place, value in data.draw(
        st.lists(st.tuples(st.integers(0, len(content) - 1), st.integers(0, 255)), max_size=5)
    ):
        content[place] = value
    damaged = bytes(content[: data.draw(st.integers(0, len(content)))])

    answers = classify([damaged, GOOD[0]])

    assert answers["status"][1] == b"ok"
    np.testing.assert_array_equal(np.isfinite(answers["probabilities"]).all(axis=1), answers["status"] == b"ok")
