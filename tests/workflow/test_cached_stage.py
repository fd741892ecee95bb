"""What a stage says when a volume of the prepared folder has gone bad."""

import nibabel as nib
import numpy as np
import pytest

from monai_wsss.data import Case
from monai_wsss.errors import InputError
from monai_wsss.workflow.cached_stage import open_cache

GOOD = np.random.default_rng(0).random((8, 8, 2), np.float32)


def write(path, array, description=b"DOE^JANE 19700101"):
    image = nib.Nifti1Image(array, np.diag([2.0, 2.0, 5.0, 1.0]))
    image.header["descrip"] = description
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(image, path)


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda path: path.unlink(), "not found; put the file back or prepare the data again"),
        (lambda path: path.write_bytes(b"DOE^JANE"), "cannot be read as NIfTI"),
        (lambda path: write(path, np.where(GOOD > 0.9, np.nan, GOOD)), "voxels are not finite"),
        (lambda path: write(path, np.ones_like(GOOD)), "all voxels have the value 1; remove it or convert it again"),
    ],
)
def test_one_line_names_the_prepared_file_and_nothing_else(tmp_path, grid, spoil, reason):
    data = tmp_path / "prepared"
    cases = [Case(data / "images" / f"{name}.nii.gz", name, name, (1,)) for name in ("c0ffee", "decaf0")]
    for case in cases:
        write(case.image, GOOD)
    spoil(cases[1].image)
    with pytest.raises(InputError) as error:
        open_cache(data, cases, grid)
    said = str(error.value)
    assert said.startswith(f"{data}/images/decaf0.nii.gz: ") and said.endswith("; run prepare again (1 such volumes)")
    assert reason in said and "\n" not in said
    rest = said.removeprefix(f"{data}/images/decaf0.nii.gz")
    assert "DOE" not in said and "/" not in rest and "c0ffee" not in rest
