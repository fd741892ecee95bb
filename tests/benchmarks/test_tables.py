"""The tables in the pages are those of the committed JSON."""

import json
from pathlib import Path

import pytest

from benchmarks.tables.rebuild import fill, format_table, rebuild

ROOT = Path(__file__).resolve().parents[2]


def scores(mean: float) -> dict:
    interval = {"mean": mean, "ci95": [mean - 0.1, mean + 0.1]}
    return {
        "patients": {"dice": interval},
        "positives": {"dice": interval, "iou": interval},
        "lesions": {"f1": None},
        "negatives": {"clean": 0.5},
        "difference": {"mean": 0.25, "ci95": [0.125, 0.375]},
        "classification": {"auc": 0.9, "auc_slice_position": 0.8, "f1": 0.7, "ece": None},
        "counts": {"patients": 2, "slices": 20, "positive_slices": 7},
        "papers": {"miou_positives": 0.3, "miou_all": 0.6, "dice_empty_is_one": 0.7, "all_empty": 0.65},
    }


TABLE = {
    "overlays": ["small"],
    "overrides": {},
    "protocol": "W0.",
    "folds": 1,
    "seeds": [0],
    "device": "cpu",
    "threads": 1,
    "minutes": {"train": 2.0},
    "rows": {"all background": scores(0.1), "segmenter": scores(0.4)},
}


def test_format_table() -> None:
    lines = format_table(TABLE).splitlines()
    interval = "0.100 [0.000, 0.200]"
    assert (
        lines[2] == f"| all background | {interval} | +0.250 [+0.125, +0.375] | {interval} | {interval} | - | 0.500 |"
    )
    assert lines[3].startswith("| segmenter | 0.400 [0.300, 0.500] |  | 0.400")
    assert "AUC 0.900 (slice position alone 0.800), F1 0.700, ECE -" in lines[-1]


def test_a_table_of_films_has_the_papers_scores() -> None:
    lines = format_table(TABLE | {"bundle": "cxr_pneumothorax_irnet"}).splitlines()
    assert lines[0].endswith("| clean negative slices | mIoU, all slices (paper) | Dice, empty = 1 (paper) |")
    assert lines[2].endswith("| 0.500 | 0.600 | 0.700 |")
    assert "over all slices are 0.650 for a prediction that is always empty" in lines[-1]
    assert "(paper)" not in format_table(TABLE | {"bundle": "brain_mri_lesion_mixed_unet"})


def test_the_note_of_several_methods_and_seeds() -> None:
    """What all methods have stands once; what learnt from masks says whether it was still getting better."""
    methods = {
        name: {"bundle": "b", "overlays": overlays, "overrides": {"refine": refine, "size": 8}}
        for name, overlays, refine in (("one", ["small"], "crf"), ("two", [], "bes"))
    }
    learnt = [
        {"network": "unet", "patients": patients, "epochs": 24, "best_epoch": best}
        for patients, best in ((27, 24), (28, 20))
    ]
    few = [{"network": "unet", "patients": 4, "epochs": 12}]
    rows = {
        name: row | {"spread": {"patients": [0.25, 0.5 if name == "segmenter" else 0.25]}}
        for name, row in TABLE["rows"].items()
    }
    found = {
        "methods": methods,
        "from_masks": {"few-shot segmenter": few, "supervised ceiling": learnt},
        "nuisance": {"slice position": {"auc": {"mean": 0.8, "ci95": [0.75, 0.875]}}},
        "seeds": [0, 1],
        "rows": rows,
    }
    note = format_table(TABLE | found).splitlines()[-1]
    assert "one: b with small, refine=crf; two: b, refine=bes. All methods: size=8. Folds 1, seeds [0, 1]." in note
    assert "Few-shot segmenter: unet, patients 4, 12 epochs." in note
    assert (
        "Supervised ceiling: unet, patients 27 to 28, best epoch 20 to 24 of 24, so it had not converged in 1 of 2"
        in note
    )
    assert "ECE -. AUC of classifiers that see nuisance variables alone: slice position 0.800 [0.750, 0.875]." in note
    assert "Dice per patient, training by training: all background 0.250 to 0.250, segmenter 0.250 to 0.500." in note


def test_differences_are_from_the_base_that_the_table_names() -> None:
    lines = format_table(TABLE | {"base": "all background"}).splitlines()
    assert "all background minus row" in lines[0]
    assert lines[2].split("|")[3].strip() == "" and lines[3].split("|")[3].strip().startswith("+0.250")


