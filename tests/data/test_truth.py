import nibabel as nib
import numpy as np
import pytest

from monai_wsss.data import find_truth, find_volumes


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


def test_masks_among_the_images(tmp_path):
    write(tmp_path / "a.nii")
    write(tmp_path / "a_seg.nii")
    image = [volume for volume in find_volumes(tmp_path)[0] if volume.case == "a"]
    assert find_truth(image, tmp_path)[0] == {"a": tmp_path / "a_seg.nii"}
