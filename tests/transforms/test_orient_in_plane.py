from itertools import permutations, product

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from monai_wsss.transforms import OrientInPlane


def axis_affine(order, signs):
    """Affine whose array axis i runs along patient axis order[i] (0 L-R, 1 P-A, 2 I-S), with odd spacing and origin."""
    affine = np.eye(4)
    affine[:3, :3] = 0
    for axis, (patient, sign) in enumerate(zip(order, signs, strict=True)):
        affine[patient, axis] = sign * (0.7 + 0.31 * axis)
    affine[:3, 3] = 0.1, -31.7, 1203.3
    return affine


ALL = [axis_affine(order, signs) for order in permutations(range(3)) for signs in product((1, -1), repeat=3)]


@pytest.mark.parametrize("affine", ALL)
def test_all_48_orientations(affine):
    image = MetaTensor(torch.arange(2 * 3 * 4.0).reshape(1, 2, 3, 4), affine=torch.from_numpy(affine))
    through = nib.aff2axcodes(affine)[2]
    plane = {"L": "PI", "R": "PI", "P": "LI", "A": "LI", "I": "LP", "S": "LP"}[through]
    out = OrientInPlane()(image)
    assert "".join(nib.aff2axcodes(out.affine.numpy())) == plane + through
    for i in range(4):  # slice i is still slice i, turned
        assert sorted(out[0, :, :, i].flatten().tolist()) == sorted(image[0, :, :, i].flatten().tolist())
    for value in (0, 7, 23):  # every voxel keeps its place in the patient
        before = affine @ [*np.argwhere(image[0].numpy() == value)[0], 1]
        after = out.affine.numpy() @ [*np.argwhere(out[0].numpy() == value)[0], 1]
        np.testing.assert_allclose(after, before, atol=1e-9)


@pytest.mark.parametrize("affine", ALL)
def test_inverse_is_exact(affine):
    image = MetaTensor(torch.rand(2, 2, 3, 4), affine=torch.from_numpy(affine))
    orient = OrientInPlane()
    back = orient.inverse(orient(image))
    assert torch.equal(back.as_tensor(), image.as_tensor())
    assert torch.equal(back.affine, image.affine)  # bit by bit
    assert back.applied_operations == []


def test_axial_slice_by_hand():
    # RAS: rows run to the right, columns to the front. Left and back first: both are flipped.
    image = MetaTensor(torch.tensor([[[[1.0], [2.0]], [[3.0], [4.0]]]]), affine=torch.eye(4, dtype=torch.float64))
    assert OrientInPlane()(image)[0, :, :, 0].tolist() == [[4.0, 3.0], [2.0, 1.0]]


def test_plain_tensors_have_no_orientation():
    with pytest.raises(TypeError, match="MetaTensor"):
        OrientInPlane()(torch.zeros(1, 2, 2, 2))
