"""Columns as the Mixed-UNet paper has them: classifiers (Table I), masks (II), segmenters (III), their cost (IV)."""

from collections.abc import Callable, Mapping
from typing import Any

from benchmarks.tables.text import interval, markdown, number

_Cell = Callable[[Mapping[str, Any]], str]
_DICE: dict[str, _Cell] = {
    "Dice, positive slices": lambda row: interval(row["positives"]["dice"]),
    "Dice per patient": lambda row: interval(row["patients"]["dice"]),
}
_PIXELS: dict[str, _Cell] = {
    "pixel accuracy": lambda row: number(row["dataset"]["pixel_accuracy"]),
    "data-set mIoU": lambda row: number(row["dataset"]["miou"]),
}
_MASKS = _PIXELS | {"IoU, positive slices": lambda row: interval(row["positives"]["iou"])} | _DICE
_SEGMENTERS = (
    _PIXELS
    | {"data-set Dice": lambda row: number(row["dataset"]["dice"])}
    | _DICE
    | {"clean negative slices": lambda row: number(row["negatives"]["clean"])}
)
_CLASSIFIERS: dict[str, _Cell] = {
    "accuracy": lambda row: interval(row["accuracy"]),
    "AUC": lambda row: interval(row["auc"]),
    "F1": lambda row: number(row["f1"]),
    "sensitivity": lambda row: interval(row["sensitivity"]),
    "specificity": lambda row: interval(row["specificity"]),
    "ECE": lambda row: number(row["ece"]),
}


def masks(table: Mapping[str, Any]) -> str:
    """Table II: masks of class maps, by the paper's scores and by ours; without the note on how it was measured."""
    return _compared(table, _MASKS, "Dice per patient")


def segmenters(table: Mapping[str, Any]) -> str:
    """Table III: segmenters, by the paper's scores and by ours; without the note on how it was measured."""
    return _compared(table, _SEGMENTERS, "Dice per patient")


def classifiers(table: Mapping[str, Any]) -> str:
    """Table I: classifiers of slices, and under them what tells the label without the finding.

    Args:
        table: `rows` of `score_predictions`, all but the base with their `accuracy_difference` as `difference`, and
            where they were measured `nuisance`, name -> {auc, ...}.
    """
    parts = [_compared(table, _CLASSIFIERS, "accuracy")]
    if nuisance := table.get("nuisance"):
        parts.append(markdown(("what tells the label without the finding", "AUC"), _nuisance(nuisance)))
    if not next(iter(table["rows"].values()))["counts"]["patients_without"]:
        parts.append("Every test patient has the finding: specificity is of the other slices of patients who have it.")
    return "\n\n".join(parts)


def cost(table: Mapping[str, Any]) -> str:
    """Table IV: what a network costs, of `cost_table`, with the paper's figures beside."""
    base, printed = table["base"], table["paper"]
    head = (
        "network",
        "parameters",
        "weights, MiB",
        "peak of a forward pass, MiB",
        "peak of a training step, MiB",
        "ms an image",
        f"times {base}'s",
        "paper: parameters",
        "paper: MB",
        "paper: s",
    )
    rows = []
    for name, row in table["rows"].items():
        paper = printed.get(name)
        milliseconds = {key: 1000 * value for key, value in _flat(row["seconds"]).items()}
        rows.append(
            (
                name,
                f"{row['parameters']:,}",
                f"{row['weights_mib']:.0f}",
                f"{row['forward_mib']:.0f}",
                f"{row['training_mib']:.0f}",
                "{median:.1f} [{low:.1f}, {high:.1f}]".format(**milliseconds),
                "1" if name == base else "{median:.2f} [{low:.2f}, {high:.2f}]".format(**_flat(row["ratio"])),
                *(("-",) * 3 if paper is None else (f"{paper['parameters']:,}", paper["megabytes"], paper["seconds"])),
            )
        )
    size = " x ".join(map(str, table["size"]))
    note = (
        f"Images of {size} pixels, {table['in_channels']} channels, {table['batch_size']} at once. "
        f"Median [quartiles] of {table['repeats']} turns, all networks in each; the times are of this run's device "
        f"({table['device']}, {table['threads']} CPU thread(s), torch {table['versions']['torch']}), the paper's of "
        "its own. The paper's MB are four bytes a parameter for all but Mixed-UNet, whose 50 MB and whose count cannot "
        f"both be right. Peaks: {table['definitions']['forward_mib']}."
    )
    return f"{markdown(head, rows)}\n\n{note}"


LAYOUTS: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "classifiers": classifiers,
    "masks": masks,
    "segmenters": segmenters,
    "cost": cost,
}
"""Markdown of a table by its `layout`, or by its `kind` where that is `cost`."""


def _compared(table: Mapping[str, Any], columns: Mapping[str, _Cell], score: str) -> str:
    """A row a line, and behind the column `score` its paired difference from the base."""
    base = table["base"]
    head, rows = ["row"], {name: [name] for name in table["rows"]}
    for title, cell in columns.items():
        head.append(title)
        for name, row in table["rows"].items():
            rows[name].append(cell(row))
        if title == score:
            head.append(f"{base} minus row")
            for name, row in table["rows"].items():
                rows[name].append("" if name == base else interval(row["difference"], sign="+"))
    return markdown(head, rows.values())


def _nuisance(found: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [(f"{name} alone", interval(scores["auc"])) for name, scores in found.items()]


def _flat(spread: Mapping[str, Any]) -> dict[str, float]:
    low, high = spread["quartiles"]
    return {"median": spread["median"], "low": low, "high": high}
