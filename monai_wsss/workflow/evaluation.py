"""Score predicted label maps against true ones: the only place that may read a true mask."""

import csv
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from monai_wsss.data.atomic import write_json
from monai_wsss.data.case_resolver import ALIASES, CaseResolver
from monai_wsss.data.clear_names import stem_of
from monai_wsss.data.dataset_file import PreparedDataset
from monai_wsss.data.pseudonyms import Pseudonyms, key_beside
from monai_wsss.errors import InputError
from monai_wsss.metrics import ECE_BINS, LESION_RULE, CaseCounts, count_case, summarise
from monai_wsss.metrics.case_counts import IGNORED
from monai_wsss.workflow.label_maps import check_geometry, find_label_maps, read_array, read_label_map, some

_MAX_LABELS = 254
_SLICE_COLUMNS = ("case", "slice", "class", "probability")
# {case: {class: {slice: probability}}}
_Probabilities = dict[str, dict[str, dict[int, float]]]

DEFINITIONS = {
    "interval": "95 % percentile bootstrap over patients, all slices of a drawn patient together, 2000 resamples",
    "patients.dice": "2 TP / (2 TP + FP + FN) over all voxels of a patient; 1 if truth and prediction are both empty",
    "positives": "mean over slices (third array axis) whose truth holds the label",
    "negatives": "slices and cases whose truth does not hold the label; clean = not one predicted voxel",
    "lesions": LESION_RULE,
    "dataset": "one confusion matrix of all voxels; mIoU includes the background, Dice does not; a label without a "
    "true positive counts as 0, one in neither truth nor prediction is left out",
    "papers.miou_positives": "TP / (TP + FP + FN) of a slice, mean over slices whose truth holds the label",
    "papers.miou_all": "the same, mean over all slices; 1 where truth and prediction are both empty",
    "papers.dice_empty_is_one": "Dice of a slice, mean over all slices; 1 where truth and prediction are both empty",
    "papers.all_empty": "what an empty prediction of every slice scores in papers.miou_all and "
    "papers.dice_empty_is_one: the share of slices without the label",
    "classification": f"of slices; F1 at probability 0.5; ECE of the positive class in {ECE_BINS} equal bins; "
    "auc_slice_position: AUC of closeness to the middle slice alone",
    "classes": "with several labels each score is the mean over the labels, and `classes` holds every label's own",
    "void": "with several labels 255 in a truth marks voxels that no score counts; with one label it may be the lesion",
    "missing": "a truth without a prediction is scored as an empty prediction",
    "skipped": "a case that cannot be read or compared is not scored",
}


