"""What soft and unknown labels count as."""

import numpy as np
import pytest
import torch

from monai_wsss.data.presence import is_absent, is_certain, is_known, is_present


@pytest.mark.parametrize(
    ("value", "known", "present", "absent", "certain"),
    [
        (1, True, True, False, True),
        (0, True, False, True, True),
        (-1, False, False, False, False),
        (0.5, True, True, False, False),  # a toss-up counts as present
        (0.499, True, False, False, False),  # neither
        (0.01, True, False, False, False),
        (0.99, True, True, False, False),
    ],
)
@pytest.mark.parametrize("kind", [list, tuple, np.asarray, torch.tensor])
def test_table(kind, value, known, present, absent, certain):
    row = kind([value, -1.0])
    found = [given(row).tolist() for given in (is_known, is_present, is_absent, is_certain)]
    assert found == [[known, False], [present, False], [absent, False], [certain, False]]


def test_any_shape():
    assert is_present(np.full((4, 2), 0.7)).shape == (4, 2) and bool(is_present(0.7))
