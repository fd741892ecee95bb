"""Markdown tables from committed JSON: `<!-- table:NAME -->` ... `<!-- /table -->` holds results/NAME.json."""

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from benchmarks.tables.curve_tables import CURVE_TABLES
from benchmarks.tables.erasure_table import format_erasure
from benchmarks.tables.layouts import LAYOUTS
from benchmarks.tables.note import device, methods_text, note_of, nuisance_text, settings
from benchmarks.tables.plots import redraw
from benchmarks.tables.text import interval, number

RESULTS = Path("benchmarks") / "results"
_BASE = "segmenter"  # the row that others are compared with, where a table names none
_PAGES = ("README.md", "docs/**/*.md", "bundles/*/docs/README.md")
_EPOCHS = 10  # of a curve that a table shows
_SPLITS = {"learnt": "cases that were learnt from", "test": "test cases"}
_MARKED = re.compile(r"(<!-- table:(?P<name>[\w-]+) -->\n).*?(<!-- /table -->)", re.DOTALL)


def format_table(table: Mapping[str, Any]) -> str:
    """A row a line: mean [95 % interval over patients], and under it how it was measured; `kind` says of what."""
    if table.get("kind") in _KINDS:
        return _KINDS[table["kind"]](table)
    quality = [make(table[name]) for name, make in _QUALITY.items() if name in table]
    make_rows = LAYOUTS.get(table.get("layout", ""), _accuracy)
    below = note_of(table, table.get("base", _BASE), _classes(table), _is_paper_of_films(table))
    return "\n\n".join([make_rows(table), below, *quality])


def _accuracy(table: Mapping[str, Any]) -> str:
    base, papers, several = table.get("base", _BASE), _is_paper_of_films(table), _classes(table) > 1
    more = ("mIoU, all slices (paper)", "Dice, empty = 1 (paper)") if papers else ()
    more = ("data-set mIoU", "pixel accuracy") if several else more
    columns = (
        "row",
        "Dice per patient",
        f"{base} minus row",
        "Dice, positive slices",
        "IoU, positive slices",
        "lesion F1",
        "clean negative slices",
        *more,
    )
    lines = [f"| {' | '.join(columns)} |", f"|{'---|' * len(columns)}"]
    for name, scores in table["rows"].items():
        cells = [
            interval(scores["patients"]["dice"]),
            "" if name == base else interval(scores["difference"], sign="+"),
            interval(scores["positives"]["dice"]),
            interval(scores["positives"]["iou"]),
            number(scores["lesions"]["f1"]),
            number(scores["negatives"]["clean"]),
            *(number(scores["dataset"][key]) for key in ("miou", "pixel_accuracy") if several),
            *(number(scores["papers"][key]) for key in ("miou_all", "dice_empty_is_one") if papers),
        ]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _boxes(table: Mapping[str, Any]) -> str:
    """Two tables: rows against boxes, and the classifier beside what tells the label without the finding."""
    own, films = table["method"], table["counts"]["boxed_films"]
    lines = [
        f"| row | hits of {films} | pointing game | {own} minus row | box IoU | {own} minus row |",
        "|---|---|---|---|---|---|",
    ]
    for name, scores in table["rows"].items():
        overlap = scores["box_iou"]
        cells = [
            f"{scores['hits']:.3g}",
            interval(scores["pointing"]),
            "" if name == own else interval(scores["difference"], sign="+"),
            "" if overlap is None else interval(overlap),
            "" if name == own or overlap is None else interval(scores["iou_difference"], sign="+"),
        ]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    lines += ["", "| predictor of the label | AUC, all films | AUC, films of one fold |", "|---|---|---|"]
    lines += [
        f"| {name} | {interval(scores['pooled'])} | {interval(scores['within_folds'])} |"
        for name, scores in table["classifier"].items()
    ]
    lines += [f"| {name} alone | {number(auc)} |  |" for name, auc in table["nuisance"].items()]
    return "\n".join([*lines, "", _boxes_note(table)])


def _boxes_note(table: Mapping[str, Any]) -> str:
    counts, definitions = table["counts"], table["definitions"]
    return (
        f"{counts['films']} films of {counts['patients']} patients, {counts['positive_films']} positive; "
        f"{counts['boxes']} boxes on {counts['boxed_films']} films of {counts['boxed_patients']} patients. "
        f"Pointing game: {definitions['pointing']}. Box IoU: {definitions['box_iou']}"
        f"{'; threshold {:g}'.format(table['threshold']) if table['threshold'] else ''}. {settings(table)} "
        f"Folds {table['folds']} over patients, every film scored where its patient tests; seeds {table['seeds']}. "
        f"{table['protocol']} {device(table)} "
        "Mean [95 % interval, bootstrap over patients]; differences are paired."
    )


