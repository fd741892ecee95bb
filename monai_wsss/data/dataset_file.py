"""dataset.json: the cases of a prepared folder, by split."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from monai_wsss.data.atomic import write_json
from monai_wsss.errors import InputError

VERSION = 1
FILE_NAME = "dataset.json"
SPLITS = ("training", "validation", "test")


@dataclass(frozen=True)
class Case:
    """One volume with its image-level labels.

    Attributes:
        image: the NIfTI file.
        case: name, unique in the data set; names the case's files everywhere. A keyed hash, unless names were kept.
        patient: cases of one patient never part; a keyed hash as well.
        classes: per class 1 present, 0 absent, between them a soft label, -1 unknown; for the whole volume.
        slice_classes: the same per slice along the file's third axis, or None if only the volume is labelled.
        site: where the image was taken, if known.
        truth: mask file; only `evaluate` may read it.
        burned_in: the image may show a name in its pixels, so it stays out of every picture.
        aliases: other names of the case (stem, UIDs, accession number), each as a keyed hash unless names were kept.
    """

    image: Path
    case: str
    patient: str
    classes: tuple[float, ...]
    slice_classes: tuple[tuple[float, ...], ...] | None = None
    site: str | None = None
    truth: Path | None = None
    burned_in: bool = False
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True)
class PreparedDataset:
    """The content of dataset.json.

    Attributes:
        labels: class names.
        preprocessing: parameters of the cache that `prepare` built.
        training, validation, test: the cases.
        policy: what became of labels that say neither present nor absent, `{"blank": .., "uncertain": ..}`.
        reading: how series were chosen and read, `{"series": rule, "voi": .., "resample": ..}`, as inference will.
    """

    labels: tuple[str, ...]
    preprocessing: dict[str, Any] = field(default_factory=dict)
    training: tuple[Case, ...] = ()
    validation: tuple[Case, ...] = ()
    test: tuple[Case, ...] = ()
    policy: dict[str, Any] = field(default_factory=dict)
    reading: dict[str, Any] = field(default_factory=dict)

    def cases(self, split: str | None = None) -> tuple[Case, ...]:
        """Return the cases of `split` ("training", "validation", "test"), or all of them if None.

        Raises:
            ValueError: on another name.
        """
        if split is None:
            return self.training + self.validation + self.test
        if split not in SPLITS:
            raise ValueError(f"split must be one of {', '.join(SPLITS)}, got {split!r}")
        return getattr(self, split)

    def write(self, folder: str | Path) -> None:
        """Write `folder`/dataset.json; paths inside `folder` become relative, so that it can be moved."""
        folder = Path(folder).resolve()
        content: dict[str, Any] = {
            "version": VERSION,
            "labels": list(self.labels),
            "preprocessing": self.preprocessing,
        }
        content |= {key: value for key in ("policy", "reading") if (value := getattr(self, key))}
        for split in SPLITS:
            content[split] = [_to_item(case, folder) for case in self.cases(split)]
        write_json(folder / FILE_NAME, content)

    @classmethod
    def read(cls, folder: str | Path) -> PreparedDataset:
        """Read `folder`/dataset.json.

        Raises:
            InputError: if it is missing, broken or of another version.
        """
        path = Path(folder) / FILE_NAME
        if not path.is_file():
            raise InputError(f"{path}: not found; prepare the data first (monai-wsss prepare)")
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise InputError(f"{path}: not valid JSON ({error}); prepare the data again") from error
        version = content.get("version") if isinstance(content, dict) else None
        if version != VERSION:
            raise InputError(f"{path}: version {version}, this program reads version {VERSION}; prepare the data again")
        try:
            labels = tuple(str(label) for label in content["labels"])
            training, validation, test = (
                tuple(_to_case(item, path.parent.resolve(), len(labels)) for item in content[split]) for split in SPLITS
            )
            policy, reading = (dict(content.get(key, {})) for key in ("policy", "reading"))
            return cls(labels, dict(content["preprocessing"]), training, validation, test, policy, reading)
        except (KeyError, TypeError, ValueError) as error:
            detail = f"missing key {error}" if isinstance(error, KeyError) else error
            raise InputError(f"{path}: {detail}; prepare the data again") from error


def _to_item(case: Case, folder: Path) -> dict[str, Any]:
    item: dict[str, Any] = {
        "image": _portable(case.image, folder),
        "case": case.case,
        "patient": case.patient,
        "classes": list(case.classes),
    }
    if case.site is not None:
        item["site"] = case.site
    if case.slice_classes is not None:
        item["slice_classes"] = [list(classes) for classes in case.slice_classes]
    if case.truth is not None:
        item["truth"] = _portable(case.truth, folder)
    if case.burned_in:
        item["burned_in"] = True
    if case.aliases:
        item["aliases"] = list(case.aliases)
    return item


def _to_case(item: Mapping[str, Any], folder: Path, num_classes: int) -> Case:
    slices = item.get("slice_classes")
    return Case(
        image=folder / item["image"],
        case=str(item["case"]),
        patient=str(item["patient"]),
        classes=_classes(item["classes"], num_classes, item["case"]),
        slice_classes=None if slices is None else tuple(_classes(s, num_classes, item["case"]) for s in slices),
        site=item.get("site"),
        truth=folder / item["truth"] if item.get("truth") else None,
        burned_in=bool(item.get("burned_in", False)),
        aliases=tuple(str(alias) for alias in item.get("aliases", ())),
    )


def _classes(values: Sequence[float], num_classes: int, case: str) -> tuple[float, ...]:
    if len(values) != num_classes or not all(value == -1 or 0 <= value <= 1 for value in values):
        raise ValueError(f"case {case} needs {num_classes} classes from 0 to 1, or -1, got {values}")
    return tuple(int(value) if value in (0, 1, -1) else float(value) for value in values)


def _portable(path: Path, folder: Path) -> str:
    path = path.resolve()
    return path.relative_to(folder).as_posix() if path.is_relative_to(folder) else str(path)
