import pickle  # what a data loader's worker processes do

import numpy as np
import pytest
import torch

from monai_wsss.data import write_array
from monai_wsss.errors import InputError
from monai_wsss.transforms import LoadSliced


@pytest.mark.parametrize(
    ("array", "expected_shape"),
    [
        (np.arange(24, dtype=np.float32).reshape(2, 3, 2, 2), (3, 2, 2)),
        (np.arange(24, dtype=np.float16).reshape(2, 3, 2, 2), (3, 2, 2)),
        (np.arange(12, dtype=np.uint8).reshape(2, 3, 2), (1, 3, 2)),
    ],
)
def test_slice_of_any_array(tmp_path, array, expected_shape):
    write_array(tmp_path / "a.npy", array)
    out = LoadSliced(["image"])({"image": (str(tmp_path / "a.npy"), 1), "case": "a"})
    assert out["image"].shape == expected_shape and out["image"].dtype == torch.float32
    np.testing.assert_array_equal(out["image"].numpy().reshape(array[1].shape), array[1].astype(np.float32))
    assert out["case"] == "a"


def test_the_file_is_not_written_through(tmp_path):
    write_array(tmp_path / "a.npy", np.zeros((1, 1, 2, 2), np.float32))
    item = {"image": (str(tmp_path / "a.npy"), 0)}
    LoadSliced("image")(item)["image"].fill_(9)
    assert LoadSliced("image")(item)["image"].max() == 0


def test_a_file_written_anew_is_read_anew(tmp_path):
    for value in (1, 2):
        write_array(tmp_path / "a.npy", np.full((1, 1, 2, 2), value, np.float32))
        assert LoadSliced("image")({"image": (str(tmp_path / "a.npy"), 0)})["image"].max() == value


def test_missing_file_and_slice(tmp_path):
    with pytest.raises(InputError, match=r"a\.npy: missing or unreadable"):
        LoadSliced("image")({"image": (str(tmp_path / "a.npy"), 0)})
    write_array(tmp_path / "a.npy", np.zeros((2, 1, 2, 2), np.float32))
    for index in (2, -1):
        with pytest.raises(InputError, match=f"no slice {index} among 2"):
            LoadSliced("image")({"image": (str(tmp_path / "a.npy"), index)})


def test_workers_can_have_a_copy(tmp_path):
    write_array(tmp_path / "a.npy", np.ones((1, 1, 2, 2), np.float32))
    copy = pickle.loads(pickle.dumps(LoadSliced("image")))  # noqa: S301
    assert copy({"image": (str(tmp_path / "a.npy"), 0)})["image"].sum() == 4
