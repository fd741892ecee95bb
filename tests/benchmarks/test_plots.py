"""Pictures of results: what they show, that they come out the same, and that the committed ones are of their JSON."""

import json
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from benchmarks.tables import plots
from benchmarks.tables.plots import digest, draw, linked_results, redraw, shows

ROOT = Path(__file__).resolve().parents[2]
PAGES = ("README.md", "docs/**/*.md", "bundles/*/docs/README.md")


def score(mean, low=None, high=None):
    return {"mean": mean, "ci95": None if low is None else [low, high]}


def curve_point(x, dice):
    return {"x": x, "rows": {"maps": {"patients": score(dice / 2, 0, dice)}, "segmenter": {"patients": score(dice)}}}


def size_bin(median, dice):
    return {"median": median, "methods": {"m": score(dice, 0, 1), "n": score(dice / 2, dice, 1)}}  # leaves out its mean


ACCURACY = {
    "rows": {
        "blob": {"patients": {"dice": score(0.25, 0.125, 0.5)}, "positives": {"dice": score(0.3, 0.2, 0.4)}},
        "segmenter": {"patients": {"dice": score(0.5, 0.4, 0.6)}, "positives": {"dice": score(None)}},
    }
}
CURVES = {
    "kind": "curves",
    "references": {"brightest blob": {"patients": score(0.3)}},
    "curves": {
        "patients": [curve_point(2, 0.2), curve_point(8, 0.6)],
        "noise": [curve_point(0, 0.6), curve_point(0.1, 0.4)],
    },
}
SIZES = {
    "kind": "sizes",
    "slices": {"unit": "mm2", "bins": [size_bin(10, 0.1), size_bin(100, 0.5)]},
    "lesions": {"unit": "ml", "bins": [size_bin(0.5, 0.5)]},
}
CALIBRATION = {
    "kind": "calibration",
    "rows": {
        "m": {
            "ece": 0.125,
            "bins": [
                {"low": 0.0, "high": 0.5, "n": 4, "probability": 0.2, "share": score(0.25, 0, 0.5)},
                {"low": 0.5, "high": 0.75, "n": 0, "probability": None, "share": score(None)},
                {"low": 0.75, "high": 1.0, "n": 2, "probability": 0.9, "share": score(0.5)},
            ],
        }
    },
}
ACTIVATIONS = {"kind": "activations", "ranks": [0, 10], "curves": {"pool 3": {"values": [1.0, 0.25]}}}
RESULTS = {
    "accuracy": ACCURACY,
    "curves": CURVES,
    "sizes": SIZES,
    "calibration": CALIBRATION,
    "activations": ACTIVATIONS,
}


def axes_of(result):
    figure = Figure()
    plots._KINDS[result.get("kind", "accuracy")](result, figure)
    return figure.axes


def drawn(axes):
    """Places and means of each series with intervals."""
    return [tuple(np.round(bar.lines[0].get_data(), 6).tolist()) for bar in axes.containers]


@pytest.mark.parametrize("kind", RESULTS)
def test_the_same_result_gives_the_same_bytes(tmp_path, kind):
    """Whatever the settings of matplotlib and the order of keys are; and not those of another result."""
    draw(RESULTS[kind], tmp_path / "a.png")
    with matplotlib.rc_context({"font.size": 20, "axes.facecolor": "red", "savefig.dpi": 30}):
        draw(json.loads(json.dumps(RESULTS[kind])), tmp_path / "b.png")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert shows(tmp_path / "a.png", RESULTS[kind]) and not shows(tmp_path / "a.png", RESULTS[kind] | {"more": 1})
    with Image.open(tmp_path / "a.png") as image:
        assert set(image.info) == {"Result", "dpi"}  # no version and no time
        assert np.asarray(image.convert("L")).std() > 5
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "b.png"]


def test_a_table_is_points_that_lie_down():
    (axes,) = axes_of(ACCURACY)
    assert drawn(axes) == [([0.25, 0.5], [-0.11, 0.89]), ([0.3], [0.11])]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["blob", "segmenter"]
    (interval,) = axes.containers[0].lines[2]
    assert np.allclose(interval.get_segments()[0][:, 0], [0.125, 0.5])


def test_curves_have_a_panel_each_and_the_blob_as_a_line():
    left, right = axes_of(CURVES)
    assert [means for _, means in drawn(left)] == [[0.1, 0.3], [0.2, 0.6]]
    assert [means for _, means in drawn(right)] == [[0.3, 0.2], [0.6, 0.4]]
    assert np.allclose([places for places, _ in drawn(left)], [[2, 8]] * 2, atol=0.05)
    for axes in (left, right):
        assert [line.get_ydata()[0] for line in axes.lines if line.get_linestyle() == "--"] == [0.3]


def test_sizes_stand_on_a_logarithmic_axis():
    slices, lesions = axes_of(SIZES)
    assert [means for _, means in drawn(slices)] == [[0.1, 0.5], [0.05, 0.25]]
    assert np.allclose(drawn(slices)[0][0], [10, 100], rtol=0.05) and slices.get_xscale() == "log"
    assert slices.get_xlabel().startswith("lesion in the slice, mm²") and "ml" in lesions.get_xlabel()


def test_reliability_leaves_out_empty_bins_and_counts_them():
    reliability, counts = axes_of(CALIBRATION)
    assert drawn(reliability) == [([0.2, 0.9], [0.25, 0.5])]
    (steps,) = counts.patches
    values, edges, _ = steps.get_data()
    assert list(values) == [4, 0, 2] and list(edges) == [0, 0.5, 0.75, 1]


def test_a_result_without_a_picture_is_refused(tmp_path):
    for result in ({"kind": "grid"}, {"layout": "classifiers", "rows": {}}):
        with pytest.raises(ValueError, match=r"no picture of kind (grid|classifiers)"):
            draw(result, tmp_path / "a.png")


def test_linked_pictures_are_drawn_anew(tmp_path):
    results = tmp_path / "benchmarks" / "results"
    results.mkdir(parents=True)
    (tmp_path / "README.md").write_text("![a](docs/images/a.png) ![b](docs/images/b.png)")  # b is of no result
    for name in ("a", "unused"):
        (results / f"{name}.json").write_text(json.dumps(ACTIVATIONS))
    picture = tmp_path / "docs" / "images" / "a.png"
    assert linked_results(tmp_path, PAGES) == {picture: results / "a.json"}
    assert redraw(tmp_path, PAGES) == [picture] and redraw(tmp_path, PAGES) == []
    (results / "a.json").write_text(json.dumps(CALIBRATION))
    assert not shows(picture, CALIBRATION)
    assert redraw(tmp_path, PAGES) == [picture] and shows(picture, CALIBRATION)


def test_the_digest_does_not_depend_on_the_order_of_keys():
    assert digest({"a": 1, "b": [1, 2]}) == digest({"b": [1, 2], "a": 1}) != digest({"a": 1, "b": [2, 1]})


def test_committed_pictures_are_of_the_committed_results():
    for picture, file in linked_results(ROOT, PAGES).items():
        assert shows(picture, json.loads(file.read_text(encoding="utf-8"))), (
            f"python -m benchmarks tables: {picture.name}"
        )
