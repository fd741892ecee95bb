"""What is kept of a DICOM file's header: plain values, so that ten thousand of them take little memory."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from monai_wsss.data.volume import SeriesTags


@dataclass(frozen=True, slots=True)
class FrameHeader:
    """Geometry and contrast of one frame; None or empty where the header says nothing.

    Attributes:
        position: centre of the first pixel, mm (LPS).
        orientation: direction of a row, then of a column (LPS).
        spacing: mm between rows, between columns.
        thickness: mm from this slice to the next as stated, else the slice's thickness.
        echo_time: ms.
        echo_number: counts from 1.
        b_value: s/mm2.
        temporal: number of the time point.
        acquisition: number of the acquisition.
        trigger: ms after the trigger.
        time: of the acquisition, as text.
        stack: name of the stack of slices within an object.
        image_type: ImageType or FrameType, joined by backslashes.
    """

    position: tuple[float, ...] | None = None
    orientation: tuple[float, ...] | None = None
    spacing: tuple[float, ...] | None = None
    thickness: float | None = None
    echo_time: float | None = None
    echo_number: int | None = None
    b_value: float | None = None
    temporal: float | None = None
    acquisition: int | None = None
    trigger: float | None = None
    time: str = ""
    stack: str = ""
    image_type: str = ""


@dataclass(frozen=True, slots=True)
class FileHeader:
    """One DICOM image file.

    Attributes:
        bytes: size of the file.
        tags: what the series says of itself; one object for all files of which it is true.
        instance: SOPInstanceUID.
        number: InstanceNumber.
        directions: of a row and of a column as letters (PatientOrientation), for images without position.
        view: ViewPosition and laterality of a projection, such as "PA" or "MLO L".
        frames: one of each frame; empty where nothing tells the frames' geometry.
        problem: why its pixels cannot be used; empty if they can.
    """

    path: Path
    bytes: int
    tags: SeriesTags
    sop_class: str
    instance: str
    number: int | None
    columns: int
    rows: int
    directions: tuple[str, ...] = ()
    view: str = ""
    frames: tuple[FrameHeader, ...] = ()
    problem: str = ""