def _mask_boxes(table: Mapping[str, Any]) -> str:
    """Rows of masks against boxes."""
    base, counts, definitions = table["base"], table["counts"], table["definitions"]
    more, kinds = f"{base} minus row", "films without, clean | films with, marked"
    lines = [
        f"| row | hits of {counts['boxed_films']} | pointing | {more} | box IoU | {more} | {kinds} | AUC |",
        f"|{'---|' * 9}",
    ]
    for name, scores in table["rows"].items():
        overlap, area = scores["box_iou"], scores.get("auc")
        cells = [
            f"{scores['hits']:.1f}",
            interval(scores["pointing"]),
            "" if name == base else interval(scores["difference"], sign="+"),
            "" if overlap is None else interval(overlap),
            "" if name == base or overlap is None else interval(scores["iou_difference"], sign="+"),
            *(number(scores[key]) if key in scores else "" for key in ("clean", "marked")),
            "" if area is None else interval(area),
        ]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    note = (
        f"{counts['films']} films of {counts['patients']} patients, {counts['positive_films']} positive; "
        f"{counts['boxes']} boxes on {counts['boxed_films']} films of {counts['boxed_patients']} patients. "
        f"Pointing: {definitions['pointing']}. Box IoU: {definitions['box_iou']}. AUC: {definitions['auc']}. "
        f"{methods_text(table) if 'methods' in table else settings(table)} Folds {table['folds']}, seeds "
        f"{table['seeds']}. {table['protocol']} {nuisance_text(table)}{device(table)} "
        "Mean [95 % interval, bootstrap over patients]; differences are paired."
    )
    return "\n".join([*lines, "", note])


def _grid(table: Mapping[str, Any]) -> str:
    """A pair of thresholds a line."""
    own, counts = table["base"], table["counts"]
    lines = [
        "| foreground | background | Dice per patient | paper's pair minus row | Dice, positive slices |",
        "|---|---|---|---|---|",
    ]
    for cell in table["cells"]:
        pair = {name: cell[name] for name in own}
        difference = "" if pair == own else interval(cell["difference"], sign="+")
        cells = [*(f"{value:g}" for value in pair.values()), interval(cell["dice"]), difference]
        lines.append(f"| {' | '.join([*cells, interval(cell['positives'])])} |")
    minutes = [cell["minutes"] for cell in table["cells"]]
    note = (
        f"DSRG before its retraining round. {counts['patients']} test patients, {counts['slices']} slices, "
        f"{counts['positive_slices']} positive. {settings(table)} Folds {table['folds']}, seeds {table['seeds']}. "
        f"{table['protocol']} Device {table['device']}, {table['threads']} thread(s); minutes a pair: "
        f"{min(minutes):g} to {max(minutes):g}. Mean [95 % interval, bootstrap over patients]; differences are paired."
    )
    return "\n".join([*lines, "", note])


def _activations(table: Mapping[str, Any]) -> str:
    """How far the strongest activations fall off, a layer a line."""
    lines = ["| activations | of an image | images | smallest of the strongest / largest |", "|---|---|---|---|"]
    lines += [
        f"| {name} | {curve['activations']} | {curve['images']} | {number(curve['last'])} |"
        for name, curve in table["curves"].items()
    ]
    first = next(iter(table["runs"].values()))
    note = (
        f"The {table['top']} strongest activations of each of {table['images']} positive test images, mean over them. "
        f"{settings(first)} Seeds {first['seeds']}. Trained on {first['device']}."
    )
    return "\n".join([*lines, "", note])


