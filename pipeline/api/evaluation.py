"""Evaluation of a run, for notebooks: `dermrobust.load_evaluation`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from dermrobust.attacks.errors import UserError
from dermrobust.attacks.threat import PIXEL_LEVELS, Norm, ThreatModel
from dermrobust.components.artifacts import MANIFEST, ArtifactType
from dermrobust.components.evaluation import files
from dermrobust.components.evaluation.blessing import Blessing
from dermrobust.components.evaluation.certificates import certified_accuracy
from dermrobust.components.evaluation.checks import Check
from dermrobust.components.evaluation.description import Description
from dermrobust.components.evaluation.radii import robust_accuracy
from dermrobust.components.evaluation.rows import Figure
from dermrobust.components.evaluation.schemas import OVERALL
from dermrobust.pipeline.config import PipelineConfig
from dermrobust.pipeline.ledger import Ledger
from dermrobust.pipeline.local_files import ledger_path
from dermrobust.pipeline.report.card import render_card
from dermrobust.pipeline.report.html import render_page
from dermrobust.pipeline.reporting import CARD, EvaluatedRun, evaluated_run

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

TABLES = {
    "metrics": files.METRICS,
    "comparisons": files.COMPARISONS,
    "corruptions": files.CORRUPTIONS,
    "outcomes": files.OUTCOMES,
    "gallery": files.GALLERY,
    "transformed": files.TRANSFORMED,
    "transformed_gallery": files.TRANSFORMED_GALLERY,
    "radii": files.RADII,
    "certificates": files.CERTIFICATES,
    "referrals": files.REFERRALS,
    "risk_coverage": files.RISK_COVERAGE,
}
"""Tables of an evaluation by name."""


class Evaluation:
    """Figures, self-checks and verdict of a run; reads only, and never attacks or measures again."""

    def __init__(self, found: EvaluatedRun) -> None:
        """Wrap the evaluation and the lineage of a run."""
        self._found = found

    @property
    def run(self) -> str:
        """Id of the run."""
        return self._found.run

    @property
    def about(self) -> Description:
        """Models, task, attacks, budgets and settings."""
        return self._found.evaluation.about

    @property
    def checks(self) -> tuple[Check, ...]:
        """Self-checks, each with its status, a sentence and figures."""
        return self._found.evaluation.checks or ()

    @property
    def blessing(self) -> Blessing | None:
        """Verdict of the gate."""
        return self._found.evaluation.blessing

    def figure(
        self, model: str, attack: str = "none", epsilon: float = 0.0, metric: str = "accuracy", slice: str = OVERALL
    ) -> Figure | None:
        """Return one figure with n and its 95 % interval; None where it was not measured or is undefined.

        Args:
            model: name of the model; an audit calls it "model".
            attack: name of the attack; "none" for clean images, "worst_case" for the worst attack on each image. Under
                a threat model beyond a norm its family and a search: "colour/adaptive", "colour/worst_case". Of a
                classifier that refers images "referral/0.2/none", "referral/0.2/pgd", "referral/0.2/worst_case".
            epsilon: budget in 1/255; 0 for clean images. Beyond a norm the strength.
            metric: name of the metric.
            slice: images that are measured, such as "dx=mel".
        """
        return self._found.evaluation.figure(model, attack, epsilon, metric, slice)

    def robust_accuracy(
        self, model: str, epsilon: float, *, attack: str = "minimal", class_name: str | None = None
    ) -> Figure:
        """Return the accuracy at any budget up to the largest of the evaluation, from the radius of each image.

        No attack runs. The evaluation needs an attack that minimizes the perturbation: `minimal` or `hop_skip_jump`.

        Args:
            model: name of the model; an audit calls it "model".
            epsilon: budget in 1/255; 0 for clean images.
            attack: name of the attack.
            class_name: only images of this class, such as "mel"; None: all.

        Raises:
            UserError: there are no such radii, or the budget is larger than those of the evaluation.
        """
        names = self.about.task.class_names
        if model not in self.about.models or (class_name is not None and class_name not in names):
            raise UserError(f"there is no model '{model}' or class '{class_name}' in this evaluation")
        label = None if class_name is None else names.index(class_name)
        try:
            return robust_accuracy(self.table("radii"), model, epsilon, attack=attack, label=label)
        except ValueError as error:
            raise UserError(str(error)) from None

    def certified_accuracy(
        self, model: str, radius: str | float, *, sigma: float, class_name: str | None = None
    ) -> Figure:
        """Return the fraction of images that the smoothed classifier is certified to classify correctly.

        Nothing is sampled. The evaluation needs certificates: `evaluate.certificates`, or an audit with `certify`.

        Args:
            model: name of the model; an audit calls it "model".
            radius: L2 radius, where a pixel is 0 to 1; or as a text "l2:0.5". 0: any certificate.
            sigma: standard deviation of the noise.
            class_name: only images of this class, such as "mel"; None: all.

        Raises:
            UserError: there are no such certificates, or the radius is no length.
        """
        names = self.about.task.class_names
        if class_name is not None and class_name not in names:
            raise UserError(f"there is no class '{class_name}' in this evaluation")
        label = None if class_name is None else names.index(class_name)
        try:
            return certified_accuracy(self.table("certificates"), model, sigma, _length(radius), label=label)
        except ValueError as error:
            raise UserError(str(error)) from None

    def table(self, name: str = "metrics") -> pa.Table:
        """Return an Arrow table: metrics, comparisons, corruptions, outcomes, gallery or radii.

        With threat models beyond a norm also transformed (verification of the stored images) and transformed_gallery;
        with randomized smoothing also certificates; with referral rates also referrals (confidence of the answers to
        each image) and risk_coverage.

        Raises:
            UserError: there is no such table.
        """
        if name not in TABLES:
            raise UserError(f"there is no table '{name}'; there are: {', '.join(TABLES)}")
        return self._found.evaluation.table(TABLES[name])

    def frame(self, name: str = "metrics") -> pd.DataFrame:
        """Return a table as a `pandas.DataFrame`; see `table`."""
        return self.table(name).to_pandas()

    def report(self, path: str | Path) -> Path:
        """Write the report as one HTML page, and the model card beside it.

        Raises:
            UserError: the files cannot be written.
        """
        page = Path(path)
        try:
            page.parent.mkdir(parents=True, exist_ok=True)
            page.write_text(render_page(self._found.evaluation, self._found.lineage), encoding="utf-8")
            card = render_card(self._found.evaluation, self._found.lineage)
            page.with_name(CARD).write_text(card, encoding="utf-8")
        except OSError as error:
            raise UserError(f"'{page}' cannot be written: {error.strerror}") from error
        return page

    def __repr__(self) -> str:
        """Run, models and the number of checks that do not pass."""
        bad = [check for check in self.checks if check.status != "pass"]
        return (
            f"Evaluation(run {self.run}: {', '.join(self.about.models)} on {self.about.images} images, "
            f"{len(bad)} of {len(self.checks)} checks do not pass)"
        )


def _length(radius: str | float) -> float:
    """Return an L2 radius in 1/255.

    Raises:
        ValueError: it is no length.
    """
    if not isinstance(radius, str):
        if not radius >= 0:
            raise ValueError(f"the radius is {radius}; it must be 0 or more")
        return radius * PIXEL_LEVELS
    threat = ThreatModel.parse(radius)
    if threat.norm is not Norm.L2:
        raise ValueError(f"{threat} is no length; certificates are in L2, such as 'l2:0.5'")
    return threat.epsilon


def load_evaluation(path: str | Path, run: str | None = None) -> Evaluation:
    """Return an evaluation that a run or an audit has made.

    Args:
        path: root of artifacts and ledger, such as "output" or "output/audit"; or the folder of an evaluation in it.
        run: id of a run; None: the latest that has evaluated something, or that has this folder.

    Raises:
        UserError: there is no such run, or it has not evaluated anything.
    """
    if not Path(path, MANIFEST).exists():
        return Evaluation(evaluated_run(PipelineConfig(root=str(path)), run))
    # <root>/artifacts/evaluation/<fingerprint>
    folder = Path(path).resolve()
    root = folder.parents[2]
    config = PipelineConfig(root=str(root))
    if not ledger_path(config).exists():
        raise UserError(f"'{path}' lies in no root with a ledger; expected <root>/artifacts/evaluation/<fingerprint>")
    found = run or Ledger(ledger_path(config)).producer(folder.parent.name, folder.name)
    if found is None or folder.parent.name != ArtifactType.EVALUATION.value:
        raise UserError(f"'{path}' is not an evaluation of a run in '{root}'; see: dermrobust runs")
    return Evaluation(evaluated_run(config, found))
