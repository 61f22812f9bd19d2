"""The gate's verdict on the model that is to be exported."""

from __future__ import annotations

from dermrobust.components.artifacts import Artifact
from dermrobust.components.component import Refused
from dermrobust.components.evaluation import files
from dermrobust.components.evaluation.blessing import Blessing


def read_blessing(artifact: Artifact) -> Blessing:
    """Return the content of a blessing artifact.

    Raises:
        Refused: the model is not blessed; with the reason for each threshold that it misses.
    """
    blessing = Blessing.model_validate(artifact.read_json(files.BLESSING))
    if blessing.blessed:
        return blessing
    unjudged = [verdict.reason for verdict in blessing.thresholds if not verdict.judged]
    failed = [verdict.reason for verdict in blessing.thresholds if verdict.judged and not verdict.passed]
    # Thresholds that could not be judged are a reason only where nothing else is: such as if none could be.
    reasons = [*failed, *blessing.checks] or unjudged
    lines = "".join(f"\n  {reason}" for reason in reasons)
    raise Refused(f"export: '{blessing.candidate}' is not blessed, so nothing is exported:{lines}")
