"""Pictures of results, from their JSON alone."""

import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib.style
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from monai_wsss.data import atomic_path

RESULTS, IMAGES = Path("benchmarks") / "results", Path("docs") / "images"
_LINKED = re.compile(r"images/([\w-]+)\.png")
_STYLE = {
    "font.family": "DejaVu Sans",  # comes with matplotlib
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "0.9",
    "legend.frameon": False,
    "lines.markersize": 4,
    "savefig.dpi": 110,
}
_PANEL = (4.2, 3.2)  # inches
_DIGEST = "Result"  # text chunk of the PNG that tells of which result it is


def draw(result: Mapping[str, Any], out: Path) -> None:
    """Write a PNG of a result by its `kind`; a table of accuracy has none. The same result gives the same bytes.

    Args:
        result: what a JSON file of benchmarks/results holds.
        out: file to write.

    Raises:
        ValueError: a kind that has no picture.
    """
    kind = "classifiers" if result.get("layout") == "classifiers" else result.get("kind", "accuracy")
    if kind not in _KINDS:
        raise ValueError(f"no picture of kind {kind}; there is one of {', '.join(_KINDS)}")
    with matplotlib.style.context(["default", _STYLE]):
        figure = Figure(layout="constrained")
        FigureCanvasAgg(figure)
        _KINDS[kind](result, figure)
        with atomic_path(out) as part:
            figure.savefig(part, format="png", metadata={"Software": None, _DIGEST: digest(result)})


def digest(result: Mapping[str, Any]) -> str:
    """SHA-256 of a result, whatever the order of its keys; a picture holds that of the result that it shows."""
    return hashlib.sha256(json.dumps(result, sort_keys=True).encode()).hexdigest()


def shows(picture: Path, result: Mapping[str, Any]) -> bool:
    """Whether a picture was drawn of this result, by any version of matplotlib."""
    with Image.open(picture) as image:
        return image.info.get(_DIGEST) == digest(result)


def linked_results(root: Path, pages: Sequence[str]) -> dict[Path, Path]:
    """Pictures docs/images/NAME.png that a page shows and that have a results/NAME.json, with that file.

    Args:
        root: folder of the project.
        pages: patterns of the pages below it.
    """
    texts = [page.read_text(encoding="utf-8") for pattern in pages for page in sorted(root.glob(pattern))]
    names = sorted({name for text in texts for name in _LINKED.findall(text)})
    files = {root / IMAGES / f"{name}.png": root / RESULTS / f"{name}.json" for name in names}
    return {picture: file for picture, file in files.items() if file.is_file()}


def redraw(root: Path, pages: Sequence[str]) -> list[Path]:
    """Draw every linked picture anew; returns those that changed."""
    changed = []
    for picture, file in linked_results(root, pages).items():
        before = picture.read_bytes() if picture.is_file() else None
        draw(json.loads(file.read_text(encoding="utf-8")), picture)
        if picture.read_bytes() != before:
            changed.append(picture)
    return changed


def _panels(figure: Figure, number: int) -> list[Axes]:
    figure.set_size_inches(_PANEL[0] * number, _PANEL[1])
    return list(figure.subplots(1, number, squeeze=False)[0])


def _points(
    axes: Axes, places: Sequence[float], scores: Sequence[Mapping[str, Any]], upright: bool = True, **look: Any
) -> None:
    """Means with their intervals against places, or lying down; what is not known is left out."""
    known = [(place, score) for place, score in zip(places, scores, strict=True) if score["mean"] is not None]
    means = np.array([score["mean"] for _, score in known])
    ends = np.array([score["ci95"] or [score["mean"]] * 2 for _, score in known]).reshape(-1, 2)
    reach = np.maximum([means - ends[:, 0], ends[:, 1] - means], 0)  # an interval may leave out its mean
    where = np.array([place for place, _ in known])
    if upright:
        axes.errorbar(where, means, yerr=reach, fmt="o-", capsize=2, elinewidth=1, **look)
    else:
        axes.errorbar(means, where, xerr=reach, fmt="o", capsize=2, elinewidth=1, **look)


def _apart(index: int, number: int, width: float) -> float:
    """Offset of one of several series, so that their intervals do not hide one another."""
    return width * (index - (number - 1) / 2)


def _legend_below(figure: Figure) -> None:
    """One legend of all panels, which show the same series."""
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3)


