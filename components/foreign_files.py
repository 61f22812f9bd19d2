"""File names of an adopted model's artifact, beside those of every model; see `model_files`."""

from dermrobust.components.artifacts import LOGS

FOREIGN = "foreign.json"
"""Input and outputs of an adopted model; see `dermrobust.models.foreign.spec.ForeignSpec`."""
ADOPTION = f"{LOGS}adoption.json"
"""Findings: of a model see `dermrobust.models.foreign.spec.Adoption`, of images a list of remarks."""
ONNX = "model.onnx"
"""An adopted ONNX file, in place of a network."""
SAVED_MODEL = "saved_model"
"""Folder of an adopted SavedModel, in place of a network."""
