"""The gate's verdict on the model that is to be exported."""

from __future__ import annotations

from dermrobust.components.artifacts import Artifact, read_as
from dermrobust.components.component import Refused
from dermrobust.components.evaluation import files
from dermrobust.components.evaluation.blessing import Blessing


def read_blessing(artifact: Artifact) -> Blessing:
    """Return the content of a blessing artifact.

    Raises:
        Refused: the model is not blessed; with the reason for each threshold that it misses.
    """
    blessing = read_as(Blessing, artifact, files.BLESSING)
    if blessing.blessed:
        return blessing
    lines = "".join(f"\n  {reason}" for reason in blessing.reasons)
    raise Refused(f"export: '{blessing.candidate}' is not blessed, so nothing is exported:{lines}")
