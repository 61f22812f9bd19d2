"""The gate's verdict on the model that is to be exported."""

from __future__ import annotations

from typing import Any

from dermrobust.components.artifacts import Artifact
from dermrobust.components.component import Refused
from dermrobust.components.evaluation import files


def read_blessing(artifact: Artifact) -> dict[str, Any]:
    """Return the content of a blessing artifact.

    Raises:
        Refused: the model is not blessed; with the reason for each threshold that it misses.
    """
    blessing: dict[str, Any] = artifact.read_json(files.BLESSING)
    if blessing["blessed"]:
        return blessing
    unjudged = [verdict["reason"] for verdict in blessing["thresholds"] if not verdict["judged"]]
    failed = [verdict["reason"] for verdict in blessing["thresholds"] if verdict["judged"] and not verdict["passed"]]
    reasons = [*failed, *blessing["checks"]] or unjudged
    lines = "".join(f"\n  {reason}" for reason in reasons)
    raise Refused(f"export: '{blessing['candidate']}' is not blessed, so nothing is exported:{lines}")
