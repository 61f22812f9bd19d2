"""What an attack breaks with more effort: two audits of one model on the same images, the same attack in both.

    python -m benchmarks.strength AUDIT STRONGER --epsilon linf:4/255 [--attack auto]

The predictions of both audits are read; nothing is attacked. A row holds the images that are right when clean and under
the attack, and what follows from that: accuracy with its Wilson interval, and balanced accuracy. The last line says how
many images that stand in the first audit fall in the second, and the reverse.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from benchmarks.trained import audited_model, first_test_images
from benchmarks.validation import table
from dermrobust.attacks.errors import UserError
from dermrobust.attacks.threat import ThreatModel
from dermrobust.components.evaluation.intervals import wilson_interval
from dermrobust.components.examples import Batch
from dermrobust.models.balanced_accuracy import balanced_accuracy


@dataclass(frozen=True)
class Standing:
    """Which images of an audit are right, bool [image], when clean and under the attack; and the attack's effort."""

    audit: str
    effort: str
    right: npt.NDArray[np.bool_]


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a Markdown table and a line that compares the audits."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("audit", help="output folder of an audit")
    parser.add_argument("stronger", help="output folder of an audit that tried harder")
    parser.add_argument("--epsilon", type=ThreatModel.parse, required=True, help="budget of both, such as linf:4/255")
    parser.add_argument("--attack", default="auto", help="name of the attack in both audits")
    options = parser.parse_args(arguments)
    try:
        batch, found = _standing([options.audit, options.stronger], options.attack, options.epsilon)
    except UserError as error:
        parser.error(str(error))
    print("\n".join(table([_row(each, batch) for each in found])))
    weaker, stronger = (each.right for each in found)
    print(
        f"\n{np.count_nonzero(weaker & ~stronger)} of {np.count_nonzero(weaker)} images that stand in the first audit "
        f"fall in the second, {np.count_nonzero(stronger & ~weaker)} the other way round"
    )
    return 0


def _standing(audits: Sequence[str], attack: str, threat: ThreatModel) -> tuple[Batch, list[Standing]]:
    opened = [audited_model(audit) for audit in audits]
    first, second = opened
    if first.model.digest != second.model.digest:
        raise UserError("the audits are of different models; audit the same one twice")
    if first.examples.digest != second.examples.digest:
        raise UserError("the audits are of different images; give both the same --data, --labels and --limit")
    batch = first_test_images(first.examples)
    # First which stand: it refuses an attack that an audit does not have.
    right = [each.standing(batch, attack, threat) for each in opened]
    return batch, [Standing(*of) for of in zip(audits, (each.effort(attack) for each in opened), right, strict=True)]


def _row(found: Standing, batch: Batch) -> dict[str, str]:
    accuracy, n = float(found.right.mean()), len(found.right)
    lower, upper = wilson_interval(accuracy, n)
    return {
        "audit": found.audit,
        "attack": found.effort,
        "n": str(n),
        "standing": str(np.count_nonzero(found.right)),
        "accuracy": f"{accuracy:.3f} [{lower:.3f}, {upper:.3f}]",
        "balanced accuracy": f"{balanced_accuracy(batch.labels, found.right):.3f}",
    }


if __name__ == "__main__":
    sys.exit(main())