def _sites(table: Mapping[str, Any]) -> str:
    """A site's tests a block: what was trained on the other sites."""
    head = ("test site", "row", "AUC", "IoU, positive images", "Dice per patient", "clean negative images")
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    counts = []
    for site, found in table["sites"].items():
        of = found["counts"]
        counts.append(f"{site}: {of['images']} images of {of['patients']} patients, {of['positive']} positive")
        for name, row in found["rows"].items():
            scores = [interval(row[score]) if row.get(score) else "-" for score in ("auc", "iou", "dice")]
            lines.append(f"| {site} | {name} | {' | '.join(scores)} | {number(row.get('clean'))} |")
    nuisance = ", ".join(f"{name} {auc:.3f}" for name, auc in table["nuisance"].items())
    note = (
        f"{'; '.join(counts)}. Each site is tested by what learnt from the others alone. "
        f"{f'AUC of nuisance variables alone, all sites: {nuisance}. ' if nuisance else ''}{settings(table)} "
        f"Seeds {table['seeds']}. {table['protocol']} {device(table)} Mean [95 % interval, bootstrap over patients]."
    )
    return "\n".join([*lines, "", note])


def _mask_quality(quality: Mapping[str, Any]) -> str:
    """What the segmenters learnt from, on training cases, as the papers' tables on "train" have it."""
    lines = [
        "| masks of training cases | labelled | precision | recall | IoU | mIoU with background |",
        "|---|---|---|---|---|---|",
    ]
    for name, row in quality["masks"].items():
        values = " | ".join(number(row[score]) for score in ("labelled", "precision", "recall", "iou"))
        lines.append(f"| `{name}` | {values} | {number(row['with_background']['iou'])} |")
    return "\n".join([*lines, "", f"{quality['cases']} training cases: {quality['definition']}."])


def _label_quality(quality: Mapping[str, Any]) -> str:
    """Ten epochs or so, the last among them."""
    epochs = quality["epochs"]
    shown = epochs[:: -(-len(epochs) // _EPOCHS) or 1]
    shown += [] if not epochs or shown[-1] is epochs[-1] else [epochs[-1]]
    lines = ["| epoch | labelled | precision | recall | IoU |", "|---|---|---|---|---|"]
    for row in shown:
        values = " | ".join(number(row[name]) for name in ("labelled", "precision", "recall", "iou"))
        lines.append(f"| {row['epoch']} | {values} |")
    return "\n".join([*lines, "", f"Growing labels of {quality['cases']} training cases, scored as the masks above."])


def _boundary_quality(quality: Mapping[str, Any]) -> str:
    """Boundary maps beside the outlines of the masks that were made with them."""
    lines = ["| boundaries of | slices | precision | recall | F |", "|---|---|---|---|---|"]
    for part, found in quality["splits"].items():
        for name, key, best in (("learnt boundaries", "boundary", "max_f"), ("pseudo masks", "mask_outline", "f")):
            values = " | ".join(number(found[key][score]) for score in ("precision", "recall", best))
            lines.append(f"| {name}, {_SPLITS[part]} | {found['slices']} | {values} |")
    note = f"Tolerance {quality['tolerance_pixels']:.1f} pixels. {quality['definition']}."
    return "\n".join([*lines, "", note])


def _is_paper_of_films(table: Mapping[str, Any]) -> bool:
    """Whether the bundle's paper prints scores over all images, negatives included; of several classes it does not."""
    return table.get("bundle", "").startswith("cxr_pneumothorax_") and _classes(table) == 1


def _classes(table: Mapping[str, Any]) -> int:
    return len(next(iter(table["rows"].values())).get("classes", ())) or 1


def rebuild(root: Path) -> list[Path]:
    """Write every marked table and every linked picture anew; returns the files that changed."""
    changed = redraw(root, _PAGES)
    for pattern in _PAGES:
        for page in sorted(root.glob(pattern)):
            old = page.read_text(encoding="utf-8")
            new = fill(old, root / RESULTS)
            if new != old:
                page.write_text(new, encoding="utf-8")
                changed.append(page)
    return changed


def fill(text: str, results: Path) -> str:
    """Text with each marked table made from its JSON file; one that is not measured yet stays as it is."""

    def table(match: re.Match[str]) -> str:
        path = results / f"{match['name']}.json"
        if not path.is_file():
            return match[0]
        content = json.loads(path.read_text(encoding="utf-8"))
        return f"{match[1]}{format_table(content)}\n{match[3]}"

    return _MARKED.sub(table, text)


_KINDS: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "boxes": _boxes,
    "grid": _grid,
    "activations": _activations,
    "sites": _sites,
    "cost": LAYOUTS["cost"],
    "erasure": format_erasure,
    "mask_boxes": _mask_boxes,
    **CURVE_TABLES,
}
_QUALITY = {
    "mask_quality": _mask_quality,
    "label_quality": _label_quality,
    "boundary_quality": _boundary_quality,
}  # further tables of an accuracy table
