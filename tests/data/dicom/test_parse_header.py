import random
import re
import tracemalloc
import zlib

import pydicom
import pytest
from dicom_files import AXIAL, enhanced_tags, film_tags, frame_at, items, slice_tags, write_dicom
from pydicom import uid
from pydicom.dataset import Dataset

from monai_wsss.data.dicom.file_header import FileHeader, FrameHeader
from monai_wsss.data.dicom.parse_header import NO_DICOM, NO_PIXELS, UNREADABLE, parse_header
from monai_wsss.data.dicom.quiet import quiet_pydicom
from monai_wsss.data.skipped import Skipped


def read(path):
    with quiet_pydicom():
        return parse_header(path)


def test_a_classic_slice(tmp_path):
    tags = slice_tags(
        AccessionNumber="A9",
        StudyDate="20200131",
        SeriesNumber=7,
        EchoTime=30.5,
        AcquisitionNumber=2,
        ImagePositionPatient=[1.5, -2, 3],
        SpacingBetweenSlices=-6,
        BurnedInAnnotation="NO",
        Manufacturer="ACME",
        SOPInstanceUID="1.2.3",
    )
    found = read(write_dicom(tmp_path / "a", tags))
    assert found.frames == (
        FrameHeader(
            position=(1.5, -2.0, 3.0),
            orientation=(1.0, 0.0, 0.0, 0.0, 1.0, 0.0),
            spacing=(2.0, 1.0),
            thickness=6.0,
            echo_time=30.5,
            acquisition=2,
            image_type="ORIGINAL\\PRIMARY\\M",
        ),
    )
    assert (found.columns, found.rows, found.number, found.instance, found.problem) == (4, 3, 1, "1.2.3", "")
    assert found.bytes == (tmp_path / "a").stat().st_size
    tags = found.tags
    assert (tags.patient, tags.accession, tags.modality, tags.series_number) == ("HOSP-7", "A9", "MR", "7")
    assert (tags.series_description, tags.manufacturer, tags.study_date) == ("FLAIR ax", "ACME", "20200131")
    assert (tags.transfer_syntax, tags.bits_stored, tags.burned_in) == ("Explicit VR", 12, "NO")


@pytest.mark.parametrize("syntax", [uid.ImplicitVRLittleEndian, uid.ExplicitVRLittleEndian])
def test_files_without_preamble(tmp_path, syntax):
    found = read(write_dicom(tmp_path / "a", syntax=syntax, preamble=False))
    assert found.frames[0].position == (0.0, 0.0, 0.0)
    assert found.tags.transfer_syntax == ("Implicit VR" if syntax == uid.ImplicitVRLittleEndian else "Explicit VR")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"a" * 500,
        b"PK\x03\x04" + bytes(500),
        b"\x08\x00\x05\x00" + bytes(500),
        b"\x08\x00 not so " * 50,
        bytes(2000),
    ],
)
def test_other_files(tmp_path, content):
    (tmp_path / "a").write_bytes(content)
    assert read(tmp_path / "a") == Skipped(str(tmp_path / "a"), NO_DICOM)


@pytest.mark.parametrize(
    ("sop_class", "reason"),
    [
        (uid.SegmentationStorage, "a segmentation, no image"),
        ("1.2.840.10008.5.1.4.1.1.88.22", "a report, no image"),
        ("1.2.840.10008.5.1.4.1.1.88.59", "a selection of key images, no image"),
        ("1.2.840.10008.5.1.4.1.1.11.1", "a presentation state, no image"),
        ("1.2.840.10008.5.1.4.1.1.481.3", "contours of structures, no image"),
        ("1.2.840.10008.5.1.4.1.1.481.5", "a radiotherapy object, no image"),
        ("1.2.840.10008.5.1.4.1.1.104.1", "an encapsulated document, no image"),
        ("1.2.840.10008.5.1.4.1.1.66", "raw data, no image"),
        ("1.2.840.10008.1.3.10", "DICOMDIR, an index"),
        ("1.3.12.2.1107.5.9.1", NO_PIXELS),  # private: a protocol of Siemens
        ("1.2.840.10008.5.1.4.1.1.4", UNREADABLE),  # an MR image should have rows
    ],
)
def test_objects_that_are_no_images(tmp_path, sop_class, reason):
    tags = {"SOPClassUID": sop_class, "Modality": "OT", "PatientName": "Doe^Jane", "SeriesInstanceUID": "1.2"}
    path = write_dicom(tmp_path / "a", tags)
    assert read(path) == Skipped(str(path), reason)


