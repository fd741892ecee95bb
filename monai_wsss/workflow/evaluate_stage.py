"""evaluate: score the predictions; the only stage that may read a true mask."""

from typing import Any

from monai_wsss.workflow.bundle_config import config_hash
from monai_wsss.workflow.evaluation import evaluate
from monai_wsss.workflow.manifest import folder_hash
from monai_wsss.workflow.stage import NothingToDo, Stage
from monai_wsss.workflow.tracking import Tracker


class EvaluateStage(Stage):
    """Writes `evaluation/scores.json` for the test cases that have a true mask."""

    name = "evaluate"
    reads = ("predictions",)
    writes = "evaluation"

    def _inputs(self) -> dict[str, str | None]:
        """The true masks are an input too: one that was mended is scored again."""
        truths = {c.case: None if c.truth is None else folder_hash(c.truth) for c in self.dataset.cases("test")}
        return {**super()._inputs(), "truth": config_hash(truths)}

    def work(self, tracker: Tracker) -> dict[str, Any]:
        """Score every test case with a truth.

        Raises:
            NothingToDo: no test case has one.
        """
        cases = self.dataset.cases("test")
        truths = {case.case: case.truth for case in cases if case.truth is not None}
        if not truths:
            raise NothingToDo("no test case has a true mask (prepare --masks)")
        scores = evaluate(
            self.run_folder / "predictions",
            truths,
            self.folder / "scores.json",
            patients={case.case: case.patient for case in cases},
            labels=self.dataset.labels,
        )
        return {
            "patients_dice": scores["patients"]["dice"]["mean"],
            "positives_dice": scores["positives"]["dice"]["mean"],
            "positives_iou": scores["positives"]["iou"]["mean"],
            "negatives_clean": scores["negatives"]["clean"],
            "classification_auc": scores["classification"]["auc"],
        }