def evaluate(
    pred: Path,
    truth: Path | Mapping[str, Path],
    out: Path | None,
    patients: Mapping[str, str] | None = None,
    labels: Sequence[str] | None = None,
    data: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Score a folder of label maps (0 background, 1..K) and write the scores as JSON.

    Files match by stem (``<case>.nii.gz`` or ``.nii``), or with ``data`` by the case that a stem means, so that masks
    under the user's own names are found; one case at a time is in memory. With one label a mask may hold any single
    non-zero value, such as 255; with several, 255 in a truth is void and not counted. A truth without a prediction
    counts as an empty prediction and is listed under ``missing``; a prediction without a truth is listed under
    ``unmatched``; a case that cannot be read or whose shape or affine differ is listed under ``skipped`` with its
    reason, and the others are scored.

    Args:
        pred: folder of predictions; its ``slices.csv``, if there, holds the classifier's slice probabilities.
        truth: folder of true masks, or the file of every case that is to be scored.
        out: the JSON file to write; None writes nothing.
        patients: patient of each case, if None those of ``data``; a case not named is its own patient.
        labels: names of the labels 1..K, if None those of ``data``, of ``slices.csv``, or the values found.
        data: prepared folder. Unless it keeps names, every file is called by its case in all that is written or raised.
            None takes the names as they stand; those of `infer` are found by the key file beside ``pred``.
        progress: called with the number of cases done and the number of all cases.

    Returns:
        What the file holds: the scores of ``summarise`` with ``labels``, ``definitions`` and the three lists.

    Raises:
        InputError: a folder without label maps, no case in common, a bad ``slices.csv``, or no case can be scored.
    """
    resolver = _resolver(pred, data)
    if data is not None:
        dataset = PreparedDataset.read(data)
        patients = {case.case: case.patient for case in dataset.cases()} if patients is None else patients
        labels = dataset.labels if labels is None else labels
    given = isinstance(truth, Mapping)
    predictions, skipped = find_label_maps(pred, resolver)
    truths, unclear = (dict(truth), []) if isinstance(truth, Mapping) else find_label_maps(truth, resolver)
    skipped += unclear
    if not truths.keys() & predictions.keys():
        where = "the given truths" if given else f"{truth}"
        raise InputError(f"{pred}: no file name in common with {where}; name a prediction as its truth")
    case_of = {stem_of(file): case for case, file in predictions.items()}
    probabilities = {case_of.get(n, n): table for n, table in _read_probabilities(Path(pred) / "slices.csv").items()}
    names = list(labels) if labels is not None else _find_labels(probabilities, predictions, truths)
    if len(names) > _MAX_LABELS:
        raise InputError(f"{len(names)} labels; label maps hold at most {_MAX_LABELS}, because 255 is void")
    if unknown := {name for of_class in probabilities.values() for name in of_class} - set(names):
        known = ", ".join(names)
        raise InputError(f"{Path(pred) / 'slices.csv'}: class {min(unknown)} is not one of the labels {known}")

    hidden = given or (resolver is not None and not resolver.names.keeps_names)
    counted: list[CaseCounts] = []
    for done, (case, file) in enumerate(sorted(truths.items()), start=1):
        try:
            true, true_affine = read_label_map(Path(file), len(names), truth=True)
            predicted = torch.zeros_like(true)
            if case in predictions:
                predicted, affine = read_label_map(predictions[case], len(names))
                check_geometry(predictions[case], predicted.shape, affine, true.shape, true_affine)
            probability = _slice_table(probabilities.get(case), names, len(true), Path(pred) / "slices.csv", case)
        except InputError as error:
            own = predictions.get(case, file)
            reason = _without_paths(str(error), (own, file)) if hidden else str(error)
            skipped.append({"file": case if hidden else str(own), "reason": reason})
        else:
            patient = (patients or {}).get(case, case)
            counted.append(
                count_case(
                    case,
                    predicted,
                    true,
                    len(names),
                    patient=patient,
                    probability=probability,
                    missing=case not in predictions,
                )
            )
        if progress is not None:
            progress(done, len(truths))
    if not counted:
        raise InputError(f"{pred}: none of {len(skipped)} cases could be scored; the first: {skipped[0]['reason']}")

    unmatched = sorted(predictions.keys() - truths.keys())
    result: dict[str, Any] = {"labels": names, **summarise(counted, names)}
    result["counts"] |= {"unmatched": len(unmatched), "skipped": len(skipped)}
    result["missing"] = [case.case for case in counted if case.missing]
    result["unmatched"] = unmatched
    result["skipped"] = skipped
    result["definitions"] = DEFINITIONS
    if out is not None:
        write_json(Path(out), result)
    return result


def _resolver(pred: Path, data: Path | None) -> CaseResolver | None:
    """What finds the case of a file name; None where names stand as they are.

    Masks of new volumes bring their other names along, see `infer`.
    """
    key, aliases = key_beside(pred), Path(pred) / ALIASES
    if data is not None:
        resolver = CaseResolver.of_prepared(data)
    elif key.is_file() or aliases.is_file():
        resolver = CaseResolver(Pseudonyms.open(key, keep_names=not key.is_file()))
    else:
        return None
    resolver.add_table(aliases)
    return resolver


def _without_paths(reason: str, files: Sequence[Path]) -> str:
    for file in files:
        reason = reason.removeprefix(f"{file}: ").replace(str(file), "the file").replace(file.name, "the file")
    return reason


def format_table(result: Mapping[str, Any]) -> str:
    """The scores of ``evaluate`` as a few lines of text for the command line."""
    counts, negatives, lesions = result["counts"], result["negatives"], result["lesions"]
    dataset, papers, classifier = result["dataset"], result["papers"], result["classification"]
    rows = [
        ("Dice per patient", _interval(result["patients"]["dice"], "patients")),
        ("Dice, positive slices", _interval(result["positives"]["dice"], "n", "slices")),
        ("IoU, positive slices", _interval(result["positives"]["iou"], "n", "slices")),
        ("Lesion-wise F1", f"{_text(lesions['f1'])}  (TP {lesions['tp']}, FP {lesions['fp']}, FN {lesions['fn']})"),
        ("Clean negative slices", f"{_text(negatives['clean'])}  ({_text(negatives['voxels'], 1)} voxels on average)"),
        ("Data-set mIoU", f"{_text(dataset['miou'])}  (Dice {_text(dataset['dice'])})"),
        ("Pixel accuracy", _text(dataset["pixel_accuracy"])),
        ("Dice, empty slices = 1", _text(papers["dice_empty_is_one"])),
        ("mIoU, empty slices = 1", f"{_text(papers['miou_all'])}  (positive slices {_text(papers['miou_positives'])})"),
        ("  an empty prediction", f"{_text(papers['all_empty'])}  (in both)"),
    ]
    if classifier["slices"]:
        beside = f"slice position alone {_text(classifier['auc_slice_position'])}"
        rows.append(("Classifier AUC", f"{_text(classifier['auc'])}  ({beside})"))
        rows.append(("Classifier F1, ECE", f"{_text(classifier['f1'])}, {_text(classifier['ece'])}"))
    for name, scores in result.get("classes", {}).items():
        rows.append((f"  {name}, per patient", _interval(scores["patients"]["dice"], "patients")))
    sizes = ", ".join(f"{counts[key]} {key.replace('_', ' ')}" for key in ("patients", "cases", "slices"))
    width = max(len(name) for name, _ in rows)
    lines = [f"{sizes} ({counts['positive_slices']} positive)", *(f"{name:<{width}}  {value}" for name, value in rows)]
    if result["missing"]:
        lines.append(f"{counts['missing']} without a prediction, scored as empty: {some(result['missing'])}")
    if result["unmatched"]:
        lines.append(f"{counts['unmatched']} without a truth, not scored: {some(result['unmatched'])}")
    lines += [f"skipped: {_place(item)}{item['reason']}" for item in result["skipped"]]
    return "\n".join(lines)


def _read_probabilities(file: Path) -> _Probabilities:
    """Slice probabilities of the classifier; an empty cell is unknown; nothing if there is no such file."""
    table: _Probabilities = {}
    if not file.is_file():
        return table
    with file.open(newline="", encoding="utf-8-sig", errors="replace") as stream:
        reader = csv.DictReader(stream)
        if lacking := [name for name in _SLICE_COLUMNS if name not in (reader.fieldnames or [])]:
            raise InputError(f"{file}: has no column {lacking[0]}; expected {', '.join(_SLICE_COLUMNS)}")
        for row in reader:
            try:
                index, probability = int(row["slice"]), float(row["probability"] or 0)
            except (TypeError, ValueError):
                index, probability = -1, math.nan
            if index < 0 or not 0 <= probability <= 1 or not row["class"]:
                raise InputError(f"{file}: line {reader.line_num} needs a class, a slice and a probability in [0, 1]")
            of_class = table.setdefault(row["case"], {}).setdefault(row["class"], {})
            if row["probability"]:
                of_class[index] = probability
    return table


def _slice_table(
    of_class: dict[str, dict[int, float]] | None, names: Sequence[str], depth: int, file: Path, case: str
) -> Tensor | None:
    """Probabilities (D, K) of one case, NaN where unknown; None if none is known."""
    if not of_class or not any(of_class.values()):
        return None
    table = torch.full((depth, len(names)), torch.nan, dtype=torch.float64)
    for name, values in of_class.items():
        if values and max(values) >= depth:
            raise InputError(f"{file}: {case} has {depth} slices, but a row for slice {max(values)}; predict it again")
        for index, value in values.items():
            table[index, names.index(name)] = value
    return table


def _find_labels(
    probabilities: _Probabilities, predictions: Mapping[str, Path], truths: Mapping[str, Path]
) -> list[str]:
    """Names of the labels where none are given: those of ``slices.csv``, else one for each value in the files."""
    if names := list(dict.fromkeys(name for of_class in probabilities.values() for name in of_class)):
        return names
    found: list[set[float]] = [set(), set()]
    for seen, files in zip(found, (predictions, truths), strict=True):
        for file in files.values():
            try:
                seen |= set(np.unique(read_array(Path(file))[0].ravel(order="K")).tolist()) - {0}
            except InputError:
                continue  # named with its reason when it is scored
    if all(len(values) <= 1 for values in found):
        return ["lesion"]
    together = sorted(found[0] | found[1])
    if len(several := [value for value in together if value != IGNORED or value in found[0]]) > 1:
        together = several  # void of the truths
    if together != list(range(1, len(together) + 1)):
        values = some([f"{value:g}" for value in together])
        folder = Path(next(iter(truths.values()))).parent
        raise InputError(f"{folder}: the label maps hold the values {values}; expected 0..K, or name the labels")
    return [f"class {index:g}" for index in together]


def _place(skipped: Mapping[str, str]) -> str:
    return "" if skipped["file"] in skipped["reason"] else f"{skipped['file']}: "


def _interval(score: Mapping[str, Any], size: str, unit: str | None = None) -> str:
    interval = "" if score["ci95"] is None else f" [{score['ci95'][0]:.3f}, {score['ci95'][1]:.3f}]"
    return f"{_text(score['mean'])}{interval}  ({score[size]} {unit or size})"


def _text(value: float | None, digits: int = 3) -> str:
    return "undefined" if value is None else f"{value:.{digits}f}"