def _curves(result: Mapping[str, Any], figure: Figure) -> None:
    titles = {"patients": "labelled training patients", "noise": "share of labels turned"}
    curves = result["curves"]
    for axes, (kind, points) in zip(_panels(figure, len(curves)), curves.items(), strict=True):
        places = [point["x"] for point in points]
        names = list(points[0]["rows"])
        for index, name in enumerate(names):
            shift = _apart(index, len(names), 0.01 * (max(places) - min(places)))
            scores = [point["rows"][name]["patients"] for point in points]
            _points(axes, [place + shift for place in places], scores, label=name)
        for name, score in result["references"].items():
            axes.axhline(score["patients"]["mean"], color="0.5", linestyle="--", linewidth=1, label=name)
        axes.set(xlabel=titles[kind], ylabel="Dice per patient", ylim=(0, 1), xticks=places)
    _legend_below(figure)


def _sizes(result: Mapping[str, Any], figure: Figure) -> None:
    titles = {"slices": ("Dice of slices", "lesion in the slice"), "lesions": ("share of lesions found", "lesion")}
    for axes, (part, (title, what)) in zip(_panels(figure, 2), titles.items(), strict=True):
        bins = result[part]["bins"]
        names = list(bins[0]["methods"])
        for index, name in enumerate(names):
            places = [found["median"] * 1.03 ** _apart(index, len(names), 1) for found in bins]
            _points(axes, places, [found["methods"][name] for found in bins], label=name)
        unit, medians = result[part]["unit"].replace("mm2", "mm²"), [found["median"] for found in bins]
        axes.set(xscale="log", xlabel=f"{what}, {unit}, median of the bin", ylabel=title, ylim=(0, 1.02))
        axes.minorticks_off()
        axes.set_xticks(medians, [f"{median:.0f}" if median >= 100 else f"{median:.3g}" for median in medians])
        axes.set_xlim(min(medians) / 1.2, max(medians) * 1.2)
    _legend_below(figure)


def _calibration(result: Mapping[str, Any], figure: Figure) -> None:
    figure.set_size_inches(_PANEL[0], 1.4 * _PANEL[1])
    axes, counts = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    axes.plot([0, 1], [0, 1], color="0.5", linestyle="--", linewidth=1, label="calibrated")
    for name, row in result["rows"].items():
        filled = [found for found in row["bins"] if found["n"]]
        label = f"{name}: ECE {row['ece']:.3f}"
        _points(axes, [found["probability"] for found in filled], [found["share"] for found in filled], label=label)
        edges = [row["bins"][0]["low"], *(found["high"] for found in row["bins"])]
        counts.stairs([found["n"] for found in row["bins"]], edges)
    axes.set(ylabel="share of positives", xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    axes.legend()
    counts.set(xlabel="probability", ylabel="images", yscale="symlog", ylim=(0, None))
    counts.yaxis.set_major_formatter("{x:g}")


def _accuracy(result: Mapping[str, Any], figure: Figure) -> None:
    rows = result["rows"]
    figure.set_size_inches(1.6 * _PANEL[0], 0.9 + 0.3 * len(rows))
    axes = figure.subplots()
    series = {"Dice per patient": "patients", "Dice, positive slices": "positives"}
    for index, (label, key) in enumerate(series.items()):
        scores = [row[key]["dice"] for row in rows.values()]
        shifted = [place + _apart(index, len(series), 0.22) for place in range(len(rows))]
        _points(axes, shifted, scores, upright=False, label=label)
    axes.set_yticks(range(len(rows)), list(rows))
    axes.set(xlim=(0, 1), ylim=(len(rows) - 0.4, -0.6), xlabel="mean and 95 % interval over patients")
    axes.legend(loc="lower right")


def _activations(result: Mapping[str, Any], figure: Figure) -> None:
    (axes,) = _panels(figure, 1)
    for name, curve in result["curves"].items():
        axes.plot(result["ranks"], curve["values"], "o-", markersize=2, label=name)
    axes.set(xlabel="rank of the activation", ylabel="share of the largest", ylim=(0, 1.02))
    axes.legend()


_KINDS: dict[str, Callable[[Mapping[str, Any], Figure], None]] = {
    "accuracy": _accuracy,
    "curves": _curves,
    "sizes": _sizes,
    "calibration": _calibration,
    "activations": _activations,
}
