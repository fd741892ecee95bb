"""forget: a withdrawn patient leaves a prepared folder, and the runs that used it are named."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from pathlib import Path

from monai_wsss.data import PreparedDataset, write_json
from monai_wsss.data.dataset_file import SPLITS
from monai_wsss.data.mapping_table import drop_patient, is_mapping
from monai_wsss.data.pseudonyms import KEY_FILE, is_patient_pseudonym, names_ever
from monai_wsss.data.withdrawn import add_withdrawn, read_withdrawn
from monai_wsss.errors import InputError
from monai_wsss.workflow.run_registry import UsingRun, runs_using
from monai_wsss.workflow.run_traces import Mentions, RunTrace, delete_traces, drop_lines, find_traces

_FOLDERS = ("images", "truth", "cache/*")
# The patient may be seen or counted in these.
_POOLED = ("labelled_slices.png", "cohort_flow.png", "cohort_flow.txt", "shortcuts.json")
_POOLED_KEYS = frozenset({"patients", "cases", "slices", "class_counts", "cohort_flow", "shortcuts"})


@dataclass
class ForgetReport:
    """What became of a patient.

    Attributes:
        patient: its pseudonym; the first one if the person has several IDs.
        cases: pseudonyms of its cases.
        removed: number of its files in the prepared folder that were removed.
        notes: what to do next.
        runs: the runs that used it.
    """

    patient: str
    cases: tuple[str, ...]
    removed: int = 0
    notes: list[str] = field(default_factory=list)
    runs: list[RunTrace] = field(default_factory=list)

    def lines(self) -> list[str]:
        """Return the report as sentences, one a line."""
        lines = [f"Patient {self.patient}: {len(self.cases)} cases withdrawn, {self.removed} files removed."]
        lines += [f"{note}." for note in self.notes]
        if not self.runs:
            return [*lines, "No run is known to have used it; look elsewhere with --runs FOLDER."]
        lines.append("Runs that used it:" if len(self.runs) > 1 else "One run used it:")
        return lines + [line for run in self.runs for line in run.lines()]


def forget(
    patient: str,
    data: str | Path,
    runs: Iterable[str | Path] = (),
    mapping: str | Path | None = None,
    delete_from_runs: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> ForgetReport:
    """Remove a patient from a prepared folder for good, and list the runs that used it.

    Called again, also after an interruption, it does what is left to do: withdrawn.json names the patient and its cases
    before anything is removed, and dataset.json loses them before their files go. Sources are not touched.

    Args:
        patient: ID in clear, or pseudonym.
        data: prepared folder.
        runs: run folders, or folders above them, besides those that the prepared folder knows.
        mapping: mapping table that loses its rows; one that lies in the prepared folder is found.
        delete_from_runs: also remove the patient's files, lines and pictures from the runs; weights stay.
        progress: called with the runs done and the runs in all.

    Raises:
        InputError: no prepared folder, or no such patient; the message does not say who was asked for.
    """
    data = Path(data)
    dataset, withdrawn = PreparedDataset.read(data), read_withdrawn(data)
    found = runs_using(data, runs)  # a folder that is not there should not end the call half-way
    person = _find(patient, data, dataset, withdrawn, found)
    pseudonym = min(person & {case.patient for case in dataset.cases()} or person)
    cases = {case.case for case in dataset.cases() if case.patient in person}
    cases |= {case for name in person for case in withdrawn.get(name, ())}
    cases |= {case for name in person for run in found for case in run.cases(name)}
    reassigned = cases & {case.case for case in dataset.cases() if case.patient not in person}
    mentions = Mentions(person, cases - reassigned)
    report = ForgetReport(pseudonym, mentions.cases)
    if reassigned:
        report.notes.append(f"Cases that belong to another patient now stay: {len(reassigned)}")

    add_withdrawn(data, pseudonym, mentions.cases, person - {pseudonym})
    dataset = _without(dataset, person, data)
    report.removed = _remove_files(data, mentions)
    if any([_unlink(data / name) for name in _POOLED]):
        report.notes.append("Pictures and tables of all patients together are removed; prepare again to have them anew")
    _update_lines(data, mentions)
    for table in [Path(mapping)] if mapping else [path for path in data.glob("*.csv") if is_mapping(path)]:
        for name in mentions.patients:
            drop_patient(table, name)
    report.notes += [f"No patient is left in {part}; prepare again" for part in SPLITS[:2] if not dataset.cases(part)]

    for done, run in enumerate(found, start=1):
        trace = find_traces(run, mentions)
        if trace.used and trace.exists and delete_from_runs:
            delete_traces(trace, mentions)
            trace = replace(trace, deleted=True)
        report.runs += [trace] if trace.used else []
        if progress is not None:
            progress(done, len(found))
    return report


def _find(
    patient: str,
    data: Path,
    dataset: PreparedDataset,
    withdrawn: Mapping[str, list[str]],
    runs: Sequence[UsingRun],
) -> set[str]:
    """All pseudonyms of a patient who is there, or was: a run may have used one whom a later prepare left out."""
    # One person's IDs stand together: among the aliases of a case, or with the same case in withdrawn.json.
    # A name that is another patient of dataset.json is not joined: `prepare` held them apart.
    there = {case.patient for case in dataset.cases()}
    groups = [{c.patient, *(set(filter(is_patient_pseudonym, c.aliases)) - there)} for c in dataset.cases()]
    groups += [{name for name in withdrawn if {*withdrawn[name]} & {*cases}} for cases in withdrawn.values()]
    known = {*withdrawn}.union(*groups, *(run.patients for run in runs))
    person = {patient} & known
    if not person or (data / KEY_FILE).exists():  # names may be kept now and have been hashes in earlier runs
        person |= {names.patient(patient.strip()) for names in names_ever(data, known)} & known
    if not person:
        raise InputError(f"{data}: holds no such patient; give the ID as the spreadsheet or the DICOM header writes it")
    while joined := set().union(*(group for group in groups if group & person)) - person:
        person |= joined
    return person


def _without(dataset: PreparedDataset, person: Set[str], data: Path) -> PreparedDataset:
    kept = {part: tuple(case for case in dataset.cases(part) if case.patient not in person) for part in SPLITS}
    left = replace(dataset, training=kept["training"], validation=kept["validation"], test=kept["test"])
    if len(left.cases()) < len(dataset.cases()):
        left.write(data)
    return left


def _remove_files(data: Path, mentions: Mentions) -> int:
    """Remove what the folder wrote of the patient; a source that is used where it lies is not below these folders."""
    return sum(
        _unlink(path)
        for pattern in _FOLDERS
        for folder in data.glob(pattern)
        for path in sorted(folder.iterdir())
        if mentions.in_name(path)
    )


def _unlink(path: Path) -> bool:
    there = path.is_file()
    path.unlink(missing_ok=True)
    return there


def _update_lines(data: Path, mentions: Mentions) -> None:
    """Lines of the patient go, and so do counts of all patients together."""
    if (data / "nuisance.csv").is_file():
        drop_lines(data / "nuisance.csv", mentions)
    path = data / "prepare.json"
    if path.is_file():
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except ValueError:  # no report that anybody can read, and nobody knows whom it names
            path.unlink()
            return
        write_json(path, mentions.without({k: v for k, v in content.items() if k not in _POOLED_KEYS}))