def test_a_real_dicomdir_names_its_class_in_the_meta_information_alone(tmp_path):
    path = write_dicom(tmp_path / "DICOMDIR", {"SOPClassUID": uid.MediaStorageDirectoryStorage})
    file = pydicom.dcmread(path)
    del file.SOPClassUID, file.SOPInstanceUID
    file.save_as(path)
    assert read(path).reason == "DICOMDIR, an index"


MOVIE = "1.2.840.10008.1.2.4.102"
NOT_READ = "its pixels are stored as MPEG-4 video, which is not read; export it again uncompressed"
MOSAIC = ["ORIGINAL", "PRIMARY", "M", "MOSAIC"]
COLOUR = {"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB", "BitsAllocated": 8}


@pytest.mark.parametrize(
    ("changes", "options", "problem"),
    [
        ({}, {}, ""),
        ({}, {"pixels": bytes(24)}, ""),
        ({}, {"pixels": bytes(22)}, "cut short, it holds less than its image; copy it again"),
        ({}, {"pixels": b""}, "holds no pixels; export it again"),
        ({}, {"syntax": uid.JPEG2000Lossless, "pixels": b"cannot tell"}, ""),
        (
            {},
            {"syntax": MOVIE},
            "its pixels are stored as MPEG-4 video, which is not read; export it again uncompressed",
        ),
        ({"BitsAllocated": 1}, {}, "1 bits a pixel; 8, 16 and 32 are read"),
        (COLOUR, {}, "a colour map, whose colours are no measured values"),
        (COLOUR | {"Modality": "US"}, {}, ""),
        (
            {"ImageType": ["ORIGINAL", "PRIMARY", "M", "MOSAIC"]},
            {},
            "a mosaic of slices in one image; convert it to NIfTI",
        ),
        ({"NumberOfFrames": 3}, {}, "3 frames without positions: a film, or a volume without geometry"),
    ],
)
def test_problems_of_the_pixels(tmp_path, changes, options, problem):
    assert read(write_dicom(tmp_path / "a", slice_tags(**changes), **options)).problem == problem


def test_a_deflated_file(tmp_path):
    found = read(write_dicom(tmp_path / "a", syntax=uid.DeflatedExplicitVRLittleEndian))
    assert found.tags.transfer_syntax == "Deflated" and found.problem == ""


def test_a_bomb_is_not_inflated(tmp_path):
    """A deflated file of a few kilobytes that would take a gigabyte: only its header is inflated."""
    path = write_dicom(tmp_path / "a", syntax=uid.DeflatedExplicitVRLittleEndian)
    content = path.read_bytes()
    start = 144 + int.from_bytes(content[140:144], "little")
    header = zlib.decompressobj(-zlib.MAX_WBITS).decompress(content[start:])
    squeeze = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    bomb = squeeze.compress(header) + b"".join(squeeze.compress(bytes(1 << 20)) for _ in range(64)) + squeeze.flush()
    path.write_bytes(content[:start] + bomb)
    tracemalloc.start()
    assert read(path).frames[0].position == (0.0, 0.0, 0.0)
    assert tracemalloc.get_traced_memory()[1] < 1 << 21
    tracemalloc.stop()


