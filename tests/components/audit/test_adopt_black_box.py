"""A black box becomes a model artifact of which nothing but the answers is known, and the adoption says so."""

import numpy as np

from dermrobust.attacks.engine import to_images
from dermrobust.attacks.logits import logits_of
from dermrobust.components.artifacts import Artifact
from dermrobust.components.attack_targets import classifier_of, is_black_box
from dermrobust.components.audit.component import ADOPT_MODEL, AdoptModelParams
from dermrobust.components.foreign_files import ADOPTION, FOREIGN
from dermrobust.models.foreign.black_box import UPPER_BOUND
from dermrobust.models.foreign.spec import Adoption, ForeignSpec, OutputKind
from tests.components.conftest import Workshop
from tests.foreign_models import SIZE, learned
from tests.served_models import Served, serving
from tests.small_networks import colored_images


def test_a_served_model_is_adopted_by_its_answers(workshop: Workshop, adopted_images: Artifact) -> None:
    pixels, _ = colored_images(12, SIZE, seed=5)
    with serving(Served(learned(), SIZE, ("serving_default",), ("class_index",))) as url:
        made = workshop.make(ADOPT_MODEL, AdoptModelParams(model=url), "black box", examples=adopted_images)["model"]
        logits = logits_of(classifier_of(made), to_images(pixels), 12)

    spec = ForeignSpec.model_validate(made.read_json(FOREIGN))
    adoption = Adoption.model_validate(made.read_json(ADOPTION))
    assert is_black_box(made)
    assert (spec.format, spec.outputs) == ("rest", OutputKind.PROBABILITIES)
    assert spec.endpoint is not None and spec.endpoint.labels_only and spec.endpoint.files
    assert adoption.notes == (UPPER_BOUND,)
    assert {finding.name: finding.value for finding in adoption.findings}["input"] == "image files"
    np.testing.assert_array_equal(logits.argmax(axis=1), np.asarray(learned()(to_images(pixels))).argmax(axis=1))