def test_fill_replaces_only_between_the_marks(tmp_path: Path) -> None:
    (tmp_path / "t.json").write_text(json.dumps(TABLE), encoding="utf-8")
    text = "before\n<!-- table:t -->\nOLD\n<!-- /table -->\nafter\n"
    filled = fill(text, tmp_path)
    assert filled.startswith("before\n<!-- table:t -->\n| row |") and filled.endswith("\n<!-- /table -->\nafter\n")
    assert "OLD" not in filled and fill(filled, tmp_path) == filled


def test_a_table_that_is_not_measured_yet_stays(tmp_path: Path) -> None:
    text = "<!-- table:t -->\nOLD\n<!-- /table -->\n"
    assert fill(text, tmp_path) == text


def curve(epochs: int) -> dict:
    rows = [
        {"epoch": epoch, "labelled": 0.5, "precision": None, "recall": 0.25, "iou": 0.125}
        for epoch in range(1, epochs + 1)
    ]
    return {"epochs": rows, "cases": 3, "skipped": 0, "definition": "what it says"}


@pytest.mark.parametrize(
    ("epochs", "shown"),
    [
        (0, []),
        (1, [1]),
        (3, [1, 2, 3]),
        (10, list(range(1, 11))),
        (11, [1, 3, 5, 7, 9, 11]),
        (20, [*range(1, 20, 2), 20]),
    ],
)
def test_the_curve_of_label_quality_keeps_its_last_epoch(epochs: int, shown: list[int]) -> None:
    lines = format_table(TABLE | {"label_quality": curve(epochs)}).splitlines()
    start = lines.index("| epoch | labelled | precision | recall | IoU |")
    rows = lines[start + 2 : start + 2 + len(shown)]
    assert rows == [f"| {epoch} | 0.500 | - | 0.250 | 0.125 |" for epoch in shown]
    assert lines[-2:] == ["", "Growing labels of 3 training cases, scored as the masks above."]
    assert lines[start - 1] == "" and lines[start - 2].endswith("differences are paired.")


def test_masks_come_before_the_labels_that_grew_from_them() -> None:
    row = {"labelled": 1.0, "precision": 0.5, "recall": 0.25, "iou": None, "with_background": {"iou": 0.75}}
    masks = {"masks": {"pseudo_masks/crf": row}, "cases": 3, "skipped": 0, "definition": "what it says"}
    lines = format_table(TABLE | {"label_quality": curve(1), "mask_quality": masks}).splitlines()
    start = lines.index("| masks of training cases | labelled | precision | recall | IoU | mIoU with background |")
    assert lines[start + 2 : start + 5] == [
        "| `pseudo_masks/crf` | 1.000 | 0.500 | 0.250 | - | 0.750 |",
        "",
        "3 training cases: what it says.",
    ]
    assert start < lines.index("| epoch | labelled | precision | recall | IoU |")


def test_boundaries_stand_beside_the_outlines_of_the_masks() -> None:
    found = {
        "cases": 2,
        "slices": 9,
        "boundary": {"precision": 0.5, "recall": 0.25, "max_f": 1 / 3, "threshold": 0.4},
        "mask_outline": {"precision": None, "recall": 0.0, "f": 0.0},
    }
    quality = {"tolerance_pixels": 5.12, "splits": {"test": found}, "skipped": 0, "definition": "what it says"}
    text = format_table(TABLE | {"boundary_quality": quality, "label_quality": curve(1)})
    assert text.index("| epoch |") < text.index("| boundaries of |")
    assert text.splitlines()[-4:] == [
        "| learnt boundaries, test cases | 9 | 0.500 | 0.250 | 0.333 |",
        "| pseudo masks, test cases | 9 | - | 0.000 | 0.000 |",
        "",
        "Tolerance 5.1 pixels. what it says.",
    ]


PAGES = [*sorted(ROOT.glob("bundles/*/docs/README.md")), ROOT / "README.md"]
PAGES += [page for page in sorted(ROOT.glob("docs/**/*.md")) if "<!-- table:" in page.read_text(encoding="utf-8")]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_committed_tables_are_those_of_the_json(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert "<!-- table:" in text
    assert fill(text, ROOT / "benchmarks" / "results") == text


def test_rebuild_reports_the_pages_it_changed(tmp_path: Path) -> None:
    results = tmp_path / "benchmarks" / "results"
    results.mkdir(parents=True)
    (results / "t.json").write_text(json.dumps(TABLE), encoding="utf-8")
    page = tmp_path / "README.md"
    page.write_text("<!-- table:t -->\n<!-- /table -->\n", encoding="utf-8")
    assert rebuild(tmp_path) == [page]
    assert rebuild(tmp_path) == []
