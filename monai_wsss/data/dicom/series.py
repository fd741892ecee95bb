"""Group DICOM files into series, and each series into volumes."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from monai_wsss.data.dicom.file_header import FileHeader
from monai_wsss.data.dicom.geometry import Stack
from monai_wsss.data.dicom.headers import UNREADABLE, read_headers
from monai_wsss.data.dicom.object_kinds import is_cross_section, is_projection, is_secondary_capture
from monai_wsss.data.dicom.parts import Part, Slice, split_slices
from monai_wsss.data.dicom.planes import plane_of, projection_affine
from monai_wsss.data.skipped import Skipped
from monai_wsss.data.volume import SeriesTags, VolumeHeader
from monai_wsss.errors import InputError

_BLOCK = 1 << 20  # bytes read at a time


@dataclass(frozen=True, eq=False)
class Series:
    """One volume of a DICOM series, or slices that make none.

    Attributes:
        files: in slice order; of a multi-frame object the one file.
        frames: frame of each slice from 0, where `files` is one multi-frame object.
        tags: `part` says which part of a series it is that was split.
        header: geometry; None if unusable.
        problem: why it is unusable; empty if it is usable.
        stack: the grid; None if unusable, and for images without a place in the patient.
        copies: files left out because they repeat one of `files`.
    """

    files: tuple[Path, ...]
    frames: tuple[int, ...] | None
    tags: SeriesTags
    header: VolumeHeader | None
    problem: str = ""
    stack: Stack | None = None
    bytes: int = 0
    copies: tuple[Path, ...] = ()


def find_series(paths: Sequence[Path], resample: bool = False) -> list[Series]:
    """Return the volumes of these files, read in this process; files that are no images are passed over.

    Raises:
        InputError: a DICOM file that cannot be read, since its slice would be missing.
    """
    headers = []
    for header in read_headers(paths, workers=1):
        if not isinstance(header, Skipped):
            headers.append(header)
        elif header.reason == UNREADABLE:
            raise InputError(f"{header.file}: {header.reason}")
    return group_series(headers, resample)


def group_series(headers: Iterable[FileHeader], resample: bool = False) -> list[Series]:
    """Return the volumes of these files by the path of their first file, whatever the order of the headers.

    Args:
        headers: of any number of patients.
        resample: mend gaps, uneven spacing and tilt; without it such a series is unusable.
    """
    groups: dict[tuple[str, ...], list[FileHeader]] = {}
    for header in sorted(headers, key=lambda header: header.path):
        tags = header.tags
        series = tags.series or str(header.path.parent)
        groups.setdefault((tags.patient, tags.study, series, tags.modality), []).append(header)
    found = [series for files in groups.values() for series in _volumes(files, resample)]
    return sorted(found, key=lambda series: (series.files[0], series.frames or ()))


def _volumes(files: list[FileHeader], resample: bool) -> list[Series]:
    files, copies = _without_copies(files)
    slices = [Slice(file, k) for file in files for k in range(len(file.frames))]
    placed = [entry for entry in slices if entry.frame.position is not None or len(entry.file.frames) > 1]
    pictures = [entry for entry in slices if entry.frame.position is None and len(entry.file.frames) == 1]
    parts = split_slices(placed, resample) if placed else []
    several = len(parts) + len(pictures) + sum(not file.frames for file in files) > 1
    found = [_from_stack(part if several else replace(part, name="")) for part in parts]
    names = _picture_names([entry.file for entry in pictures])
    found += [_picture(entry.file, name * several) for entry, name in zip(pictures, names, strict=True)]
    found += [_series([Slice(file)], "", None, file.problem) for file in files if not file.frames]
    if copies:
        found[0] = replace(found[0], copies=tuple(copies))
    return found


def _without_copies(files: list[FileHeader]) -> tuple[list[FileHeader], list[Path]]:
    """Drop files that repeat another one.

    An object with the UID, the number and the position of another one is a copy, however it is encoded. Films have no
    position, and careless anonymisers give all of them one UID: there only the same bytes make a copy.
    """
    alike: dict[object, list[FileHeader]] = {}
    for file in files:
        content = (file.instance, file.number, file.columns, file.rows, file.view, file.frames)
        alike.setdefault(content if file.instance else file.path, []).append(file)
    copies = {path for group in alike.values() if len(group) > 1 for path in _copies(group)}
    return [file for file in files if file.path not in copies], [file.path for file in files if file.path in copies]


def _copies(files: list[FileHeader]) -> set[Path]:
    """Return the files that repeat another one of the same UID, number and place."""
    placed = any(frame.position is not None for frame in files[0].frames) and files[0].number is not None
    if placed or len(files[0].frames) != 1:
        kept = next((file for file in files if not file.problem), files[0])
        return {file.path for file in files if file is not kept}
    sizes, seen, copies = Counter(file.bytes for file in files), set(), set()
    for file in files:
        content = (file.bytes, _digest(file.path, file.bytes) if sizes[file.bytes] > 1 else "")
        longer = [other for other in files if other.bytes > file.bytes and not other.problem] if file.problem else []
        if content in seen or any(_digest(file.path, file.bytes) == _digest(f.path, file.bytes) for f in longer):
            copies.add(file.path)
        seen.add(content)
    return copies


def _digest(path: Path, size: int) -> str:
    """Return a digest of the first bytes of a file; of its path where it cannot be read."""
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while size > 0 and (block := file.read(min(size, _BLOCK))):
                digest.update(block)
                size -= len(block)
    except OSError:
        return str(path)
    return digest.hexdigest()


def _from_stack(part: Part) -> Series:
    orientation = part.slices[0].frame.orientation
    plane = plane_of(orientation)[0] if orientation else ""
    problem = _pixel_problem([entry.file for entry in part.slices]) or part.problem
    series = _series(list(part.slices), part.name, part.stack, problem, plane)
    if part.stack is None or problem:
        return replace(series, stack=None)
    header = VolumeHeader(part.stack.shape, part.stack.affine, part.stack.spacing)
    return replace(series, header=header)


def _picture(file: FileHeader, part: str) -> Series:
    """Return an image without position: usable unless it should be a slice."""
    problem, modality = file.problem, file.tags.modality
    if is_cross_section(modality):
        screenshot = is_secondary_capture(file.sop_class)
        problem = "a screenshot (secondary capture), no slice" if screenshot else problem or "no position in its header"
    series = _series([Slice(file)], part, None, problem, "projection" if is_projection(modality) else "")
    if problem:
        return series
    spacing = file.frames[0].spacing
    known = (spacing[0], spacing[1]) if spacing and min(spacing) > 0 else None
    between_rows, between_columns = known or (1.0, 1.0)
    affine = projection_affine(file.directions, known)
    header = VolumeHeader((file.columns, file.rows, 1), affine, (between_columns, between_rows, 1.0), known is not None)
    return replace(series, header=header)


def _picture_names(files: list[FileHeader]) -> list[str]:
    """Return what tells the images of a series apart: the view, else the number of the image."""
    views, numbers = [file.view for file in files], [file.number for file in files]
    if all(views) and len(set(views)) == len(views):
        return [f"view {view}" for view in views]
    if None not in numbers and len(set(numbers)) == len(numbers):
        return [f"image {number}" for number in numbers]
    return [f"image {number}" for number in range(1, len(files) + 1)]


def _series(slices: list[Slice], part: str, stack: Stack | None, problem: str, plane: str = "") -> Series:
    files = list(dict.fromkeys(entry.file.path for entry in slices))
    first = slices[0].file
    multi = len(first.frames) > 1
    instances: list[str] = [entry.file.instance for entry in slices]
    numbers: list[int | None] = [entry.index + 1 if multi else entry.file.number for entry in slices]
    if stack is not None and stack.problem:
        instances, numbers = _on_grid(instances, numbers, stack)
    every = [entry.file.tags for entry in slices]
    tags = replace(
        first.tags,
        plane=plane,
        part=part,
        image_type=first.frames[slices[0].index].image_type if first.frames else first.tags.image_type,
        bits_stored=max(tags.bits_stored for tags in every),
        transfer_syntax=", ".join(sorted({tags.transfer_syntax for tags in every})),
        burned_in="YES" if any(tags.burned_in == "YES" for tags in every) else first.tags.burned_in,
        instances=tuple(instances),
        instance_numbers=tuple(numbers),
    )
    size = sum({entry.file.path: entry.file.bytes for entry in slices}.values())
    frames = tuple(entry.index for entry in slices) if multi else None
    return Series(tuple(files), frames, tags, None, problem, stack, size)


def _on_grid(instances: list[str], numbers: list[int | None], stack: Stack) -> tuple[list[str], list[int | None]]:
    """Return UID and number of the slices of a resampled volume; those that are interpolated have none."""
    new_instances = [""] * stack.shape[2]
    new_numbers: list[int | None] = [None] * stack.shape[2]
    for k, index in enumerate(stack.offsets[:, 2]):
        new_instances[round(float(index))], new_numbers[round(float(index))] = instances[k], numbers[k]
    return new_instances, new_numbers


def _pixel_problem(files: list[FileHeader]) -> str:
    problems = {file.path: file.problem for file in files if file.problem}
    if not problems:
        return ""
    total = len({file.path for file in files})
    first = next(iter(problems.values()))
    return first if len(problems) == total else f"{len(problems)} of {total} files: {first}"