@pytest.mark.parametrize("size", [100_000, 131_072, 300_000])
def test_a_header_longer_than_the_first_look(tmp_path, size):
    data = slice_tags()
    path = write_dicom(tmp_path / "a", data)
    file = pydicom.dcmread(path)
    file.private_block(0x0009, "VENDOR", create=True).add_new(0x10, "OB", bytes(size))
    file.save_as(path)
    found = read(path)
    assert found.frames[0].position == (0.0, 0.0, 0.0) and found.problem == "" and found.rows == 3


def test_a_film(tmp_path):
    tags = film_tags(
        PatientOrientation=["L", "F"], ImagerPixelSpacing=[0.2, 0.1], ViewPosition="PA", ImageLaterality="U"
    )
    found = read(write_dicom(tmp_path / "a", tags))
    assert found.frames[0].position is None and found.frames[0].spacing == (0.2, 0.1)
    assert found.directions == ("L", "F") and found.view == "PA U"


def test_frames_of_an_enhanced_object(tmp_path):
    frames = [
        frame_at(
            10.0 * k,
            FrameContent={"StackID": "1", "TemporalPositionIndex": k + 1},
            MREcho={"EffectiveEchoTime": 30.0},
            MRDiffusion={"DiffusionBValue": 1000.0 * k},
            MRImageFrameType={"FrameType": ["ORIGINAL", "PRIMARY"], "ComplexImageComponent": "PHASE"},
        )
        for k in range(2)
    ]
    found = read(write_dicom(tmp_path / "a", enhanced_tags(frames)))
    assert found.problem == ""
    assert found.frames[1] == FrameHeader(
        position=(0.0, 0.0, 10.0),
        orientation=tuple(map(float, AXIAL)),
        spacing=(2.0, 1.0),
        thickness=5.0,
        echo_time=30.0,
        b_value=1000.0,
        temporal=2.0,
        stack="1",
        image_type="ORIGINAL\\PRIMARY\\PHASE",
    )


def test_what_a_frame_says_outweighs_what_all_share(tmp_path):
    frame = frame_at(1.0, PixelMeasures={"PixelSpacing": [3, 3], "SpacingBetweenSlices": 7})
    found = read(write_dicom(tmp_path / "a", enhanced_tags([frame, frame_at(2.0)])))
    assert [f.spacing for f in found.frames] == [(3.0, 3.0), (2.0, 1.0)]
    assert [f.thickness for f in found.frames] == [7.0, 5.0]


def test_an_enhanced_object_of_one_frame(tmp_path):
    found = read(write_dicom(tmp_path / "a", enhanced_tags([frame_at(4.0)])))
    assert [frame.position for frame in found.frames] == [(0.0, 0.0, 4.0)] and found.problem == ""


def test_missing_functional_groups(tmp_path):
    tags = enhanced_tags([frame_at(0.0), frame_at(1.0)], NumberOfFrames=3)
    assert read(write_dicom(tmp_path / "a", tags)).problem.startswith("3 frames without positions")


def test_a_reconstructed_nuclear_medicine_volume(tmp_path):
    tags = slice_tags(
        SOPClassUID=uid.NuclearMedicineImageStorage,
        Modality="NM",
        ImageType=["ORIGINAL", "PRIMARY", "RECON TOMO", "EMISSION"],
        NumberOfFrames=3,
        SpacingBetweenSlices=-4,
        DetectorInformationSequence=items(
            DetectorInformation={"ImagePositionPatient": [1, 2, 3], "ImageOrientationPatient": AXIAL}
        ).DetectorInformationSequence,
        ImagePositionPatient=None,
        ImageOrientationPatient=None,
    )
    found = read(write_dicom(tmp_path / "a", tags))
    assert [frame.position for frame in found.frames] == [(1.0, 2.0, 3.0), (1.0, 2.0, -1.0), (1.0, 2.0, -5.0)]


