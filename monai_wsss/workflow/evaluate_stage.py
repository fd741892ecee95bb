"""evaluate: score the predictions, and what led to them; the only stage that may read a true mask."""

from typing import Any

from monai_wsss.data import Case
from monai_wsss.transforms import GridPreprocessing
from monai_wsss.workflow.boundary_scores import BOUNDARIES, MASKS, score_boundaries
from monai_wsss.workflow.bundle_config import config_hash
from monai_wsss.workflow.evaluation import evaluate
from monai_wsss.workflow.label_quality import SUPERVISION, score_label_quality, score_mask_quality
from monai_wsss.workflow.manifest import folder_hash
from monai_wsss.workflow.mask_folders import made_folders
from monai_wsss.workflow.stage import NothingToDo, Stage
from monai_wsss.workflow.tracking import Tracker


class EvaluateStage(Stage):
    """Writes `evaluation/scores.json` for the test cases that have a true mask.

    With `preprocessing`, the masks that the segmenter learnt from are scored on training cases (`mask_quality.json`),
    so is the growing supervision of DSRG, epoch by epoch (`label_quality.json`, `.png`), and the boundaries of the walk
    on all (`boundary_quality.json`): what the run's choices made, whatever else its folder holds.

    Args:
        refine: the run's choice: `none`, `crf`, `irnet` or `bes`.
        supervision: likewise: `static` or `dsrg`.
        preprocessing: the run's, which brings true masks to the network's grid; None scores predictions alone.
        boundary_tolerance: how far a boundary may be off, share of the grid's diagonal, >= 0; 0.02 is SBD's.
        place: `dataset_dir`, `output_dir`, `device`, `seed`, `tracking_uri` of `Stage`.

    Raises:
        ValueError: a negative tolerance.
    """

    name = "evaluate"
    reads = ("predictions",)
    writes = "evaluation"

    def __init__(
        self,
        refine: str = "crf",
        supervision: str = "static",
        preprocessing: GridPreprocessing | None = None,
        boundary_tolerance: float = 0.02,
        **place: Any,
    ) -> None:
        super().__init__(**place)
        self.masks = made_folders(refine, supervision)
        self.walks, self.grows = refine in ("irnet", "bes"), supervision == "dsrg"
        if not boundary_tolerance >= 0:
            raise ValueError(f"boundary_tolerance must be >= 0, got {boundary_tolerance}")
        self.preprocessing, self.boundary_tolerance = preprocessing, boundary_tolerance

    def _inputs(self) -> dict[str, str | None]:
        """The true masks are an input too: one that was mended is scored again. So is what else is scored."""
        more: dict[str, str | None] = {}
        if self.preprocessing is not None:
            names = [*self.masks, *([BOUNDARIES, MASKS] if self.walks else []), *([SUPERVISION] if self.grows else [])]
            hashes = {name: folder_hash(self.run_folder / name) for name in names}
            more = {name: digest for name, digest in hashes.items() if digest is not None}
        cases: tuple[Case, ...] = self.dataset.cases(None if more else "test")
        truths = {case.case: None if case.truth is None else folder_hash(case.truth) for case in cases}
        return {**super()._inputs(), **more, "truth": config_hash(truths)}

    def work(self, tracker: Tracker) -> dict[str, Any]:
        """Score every test case with a truth, then what led to the predictions.

        Raises:
            NothingToDo: no test case has one, and nothing else could be scored.
        """
        cases = self.dataset.cases("test")
        truths = {case.case: case.truth for case in cases if case.truth is not None}
        summary: dict[str, Any] = {}
        if truths:
            scores = evaluate(
                self.run_folder / "predictions",
                truths,
                self.folder / "scores.json",
                patients={case.case: case.patient for case in cases},
                labels=self.dataset.labels,
            )
            summary = {
                "patients_dice": scores["patients"]["dice"]["mean"],
                "positives_dice": scores["positives"]["dice"]["mean"],
                "positives_iou": scores["positives"]["iou"]["mean"],
                "negatives_clean": scores["negatives"]["clean"],
                "classification_auc": scores["classification"]["auc"],
            }
        if self.preprocessing is not None:
            summary |= self._mask_quality(self.preprocessing)
            summary |= self._label_quality(self.preprocessing, tracker) if self.grows else {}
            summary |= self._boundaries(self.preprocessing) if self.walks else {}
        if not summary:
            raise NothingToDo("no test case has a true mask (prepare --masks)")
        return summary

    def _mask_quality(self, preprocessing: GridPreprocessing) -> dict[str, Any]:
        found = score_mask_quality(self.run_folder, self.dataset, preprocessing, self.masks, self.folder)
        if found is None:
            return {}
        return {f"iou_{name.replace('/', '_')}": row["iou"] for name, row in found["masks"].items()}

    def _label_quality(self, preprocessing: GridPreprocessing, tracker: Tracker) -> dict[str, Any]:
        found = score_label_quality(self.run_folder, self.dataset, preprocessing, self.folder, tracker)
        if found is None:
            return {}
        summary = {"label_quality_cases": found["cases"], "label_quality_skipped": len(found["skipped"])}
        if rows := found["epochs"]:
            summary |= {"label_quality_iou_first": rows[0]["iou"], "label_quality_iou_last": rows[-1]["iou"]}
        return summary

    def _boundaries(self, preprocessing: GridPreprocessing) -> dict[str, Any]:
        found = score_boundaries(self.run_folder, self.dataset, preprocessing, self.boundary_tolerance, self.folder)
        if found is None:
            return {}
        summary: dict[str, Any] = {"boundary_skipped": len(found["skipped"])}
        for part, name in (("test", "boundary_max_f"), ("learnt", "boundary_max_f_learnt")):
            if part in found["splits"]:
                summary[name] = found["splits"][part]["boundary"]["max_f"]
                summary[f"{name}_outline"] = found["splits"][part]["mask_outline"]["f"]
        return summary
