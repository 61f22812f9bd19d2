"""Names of the stages; this module imports no component, so that `--help` is quick."""

STAGES = ("ingest", "preprocess", "train", "augment", "evaluate", "export")
"""Stages in their order. `train` covers the baseline and online defences, `augment` the adversarial examples and the
models that are trained on them."""
