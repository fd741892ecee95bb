"""The tables in the pages are those of the committed JSON."""

import json
from pathlib import Path

import pytest

from benchmarks.tables import fill, format_table, rebuild

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


@pytest.mark.parametrize("page", [*sorted(ROOT.glob("bundles/*/docs/README.md")), ROOT / "README.md"], ids=str)
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
