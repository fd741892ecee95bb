"""What stands under a table of accuracy: on whom, with what and how it was measured."""

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.tables.text import interval, number


def note_of(table: Mapping[str, Any], base: str, classes: int, paper_of_films: bool) -> str:
    """The note of a table; what an older table does not say is left out.

    Args:
        table: of accuracy, of any layout.
        base: the row that the others are compared with.
        classes: number of classes.
        paper_of_films: whether it shows the scores of the papers on films.
    """
    first, own = next(iter(table["rows"].values())), table["rows"][base]
    counts = first["counts"]
    parts = [
        f"{counts['patients']} test patients, {counts['slices']} slices, {counts['positive_slices']} positive.",
        methods_text(table) if "methods" in table else settings(table),
        f"Folds {table['folds']}, seeds {table['seeds']}.",
        table["protocol"],
        *(_from_masks(row, found) for row, found in table.get("from_masks", {}).items() if found),
        _classifier(table, own["classification"]) if "classification" in own else "",
        device(table),
        _spread(table),
    ]
    all_empty = first.get("papers", {}).get("all_empty")
    if all_empty is not None and paper_of_films:
        parts.append(
            f"The paper's scores over all slices are {number(all_empty)} for a prediction that is always empty."
        )
    elif classes > 1:
        parts.append(
            f"Scores are means over {classes} classes, Dice per patient counts 1 where a class is neither there nor "
            "claimed; data-set mIoU is of one confusion matrix, background included."
        )
    parts.append("Mean [95 % interval, bootstrap over patients]; differences are paired.")
    return " ".join(part for part in parts if part)


def settings(table: Mapping[str, Any]) -> str:
    """Overlays, and ids set over them."""
    values = ", ".join(f"{key}={value}" for key, value in table["overrides"].items())
    return f"Overlays: {', '.join(table['overlays']) or 'none'}{'; ' + values if values else ''}."


def device(table: Mapping[str, Any]) -> str:
    """Device, threads, and minutes by stage."""
    minutes = ", ".join(f"{name} {value:g}" for name, value in table["minutes"].items())
    return f"Device {table['device']}, {table['threads']} thread(s); minutes: {minutes}."


def methods_text(table: Mapping[str, Any]) -> str:
    """Bundle, overlays and settings of each method; those that all have stand once."""
    methods = table["methods"]
    first, *others = [method["overrides"] for method in methods.values()]
    common = {key: value for key, value in first.items() if all(other.get(key) == value for other in others)}
    lines = []
    for name, method in methods.items():
        overlays = f" with {', '.join(method['overlays'])}" if method["overlays"] else ""
        own = [f", {key}={value}" for key, value in method["overrides"].items() if key not in common or not others]
        lines.append(f"{name}: {method['bundle']}{overlays}{''.join(own)}")
    shared = ", ".join(f"{key}={value}" for key, value in common.items()) if others else ""
    return f"{'; '.join(lines)}.{f' All methods: {shared}.' if shared else ''}"


def _from_masks(row: str, found: Sequence[Mapping[str, Any]]) -> str:
    """How a network learnt from true masks; whether it converged shows by its best epoch."""
    network, patients = found[0]["network"], _range([one["patients"] for one in found])
    best = [one["best_epoch"] for one in found if "best_epoch" in one]
    epochs = f"best epoch {_range(best)} of {found[0]['epochs']}" if best else f"{found[0]['epochs']} epochs"
    text = f"{row[0].upper()}{row[1:]}: {network}, patients {patients}, {epochs}"
    return f"{text}, so it had not converged in {_ended(found)}." if best and _ended(found) else f"{text}."


def _ended(found: Sequence[Mapping[str, Any]]) -> str:
    """How many of the trainings were best in their last epoch."""
    ended = sum(one.get("best_epoch") == one["epochs"] for one in found)
    return f"{ended} of {len(found)} trainings" if ended else ""


def _classifier(table: Mapping[str, Any], scores: Mapping[str, Any]) -> str:
    text = (
        f"Classifier on test slices: AUC {number(scores['auc'])} (slice position alone "
        f"{number(scores['auc_slice_position'])}), F1 {number(scores['f1'])}, ECE {number(scores['ece'])}."
    )
    return f"{text} {nuisance_text(table)}".strip()


def nuisance_text(table: Mapping[str, Any]) -> str:
    """What is known of the label without the finding, and a blank; nothing of a table that does not say it."""
    if not (nuisance := table.get("nuisance")):
        return ""
    alone = ", ".join(f"{name} {interval(found['auc'])}" for name, found in nuisance.items())
    return f"AUC of classifiers that see nuisance variables alone: {alone}. "


def _spread(table: Mapping[str, Any]) -> str:
    """Smallest to largest of the means, where each fold was trained several times."""
    rows = {name: row["spread"]["patients"] for name, row in table["rows"].items() if "spread" in row}
    if all(len(means) < 2 for means in rows.values()):
        return ""
    ranges = ", ".join(f"{name} {number(min(means))} to {number(max(means))}" for name, means in rows.items())
    return f"Dice per patient, training by training: {ranges}."


def _range(values: Sequence[int]) -> str:
    low, high = min(values), max(values)
    return f"{low}" if low == high else f"{low} to {high}"
