"""The stages of the pipeline in their order, each a command; apart from the graph, which imports the components."""

STAGES = ("ingest", "preprocess", "train", "augment", "evaluate", "export")
"""What a stage's command runs; `train` the baseline, `augment` the adversarial examples and the hardened models."""
