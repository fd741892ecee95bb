from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from dicom_files import film_tags, write_dicom
from PIL import Image

from monai_wsss.data.discovery import find_volumes
from monai_wsss.data.truth import find_truth
from monai_wsss.data.volume import SeriesTags, Volume, VolumeHeader


def write(path, shape=(4, 4, 2), shift=0.0):
    affine = np.eye(4)
    affine[0, 3] = shift
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(np.ones(shape, np.uint8), affine), path)


def find(tmp_path, image, masks):
    write(tmp_path / "images" / image)
    for mask in masks:
        write(tmp_path / "masks" / mask)
    return find_truth(find_volumes(tmp_path / "images")[0], tmp_path / "masks")


@pytest.mark.parametrize(
    ("image", "mask"),
    [
        ("a.nii.gz", "a.nii.gz"),
        ("a.nii.gz", "a.nii"),
        ("a.nii.gz", "a_mask.nii.gz"),
        ("a.nii.gz", "deep/a-seg.nii.gz"),
        ("P1/flair.nii", "P1/flair.nii"),
        ("P1/flair.nii", "P1.nii"),
        ("P1.nii", "P1/lesion.nii"),
    ],
)
def test_masks_by_path_stem_ending_or_folder(tmp_path, image, mask):
    truth, skipped = find(tmp_path, image, [mask, "other.nii"])
    assert list(truth.values()) == [tmp_path / "masks" / mask] and skipped == []


@pytest.mark.parametrize(("masks", "reason"), [(["b.nii"], "no masks"), (["x/a.nii", "y/a.nii"], "2 masks")])
def test_none_or_several_are_reported(tmp_path, masks, reason):
    truth, skipped = find(tmp_path, "a.nii", masks)
    assert truth == {} and skipped[0].reason.startswith(reason)


@pytest.mark.parametrize(
    ("options", "reason"),
    [({"shape": (4, 4, 3)}, "mask of shape (4, 4, 3) for a volume of (4, 4, 2)"), ({"shift": 1.0}, "affine")],
)
def test_other_geometry_is_refused(tmp_path, options, reason):
    write(tmp_path / "images" / "a.nii")
    write(tmp_path / "masks" / "a.nii", **options)
    truth, skipped = find_truth(find_volumes(tmp_path / "images")[0], tmp_path / "masks")
    assert truth == {} and reason in skipped[0].reason


@pytest.mark.parametrize(
    "mask", ["P{}/t1_seg.nii.gz", "P{}/truth/t1.nii", "P{}/lesion.nii", "P{0}/t1_mask.nii P{0}/t2_mask.nii"]
)
def test_a_folder_for_each_patient_and_the_same_names_in_each(tmp_path, mask):
    for patient in range(3):
        write(tmp_path / "images" / f"P{patient}" / "t1.nii.gz")
        for name in mask.format(patient).split():
            write(tmp_path / "masks" / name)
    truth, skipped = find_truth(find_volumes(tmp_path / "images")[0], tmp_path / "masks")
    expected = [tmp_path / "masks" / mask.format(patient).split()[0] for patient in range(3)]
    assert list(truth.values()) == expected and skipped == []


@pytest.mark.parametrize(
    ("images", "masks", "found", "reasons"),
    [
        (["P/t1", "P/t2"], ["P/t1_seg"], {"t1": "P/t1_seg"}, ["no masks for it"]),
        (["P/t1", "P/t2"], ["P/lesion"], {}, ["its mask fits 2 volumes; name each mask as its volume"] * 2),
        (["P/t1", "Q/t1"], ["Q/t1_seg"], {"Q__t1": "Q/t1_seg"}, ["no masks for it"]),
        (["P/t1", "Q/t1"], ["t1"], {}, ["its mask fits 2 volumes; name each mask as its volume"] * 2),
    ],
)
def test_a_mask_serves_one_volume(tmp_path, images, masks, found, reasons):
    for name in images:
        write(tmp_path / "images" / f"{name}.nii")
    for name in masks:
        write(tmp_path / "masks" / f"{name}.nii")
    truth, skipped = find_truth(find_volumes(tmp_path / "images")[0], tmp_path / "masks")
    assert truth == {case: tmp_path / "masks" / f"{name}.nii" for case, name in found.items()}
    assert [skip.reason for skip in skipped] == reasons


@pytest.mark.parametrize(("rows", "found"), [(3, True), (4, False)])
def test_a_picture_is_the_mask_of_a_film_with_a_pixel_size(tmp_path, rows, found):
    write_dicom(tmp_path / "images" / "a.dcm", film_tags(ImagerPixelSpacing=[0.2, 0.1]))
    (tmp_path / "masks").mkdir()
    Image.fromarray(np.ones((rows, 4), np.uint8)).save(tmp_path / "masks" / "a.png")
    (film,), _ = find_volumes(tmp_path / "images")
    truth, skipped = find_truth([film], tmp_path / "masks")
    assert film.header.spacing_known and bool(truth) == found != bool(skipped)


def test_masks_among_the_images(tmp_path):
    write(tmp_path / "a.nii")
    write(tmp_path / "a_seg.nii")
    image = [volume for volume in find_volumes(tmp_path)[0] if volume.case == "a"]
    assert find_truth(image, tmp_path)[0] == {"a": tmp_path / "a_seg.nii"}


@pytest.mark.parametrize(
    "mask",
    [
        "head__s1.nii.gz",
        "1.2.3_seg.nii",
        "A77-mask.nii.gz",
        "1.2.nii",
        "P1/lesion.nii.gz",
        "s1.nii",
        "export/head/s1/mask.nii.gz",
    ],
)
def test_masks_of_a_series_by_case_identifiers_and_folder(tmp_path, mask):
    for name in (mask, "other.nii"):
        write(tmp_path / name)
    tags = SeriesTags(patient="P1", study="1.2", series="1.2.3", accession="A77")
    files = (Path("/in/head/s1/i1.dcm"), Path("/in/head/s1/i2.dcm"))
    header = VolumeHeader((4, 4, 2), np.eye(4), (1.0, 1.0, 1.0))
    series = Volume(files, Path("head/s1"), "head__s1", header, "dicom", tags)
    truth, problems = find_truth([series], tmp_path)
    assert truth == {"head__s1": tmp_path / mask} and problems == []


def test_a_mask_of_the_series_comes_before_one_of_its_patient(tmp_path):
    for name in ("1.2.3.nii", "P1.nii"):
        write(tmp_path / name)
    header = VolumeHeader((4, 4, 2), np.eye(4), (1.0, 1.0, 1.0))
    files = (Path("/in/s/i1.dcm"), Path("/in/s/i2.dcm"))
    pair = [
        Volume(files, Path("s"), case, header, "dicom", SeriesTags(patient="P1", series=uid))
        for case, uid in (("a", "1.2.3"), ("b", "1.2.4"))
    ]
    assert find_truth(pair, tmp_path)[0] == {"a": tmp_path / "1.2.3.nii", "b": tmp_path / "P1.nii"}
