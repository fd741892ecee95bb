"""Markdown tables from committed JSON: `<!-- table:NAME -->` ... `<!-- /table -->` holds results/NAME.json."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

RESULTS = Path("benchmarks") / "results"
_PAGES = ("README.md", "docs/**/*.md", "bundles/*/docs/README.md")
_MARKED = re.compile(r"(<!-- table:(?P<name>[\w-]+) -->\n).*?(<!-- /table -->)", re.DOTALL)


def format_table(table: Mapping[str, Any]) -> str:
    """A row a line: mean [95 % interval over patients], and under it how it was measured."""
    lines = [
        "| row | Dice per patient | segmenter minus row | Dice, positive slices | IoU, positive slices | lesion F1 "
        "| clean negative slices |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, scores in table["rows"].items():
        cells = [
            _interval(scores["patients"]["dice"]),
            "" if name == "segmenter" else _interval(scores["difference"], sign="+"),
            _interval(scores["positives"]["dice"]),
            _interval(scores["positives"]["iou"]),
            _number(scores["lesions"]["f1"]),
            _number(scores["negatives"]["clean"]),
        ]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join([*lines, "", _note(table)])


def _note(table: Mapping[str, Any]) -> str:
    first = next(iter(table["rows"].values()))
    counts, classifier = first["counts"], table["rows"]["segmenter"]["classification"]
    minutes = ", ".join(f"{name} {value:g}" for name, value in table["minutes"].items())
    settings = ", ".join(f"{key}={value}" for key, value in table["overrides"].items())
    return (
        f"{counts['patients']} test patients, {counts['slices']} slices, {counts['positive_slices']} positive. "
        f"Overlays: {', '.join(table['overlays']) or 'none'}{'; ' + settings if settings else ''}. "
        f"Folds {table['folds']}, seeds {table['seeds']}. {table['protocol']} "
        f"Classifier on test slices: AUC {_number(classifier['auc'])} (slice position alone "
        f"{_number(classifier['auc_slice_position'])}), F1 {_number(classifier['f1'])}, "
        f"ECE {_number(classifier['ece'])}. "
        f"Device {table['device']}, {table['threads']} thread(s); minutes: {minutes}. "
        "Mean [95 % interval, bootstrap over patients]; differences are paired."
    )


def rebuild(root: Path) -> list[Path]:
    """Write every marked table anew; returns the pages that changed."""
    changed = []
    for pattern in _PAGES:
        for page in sorted(root.glob(pattern)):
            old = page.read_text(encoding="utf-8")
            new = fill(old, root / RESULTS)
            if new != old:
                page.write_text(new, encoding="utf-8")
                changed.append(page)
    return changed


def fill(text: str, results: Path) -> str:
    """Text with each marked table made from its JSON file."""

    def table(match: re.Match[str]) -> str:
        content = json.loads((results / f"{match['name']}.json").read_text(encoding="utf-8"))
        return f"{match[1]}{format_table(content)}\n{match[3]}"

    return _MARKED.sub(table, text)


def _number(value: float | None, sign: str = "") -> str:
    return "-" if value is None else f"{value:{sign}.3f}"


def _interval(score: Mapping[str, Any], sign: str = "") -> str:
    interval: Sequence[float] | None = score["ci95"]
    text = _number(score["mean"], sign)
    return text if interval is None else f"{text} [{_number(interval[0], sign)}, {_number(interval[1], sign)}]"
