import nibabel as nib
import numpy as np
import pytest

from monai_wsss.data import find_volumes, stem_of
from monai_wsss.errors import InputError


def touch(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        nib.save(nib.Nifti1Image(np.ones((4, 4, 2), np.uint8), np.eye(4)), root / name)


@pytest.mark.parametrize(
    ("files", "cases"),
    [
        (["b.nii.gz", "a.nii"], ["a", "b"]),
        (["P1/flair.nii", "P2/flair.nii", "P2/t1.nii"], ["P1__flair", "P2__flair", "t1"]),
        (["a.nii", "a.nii.gz"], ["a.nii", "a.nii.gz"]),
        (["x.y.nii.gz", "X.NII.GZ"], ["X", "x.y"]),
    ],
)
def test_case_names_are_unique_and_short(tmp_path, files, cases):
    touch(tmp_path, *files)
    volumes, skipped = find_volumes(tmp_path)
    assert [volume.case for volume in volumes] == cases and skipped == []


def test_hidden_and_excluded_files_are_left_out(tmp_path):
    touch(tmp_path, "a.nii", "._a.nii", ".cache/b.nii", "masks/a.nii", "maskset/c.nii")
    (tmp_path / "notes.txt").write_text("x")
    volumes, _ = find_volumes(tmp_path, exclude=[tmp_path / "masks", tmp_path.parent, tmp_path / "none"])
    assert [volume.relative.as_posix() for volume in volumes] == ["a.nii", "maskset/c.nii"]


def test_one_file_is_an_input_too(tmp_path):
    touch(tmp_path, "a.nii", "b.nii")
    assert [volume.case for volume in find_volumes(tmp_path / "b.nii")[0]] == ["b"]


def test_a_broken_file_is_skipped_by_name_and_the_rest_is_found(tmp_path):
    touch(tmp_path, "a.nii")
    (tmp_path / "b.nii").write_text("broken")
    volumes, skipped = find_volumes(tmp_path)
    assert [volume.case for volume in volumes] == ["a"]
    assert skipped[0].file == str(tmp_path / "b.nii") and skipped[0].reason.startswith("cannot be read as NIfTI")


def test_nothing_to_find(tmp_path):
    with pytest.raises(InputError, match="no NIfTI file"):
        find_volumes(tmp_path)
    with pytest.raises(InputError, match="no such file or folder"):
        find_volumes(tmp_path / "none")


@pytest.mark.parametrize(("name", "stem"), [("a.nii.gz", "a"), ("a.b.nii", "a.b"), ("a.gz", "a.gz"), ("d/A.NII", "A")])
def test_stem(name, stem):
    assert stem_of(name) == stem
