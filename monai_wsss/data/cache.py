"""The cache: every volume preprocessed once, one memory-mappable array a case."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from monai_wsss.data.atomic import write_array, write_json
from monai_wsss.data.dataset_file import Case
from monai_wsss.data.skipped import Skipped, reason_of
from monai_wsss.errors import InputError

Progress = Callable[[int, int, str], None]
"""Called after each case with (cases done, cases in all, name of the case)."""


def cache_folder(dataset_dir: str | Path, parameters: Mapping[str, Any]) -> Path:
    """Return `dataset_dir`/cache/KEY; KEY = first 12 hex digits of sha256(canonical JSON of `parameters`)."""
    canonical = json.dumps(parameters, sort_keys=True, separators=(",", ":"))
    return Path(dataset_dir) / "cache" / hashlib.sha256(canonical.encode()).hexdigest()[:12]


def build_cache(
    cases: Sequence[Case],
    folder: str | Path,
    preprocess: Callable[[dict[str, Any]], Mapping[str, Any]],
    parameters: Mapping[str, Any],
    progress: Progress | None = None,
) -> list[Skipped]:
    """Write `folder`/CASE.npy, float32 `(D, C, H, W)`, for every case that lacks it; one volume in memory at a time.

    A case is done once if its source's size and time of change stay what they were; an interrupted call goes on
    where it stopped, a finished one writes nothing. CASE.json beside it records the source's stamp and `cropped_mm`.

    Args:
        cases: the volumes.
        folder: see `cache_folder`.
        preprocess: maps {"image": path} to {"image": tensor `(C, H, W, D)`}.
        parameters: what `preprocess` does, written as preprocessing.json.
        progress: called after each case.

    Returns:
        The cases left out, with reasons.
    """
    folder = Path(folder)
    skipped = []
    for done, case in enumerate(cases, start=1):
        if not _is_cached(case, folder):
            try:
                _write_case(case, folder, preprocess)
            except (InputError, RuntimeError) as error:  # MONAI reports a failing transform as RuntimeError
                skipped.append(Skipped(str(case.image), reason_of(error, case.image)))
        if progress is not None:
            progress(done, len(cases), case.case)
    if not (folder / "preprocessing.json").is_file():
        write_json(folder / "preprocessing.json", parameters)
    return skipped


def remove_cached(dataset_dir: str | Path, keep: Collection[str]) -> None:
    """Remove the arrays of cases that are not among `keep` from every cache of a prepared folder."""
    for parameters in (Path(dataset_dir) / "cache").glob("*/preprocessing.json"):
        for array in parameters.parent.glob("*.npy"):
            if array.stem not in keep and "source_bytes" in cached_record(array.stem, array.parent):
                array.unlink()
                array.with_name(f"{array.stem}.json").unlink()


def cached_record(case: str, folder: str | Path) -> dict[str, Any]:
    """Return what the cache noted of `case`: source_bytes, source_changed_ns, shape, cropped_mm; {} if nothing."""
    try:
        return json.loads((Path(folder) / f"{case}.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def _write_case(case: Case, folder: Path, preprocess: Callable[[dict[str, Any]], Mapping[str, Any]]) -> None:
    stamp = _stamp(case.image)
    if stamp is None:
        raise InputError(f"{case.image}: not found; put the file back or prepare the data again")
    image = preprocess({"image": str(case.image)})["image"]
    array = np.ascontiguousarray(np.moveaxis(np.asarray(image, dtype=np.float32), -1, 0))
    cropped = float(getattr(image, "meta", {}).get("body_cropped_mm", 0.0))
    (folder / f"{case.case}.json").unlink(missing_ok=True)  # a stale record must never vouch for a new array
    write_array(folder / f"{case.case}.npy", array)
    write_json(folder / f"{case.case}.json", {**stamp, "shape": list(array.shape), "cropped_mm": cropped})


def _is_cached(case: Case, folder: Path) -> bool:
    record = cached_record(case.case, folder)
    if not record or not (folder / f"{case.case}.npy").is_file():
        return False
    stamp = _stamp(case.image)  # a source that is gone cannot have changed
    return stamp is None or all(record.get(key) == value for key, value in stamp.items())


def _stamp(path: Path) -> dict[str, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return {"source_bytes": status.st_size, "source_changed_ns": status.st_mtime_ns}
