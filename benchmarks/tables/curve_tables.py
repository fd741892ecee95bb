"""Markdown of curves: robustness to labels, lesion sizes, calibration."""

from collections.abc import Callable, Mapping
from typing import Any

from benchmarks.tables.note import device, settings
from benchmarks.tables.text import interval, markdown, number

_HEADS = {"patients": "labelled training patients", "noise": "labels turned"}


def curves_table(table: Mapping[str, Any]) -> str:
    """A point of a curve and a row of the method a line."""
    lines = []
    for kind, points in table["curves"].items():
        whole = points[-1 if kind == "patients" else 0]
        for point in points:
            given = f"{point['x']:.0f}" if kind == "patients" else f"{100 * point['x']:g} % ({point['flipped']})"
            for name, row in point["rows"].items():
                scores = (interval(row[key]) for key in ("patients", "positives"))
                difference = "" if point is whole else interval(row["difference"], "+")
                lines.append([_HEADS[kind], given, name, *scores, difference, number(point["auc"])])
    head = ["curve", "at", "row", "Dice per patient", "Dice, positive slices", "whole minus point", "classifier AUC"]
    counts = table["counts"]
    others = "".join(
        f"{name}, without training: Dice per patient {interval(score['patients'])}. "
        for name, score in table["references"].items()
    )
    note = (
        f"{counts['patients']} test patients, {counts['slices']} slices, {counts['positive_slices']} positive; "
        f"{counts['validation_patients']} validation patients. {settings(table)} Folds {table['folds']}, seeds "
        f"{table['seeds']}. {table['protocol']} {others}"
        f"Patients: {table['definitions']['patients']}. Labels turned: {table['definitions']['noise']}. "
        f"{device(table)} "
        "Mean [95 % interval, bootstrap over test patients]; differences are paired."
    )
    return f"{markdown(head, lines)}\n\n{note}"


def sizes_table(table: Mapping[str, Any]) -> str:
    """A bin of sizes a line, a column a method, and the first method minus each other one."""
    first, *others = table["runs"]
    head = ["", "size", "n", "patients", first]
    for name in others:
        head += [name, f"{first} minus {name}"]
    lines = []
    for part, title in (("slices", "Dice of slices"), ("lesions", "lesions found")):
        for found in table[part]["bins"]:
            cells = [interval(found["methods"][first])]
            for name in others:
                score = found["methods"][name]
                cells += [interval(score), interval(score["difference"], "+")]
            size = f"{found['low']:.4g} to {found['high']:.4g} {table[part]['unit']}"
            lines.append([title, size, found["n"], found["patients"], *cells])
    counts = table["counts"]
    note = (
        f"{counts['patients']} test patients; {counts['slices']} positive slices, {counts['lesions']} lesions. "
        f"{_runs(table)}Mean [95 % interval, bootstrap over patients]; differences are paired."
    )
    return f"{markdown(head, lines)}\n\n{note}"


def calibration_table(table: Mapping[str, Any]) -> str:
    """Two tables: scores of every classifier, and its bins that hold an image."""
    scores = [
        [
            name,
            found["counts"]["images"],
            found["counts"]["positive"],
            number(found["auc"]),
            number(found["ece"]),
            interval(found["brier"]),
            number(found["brier_share"]),
        ]
        for name, found in table["rows"].items()
    ]
    bins = [
        [name, f"{of['low']:.2f} to {of['high']:.2f}", of["n"], number(of["probability"]), interval(of["share"])]
        for name, found in table["rows"].items()
        for of in found["bins"]
        if of["n"]
    ]
    patients = next(iter(table["rows"].values()))["counts"]["patients"]
    note = (
        f"{patients} test patients. Brier score: {table['definitions']['brier']}; of the share alone: "
        f"{table['definitions']['brier_share']}. {_runs(table)}Mean [95 % interval, bootstrap over patients]."
    )
    top = ["classifier", "images", "positive", "AUC", "ECE", "Brier score", "Brier score of the share alone"]
    below = ["classifier", "probability", "images", "mean probability", "share of positives"]
    return f"{markdown(top, scores)}\n\n{markdown(below, bins)}\n\n{note}"


def _runs(table: Mapping[str, Any]) -> str:
    """How each run was measured; masks that no run made are left out."""
    return "".join(
        f"{name}: {settings(run)} Folds {run['folds']}, seeds {run['seeds']}, device {run['device']}. "
        for name, run in table["runs"].items()
        if run is not None
    )


CURVE_TABLES: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "curves": curves_table,
    "sizes": sizes_table,
    "calibration": calibration_table,
}
"""By the `kind` of a result."""
