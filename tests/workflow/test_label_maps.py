"""Label maps as files."""

import nibabel as nib
import numpy as np
import pytest

from monai_wsss.data.writers import write_image
from monai_wsss.errors import InputError
from monai_wsss.workflow.label_maps import read_label_map


def write(path, values):
    nib.save(nib.Nifti1Image(np.array(values, np.uint8).reshape(1, -1, 1), np.eye(4)), path)
    return path


@pytest.mark.parametrize(
    ("values", "num_labels", "truth", "expected"),
    [
        ([0, 1, 2, 255], 2, True, [0, 1, 2, 255]),
        ([0, 255], 2, True, [0, 255]),  # an image of which nothing counts but background
        ([0, 255], 1, True, [0, 1]),  # with one label any value is the lesion
        ([0, 255], 1, False, [0, 1]),
        ([0, 1, 255], 1, True, "values 1, 255"),
        ([0, 1, 255], 2, False, "values 1, 255"),  # a prediction has no void
        ([0, 3, 255], 2, True, "values 3, but"),
        ([0, 254], 2, True, "values 254"),
    ],
)
def test_255_is_void_in_true_masks_of_several_labels(tmp_path, values, num_labels, truth, expected):
    path = write(tmp_path / "m.nii", values)
    if isinstance(expected, str):
        with pytest.raises(InputError, match=expected):
            read_label_map(path, num_labels, truth)
    else:
        assert read_label_map(path, num_labels, truth)[0].flatten().tolist() == expected


def test_a_picture_in_colour_is_no_label_map(tmp_path):
    colours = np.arange(12, dtype=np.float32).reshape(2, 2, 1, 3)
    write_image(tmp_path / "x.nii.gz", colours, np.eye(4))
    with pytest.raises(InputError, match="not a label map"):
        read_label_map(tmp_path / "x.nii.gz", 20)
    nib.save(nib.Nifti1Image(np.zeros((2, 2, 1), [(c, "u1") for c in "RGB"]), np.eye(4)), tmp_path / "rgb.nii")
    with pytest.raises(InputError, match="not a label map"):
        read_label_map(tmp_path / "rgb.nii", 20)
