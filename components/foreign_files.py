"""Names of the files of a model artifact that was trained elsewhere, beside those of every model; see `model_files`."""

from dermrobust.components.artifacts import LOGS

FOREIGN = "foreign.json"
"""How an adopted model is called; see `dermrobust.models.foreign.spec.ForeignSpec`."""
ADOPTION = f"{LOGS}adoption.json"
"""What was found out, and how: of a model see `models.foreign.spec.Adoption`, of images a list of remarks."""
SAVED_MODEL = "saved_model"
"""Folder of an adopted SavedModel, in place of a network."""
