"""runs.json: which run folders used a prepared folder, and with which patients in which split."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from filelock import FileLock

from monai_wsss.data import PreparedDataset, write_json
from monai_wsss.data.dataset_file import SPLITS
from monai_wsss.errors import InputError

FILE_NAME = "runs.json"
_VERSION = 2
_WAIT = 60  # seconds for the lock; its holder writes one small file


@dataclass(frozen=True)
class UsingRun:
    """A run folder that used, or may have used, a prepared folder.

    Attributes:
        folder: absolute; it may have been moved or removed since.
        started: when it first ran on the prepared folder (UTC); empty if the registry does not know it.
        splits: split -> patient -> cases, once for every division of the patients it ran with.
    """

    folder: Path
    started: str = ""
    splits: tuple[Mapping[str, Mapping[str, list[str]]], ...] = ()

    @property
    def patients(self) -> set[str]:
        """Pseudonyms of all patients that it ran with."""
        return {patient for split in self.splits for cases in split.values() for patient in cases}

    def cases(self, patient: str) -> set[str]:
        """Cases that a patient's pseudonym had when the run began."""
        return {case for split in self.splits for cases in split.values() for case in cases.get(patient, ())}

    def parts(self, patient: str) -> list[str]:
        """Splits in which a patient's pseudonym stood when the run began."""
        return [part for part in SPLITS if any(patient in split.get(part, ()) for split in self.splits)]


def record_run(dataset_dir: str | Path, dataset: PreparedDataset, run_folder: str | Path) -> None:
    """Note in `dataset_dir` that a run folder uses it.

    Raises:
        OSError: the folder is read-only.
        InputError: a registry that cannot be read; writing another would lose what it says.
    """
    folder = Path(dataset_dir)
    split: dict[str, dict[str, list[str]]] = {part: {} for part in SPLITS}
    for part, cases in split.items():
        for case in sorted(dataset.cases(part), key=lambda case: (case.patient, case.case)):
            cases.setdefault(case.patient, []).append(case.case)
    digest = hashlib.sha256(json.dumps(split, sort_keys=True).encode()).hexdigest()[:12]
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        with suppress(OSError, NotImplementedError):  # a file system without locks, or whose lock is stuck
            # Runs that begin together each find what the other wrote; whoever may write the folder may lock it.
            stack.enter_context(FileLock(folder / f".{FILE_NAME}.lock", mode=0o666, timeout=_WAIT))
        content = _read(folder)
        content["splits"][digest] = split  # most runs share one: it is written once
        run = content["runs"].setdefault(str(Path(run_folder).resolve()), {"started": _now(), "splits": []})
        if digest not in run["splits"]:
            run["splits"].append(digest)
        write_json(folder / FILE_NAME, content)


def runs_using(dataset_dir: str | Path, extra: Iterable[str | Path] = ()) -> list[UsingRun]:
    """Return the runs that the registry of `dataset_dir` names, and every run folder found in or below `extra`.

    A folder of `extra` without any run counts itself: it may hold what `infer` wrote.

    Raises:
        InputError: a registry that cannot be read, or a folder of `extra` that is not there.
    """
    content = _read(Path(dataset_dir))
    found = {
        folder: UsingRun(Path(folder), run["started"], tuple(content["splits"][key] for key in run["splits"]))
        for folder, run in content["runs"].items()
    }
    for root in extra:
        if not Path(root).is_dir():
            raise InputError(f"{root}: no such folder of runs")
        for folder in list(_run_folders(Path(root).resolve())) or [Path(root).resolve()]:
            found.setdefault(str(folder), UsingRun(folder))
    return list(found.values())


def _run_folders(root: Path) -> Iterator[Path]:
    for place, folders, files in os.walk(root):
        if "run.json" in files:
            folders.clear()  # a run holds no other
            yield Path(place)
        folders.sort()


def _read(dataset_dir: Path) -> dict[str, Any]:
    path = dataset_dir / FILE_NAME
    if not path.exists():
        return {"version": _VERSION, "runs": {}, "splits": {}}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["version"] != _VERSION:
            raise InputError(f"{path}: of another version; it tells which runs used the data, keep it elsewhere")
        [dict(cases) for split in content["splits"].values() for cases in split.values()]  # no patient without cases
        keys = {key for run in content["runs"].values() for key in run["splits"] if run["started"]}
        if not keys <= content["splits"].keys():
            raise KeyError(min(keys - content["splits"].keys()))
    except InputError:
        raise
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path}: not readable; put the right file back, it tells which runs used the data") from error
    return content


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")