@pytest.mark.parametrize(
    ("creator", "group", "element", "vr", "value", "b_value"),
    [
        ("SIEMENS MR HEADER", 0x0019, 0x0C, "IS", "800", 800.0),
        ("SIEMENS MR HEADER", 0x0019, 0x0C, "UN", b"800 ", 800.0),
        ("GEMS_PARM_01", 0x0043, 0x39, "IS", [1000001000, 8, 0, 0], 1000.0),
        ("GEMS_PARM_01", 0x0043, 0x39, "UN", b"1000\\8\\0\\0", 1000.0),
        ("Philips Imaging DD 001", 0x2001, 0x03, "FL", 600.0, 600.0),
        ("Philips Imaging DD 001", 0x2001, 0x03, "UN", b"\x00\x00\x16\x44", 600.0),  # 600 as a float
        ("SOMEONE ELSE", 0x0019, 0x0C, "IS", "800", None),
        ("SIEMENS MR HEADER", 0x0019, 0x0C, "UN", b"\xff\xfe\xfd", None),
    ],
)
@pytest.mark.parametrize("syntax", [uid.ImplicitVRLittleEndian, uid.ExplicitVRLittleEndian])
def test_private_b_values(tmp_path, creator, group, element, vr, value, b_value, syntax):
    data = Dataset()
    data.private_block(group, creator, create=True).add_new(element, vr, value)
    tags = {tag: data[tag] for tag in data.keys()}
    path = write_dicom(tmp_path / "a", slice_tags(), syntax=syntax)
    file = pydicom.dcmread(path)
    file.update(tags)
    file.save_as(path)
    assert read(path).frames[0].b_value == b_value


def test_descriptions_do_not_name_the_patient(tmp_path):
    tags = slice_tags(
        PatientName="Müller^Anna",
        PatientID="HOSP-77",
        AccessionNumber="ACC4711",
        SpecificCharacterSet="ISO_IR 192",
        SeriesDescription="FLAIR Mueller 31.01.2020",
        StudyDescription="Kopf HOSP-77 / acc4711",
        ProtocolName="anna_brain 20200131",
    )
    found = read(write_dicom(tmp_path / "a", tags)).tags
    assert (found.series_description, found.study_description) == ("FLAIR *** ***", "Kopf *** / ***")
    assert found.protocol == "***_brain ***"


def test_broken_values_are_as_good_as_missing(tmp_path):
    path = write_dicom(tmp_path / "a", slice_tags(EchoTime="30.500", ImageOrientationPatient=list("100010")))
    content = path.read_bytes()
    path.write_bytes(content.replace(b"30.500", b"thirty").replace(b"1\\0\\0\\0\\1\\0", b"1\\0\\0\\0\\one"))
    frame = read(path).frames[0]
    assert frame.echo_time is None and frame.orientation is None and frame.position == (0.0, 0.0, 0.0)


@pytest.mark.parametrize("seed", range(3))
def test_flipped_bytes_never_raise_and_never_speak(tmp_path, seed):
    """Whatever the bytes, a header or a reason comes back, and the reason quotes nothing from the file."""
    rng = random.Random(seed)
    frames = [frame_at(float(k), FrameContent={"StackID": "1"}) for k in range(3)]
    sources = [
        write_dicom(tmp_path / "a").read_bytes(),
        write_dicom(tmp_path / "b", enhanced_tags(frames)).read_bytes(),
    ]
    path = tmp_path / "c"
    for _ in range(60):
        content = bytearray(rng.choice(sources))
        for _ in range(rng.choice((1, 4, 20))):
            k = rng.randrange(132, len(content) - 4)
            content[k : k + 4] = rng.choice((b"\xff\xff\xff\xff", rng.randbytes(4), b"", content[k : k + 3]))
        path.write_bytes(content[: rng.choice((len(content), rng.randrange(len(content))))])
        found = read(path)
        reason = found.problem if isinstance(found, FileHeader) else found.reason
        assert re.fullmatch(r"[\w ,;:()'\-]*", reason) and "Doe" not in reason and "HOSP" not in reason
