"""Write tiny DICOM files element by element, so that tests know every value in them."""

from pathlib import Path

import numpy as np
from pydicom import uid
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.filewriter import dcmwrite
from pydicom.sequence import Sequence

from monai_wsss.data.dicom.quiet import quiet_pydicom

COLUMNS, ROWS = 4, 3
AXIAL = [1, 0, 0, 0, 1, 0]
STUDY, SERIES = "1.2.3.4", "1.2.3.4.5"


def slice_tags(**changes):
    """An axial MR slice of 4 columns and 3 rows, 2 mm between rows, 1 mm between columns; None takes an element out."""
    tags = {
        "SOPClassUID": uid.MRImageStorage,
        "Modality": "MR",
        "PatientID": "HOSP-7",
        "PatientName": "Doe^Jane",
        "StudyInstanceUID": STUDY,
        "SeriesInstanceUID": SERIES,
        "SeriesDescription": "FLAIR ax",
        "ImageType": ["ORIGINAL", "PRIMARY", "M"],
        "InstanceNumber": 1,
        "ImagePositionPatient": [0, 0, 0],
        "ImageOrientationPatient": AXIAL,
        "PixelSpacing": [2, 1],
        "SliceThickness": 5,
        "Rows": ROWS,
        "Columns": COLUMNS,
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "BitsAllocated": 16,
        "BitsStored": 12,
        "HighBit": 11,
        "PixelRepresentation": 0,
    }
    return {key: value for key, value in (tags | changes).items() if value is not None}


def film_tags(**changes):
    """A chest film: no position."""
    film = {"SOPClassUID": uid.DigitalXRayImageStorageForPresentation, "Modality": "DX", "SeriesDescription": "CHEST"}
    gone = dict.fromkeys(("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness"))
    return slice_tags(**(film | gone | changes))


@quiet_pydicom()  # which has a word on every way to write that both its versions know
def write_dicom(path, tags=None, syntax=uid.ExplicitVRLittleEndian, pixels=None, preamble=True):
    """Write one file; pixels of zeros unless given (b"" for none)."""
    tags = dict(slice_tags() if tags is None else tags)
    path.parent.mkdir(parents=True, exist_ok=True)
    data = FileDataset(str(path), {}, preamble=b"\0" * 128)
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = syntax
    tags.setdefault("SOPInstanceUID", uid.generate_uid(entropy_srcs=[str(path)]))
    for keyword, value in tags.items():
        setattr(data, keyword, value)
    data.file_meta.MediaStorageSOPClassUID = data.get("SOPClassUID", "")
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID
    data.is_little_endian, data.is_implicit_VR = True, syntax == uid.ImplicitVRLittleEndian
    if pixels is None:
        size = tags.get("Rows", 0) * tags.get("Columns", 0) * tags.get("SamplesPerPixel", 1)
        pixels = bytes(size * int(tags.get("NumberOfFrames", 1)) * tags.get("BitsAllocated", 8) // 8)
    if pixels:
        data.add_new("PixelData", "OW", pixels + b"\0" * (len(pixels) % 2))
        if uid.UID(syntax).is_compressed and syntax != uid.DeflatedExplicitVRLittleEndian:
            data["PixelData"].VR, data["PixelData"].is_undefined_length = "OB", True
            data.PixelData = b"\xfe\xff\x00\xe0\0\0\0\0\xfe\xff\x00\xe0" + len(pixels).to_bytes(4, "little") + pixels
    if preamble:
        dcmwrite(path, data, write_like_original=False)
    else:  # as exports of the nineties: neither preamble nor file meta information
        bare = Dataset()
        bare.update(data)
        bare.is_little_endian, bare.is_implicit_VR = data.is_little_endian, data.is_implicit_VR
        dcmwrite(path, bare)
    return path


def write_stack(folder, count=4, gap=5.0, orientation=AXIAL, origin=(0, 0, 0), reverse=False, each=None, **changes):
    """Write a classic series, a file a slice, along the normal; `each` maps the slice to further elements."""
    normal = np.cross(orientation[:3], orientation[3:])
    paths = []
    for k in range(count):
        number = count - k if reverse else k + 1
        position = [round(float(value), 6) for value in np.add(origin, k * gap * normal)]
        place = {"ImagePositionPatient": position, "ImageOrientationPatient": list(orientation)}
        tags = {"InstanceNumber": number} | place | changes | (each(k) if each else {})
        paths.append(write_dicom(Path(folder) / f"IM{number:04d}", slice_tags(**tags)))
    return paths


def items(**groups):
    """A dataset of one-item sequences: items(PlanePosition={"ImagePositionPatient": ..})."""
    data = Dataset()
    for name, elements in groups.items():
        item = Dataset()
        for keyword, value in elements.items():
            setattr(item, keyword, value)
        setattr(data, name + "Sequence", Sequence([item]))
    return data


def enhanced_tags(frames, shared=None, **changes):
    """An enhanced MR object; `frames` holds a dataset of functional groups for each frame, see `items`."""
    gone = dict.fromkeys(("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness"))
    measures = {"PixelSpacing": [2, 1], "SliceThickness": 5}
    shared = shared or items(PlaneOrientation={"ImageOrientationPatient": AXIAL}, PixelMeasures=measures)
    groups = {
        "SOPClassUID": uid.EnhancedMRImageStorage,
        "NumberOfFrames": len(frames),
        "SharedFunctionalGroupsSequence": Sequence([shared]),
        "PerFrameFunctionalGroupsSequence": Sequence(list(frames)),
    }
    return slice_tags(**(gone | groups | changes))


def frame_at(z, **groups):
    """Functional groups of a frame at height z."""
    return items(PlanePosition={"ImagePositionPatient": [0, 0, z]}, **groups)
